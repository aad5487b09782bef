/* SPDX-License-Identifier: MIT
 * dropout_mask.h - which numbers of a tensor a dropout keeps: a function of (the tape's rng, site, element), drawn
 * again wherever it is wanted. Private to autograd/op_*.c. */
#ifndef TN_AUTOGRAD_DROPOUT_MASK_H
#define TN_AUTOGRAD_DROPOUT_MASK_H
#include "autograd/tape.h"

typedef struct tn_dropout_mask {
    tn_rng rng;
    uint32_t site;
    uint32_t threshold; /* drawn words below it drop; 0 = keep all */
    tn_real gain;       /* 1 / (1 - p) */
} tn_dropout_mask;

/* p in [0,1); keeps all when the tape is not recording or has no rng. Fails: TN_E_RANGE; `op` opens the message. */
tn_status tn_dropout_mask_init(tn_dropout_mask *mask, const tn_tape *tape, const char *op, tn_real p, uint32_t site);
/* to += or = keep * gain * from for elements begin..end-1, which `from` and `to` start with; to may be from. */
void tn_dropout_mask_apply(const tn_dropout_mask *mask, int64_t begin, int64_t end, const tn_real *from, bool add,
                           tn_real *to);

#endif
