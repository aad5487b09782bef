/* SPDX-License-Identifier: MIT
 * sampler.c - the chain of samplers. Candidates are kept most likely first from top_k on, so every later step only
 * shortens the list or rescales it. */
#include "infer/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "core/rng.h"

struct tn_sampler {
    tn_sampler_options options;
    int n_vocab;
    int n;              /* candidates left */
    tn_candidate *list; /* [n_vocab] */
    int32_t *seen;      /* [n_vocab] counts, all 0 between calls */
};

tn_sampler_options tn_sampler_defaults(void) {
    return (tn_sampler_options){
        .temperature = 0.8, .top_k = 40, .top_p = 0.95, .min_p = 0.05, .repeat_penalty = 1.0, .repeat_last_n = 64};
}

static tn_status check_range(const char *name, double value, double min, double max) {
    if (value >= min && value <= max) return TN_OK; /* false for NaN */
    return TN_FAIL(RANGE, "%s is %g, expected %g to %g", name, value, min, max);
}

static tn_status check_options(const tn_sampler_options *o) {
    TN_TRY(check_range("temperature", o->temperature, 0, 1e6));
    TN_TRY(check_range("top-p", o->top_p, 0, 1e6));
    TN_TRY(check_range("min-p", o->min_p, 0, 1));
    TN_TRY(check_range("repeat-penalty", o->repeat_penalty, 1e-6, 1e6));
    TN_TRY(check_range("frequency-penalty", o->frequency_penalty, -1e6, 1e6));
    TN_TRY(check_range("presence-penalty", o->presence_penalty, -1e6, 1e6));
    return check_range("repeat-last-n", o->repeat_last_n, -1, 1 << 30);
}

tn_status tn_sampler_create(tn_sampler **out, int n_vocab, const tn_sampler_options *options) {
    TN_ASSERT(n_vocab > 0);
    *out = NULL;
    TN_TRY(check_options(options));
    tn_sampler *s = tn_heap_zalloc(1, sizeof *s);
    if (!s) return TN_E_NOMEM;
    s->options = *options;
    s->n_vocab = n_vocab;
    s->list = tn_heap_zalloc((size_t)n_vocab, sizeof *s->list);
    s->seen = tn_heap_zalloc((size_t)n_vocab, sizeof *s->seen);
    if (!s->list || !s->seen) {
        tn_sampler_free(s);
        return TN_E_NOMEM;
    }
    *out = s;
    return TN_OK;
}

void tn_sampler_free(tn_sampler *sampler) {
    if (!sampler) return;
    tn_heap_free(sampler->list);
    tn_heap_free(sampler->seen);
    tn_heap_free(sampler);
}

void tn_sampler_set_seed(tn_sampler *sampler, uint64_t seed) { sampler->options.seed = seed; }

/* True when a comes before b: more likely, or as likely with the smaller id. */
static bool before(const tn_candidate *a, const tn_candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static int compare(const void *a, const void *b) { return before(a, b) ? -1 : before(b, a); }

static tn_status take_logits(tn_sampler *s, const tn_real *logits) {
    s->n = 0;
    for (int id = 0; id < s->n_vocab; id++) {
        double logit = (double)logits[id];
        if (isnan(logit) || logit == HUGE_VAL)
            return TN_FAIL(NAN, "the logit of token %d is %g: the model's weights or scales are damaged", id, logit);
        if (logit > -HUGE_VAL) s->list[s->n++] = (tn_candidate){.id = id, .logit = logit};
    }
    if (s->n == 0) return TN_FAIL(EMPTY, "every one of the %d tokens is banned", s->n_vocab);
    return TN_OK;
}

static double penalised(const tn_sampler_options *o, double logit, int count) {
    logit = logit > 0 ? logit / o->repeat_penalty : logit * o->repeat_penalty;
    return logit - count * o->frequency_penalty - o->presence_penalty;
}

static void apply_penalties(tn_sampler *s, const int32_t *history, int64_t n) {
    const tn_sampler_options *o = &s->options;
    bool off = o->repeat_penalty == 1.0 && o->frequency_penalty == 0.0 && o->presence_penalty == 0.0;
    if (off || o->repeat_last_n == 0) return;
    int64_t first = o->repeat_last_n > 0 && n > o->repeat_last_n ? n - o->repeat_last_n : 0;
    for (int64_t i = first; i < n; i++)
        if (history[i] >= 0 && history[i] < s->n_vocab) s->seen[history[i]]++;
    for (int i = 0; i < s->n; i++) {
        int count = s->seen[s->list[i].id];
        if (count > 0) s->list[i].logit = penalised(o, s->list[i].logit, count);
    }
    for (int64_t i = first; i < n; i++)
        if (history[i] >= 0 && history[i] < s->n_vocab) s->seen[history[i]] = 0;
}

/* Restore the heap below `at`: a parent comes after its children, so the root is the least likely of the kept. */
static void sift_down(tn_candidate *heap, int n, int at) {
    for (;;) {
        int worst = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < n; child++)
            if (before(&heap[worst], &heap[child])) worst = child;
        if (worst == at) return;
        tn_candidate swap = heap[at];
        heap[at] = heap[worst];
        heap[worst] = swap;
        at = worst;
    }
}

