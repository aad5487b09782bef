/* SPDX-License-Identifier: MIT */
#include "autograd/dropout_mask.h"

tn_status tn_dropout_mask_init(tn_dropout_mask *mask, const tn_tape *tape, const char *op, tn_real p, uint32_t site) {
    *mask = (tn_dropout_mask){.site = site, .gain = 1};
    if (!(p >= 0 && p < 1)) return TN_FAIL(RANGE, "%s: dropout of %g is outside [0,1)", op, (double)p);
    if (!tn_tape_recording(tape) || !tn_tape_rng(tape)) return TN_OK;
    mask->rng = *tn_tape_rng(tape);
    mask->threshold = (uint32_t)((double)p * 0x1p32);
    mask->gain = 1 / (1 - p);
    return TN_OK;
}

void tn_dropout_mask_apply(const tn_dropout_mask *mask, int64_t begin, int64_t end, const tn_real *from, bool add,
                           tn_real *to) {
    uint32_t words[4] = {0};
    for (int64_t i = begin; i < end; i++, from++, to++) {
        if (i % 4 == 0 || i == begin) tn_rng_words(&mask->rng, (uint64_t)mask->site << 32 | (uint64_t)(i / 4), words);
        const tn_real kept = words[i % 4] < mask->threshold ? 0 : mask->gain * *from;
        *to = add ? *to + kept : kept;
    }
}
