/* SPDX-License-Identifier: MIT
 * pair_rig.h - a small model, and pairs of answers as passes of rows: each answer in a row of its own, or packed. */
#ifndef TN_TESTS_PAIR_RIG_H
#define TN_TESTS_PAIR_RIG_H
#include "train/objective.h"

enum { TN_PAIRS = 4, TN_PAIR_TIME = 64, TN_PAIR_SLOTS = 2 * TN_PAIRS * TN_PAIR_TIME };

typedef struct tn_pair_rig {
    tn_arena *arena;
    tn_tape *tape;
    tn_model *model;
    tn_param **params;
    int n_params;
    tn_objective objective;          /* DPO with beta 0.5 */
    double references[2 * TN_PAIRS]; /* of chosen and rejected in turn */
} tn_pair_rig;

typedef struct tn_pair_rows {
    int32_t tokens[TN_PAIR_SLOTS], targets[TN_PAIR_SLOTS], first[TN_PAIR_SLOTS];
    tn_pair pairs[TN_PAIRS];
    tn_objective_pass pass;
} tn_pair_rows;

/* The same values in every rig. */
void tn_pair_rig_init(tn_pair_rig *rig);
void tn_pair_rig_release(tn_pair_rig *rig);
/* Pairs from .. from+count-1, a row an answer, or two answers a row. The references are those of the rig. */
void tn_pair_rows_spread(tn_pair_rows *rows, const tn_pair_rig *rig, int from, int count);
void tn_pair_rows_pack(tn_pair_rows *rows, const tn_pair_rig *rig);
/* All gradients, end to end, in the arena. */
tn_real *tn_pair_rig_gradients(tn_pair_rig *rig, int64_t *count);

#endif
