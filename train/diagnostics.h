/* SPDX-License-Identifier: MIT
 * diagnostics.h - what the ternary weights are doing, for every quantised matrix that is trained:
 *   zero_share  states that are 0          flip_share  states that the last step changed
 *   scale       a = mean|W|                saturation  rows of its input with one |q| = 127 and median |q| below 4
 * Life of a measurement: before, (a step and its refresh), after, observe ... stop, json. */
#ifndef TN_TRAIN_DIAGNOSTICS_H
#define TN_TRAIN_DIAGNOSTICS_H
#include "core/buf.h"
#include "layers/adapter.h"

typedef struct tn_diagnostics tn_diagnostics;

typedef struct tn_ternary_shares {
    double zero_share, flip_share; /* over all matrices; NAN when the model has none */
} tn_ternary_shares;

/* Memory for a copy of all states in 2 bits, from `arena`. */
tn_status tn_diagnostics_create(tn_diagnostics **out, tn_arena *arena, tn_model *model);
void tn_diagnostics_before(tn_diagnostics *diagnostics);
tn_ternary_shares tn_diagnostics_after(tn_diagnostics *diagnostics);
/* Count saturation in the passes between these two. */
void tn_diagnostics_observe(tn_diagnostics *diagnostics);
void tn_diagnostics_stop(tn_diagnostics *diagnostics);
/* Append {"blk.0.attn_q.weight": {"zero_share": ...}, ...}; nothing for a model without quantised matrices. Of a
 * matrix that an adapter is merged into: flipped_share, its states that differ from the base's, and largest_shift, the
 * largest |c B A'|: below 1/2 none flips. */
tn_status tn_diagnostics_json(const tn_diagnostics *diagnostics, tn_buf *out);
/* What merged adapters (layers/adapter.h) have come to; all zero without any. */
tn_adapter_flips tn_merged_flips(const tn_model *model);
/* Of the states under them, those that differ from the base's; NAN without any. */
double tn_flipped_share(const tn_model *model);

#endif
