/* SPDX-License-Identifier: MIT
 * sampler_priv.h - the inside of a sampler, for infer/sampler*.c: the pool of candidates that the rows of the chain
 * shorten and rescale, and what a pick has gathered for them. */
#ifndef TN_INFER_SAMPLER_PRIV_H
#define TN_INFER_SAMPLER_PRIV_H
#include "data/grow.h"
#include "infer/sampler.h"

/* Tokens still in question. Their order is settled from the front, and only as far as somebody asks. */
typedef struct tn_pool {
    tn_candidate *list; /* heap */
    size_t cap;
    int n;
    int sorted; /* the first `sorted` are the most likely ones, in order */
    bool by_id; /* all are in the order of their ids (and `sorted` is 0) */
} tn_pool;

/* True when a comes before b. */
typedef bool tn_candidate_order(const tn_candidate *a, const tn_candidate *b);
bool tn_more_likely(const tn_candidate *a, const tn_candidate *b); /* or as likely with the smaller id */

tn_status tn_pool_reserve(tn_pool *pool, int count);
void tn_pool_sort(tn_pool *pool, int count); /* settle the first `count` */
/* The i-th most likely, i < n, for loops that stop early. */
const tn_candidate *tn_pool_at(tn_pool *pool, int i);
/* Settle the first `count` of all by another order; the pool then counts as not sorted. */
void tn_pool_order(tn_pool *pool, int count, tn_candidate_order *before);
/* p = exp(logit) / sum, over the pool. */
void tn_pool_softmax(tn_pool *pool);
double tn_pool_entropy(const tn_pool *pool);           /* of p, in nats */
void tn_pool_keep(tn_pool *pool, double least);        /* logits of `least` and above */
tn_candidate *tn_pool_find(tn_pool *pool, int32_t id); /* NULL when it is not there; fast while by_id */
/* Call before(pool, id) for the next candidate of a heap that keeps the best `keep`; see sampler_gather.c. */
void tn_pool_push_best(tn_pool *pool, int keep, tn_candidate next);

/* Ids with a number each, by id, each id once. */
typedef struct tn_tally_row {
    int32_t id;
    double number;
} tn_tally_row;
typedef struct tn_tally {
    tn_tally_row *list; /* heap */
    size_t cap;
    int n;
} tn_tally;

enum tn_sampler_traits { LOCAL = 1, KEEPS = 2, REORDERS = 4, CUTS = 8 };

struct tn_sampler {
    tn_sampler_options options; /* the order filled in */
    int n_vocab;
    tn_sampler_state state;
    tn_pool pool;
    tn_tally biases;
    tn_tally seen;    /* of this pick: how often the penalties' part of the history has a token */
    tn_tally repeats; /* of this pick: how long a repetition a token would prolong (sampler_dry.c) */
    tn_ids extra;     /* what tn_sampler_needs.extra points to */
    tn_ids matches;   /* scratch of dry */
    tn_buf text;      /* the same */
};

#define SAMPLER(name, letter, traits, on, text) void tn_sampler_row_##name(tn_sampler *s, const tn_place *at);
#include "infer/samplers.def"
#undef SAMPLER
/* What mirostat leaves, by its present state; and its state after the pool's first-th most likely was chosen. */
void tn_sampler_mirostat_cut(tn_sampler *s);
void tn_sampler_mirostat_learn(tn_sampler *s, const tn_candidate *chosen);

/* Fill seen and repeats. */
tn_status tn_sampler_count_seen(tn_sampler *s, const tn_place *at);
tn_status tn_sampler_count_repeats(tn_sampler *s, const tn_place *at);
void tn_tally_release(tn_tally *tally);
tn_status tn_tally_put(tn_tally *tally, int32_t id, double number);
/* Bring the ids in order; an id that was put more than once has the sum of its numbers, or the largest. */
void tn_tally_close_sum(tn_tally *tally);
void tn_tally_close_max(tn_tally *tally);

/* Whether a sampler of the table is asked for, and its traits. */
bool tn_sampler_uses(const tn_sampler *s, int row);
int tn_sampler_traits(int row);
bool tn_sampler_greedy(const tn_sampler *s);
/* Fill the pool with the candidates that the chain has to see, biases added. */
tn_status tn_sampler_gather(tn_sampler *s, const tn_real *logits, const tn_place *at);
tn_status tn_sampler_gather_from(tn_sampler *s, const tn_candidate *list, int n, const tn_place *at);

/* The random number [0,1) of a place. `use` tells the draws of one place apart. */
enum tn_sampler_draw { TN_DRAW_TOKEN, TN_DRAW_XTC };
double tn_sampler_draw(const tn_sampler *s, const tn_place *at, enum tn_sampler_draw use);

#endif
