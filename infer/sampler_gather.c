/* SPDX-License-Identifier: MIT
 * sampler_gather.c - which candidates the chain has to see. Where it begins with samplers that look at the head of the
 * list only, as it does by default, the head is enough: the k best, and as many more as there are tokens that a bias or
 * a penalty may move away from it. */
#include "infer/sampler_priv.h"

#include <float.h>
#include <math.h>

static bool is_allowed(const tn_place *at, int32_t id) { return !at->allowed || at->allowed[id / 64] >> (id % 64) & 1; }

/* The most likely token will be taken, whatever else the options say: temperature 0, no sampler that could drop it, and
 * none that reorders what was cut before. */
bool tn_sampler_greedy(const tn_sampler *s) {
    const tn_sampler_options *o = &s->options;
    bool cold = false, cut = false;
    for (int i = 0; i < o->order.count; i++) {
        int row = o->order.rows[i], traits = tn_sampler_traits(row);
        if (row == TN_SAMPLER_temperature) cold = o->temperature <= 0 && o->dynatemp_range <= 0;
        if (!tn_sampler_uses(s, row)) continue;
        if (!(traits & KEEPS) || ((cut || cold) && traits & REORDERS)) return false;
        cut = cut || traits & CUTS;
    }
    return cold;
}

/* How many of the most likely tokens the chain goes by; 0 = all. */
static int head_length(const tn_sampler *s) {
    const tn_sampler_options *o = &s->options;
    if (tn_sampler_greedy(s)) return 1;
    for (int i = 0; i < o->order.count; i++) {
        int row = o->order.rows[i];
        if (!tn_sampler_uses(s, row)) continue;
        if (row == TN_SAMPLER_top_k) return o->top_k;
        if (!(tn_sampler_traits(row) & LOCAL)) return 0;
    }
    return 0;
}

static bool penalties_may_lift(const tn_sampler_options *o) {
    return o->repeat_penalty < 1 || o->frequency_penalty < 0 || o->presence_penalty < 0;
}

tn_status tn_sampler_get_needs(tn_sampler *s, const tn_place *at, tn_sampler_needs *needs) {
    *needs = (tn_sampler_needs){0};
    TN_TRY(tn_sampler_count_seen(s, at));
    TN_TRY(tn_sampler_count_repeats(s, at));
    int head = head_length(s), moved = s->seen.n + s->repeats.n + s->biases.n;
    if (head == 0 || head >= s->n_vocab - moved) return TN_OK;
    s->extra.count = 0;
    for (int i = 0; i < s->biases.n; i++)
        if (s->biases.list[i].number > 0) TN_TRY(tn_ids_append(&s->extra, s->biases.list[i].id));
    for (int i = 0; i < s->seen.n && penalties_may_lift(&s->options); i++)
        TN_TRY(tn_ids_append(&s->extra, s->seen.list[i].id));
    *needs = (tn_sampler_needs){.best = head + moved, .extra = s->extra.list, .n_extra = (int)s->extra.count};
    return TN_OK;
}

static tn_status check_logit(int32_t id, double logit) {
    if (logit < HUGE_VAL) return TN_OK; /* false for NaN */
    return TN_FAIL(NAN, "the logit of token %d is %g: the model's weights or scales are damaged", id, logit);
}

/* ---- from all logits ---- */

enum { BLOCK = 64 }; /* ids behind one word of a mask */

/* Whether a value is above the limit, or NaN. No early end, so that it is a few vector instructions. */
static bool any_above(const tn_real *x, tn_real limit) {
    int any = 0;
    for (int i = 0; i < BLOCK; i++) any |= !(x[i] <= limit);
    return any;
}

/* Nothing in a block can enter the pool of the `keep` best, nor is anything in it damaged. */
static bool skip_block(const tn_pool *pool, int keep, const tn_real *x, const tn_place *at, int first) {
    static const tn_real most = sizeof(tn_real) == sizeof(float) ? (tn_real)FLT_MAX : (tn_real)DBL_MAX;
    if (at->allowed && !at->allowed[first / BLOCK]) return !any_above(x, most);
    return pool->n == keep && !any_above(x, (tn_real)pool->list[0].logit);
}

