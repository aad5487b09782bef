/* SPDX-License-Identifier: MIT */
#include "bench/train_bench.h"

#include "bench/crowd.h"
#include "core/clock.h"
#include "train/engine.h"
#include "train/process.h"

#include <math.h>
#include <string.h>

typedef struct measurement {
    tn_samples seconds, other, forward[TN_OP_COUNT], backward[TN_OP_COUNT], parts[TN_BENCH_PARTS];
    tn_peaks peaks;
} measurement;

const char *tn_bench_part_name(tn_bench_part part) {
    static const char *const names[TN_BENCH_PARTS] = {"clip", "optimizer", "refresh"};
    return names[part];
}

/* ---- steps ---- */

static void draw_batch(tn_stepper *s, int vocab_size, int64_t step) {
    const tn_rng rng = tn_rng_make((uint64_t)s->config->seed, TN_PURPOSE_TEST, (uint32_t)step);
    for (int64_t i = 0; i < s->course->tokens_per_step; i++) {
        s->batch.tokens[i] = (int32_t)tn_rng_below(&rng, (uint64_t)(2 * i), (uint64_t)vocab_size);
        s->batch.targets[i] = (int32_t)tn_rng_below(&rng, (uint64_t)(2 * i + 1), (uint64_t)vocab_size);
    }
}

static double lap(double *since) {
    double before = *since;
    *since = tn_clock_seconds();
    return *since - before;
}

/* What tn_stepper_run does, with a clock between its parts. */
static tn_status run_step(tn_engine *e, int64_t step, double parts[TN_BENCH_PARTS], double *loss) {
    tn_stepper *s = &e->stepper;
    tn_objective_tally tally = {0};
    double divisor = (double)s->course->tokens_per_step, at;
    for (int micro = 0; micro < s->course->accumulation; micro++)
        TN_TRY(tn_stepper_pass(s, step, micro, divisor, &tally));
    *loss = tally.loss / divisor;
    at = tn_clock_seconds();
    double norm = tn_clip_norm(&s->clip);
    parts[TN_BENCH_CLIP] = lap(&at);
    if (!isfinite(*loss) || !isfinite(norm)) return TN_FAIL(NAN, "step %lld: the loss is not finite", (long long)step);
    tn_stepper_update(s, step, norm);
    parts[TN_BENCH_OPTIMIZER] = lap(&at);
    tn_model_refresh(e->model, 1);
    parts[TN_BENCH_REFRESH] = lap(&at);
    return TN_OK;
}

static void keep(measurement *m, double seconds, const tn_op_times *times, const double parts[TN_BENCH_PARTS]) {
    double rest = seconds;
    tn_samples_add(&m->seconds, seconds);
    for (int op = 0; op < TN_OP_COUNT; op++) {
        tn_samples_add(&m->forward[op], times->forward[op]);
        tn_samples_add(&m->backward[op], times->backward[op]);
        rest -= times->forward[op] + times->backward[op];
    }
    for (int part = 0; part < TN_BENCH_PARTS; part++) {
        tn_samples_add(&m->parts[part], parts[part]);
        rest -= parts[part];
    }
    tn_samples_add(&m->other, rest);
}

static tn_status run_steps(tn_engine *e, tn_train_bench *b, measurement *m) {
    int vocab_size = tn_model_get_config(e->model)->vocab_size;
    const tn_crowd crowd = tn_crowd_begin();
    for (int step = 0; step < b->warmup + b->steps; step++) {
        tn_op_times times = {{0}, {0}};
        double parts[TN_BENCH_PARTS];
        draw_batch(&e->stepper, vocab_size, step);
        tn_peaks_try_all(&m->peaks);
        tn_tape_set_times(e->tape, &times);
        double begin = tn_clock_seconds();
        TN_TRY(run_step(e, step, parts, &b->loss));
        if (step >= b->warmup) keep(m, tn_clock_seconds() - begin, &times, parts);
        tn_tape_set_times(e->tape, NULL);
        tn_peaks_try_all(&m->peaks);
    }
    b->waited = tn_crowd_end(&crowd);
    return TN_OK;
}

/* ---- what came of it ---- */

