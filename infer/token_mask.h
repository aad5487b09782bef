/* SPDX-License-Identifier: MIT
 * token_mask.h - a set of ids as bits: bit id % 64 of word id / 64, [tn_mask_words(n_ids)] words. */
#ifndef TN_INFER_TOKEN_MASK_H
#define TN_INFER_TOKEN_MASK_H
#include "data/tokenizer.h"

static inline size_t tn_mask_words(int n_ids) { return ((size_t)n_ids + 63) / 64; }
static inline bool tn_mask_has(const uint64_t *mask, int32_t id) { return mask[id / 64] >> (id % 64) & 1; }

/* The ids below `n_ids` that stand for something: rows of a model without a token behind them do not, nor do tokens
 * that were never used. */
void tn_mask_usable(uint64_t *mask, int n_ids, const tn_tokenizer *tokenizer);
/* Take out the tokens that end a text. */
void tn_mask_drop_stops(uint64_t *mask, const tn_tokenizer *tokenizer);
/* out = a and b; b has `n_b` words and stands for no id beyond them. False when nothing is left. */
bool tn_mask_and(uint64_t *out, const uint64_t *a, size_t n_a, const uint64_t *b, size_t n_b);

#endif
