/* SPDX-License-Identifier: MIT
 * sampler.c - a chain of samplers from its options, and the choice that it makes. */
#include "infer/sampler.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "infer/sampler_priv.h"

static const struct row {
    const char *name;
    char letter;
    int traits;
    void (*apply)(tn_sampler *s, const tn_place *at);
} rows[] = {
#define SAMPLER(name, letter, traits, on, text) {#name, letter, traits, tn_sampler_row_##name},
#include "infer/samplers.def"
#undef SAMPLER
};

int tn_sampler_traits(int row) { return rows[row].traits; }
const char *tn_sampler_name(int row) { return rows[row].name; }

static bool asked_for(const tn_sampler_options *o, int row) {
    switch (row) {
#define SAMPLER(name, letter, traits, on, text)                                                                        \
    case TN_SAMPLER_##name:                                                                                            \
        return on;
#include "infer/samplers.def"
#undef SAMPLER
    default: return false;
    }
}

/* In the chain, with options that make it do something, and not replaced by mirostat. */
bool tn_sampler_uses(const tn_sampler *s, int row) {
    const tn_sampler_options *o = &s->options;
    return memchr(o->order.rows, row, (size_t)o->order.count) && asked_for(o, row) &&
           !(o->mirostat && rows[row].traits & CUTS);
}

/* ---- the order ---- */

static tn_status fail_unknown(const char *word, size_t len) {
    tn_buf names = {0};
    for (int i = 0; i < TN_SAMPLERS; i++) TN_TRY(tn_buf_printf(&names, "%s%s", i ? ", " : "", rows[i].name));
    tn_status status =
        TN_FAIL(RANGE, "\"%.*s\" is not a sampler; there are %s", (int)TN_MIN(len, 40), word, tn_buf_text(&names));
    tn_buf_release(&names);
    return status;
}

static tn_status add_step(tn_sampler_order *order, int row) {
    if (order->count == TN_SAMPLER_STEPS) return TN_FAIL(RANGE, "a chain has at most %d samplers", TN_SAMPLER_STEPS);
    order->rows[order->count++] = (uint8_t)row;
    return TN_OK;
}

static bool is_name(const char *name, const char *word, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (name[i] == '\0' || (word[i] == '-' ? '_' : word[i]) != name[i]) return false;
    return name[len] == '\0';
}

tn_status tn_sampler_order_parse(const char *text, tn_sampler_order *out) {
    *out = (tn_sampler_order){0};
    for (;;) {
        size_t len = strcspn(text, ";");
        int row = 0;
        while (row < TN_SAMPLERS && !is_name(rows[row].name, text, len)) row++;
        if (row == TN_SAMPLERS) return fail_unknown(text, len);
        TN_TRY(add_step(out, row));
        if (!text[len]) return TN_OK;
        text += len + 1;
    }
}

tn_status tn_sampler_order_parse_letters(const char *text, tn_sampler_order *out) {
    *out = (tn_sampler_order){0};
    if (!*text) return fail_unknown(text, 0);
    for (; *text; text++) {
        int row = 0;
        while (row < TN_SAMPLERS && rows[row].letter != *text) row++;
        if (row == TN_SAMPLERS) return TN_FAIL(RANGE, "no sampler has the letter '%c'", *text);
        TN_TRY(add_step(out, row));
    }
    return TN_OK;
}

/* ---- life ---- */

tn_sampler_options tn_sampler_defaults(void) {
    static const char *const breakers[] = {"\n", ":", "\"", "*"};
    return (tn_sampler_options){
#define OPTION(type, field, initial, min, max, flags, arg, help) .field = initial,
#include "infer/sampler_options.def"
#undef OPTION
        .dry_breakers = breakers,
        .n_dry_breakers = (int)TN_COUNT(breakers),
    };
}

static tn_status check_range(const char *flags, double value, double min, double max) {
    if (value >= min && value <= max) return TN_OK; /* false for NaN */
    return TN_FAIL(RANGE, "%.*s is %g, expected %g to %g", (int)strcspn(flags, "|"), flags, value, min, max);
}

static tn_status check_options(const tn_sampler_options *o) {
#define OPTION(type, field, initial, min, max, flags, arg, help)                                                       \
    TN_TRY(check_range(flags, (double)o->field, (double)(min), (double)(max)));
#include "infer/sampler_options.def"
#undef OPTION
    return TN_OK;
}

