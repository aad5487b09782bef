/* SPDX-License-Identifier: MIT
 * sampler.h - from the logits of one position to the next token, in the order users know from llama.cpp:
 *   penalties, top_k, top_p, min_p, temperature, draw      (each step with llama.cpp's meaning)
 * The draw is a function of (seed, position), so the same seed tells the same text for any number of threads, and
 * equal logits are ordered by id, so nothing depends on a sort. Probabilities are computed in double.
 * Threads: one sampler, one thread. */
#ifndef TN_INFER_SAMPLER_H
#define TN_INFER_SAMPLER_H
#include "core/status.h"

typedef struct tn_sampler tn_sampler;

typedef struct tn_sampler_options {
    double temperature;    /* >= 0; 0 = always the most likely token; default 0.8 */
    int top_k;             /* keep the k most likely; <= 0 = all; default 40 */
    double top_p;          /* keep the fewest most likely that reach p together; >= 1 = all; default 0.95 */
    double min_p;          /* keep those at least p times as likely as the most likely, 0..1; 0 = all; default 0.05 */
    double repeat_penalty; /* > 0: logits of seen tokens are divided by it (negative ones multiplied); default 1 */
    double frequency_penalty; /* subtracted once for each time a token was seen; default 0 */
    double presence_penalty;  /* subtracted once from each token that was seen; default 0 */
    int repeat_last_n;        /* how many tokens back "seen" looks; 0 = no penalties, -1 = all; default 64 */
    uint64_t seed;            /* default 0 */
} tn_sampler_options;

tn_sampler_options tn_sampler_defaults(void);

/* Fails: TN_E_RANGE naming the option, TN_E_NOMEM. n_vocab > 0. */
tn_status tn_sampler_create(tn_sampler **out, int n_vocab, const tn_sampler_options *options);
void tn_sampler_free(tn_sampler *sampler); /* NULL is fine */
/* The same chain with another seed from now on: one prompt, several texts. */
void tn_sampler_set_seed(tn_sampler *sampler, uint64_t seed);

/* Choose the token that follows `history` [n], the ids so far, prompt included. logits [n_vocab]; minus infinity bans a
 * token. `position` numbers the draw: the place the token will take in the sequence.
 * Fails: TN_E_NAN for a logit that is NaN or plus infinity, TN_E_EMPTY when every token is banned. */
tn_status tn_sampler_pick(tn_sampler *sampler, const tn_real *logits, const int32_t *history, int64_t n,
                          int64_t position, int32_t *id);

/* What a draw would be made from: the tokens left, most likely first, with probabilities that sum to 1. */
typedef struct tn_candidate {
    int32_t id;
    double logit; /* after penalties and temperature */
    double p;
} tn_candidate;
/* `list` is the sampler's, good until its next use. Fails as tn_sampler_pick. */
tn_status tn_sampler_distribution(tn_sampler *sampler, const tn_real *logits, const int32_t *history, int64_t n,
                                  const tn_candidate **list, int *count);

#endif
