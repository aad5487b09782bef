/* SPDX-License-Identifier: MIT
 * tokenizer_rig.h - what the suites of tokenizers share. */
#ifndef TN_TESTS_TOKENIZER_RIG_H
#define TN_TESTS_TOKENIZER_RIG_H
#include "data/tokenizer.h"

enum { TN_TEST_TEXT = 4 * 400 };

/* Random text of letters, blanks, digits, marks, CJK, emoji and combining characters. Returns its length. */
size_t tn_test_random_text(uint32_t stream, char *out, int n_characters);
/* Random bytes, mostly pieces of such text with a few bytes lost or changed. */
size_t tn_test_random_bytes(uint32_t stream, char *out, int n_characters);
/* Encoding and decoding gives the same bytes. */
void tn_test_round_trip(const tn_tokenizer *tokenizer, const char *text, size_t len, bool specials);
/* For many random texts and bytes, and some chosen ones. */
void tn_test_round_trips(const tn_tokenizer *tokenizer);

void tn_test_ids(const tn_tokenizer *tokenizer, const char *text, bool specials, const int32_t *expected, size_t n);
#define ASSERT_IDS(tokenizer, text, specials, ...)                                                                     \
    tn_test_ids(tokenizer, text, specials, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / 4)

/* The same hash: the same ids for every text. */
void tn_test_same_tokenizer(const tn_tokenizer *a, const tn_tokenizer *b);
/* Through tokenizer.json and back the tokenizer is the same. */
void tn_test_json_round_trip(const tn_tokenizer *tokenizer);

#endif