static tn_status take_biases(tn_sampler *s, const tn_sampler_options *o) {
    for (int i = 0; i < o->n_biases; i++) {
        const tn_logit_bias *b = &o->biases[i];
        if (b->id < 0 || b->id >= s->n_vocab)
            return TN_FAIL(RANGE, "logit-bias: there is no token %d, the model has %d", b->id, s->n_vocab);
        if (b->bias != -HUGE_VAL) TN_TRY(check_range("logit-bias", b->bias, -1e6, 1e6));
        TN_TRY(tn_tally_put(&s->biases, b->id, b->bias));
    }
    tn_tally_close_sum(&s->biases);
    return TN_OK;
}

static tn_status fill(tn_sampler *s, const tn_sampler_options *options) {
    TN_TRY(check_options(options));
    s->options = *options;
    if (s->options.order.count == 0)
        for (int i = 0; i < TN_SAMPLERS; i++) TN_TRY(add_step(&s->options.order, i));
    tn_sampler_set_seed(s, options->seed);
    TN_TRY(take_biases(s, options));
    s->options.biases = NULL;
    return TN_OK;
}

tn_status tn_sampler_create(tn_sampler **out, int n_vocab, const tn_sampler_options *options) {
    TN_ASSERT(n_vocab > 0);
    *out = NULL;
    tn_sampler *s = tn_heap_zalloc(1, sizeof *s);
    if (!s) return TN_E_NOMEM;
    s->n_vocab = n_vocab;
    tn_status status = fill(s, options);
    if (status)
        tn_sampler_free(s);
    else
        *out = s;
    return status;
}

void tn_sampler_free(tn_sampler *sampler) {
    if (!sampler) return;
    tn_heap_free(sampler->pool.list);
    tn_tally_release(&sampler->biases);
    tn_tally_release(&sampler->seen);
    tn_tally_release(&sampler->repeats);
    tn_ids_release(&sampler->extra);
    tn_ids_release(&sampler->matches);
    tn_buf_release(&sampler->text);
    tn_heap_free(sampler);
}

void tn_sampler_set_seed(tn_sampler *sampler, uint64_t seed) {
    sampler->options.seed = seed;
    sampler->state = (tn_sampler_state){.mu = 2 * sampler->options.mirostat_tau};
}

uint64_t tn_sampler_seed(const tn_sampler *sampler) { return sampler->options.seed; }
tn_sampler_state tn_sampler_get_state(const tn_sampler *sampler) { return sampler->state; }
void tn_sampler_set_state(tn_sampler *sampler, tn_sampler_state state) { sampler->state = state; }

/* ---- choosing ---- */

double tn_sampler_draw(const tn_sampler *s, const tn_place *at, enum tn_sampler_draw use) {
    tn_rng rng = tn_rng_make(s->options.seed, TN_PURPOSE_SAMPLE, (uint32_t)use);
    return tn_rng_uniform(&rng, (uint64_t)at->position);
}

/* From what was gathered to what is drawn from. */
static void run_chain(tn_sampler *s, const tn_place *at) {
    const tn_sampler_order *order = &s->options.order;
    for (int i = 0; i < order->count; i++)
        if (tn_sampler_uses(s, order->rows[i])) rows[order->rows[i]].apply(s, at);
    if (s->options.mirostat) tn_sampler_mirostat_cut(s);
    tn_pool_softmax(&s->pool);
}

static void choose(tn_sampler *s, const tn_place *at, int32_t *id) {
    run_chain(s, at);
    double left = s->pool.n > 1 ? tn_sampler_draw(s, at, TN_DRAW_TOKEN) : 0;
    int i = 0;
    for (; i + 1 < s->pool.n && left >= tn_pool_at(&s->pool, i)->p; i++) left -= s->pool.list[i].p;
    const tn_candidate *chosen = tn_pool_at(&s->pool, i);
    if (s->options.mirostat) tn_sampler_mirostat_learn(s, chosen);
    *id = chosen->id;
}

tn_status tn_sampler_pick(tn_sampler *sampler, const tn_real *logits, const tn_place *at, int32_t *id) {
    TN_TRY(tn_sampler_gather(sampler, logits, at));
    choose(sampler, at, id);
    return TN_OK;
}

tn_status tn_sampler_pick_from(tn_sampler *sampler, const tn_candidate *list, int n, const tn_place *at, int32_t *id) {
    TN_TRY(tn_sampler_gather_from(sampler, list, n, at));
    choose(sampler, at, id);
    return TN_OK;
}

tn_status tn_sampler_distribution(tn_sampler *sampler, const tn_real *logits, const tn_place *at,
                                  const tn_candidate **list, int *count) {
    TN_TRY(tn_sampler_gather(sampler, logits, at));
    run_chain(sampler, at);
    tn_pool_sort(&sampler->pool, sampler->pool.n);
    *list = sampler->pool.list;
    *count = sampler->pool.n;
    return TN_OK;
}
