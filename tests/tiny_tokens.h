/* SPDX-License-Identifier: MIT
 * tiny_tokens.h - tokenizers of a few hand-made tokens, for suites that only need ids and their bytes. */
#ifndef TN_TESTS_TINY_TOKENS_H
#define TN_TESTS_TINY_TOKENS_H
#include "data/tokenizer.h"

/* Tokens 0..n-1 are the pieces [n], then comes the token that ends a text (id n). Free with tn_tokenizer_free. */
tn_tokenizer *tn_tiny_tokens(const char *const *pieces, const uint32_t *lens, int n);
/* Tokens 0..255 are the bytes, then come `pieces` (NULL-terminated, of two bytes and more), then the end. */
tn_tokenizer *tn_tiny_bytes(const char *const *pieces);

#endif
