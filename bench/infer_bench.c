/* SPDX-License-Identifier: MIT */
#include "bench/infer_bench.h"

#include "core/clock.h"
#include "core/rng.h"
#include "infer/batch.h"
#include "layers/adapter.h"
#include "kernels/gemm.h"

#include <stdio.h>
#include <string.h>

struct tn_infer_bench {
    const tn_loaded *loaded;
    tn_session_options options;
    tn_arena *arena;
    tn_session *session;
    tn_sampler *greedy;
    int32_t *ids; /* [context] */
    int context, vocab;
};

static tn_sampler_options always_the_best(void) {
    tn_sampler_options options = tn_sampler_defaults();
    options.temperature = 0;
    return options;
}

static tn_status prepare(tn_infer_bench *b) {
    const tn_sampler_options options = always_the_best();
    b->arena = tn_arena_create("bench");
    if (!b->arena) return TN_E_NOMEM;
    TN_TRY(tn_session_create(&b->session, b->loaded, b->options));
    TN_TRY(tn_sampler_create(&b->greedy, b->vocab, &options));
    b->context = tn_session_context(b->session);
    TN_TAKE(b->ids, b->arena, b->context, "bench");
    const tn_rng rng = tn_rng_make(1, TN_PURPOSE_SAMPLE, 0);
    for (int i = 0; i < b->context; i++) b->ids[i] = (int32_t)tn_rng_below(&rng, (uint64_t)i, (uint64_t)b->vocab);
    return TN_OK;
}

tn_status tn_infer_bench_create(tn_infer_bench **out, const tn_loaded *loaded, tn_session_options options) {
    tn_infer_bench *bench = tn_heap_zalloc(1, sizeof *bench);
    *out = NULL;
    if (!bench) return TN_E_NOMEM;
    bench->loaded = loaded;
    bench->options = options;
    bench->vocab = tn_tokenizer_size(loaded->tokenizer);
    tn_status status = prepare(bench);
    if (status)
        tn_infer_bench_free(bench);
    else
        *out = bench;
    return status;
}

void tn_infer_bench_free(tn_infer_bench *bench) {
    if (!bench) return;
    tn_session_free(bench->session);
    tn_sampler_free(bench->greedy);
    tn_arena_free(bench->arena);
    tn_heap_free(bench);
}

static tn_status drop_piece(void *context, const char *text, size_t len) {
    (void)context;
    (void)text;
    (void)len;
    return TN_OK;
}

/* ---- one text ---- */

/* The last token of a text is chosen but not fed; one more is written, so that as many are fed as are counted. */
static tn_status run_alone(tn_infer_bench *b, const tn_infer_test *test, double *seconds) {
    const tn_generate_options options = {.max_tokens = test->generate + 1, .ignore_eos = true, .piece = drop_piece};
    const int before = test->depth ? test->depth : test->prompt ? 0 : 1;
    tn_generated done = {0};
    TN_TRY(tn_session_rewind(b->session, 0));
    if (before) TN_TRY(tn_session_feed(b->session, b->ids, before));
    const double begin = tn_clock_seconds();
    if (test->prompt) TN_TRY(tn_session_feed(b->session, b->ids + before, test->prompt));
    if (test->generate) TN_TRY(tn_generate(b->session, b->greedy, &options, &done));
    *seconds = tn_clock_seconds() - begin;
    if (test->generate && done.tokens != options.max_tokens)
        return TN_FAIL(RANGE, "%d tokens were to be written, the text ended after %d", options.max_tokens, done.tokens);
    return TN_OK;
}

/* ---- several ---- */

static tn_status on_done(void *context, tn_status status, const tn_generated *generated) {
    (void)context;
    (void)generated;
    return status;
}