static void take_medians(tn_train_bench *b, const measurement *m) {
    b->seconds = tn_samples_median(&m->seconds);
    b->other = tn_samples_median(&m->other);
    for (int op = 0; op < TN_OP_COUNT; op++) {
        b->forward[op] = tn_samples_median(&m->forward[op]);
        b->backward[op] = tn_samples_median(&m->backward[op]);
    }
    for (int part = 0; part < TN_BENCH_PARTS; part++) b->parts[part] = tn_samples_median(&m->parts[part]);
    for (int kind = 0; kind < TN_PEAK_COUNT; kind++) b->peaks[kind] = tn_peaks_get(&m->peaks, (tn_peak_kind)kind);
}

static void work_out(tn_train_bench *b, const tn_run_config *config) {
    const tn_model_config *model = &config->model;
    double tokens = (double)b->tokens;
    b->work = tn_step_work_of(model, tokens);
    b->attention = 3 * tokens * tn_model_flops_per_token(model, model->context).attention / 2;
    b->best = tn_roofline_best(model, tokens, b->peaks);
    b->bf16 = tn_roofline_bf16(model, tokens, b->peaks);
    b->parameters = tn_model_config_counts(model);
}

static tn_status run_engine(tn_train_bench *b, const tn_run_config *config, measurement *m) {
    tn_course course;
    tn_engine engine = {0};
    TN_TRY(tn_train_course(&course, &config->train, config->model.context, (tn_epoch){.rows = INT64_MAX}));
    b->tokens = course.tokens_per_step;
    tn_process_reset_peak();
    tn_status status = tn_engine_init(&engine, TN_ENGINE_REAL, config, &course);
    if (!status) {
        tn_model_init(engine.model, (uint64_t)config->train.seed);
        tn_model_refresh(engine.model, 1);
        status = run_steps(&engine, b, m);
    }
    if (!status) {
        b->peak_rss = tn_process_peak_bytes();
        b->arithmetic = tn_tape_backward_arithmetic(engine.tape);
        tn_engine_count_memory(&engine, &b->memory);
        tn_memory_table_sort(&b->memory);
    }
    tn_engine_release(&engine);
    return status;
}

tn_status tn_train_bench_run(tn_train_bench *b, const tn_run_config *config) {
    measurement *m = tn_heap_zalloc(1, sizeof *m);
    if (!m) return TN_E_NOMEM;
    tn_status status = run_engine(b, config, m);
    if (!status) {
        take_medians(b, m);
        work_out(b, config);
    }
    tn_heap_free(m);
    return status;
}

double tn_train_bench_share(const tn_train_bench *b, const tn_roofline *roofline) {
    return b->seconds > 0 ? tn_roofline_seconds(roofline) / b->seconds : 0;
}

/* ---- products ---- */

static bool named(int op, const char *start) { return strncmp(tn_ops[op].name, start, strlen(start)) == 0; }

/* Ops of one kind share the beginning of their names: bitlinear, bitlinear_add. */
static double forward_of(const tn_train_bench *b, const char *start) {
    double sum = 0;
    for (int op = 0; op < TN_OP_COUNT; op++)
        if (named(op, start)) sum += b->forward[op];
    return sum;
}
static double backward_of(const tn_train_bench *b, const char *start) {
    double sum = 0;
    for (int op = 0; op < TN_OP_COUNT; op++)
        if (named(op, start)) sum += b->backward[op];
    return sum;
}

/* A pass uses bitlinear or, in the float twin, linear. */
void tn_train_bench_products(const tn_train_bench *b, tn_bench_product out[TN_BENCH_PRODUCTS]) {
    double forward = forward_of(b, "bitlinear") + forward_of(b, "linear");
    double backward = backward_of(b, "bitlinear") + backward_of(b, "linear");
    double head = forward_of(b, "head") + backward_of(b, "head");
    double attention = forward_of(b, "attention") + backward_of(b, "attention");
    const double *rates = b->best.rates;
    const char *const *names = b->best.arithmetic;
    const tn_bench_product all[TN_BENCH_PRODUCTS] = {
        {"blocks forward", b->work.forward, forward, rates[0], names[0]},
        {"blocks backward", b->work.backward, backward, rates[1], names[1]},
        {"head", b->work.head, head, rates[2], names[2]},
        {"attention", b->attention, attention, b->peaks[TN_PEAK_REAL], tn_peak_name(TN_PEAK_REAL)},
    };
    memcpy(out, all, sizeof all);
}
