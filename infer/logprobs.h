/* SPDX-License-Identifier: MIT
 * logprobs.h - how likely the model holds a token: the softmax at temperature 1, before any sampler and any ban. */
#ifndef TN_INFER_LOGPROBS_H
#define TN_INFER_LOGPROBS_H
#include "core/status.h"

enum { TN_LOGPROBS_MOST = 20 };

typedef struct tn_logprob {
    int32_t id;
    double value; /* natural logarithm, <= 0; minus infinity for a logit of minus infinity */
} tn_logprob;

/* logits [n_vocab] -> the value of token `id`, and the `n` most likely tokens (0..TN_LOGPROBS_MOST, n <= n_vocab), best
 * first, equal ones by id. */
double tn_logprobs(tn_logprob *best, int n, const tn_real *logits, int n_vocab, int32_t id);

#endif