/* Prompts (and depth) are read before the clock runs when only generation is asked about. */
static tn_status run_together(tn_infer_bench *b, const tn_infer_test *test, double *seconds) {
    const tn_sampler_options sampler = always_the_best();
    const int before = TN_MAX(test->depth + test->prompt, 1);
    tn_batch *batch;
    TN_TRY(tn_batch_create(
        &batch, b->loaded,
        (tn_batch_options){
            .slots = test->batch, .context = b->context, .chunk = b->options.chunk, .kv = b->options.kv}));
    double begin = tn_clock_seconds();
    tn_status status = TN_OK;
    for (int i = 0; i < test->batch && !status; i++) {
        const tn_batch_request request = {
            .ids = b->ids,
            .n_ids = before,
            .sampler = &sampler,
            .generate = {.max_tokens = TN_MAX(test->generate, 1), .ignore_eos = true, .piece = drop_piece},
            .done = on_done};
        status = tn_batch_add(batch, &request);
    }
    const int64_t prompts = (int64_t)before * test->batch;
    while (!status && tn_batch_under_way(batch)) {
        status = tn_batch_step(batch);
        const tn_batch_counts counts = tn_batch_get_counts(batch);
        if (!test->prompt && counts.text <= test->batch && counts.prompt + counts.reused >= prompts)
            begin = tn_clock_seconds();
    }
    *seconds = tn_clock_seconds() - begin;
    tn_batch_free(batch);
    return status;
}

tn_status tn_infer_bench_run(tn_infer_bench *bench, tn_infer_test *test) {
    double seconds;
    const int64_t all = (int64_t)test->depth + test->prompt + test->generate + 1;
    if (all > bench->context)
        return TN_FAIL(RANGE, "a test of %lld tokens does not fit in a context of %d", (long long)all, bench->context);
    TN_TRY((test->batch > 1 ? run_together : run_alone)(bench, test, &seconds));
    tn_samples_add(&test->seconds, seconds);
    test->first[test->runs++ % TN_SAMPLES_MAX] = seconds;
    return TN_OK;
}

/* ---- names and figures ---- */

void tn_infer_test_name(const tn_infer_test *t, char name[64]) {
    int at = 0;
    if (t->prompt) at += snprintf(name, 64, "pp%d", t->prompt);
    if (t->generate) at += snprintf(name + at, 64 - (size_t)at, "%stg%d", at ? "+" : "", t->generate);
    if (t->depth) at += snprintf(name + at, 64 - (size_t)at, " @ d%d", t->depth);
    if (t->batch > 1) snprintf(name + at, 64 - (size_t)at, " x %d", t->batch);
}

int64_t tn_infer_test_tokens(const tn_infer_test *t) { return (int64_t)(t->prompt + t->generate) * t->batch; }

/* Bytes of one row that a product or a look-up reads. */
static double row_bytes(const tn_param *p) {
    return p->table.data ? (double)tn_table_row_bytes(p->table.type, p->cols) : (double)p->cols * sizeof(tn_real);
}

/* Of an embedding's one row is read. */
static double adapter_bytes(const tn_model *model) {
    double numbers = 0;
    for (const tn_adapter *a = tn_model_adapters(model); a; a = a->next)
        for (int i = 0; i < a->n_pairs && a->scale != 0 && !a->options.merged; i++) {
            const tn_adapter_pair *pair = &a->pairs[i];
            const bool looked_up = strcmp(pair->target, "token_embd.weight") == 0;
            numbers += (double)pair->rank * ((looked_up ? 1 : pair->a.rows) + pair->b.rows);
        }
    return numbers * sizeof(tn_real);
}

tn_infer_work tn_infer_work_of(tn_model *model) {
    tn_infer_work work = {0};
    int count;
    tn_param **params = tn_model_params(model, &count);
    const bool untied = tn_model_find(model, "output.weight") != NULL;
    for (int i = 0; i < count; i++) {
        const tn_param *p = params[i];
        const bool looked_up = untied && strcmp(p->name, "token_embd.weight") == 0;
        work.parameters += tn_param_count(p);
        if (p->quantizer != TN_QUANT_NONE) {
            work.bytes += (double)tn_pack_ternary_bytes(p->packing, p->rows, p->cols);
            work.macs += (double)p->rows * p->cols;
        } else {
            work.bytes += (looked_up ? 1 : p->rows) * row_bytes(p);
        }
    }
    work.bytes += adapter_bytes(model);
    return work;
}
