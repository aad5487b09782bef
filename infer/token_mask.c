/* SPDX-License-Identifier: MIT */
#include "infer/token_mask.h"

#include <string.h>

void tn_mask_usable(uint64_t *mask, int n_ids, const tn_tokenizer *tokenizer) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(tokenizer);
    memset(mask, 0, tn_mask_words(n_ids) * sizeof *mask);
    for (int id = 0; id < TN_MIN(n_ids, v->n_tokens); id++)
        if (v->types[id] != TN_TOKEN_UNUSED) mask[id / 64] |= (uint64_t)1 << (id % 64);
}

void tn_mask_drop_stops(uint64_t *mask, const tn_tokenizer *tokenizer) {
    for (int id = 0; id < tn_tokenizer_size(tokenizer); id++)
        if (tn_tokenizer_is_stop(tokenizer, id)) mask[id / 64] &= ~((uint64_t)1 << (id % 64));
}

bool tn_mask_and(uint64_t *out, const uint64_t *a, size_t n_a, const uint64_t *b, size_t n_b) {
    uint64_t any = 0;
    for (size_t i = 0; i < n_a; i++) any |= out[i] = i < n_b ? a[i] & b[i] : 0;
    return any != 0;
}