/* Sorts, too. A vocabulary is long and k is short: the first k make a heap, and each better one replaces its root. */
static void apply_top_k(tn_sampler *s) {
    int k = s->options.temperature == 0.0 ? 1 : s->options.top_k; /* no later step lifts the second above the first */
    if (k > 0 && k < s->n) {
        for (int i = k / 2; i-- > 0;) sift_down(s->list, k, i);
        for (int i = k; i < s->n; i++) {
            if (!before(&s->list[i], &s->list[0])) continue;
            s->list[0] = s->list[i];
            sift_down(s->list, k, 0);
        }
        s->n = k;
    }
    qsort(s->list, (size_t)s->n, sizeof *s->list, compare);
}

static void softmax(tn_sampler *s) {
    double sum = 0;
    for (int i = 0; i < s->n; i++) sum += s->list[i].p = exp(s->list[i].logit - s->list[0].logit);
    for (int i = 0; i < s->n; i++) s->list[i].p /= sum;
}

static void apply_top_p(tn_sampler *s) {
    if (s->options.top_p >= 1.0) return;
    softmax(s);
    double sum = 0;
    for (int i = 0; i < s->n; i++) {
        sum += s->list[i].p;
        if (sum >= s->options.top_p) s->n = i + 1;
    }
}

static void apply_min_p(tn_sampler *s) {
    if (s->options.min_p <= 0.0) return;
    double least = s->list[0].logit + log(s->options.min_p);
    while (s->n > 1 && s->list[s->n - 1].logit < least) s->n--;
}

static void apply_temperature(tn_sampler *s) {
    double t = s->options.temperature;
    if (t == 0.0) {
        s->n = 1;
        return;
    }
    for (int i = 0; i < s->n; i++) s->list[i].logit /= t;
}

tn_status tn_sampler_distribution(tn_sampler *sampler, const tn_real *logits, const int32_t *history, int64_t n,
                                  const tn_candidate **list, int *count) {
    TN_TRY(take_logits(sampler, logits));
    apply_penalties(sampler, history, n);
    apply_top_k(sampler);
    apply_top_p(sampler);
    apply_min_p(sampler);
    apply_temperature(sampler);
    softmax(sampler);
    *list = sampler->list;
    *count = sampler->n;
    return TN_OK;
}

tn_status tn_sampler_pick(tn_sampler *sampler, const tn_real *logits, const int32_t *history, int64_t n,
                          int64_t position, int32_t *id) {
    const tn_candidate *list;
    int count;
    TN_TRY(tn_sampler_distribution(sampler, logits, history, n, &list, &count));
    tn_rng rng = tn_rng_make(sampler->options.seed, TN_PURPOSE_SAMPLE, 0);
    double left = tn_rng_uniform(&rng, (uint64_t)position);
    int i = 0;
    while (i + 1 < count && left >= list[i].p) left -= list[i++].p;
    *id = list[i].id;
    return TN_OK;
}
