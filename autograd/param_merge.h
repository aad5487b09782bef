/* SPDX-License-Identifier: MIT
 * param_merge.h - states of a frozen ternary parameter that a product of thin matrices moves:
 *
 *     T' = clamp(rint(T + c B A'), -1, 1),    A [k,r], B [m,r] float parameters; the scale a stays
 *
 * T' is derived into panels that take the place of T's: the parameter is then one of states T', for products and
 * exports alike. Life: a zeroed merge, begin, derive any number of times, end; begin again. */
#ifndef TN_AUTOGRAD_PARAM_MERGE_H
#define TN_AUTOGRAD_PARAM_MERGE_H
#include "autograd/param.h"

typedef struct tn_param_merge {
    void *panels;    /* of T after begin; what T' was in after end */
    int64_t flipped; /* states in which T' is not T */
    double largest;  /* of |c B A'|: below 1/2 no state flips */
} tn_param_merge;

/* Memory for T' from `arena`, the first time; nothing is derived. */
tn_status tn_param_merge_begin(tn_param_merge *merge, tn_param *param, tn_arena *arena);
/* Numbers of `room` for the threads of now. */
int64_t tn_param_merge_room(const tn_param *param);
/* Parallel inside. */
void tn_param_merge_derive(tn_param_merge *merge, tn_param *param, const tn_param *a, const tn_param *b, tn_real c,
                           tn_real *room);
/* T' takes the place of T for good: what end will bring back is T'. */
void tn_param_merge_keep(tn_param_merge *merge, const tn_param *param);
/* T again. */
void tn_param_merge_end(tn_param_merge *merge, tn_param *param);

#endif
