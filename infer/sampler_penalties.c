/* SPDX-License-Identifier: MIT
 * sampler_penalties.c - the samplers that look back: penalties for tokens that were written lately, and dry, which
 * lowers what would prolong a repetition (p-e-w 2024). */
#include "infer/sampler_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- tallies ---- */

void tn_tally_release(tn_tally *tally) {
    tn_heap_free(tally->list);
    *tally = (tn_tally){0};
}

tn_status tn_tally_put(tn_tally *tally, int32_t id, double number) {
    TN_GROW(tally->list, &tally->cap, (size_t)tally->n + 1);
    tally->list[tally->n++] = (tn_tally_row){id, number};
    return TN_OK;
}

static int by_id(const void *a, const void *b) {
    const tn_tally_row *x = a, *y = b;
    return x->id != y->id ? (x->id < y->id ? -1 : 1) : (x->number > y->number) - (x->number < y->number);
}

static void close_tally(tn_tally *tally, bool sum) {
    int kept = 0;
    if (tally->n > 1) qsort(tally->list, (size_t)tally->n, sizeof *tally->list, by_id);
    for (int i = 0; i < tally->n; i++) {
        bool again = kept > 0 && tally->list[kept - 1].id == tally->list[i].id;
        if (!again)
            tally->list[kept++] = tally->list[i];
        else if (sum)
            tally->list[kept - 1].number += tally->list[i].number;
        else /* numbers of an id rise */
            tally->list[kept - 1].number = tally->list[i].number;
    }
    tally->n = kept;
}

void tn_tally_close_sum(tn_tally *tally) { close_tally(tally, true); }
void tn_tally_close_max(tn_tally *tally) { close_tally(tally, false); }

/* How many of the last tokens a sampler sees. */
static int64_t window(const tn_place *at, int last_n) { return last_n < 0 ? at->n : TN_MIN(at->n, last_n); }

/* ---- penalties ---- */

tn_status tn_sampler_count_seen(tn_sampler *s, const tn_place *at) {
    s->seen.n = 0;
    if (!tn_sampler_uses(s, TN_SAMPLER_penalties)) return TN_OK;
    for (int64_t i = at->n - window(at, s->options.repeat_last_n); i < at->n; i++)
        if (at->history[i] >= 0 && at->history[i] < s->n_vocab) TN_TRY(tn_tally_put(&s->seen, at->history[i], 1));
    tn_tally_close_sum(&s->seen);
    return TN_OK;
}

/* l / repeat, or l repeat when negative (Keskar 2019), - count frequency - presence */
void tn_sampler_row_penalties(tn_sampler *s, const tn_place *at) {
    (void)at;
    const tn_sampler_options *o = &s->options;
    for (int i = 0; i < s->seen.n; i++) {
        tn_candidate *c = tn_pool_find(&s->pool, s->seen.list[i].id);
        if (!c) continue;
        double logit = c->logit > 0 ? c->logit / o->repeat_penalty : c->logit * o->repeat_penalty;
        c->logit = logit - s->seen.list[i].number * o->frequency_penalty - o->presence_penalty;
    }
    s->pool.sorted = 0;
}

/* ---- dry ---- */

/* The last place in text [len] where one of the breakers ends, 0 when none is in it. */
static size_t last_break(const tn_sampler_options *o, const char *text, size_t len) {
    size_t last = 0;
    for (int i = 0; i < o->n_dry_breakers; i++) {
        size_t size = strlen(o->dry_breakers[i]);
        for (size_t end = len; size && end >= size && end > last; end--)
            if (memcmp(text + end - size, o->dry_breakers[i], size) == 0) last = end;
    }
    return last;
}

/* How many of the last n tokens come after the one that completes a breaker: no repetition is longer. */
static tn_status unbroken_tokens(tn_sampler *s, const int32_t *ids, int n, int *out) {
    const tn_sampler_options *o = &s->options;
    *out = n;
    if (!o->tokenizer || o->n_dry_breakers == 0) return TN_OK;
    int known = tn_tokenizer_size(o->tokenizer);
    tn_buf_reset(&s->text);
    s->matches.count = 0; /* where the text of each token ends */
    for (int i = 0; i < n; i++) {
        if (ids[i] >= 0 && ids[i] < known) TN_TRY(tn_tokenizer_decode(o->tokenizer, ids[i], true, &s->text));
        TN_TRY(tn_ids_append(&s->matches, (int32_t)s->text.len));
    }
    size_t last = last_break(o, tn_buf_text(&s->text), s->text.len);
    while (*out > 0 && last > 0 && (size_t)s->matches.list[n - *out] < last) --*out;
    *out -= last > 0;
    return TN_OK;
}

/* matches[k], 0 < k < n: how many tokens before and at place -1 - k equal those before and at the last one (the Z array
 * of the tokens read backwards; Gusfield 1997). */
static tn_status match_ends(tn_ids *matches, const int32_t *ids, int n) {
    const int32_t *end = ids + n - 1;
    int from = 0, to = 0; /* the match that reaches farthest back covers places -from .. 1 - to */
    matches->count = 0;
    TN_TRY(tn_ids_append(matches, 0));
    for (int k = 1; k < n; k++) {
        int len = k < to ? TN_MIN(matches->list[k - from], to - k) : 0;
        while (k + len < n && end[-len] == end[-k - len]) len++;
        TN_TRY(tn_ids_append(matches, len));
        if (k + len > to) {
            from = k;
            to = k + len;
        }
    }
    return TN_OK;
}

tn_status tn_sampler_count_repeats(tn_sampler *s, const tn_place *at) {
    const tn_sampler_options *o = &s->options;
    s->repeats.n = 0;
    if (!tn_sampler_uses(s, TN_SAMPLER_dry)) return TN_OK;
    int n = (int)window(at, o->dry_penalty_last_n), longest;
    const int32_t *ids = at->history + at->n - n;
    if (n <= o->dry_allowed_length) return TN_OK;
    TN_TRY(unbroken_tokens(s, ids, n, &longest));
    if (longest < o->dry_allowed_length) return TN_OK;
    TN_TRY(match_ends(&s->matches, ids, n));
    for (int k = 1; k < n; k++) {
        int len = TN_MIN(s->matches.list[k], longest);
        int32_t next = ids[n - k]; /* what came after the repeated tokens */
        if (len >= o->dry_allowed_length && next >= 0 && next < s->n_vocab)
            TN_TRY(tn_tally_put(&s->repeats, next, len));
    }
    tn_tally_close_max(&s->repeats);
    return TN_OK;
}

/* l - multiplier base^(length - allowed length); the power stays below the largest float. */
void tn_sampler_row_dry(tn_sampler *s, const tn_place *at) {
    (void)at;
    const tn_sampler_options *o = &s->options;
    for (int i = 0; i < s->repeats.n; i++) {
        tn_candidate *c = tn_pool_find(&s->pool, s->repeats.list[i].id);
        double power = pow(o->dry_base, s->repeats.list[i].number - o->dry_allowed_length);
        if (c) c->logit -= o->dry_multiplier * fmin(power, 0x1p128);
    }
    s->pool.sorted = 0;
}
