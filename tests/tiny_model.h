/* SPDX-License-Identifier: MIT
 * tiny_model.h - a model of random weights with a tokenizer, as a checkpoint: small enough to make in every test. */
#ifndef TN_TESTS_TINY_MODEL_H
#define TN_TESTS_TINY_MODEL_H
#include "models/model_file.h"

/* The defaults: width 256, 2 blocks, 4 heads over 2, MLP 512, context 48: every export type fits. `settings` are
 * "model.key=value" over these, ended by NULL (NULL = none). The text behind the tokenizer has characters of one to
 * four bytes. */
void tn_test_tiny_checkpoint(const char *path, tn_tokenizer_kind kind, const char *const *settings);
extern const char tn_test_tiny_text[];

/* Logits [n, vocab_size] of all places in one pass, as the trainer computes them; in `arena`. */
const tn_real *tn_test_logits(tn_model *model, const int32_t *ids, int n, tn_arena *arena);

#endif