/* The `keep` best as a heap. Ids come in rising order, so one that is as likely as the last kept comes after it. */
static tn_status gather_best(tn_sampler *s, const tn_real *logits, const tn_place *at, int keep) {
    for (int first = 0; first < s->n_vocab; first += BLOCK) {
        int end = TN_MIN(first + BLOCK, s->n_vocab);
        if (end - first == BLOCK && skip_block(&s->pool, keep, logits + first, at, first)) continue;
        for (int32_t id = first; id < end; id++) {
            double logit = (double)logits[id];
            if (s->pool.n == keep && logit <= s->pool.list[0].logit) continue;
            TN_TRY(check_logit(id, logit));
            if (logit > -HUGE_VAL && is_allowed(at, id))
                tn_pool_push_best(&s->pool, keep, (tn_candidate){.id = id, .logit = logit});
        }
    }
    return TN_OK;
}

/* What the heap of `keep` best left out of `needs`. */
static void gather_extra(tn_sampler *s, const tn_real *logits, const tn_place *at, const tn_sampler_needs *needs) {
    if (s->pool.n < needs->best) return;
    const tn_candidate last = s->pool.list[0];
    for (int i = 0; i < needs->n_extra; i++) {
        tn_candidate next = {.id = needs->extra[i], .logit = (double)logits[needs->extra[i]]};
        bool left_out = next.logit > -HUGE_VAL && is_allowed(at, next.id) && tn_more_likely(&last, &next);
        for (int j = needs->best; left_out && j < s->pool.n; j++) left_out = s->pool.list[j].id != next.id;
        if (left_out) s->pool.list[s->pool.n++] = next;
    }
}

static tn_status gather_all(tn_sampler *s, const tn_real *logits, const tn_place *at) {
    for (int32_t id = 0; id < s->n_vocab; id++) {
        double logit = (double)logits[id];
        TN_TRY(check_logit(id, logit));
        if (logit > -HUGE_VAL && is_allowed(at, id))
            s->pool.list[s->pool.n++] = (tn_candidate){.id = id, .logit = logit};
    }
    s->pool.by_id = true;
    return TN_OK;
}

static tn_status start(tn_sampler *s, int room) {
    TN_TRY(tn_pool_reserve(&s->pool, room));
    s->pool.n = s->pool.sorted = 0;
    s->pool.by_id = false;
    return TN_OK;
}

/* Biases come first of all; those of minus infinity take their tokens out. */
static tn_status finish(tn_sampler *s) {
    for (int i = 0; i < s->biases.n; i++) {
        tn_candidate *c = tn_pool_find(&s->pool, s->biases.list[i].id);
        if (c) c->logit += s->biases.list[i].number;
    }
    if (s->biases.n) tn_pool_keep(&s->pool, -DBL_MAX);
    if (s->pool.n == 0) return TN_FAIL(EMPTY, "every one of the %d tokens is banned", s->n_vocab);
    return TN_OK;
}

tn_status tn_sampler_gather(tn_sampler *s, const tn_real *logits, const tn_place *at) {
    tn_sampler_needs needs;
    TN_TRY(tn_sampler_get_needs(s, at, &needs));
    TN_TRY(start(s, needs.best ? needs.best + needs.n_extra : s->n_vocab));
    if (needs.best) {
        TN_TRY(gather_best(s, logits, at, needs.best));
        gather_extra(s, logits, at, &needs);
    } else
        TN_TRY(gather_all(s, logits, at));
    return finish(s);
}

/* ---- from a list ---- */

static bool lower_id(const tn_candidate *a, const tn_candidate *b) { return a->id < b->id; }

tn_status tn_sampler_gather_from(tn_sampler *s, const tn_candidate *list, int n, const tn_place *at) {
    tn_sampler_needs needs;
    TN_TRY(tn_sampler_get_needs(s, at, &needs));
    TN_TRY(start(s, n));
    for (int i = 0; i < n; i++) {
        TN_ASSERT(list[i].id >= 0 && list[i].id < s->n_vocab);
        TN_TRY(check_logit(list[i].id, list[i].logit));
        if (list[i].logit > -HUGE_VAL && is_allowed(at, list[i].id)) s->pool.list[s->pool.n++] = list[i];
    }
    if (needs.best == 0) {
        tn_pool_order(&s->pool, s->pool.n, lower_id); /* sums over all of them depend on the order */
        s->pool.by_id = true;
    }
    return finish(s);
}
