/* SPDX-License-Identifier: MIT
 * adapter_priv.h - a pair at its place in a model, for forward.c. */
#ifndef TN_LAYERS_ADAPTER_PRIV_H
#define TN_LAYERS_ADAPTER_PRIV_H
#include "layers/adapter.h"

/* ---- merged adapters: adapter_merge.c ---- */
tn_status tn_adapter_check_merge(tn_model *model, const tn_adapter_pair *pair);
/* The panels of T' take the place of T's, not derived yet; and back, for the first pairs. */
tn_status tn_adapter_begin_merge(tn_model *model, tn_adapter *adapter);
void tn_adapter_end_merge(tn_model *model, tn_adapter *adapter, int n_pairs);
/* T' of all pairs of an attached one. Parallel inside. */
void tn_adapter_derive(tn_adapter *adapter);
/* The same of what is stale in a model. */
void tn_model_derive(tn_model *model);

/* ---- places ---- */

/* In the list of its parameter, tn_param.beside, or of the model's head. */
typedef struct tn_beside {
    tn_adapter *adapter;
    tn_adapter_pair *pair;
    tn_param *target; /* NULL: a tied head */
    uint32_t site;    /* of its dropout */
    struct tn_beside *next;
} tn_beside;

/* Whether one of the list reads x before its quantiser. */
bool tn_beside_reads_raw(const tn_beside *list);
/* What the list makes of x (`raw`: before its quantiser, NULL when nobody reads that): x A of each. */
typedef struct tn_beside_made tn_beside_made;
const tn_beside_made *tn_beside_read(const tn_beside *list, tn_tape *t, tn_tensor *x, tn_tensor *raw);
/* y + s c (x A) B' of each, over the numbers of y. */
tn_tensor *tn_beside_add(const tn_beside_made *made, tn_tape *t, tn_tensor *y);
/* Both, of the rows of an embedding. */
tn_tensor *tn_beside_embed(const tn_beside *list, tn_tape *t, tn_tensor *y, tn_tensor *ids);

#endif
