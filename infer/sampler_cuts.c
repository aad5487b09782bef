/* SPDX-License-Identifier: MIT
 * sampler_cuts.c - the samplers that shorten the pool or rescale it, each with its formula. p: the softmax of the
 * logits that are left, l: these logits, best first. */
#include "infer/sampler_priv.h"

#include <math.h>

static void shorten(tn_pool *pool, int n) {
    pool->n = n;
    pool->sorted = TN_MIN(pool->sorted, n);
}

/* l >= max l - n sigma, sigma the standard deviation of all l (Tang 2024). */
void tn_sampler_row_top_n_sigma(tn_sampler *s, const tn_place *at) {
    (void)at;
    tn_pool *pool = &s->pool;
    double mean = 0, square = 0, best = tn_pool_at(pool, 0)->logit;
    for (int i = 0; i < pool->n; i++) mean += pool->list[i].logit / pool->n;
    for (int i = 0; i < pool->n; i++) {
        double off = pool->list[i].logit - mean;
        square += off * off / pool->n;
    }
    tn_pool_keep(pool, best - s->options.top_n_sigma * sqrt(square));
}

void tn_sampler_row_top_k(tn_sampler *s, const tn_place *at) {
    (void)at;
    if (s->options.top_k >= s->pool.n) return;
    tn_pool_sort(&s->pool, s->options.top_k);
    shorten(&s->pool, s->options.top_k);
}

static bool nearer_to_mean(const tn_candidate *a, const tn_candidate *b) {
    return a->p < b->p || (a->p == b->p && tn_more_likely(a, b));
}

/* The tokens of least |-log p - H|, H the entropy, until their p together exceed the limit (Meister 2022). */
void tn_sampler_row_typ_p(tn_sampler *s, const tn_place *at) {
    (void)at;
    tn_pool *pool = &s->pool;
    double best = tn_pool_at(pool, 0)->logit, left = s->options.typical;
    tn_pool_softmax(pool);
    double entropy = tn_pool_entropy(pool), p_best = pool->list[0].p;
    for (int i = 0; i < pool->n; i++) pool->list[i].p = fabs(-log(p_best) - (pool->list[i].logit - best) - entropy);
    for (int settled = 0, i = 0; i < pool->n; i++) {
        if (i == settled) tn_pool_order(pool, settled = TN_MAX(64, 4 * settled), nearer_to_mean);
        left -= p_best * exp(pool->list[i].logit - best);
        if (left < 0) shorten(pool, i + 1);
    }
}

/* The fewest most likely whose p together reach the limit (Holtzman 2020). */
void tn_sampler_row_top_p(tn_sampler *s, const tn_place *at) {
    (void)at;
    tn_pool *pool = &s->pool;
    double sum = 0;
    tn_pool_softmax(pool);
    for (int i = 0; i < pool->n; i++) {
        sum += tn_pool_at(pool, i)->p;
        if (sum >= s->options.top_p) shorten(pool, i + 1);
    }
}

/* p >= the limit times the largest p, that is l >= max l + log limit. */
void tn_sampler_row_min_p(tn_sampler *s, const tn_place *at) {
    (void)at;
    tn_pool_keep(&s->pool, tn_pool_at(&s->pool, 0)->logit + log(s->options.min_p));
}

/* With the given probability: of the tokens with p >= threshold only the last one stays. */
void tn_sampler_row_xtc(tn_sampler *s, const tn_place *at) {
    tn_pool *pool = &s->pool;
    int likely = 0;
    if (pool->n < 2 || tn_sampler_draw(s, at, TN_DRAW_XTC) >= s->options.xtc_probability) return;
    tn_pool_softmax(pool);
    while (likely < pool->n && tn_pool_at(pool, likely)->p >= s->options.xtc_threshold) likely++;
    if (likely < 2) return;
    tn_pool_sort(pool, likely);
    for (int i = likely - 1; i < pool->n; i++) pool->list[i - (likely - 1)] = pool->list[i];
    pool->n -= likely - 1;
    pool->sorted -= likely - 1;
}

/* T - range + 2 range (H / log n)^exponent, H the entropy of p, n the number of tokens left. */
static double entropy_temperature(tn_sampler *s) {
    const tn_sampler_options *o = &s->options;
    double low = fmax(0, o->temperature - o->dynatemp_range), high = o->temperature + o->dynatemp_range;
    tn_pool_softmax(&s->pool);
    double share = tn_pool_entropy(&s->pool) / log(s->pool.n);
    return low + (high - low) * pow(share, o->dynatemp_exponent);
}

void tn_sampler_row_temperature(tn_sampler *s, const tn_place *at) {
    (void)at;
    tn_pool *pool = &s->pool;
    double t = s->options.temperature;
    if (s->options.dynatemp_range > 0 && pool->n > 1) t = entropy_temperature(s);
    double best = tn_pool_at(pool, 0)->logit;
    if (!(fabs(best) / t < HUGE_VAL)) { /* 0, or so near to it that only the best has a chance */
        shorten(pool, 1);
        return;
    }
    for (int i = 0; i < pool->n; i++) pool->list[i].logit /= t;
}

/* ---- mirostat (Basu 2021): surprise, -log2 p of what is chosen, is steered to tau by the limit mu ---- */

enum { ESTIMATED = 100 }; /* most likely tokens that Zipf's exponent is estimated from */

/* The k whose expected surprise is mu for p ~ rank^-z, with z estimated from the l of the most likely. */
static int zipf_length(tn_sampler *s) {
    tn_pool *pool = &s->pool;
    int m = TN_MIN(ESTIMATED, pool->n);
    double tb = 0, tt = 0;
    tn_pool_sort(pool, m);
    for (int i = 0; i + 1 < m; i++) {
        double t = log((i + 2.0) / (i + 1.0)), b = pool->list[i].logit - pool->list[i + 1].logit;
        tb += t * b;
        tt += t * t;
    }
    double z = tb / tt, e = z - 1;
    double k = pow(e * exp2(s->state.mu) / (1 - pow(s->n_vocab, -e)), 1 / z);
    if (!(k < pool->n)) return pool->n; /* NaN too, of a single token */
    return k < 1 ? 1 : (int)k;
}

/* The tokens with -log2 p <= mu, at least one. */
static int surprise_length(tn_sampler *s) {
    int n = 0;
    tn_pool_softmax(&s->pool);
    while (n < s->pool.n && -log2(tn_pool_at(&s->pool, n)->p) <= s->state.mu) n++;
    return TN_MAX(n, 1);
}

void tn_sampler_mirostat_cut(tn_sampler *s) {
    int n = s->options.mirostat == 1 ? zipf_length(s) : surprise_length(s);
    tn_pool_sort(&s->pool, n);
    shorten(&s->pool, n);
}

void tn_sampler_mirostat_learn(tn_sampler *s, const tn_candidate *chosen) {
    double surprise = -log2(chosen->p);
    s->state.mu -= s->options.mirostat_eta * (surprise - s->options.mirostat_tau);
}
