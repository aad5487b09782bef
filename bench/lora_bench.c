/* SPDX-License-Identifier: MIT */
#include "bench/lora_bench.h"

#include "bench/crowd.h"
#include "core/clock.h"
#include "models/model_file.h"
#include "models/weigh_packing.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "train/process.h"

#include <math.h>
#include <stdio.h>

enum { USUAL_TOKENS = 512 };

/* All that a run holds: real, or a rehearsal that reserves addresses and computes nothing. */
typedef struct run {
    tn_arena *arena;
    tn_tape *tape;
    tn_model *model;
    tn_adapter *adapter;
    tn_param_blocks blocks;
    tn_clip clip;
    tn_optimizer *optimizer;
    int32_t *tokens, *targets;
} run;

typedef struct measurement {
    tn_samples seconds, other, optimizer, forward[TN_OP_COUNT], backward[TN_OP_COUNT];
    tn_peaks peaks;
} measurement;

/* ---- making a run ---- */

static tn_status take_parameters(run *r, const tn_lora_bench *b) {
    const tn_optimizer_settings settings = {.kind = TN_OPTIMIZER_adamw, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    tn_param **trained;
    const int n = tn_model_trained(r->model, NULL);
    TN_TAKE(trained, r->arena, n, "optimizer");
    (void)tn_model_trained(r->model, trained);
    TN_TRY(tn_param_blocks_init(&r->blocks, r->arena, trained, n));
    TN_TRY(tn_clip_init(&r->clip, r->arena, &r->blocks));
    TN_TRY(tn_optimizer_create(&r->optimizer, r->arena, &r->blocks, &settings));
    TN_TAKE(r->tokens, r->arena, b->tokens, "batch");
    TN_TAKE(r->targets, r->arena, b->tokens, "batch");
    return TN_OK;
}

static tn_status build(run *r, const tn_lora_bench *b, const tn_loaded *loaded) {
    tn_tape_set_backward(r->tape, TN_BACKWARD_INT16);
    TN_TRY(tn_model_create(&r->model, r->arena, &loaded->config, TN_MODEL_RUN));
    TN_TRY(tn_model_file_place(loaded, r->model, r->arena));
    TN_TRY(tn_adapter_create(&r->adapter, r->arena, &loaded->config, &b->options));
    TN_TRY(tn_adapter_add_modules(r->adapter, b->modules, b->rank, b->alpha, NULL, 0));
    TN_TRY(tn_model_attach(r->model, r->adapter, 1));
    tn_model_recompute(r->model, b->recompute);
    return take_parameters(r, b);
}

static void release(run *r) {
    tn_tape_free(r->tape);
    tn_arena_free(r->arena);
}

/* ---- steps ---- */

static void draw_batch(run *r, const tn_lora_bench *b, int step) {
    const tn_rng rng = tn_rng_make(1, TN_PURPOSE_TEST, (uint32_t)step);
    const uint64_t v = (uint64_t)b->config.vocab_size;
    for (int i = 0; i < b->tokens; i++) {
        r->tokens[i] = (int32_t)tn_rng_below(&rng, (uint64_t)(2 * i), v);
        r->targets[i] = (int32_t)tn_rng_below(&rng, (uint64_t)(2 * i + 1), v);
    }
}

static tn_status pass(run *r, const tn_lora_bench *b, int step, double *loss) {
    const int dims[2] = {1, b->tokens};
    const tn_rng rng = tn_rng_make(1, TN_PURPOSE_DROPOUT, (uint32_t)step);
    tn_tape_begin(r->tape, TN_TAPE_RECORD, &rng);
    tn_tensor *ids = tn_tape_ids(r->tape, 2, dims, r->tokens), *targets = tn_tape_ids(r->tape, 2, dims, r->targets);
    tn_tensor *result = tn_model_loss(r->model, r->tape, ids, targets, NULL,
                                      (tn_loss_options){.divisor = b->tokens, .sum = loss, .final = true});
    return tn_tape_backward(r->tape, result);
}

static tn_status run_step(run *r, tn_lora_bench *b, int step, double *optimizer) {
    double sum = 0;
    draw_batch(r, b, step);
    TN_TRY(pass(r, b, step, &sum));
    const double begin = tn_clock_seconds(), norm = tn_clip_norm(&r->clip);
    b->loss = sum / b->tokens;
    if (!isfinite(b->loss) || !isfinite(norm)) return TN_FAIL(NAN, "step %d: the loss is not finite", step);
    tn_optimizer_step(r->optimizer, &(tn_optimizer_rates){.learning_rate = 1e-4, .grad_scale = tn_clip_scale(norm, 1)});
    tn_model_refresh(r->model, 1);
    *optimizer = tn_clock_seconds() - begin;
    return TN_OK;
}

static void keep(measurement *m, double seconds, double optimizer, const tn_op_times *times) {
    double rest = seconds - optimizer;
    tn_samples_add(&m->seconds, seconds);
    tn_samples_add(&m->optimizer, optimizer);
    for (int op = 0; op < TN_OP_COUNT; op++) {
        tn_samples_add(&m->forward[op], times->forward[op]);
        tn_samples_add(&m->backward[op], times->backward[op]);
        rest -= times->forward[op] + times->backward[op];
    }
    tn_samples_add(&m->other, rest);
}

static tn_status run_steps(run *r, tn_lora_bench *b, measurement *m) {
    const tn_crowd crowd = tn_crowd_begin();
    for (int step = 0; step < b->warmup + b->steps; step++) {
        tn_op_times times = {{0}, {0}};
        double optimizer = 0;
        tn_peaks_try_all(&m->peaks);
        tn_tape_set_times(r->tape, &times);
        const double begin = tn_clock_seconds();
        TN_TRY(run_step(r, b, step, &optimizer));
        if (step >= b->warmup) keep(m, tn_clock_seconds() - begin, optimizer, &times);
        tn_tape_set_times(r->tape, NULL);
        tn_peaks_try_all(&m->peaks);
    }
    b->waited = tn_crowd_end(&crowd);
    return TN_OK;
}

/* ---- before and after ---- */

/* A table stays in its file, whose pages are the process's once they are read. */
static int64_t table_bytes(tn_model *model) {
    int n;
    int64_t bytes = 0;
    tn_param **params = tn_model_params(model, &n);
    for (int i = 0; i < n; i++)
        if (params[i]->table.data)
            bytes += (int64_t)tn_table_row_bytes(params[i]->table.type, params[i]->cols) * params[i]->rows;
    return bytes;
}

/* The rehearsal's peaks are what the run will take. */
static tn_status plan(tn_lora_bench *b, const tn_loaded *loaded, run *dry) {
    double sum;
    dry->arena = tn_arena_create_virtual("model");
    dry->tape = tn_tape_create_dry();
    if (!dry->arena || !dry->tape) return TN_E_NOMEM;
    TN_TRY(build(dry, b, loaded));
    TN_TRY(pass(dry, b, 0, &sum));
    tn_memory_table_add_arena(&b->planned, dry->arena);
    tn_memory_table_add_arena(&b->planned, tn_tape_step(dry->tape));
    tn_memory_table_add_arena(&b->planned, tn_tape_scratch(dry->tape));
    tn_memory_table_add_arena(&b->planned, tn_tape_gradients(dry->tape));
    tn_memory_table_add(&b->planned, "tables", table_bytes(dry->model));
    return TN_OK;
}

static tn_status begin(run *r, tn_lora_bench *b, tn_loaded *loaded, const run *dry) {
    r->arena = tn_arena_create("model");
    r->tape = tn_tape_create();
    if (!r->arena || !r->tape) return TN_E_NOMEM;
    TN_TRY(tn_arena_reserve(r->arena, tn_arena_peak(dry->arena)));
    TN_TRY(tn_tape_reserve(r->tape, dry->tape));
    TN_TRY(build(r, b, loaded));
    TN_TRY(tn_model_file_read(loaded, r->model));
    tn_adapter_init(r->adapter, 1);
    for (int i = 0; i < r->blocks.n_params; i++) b->parameters += tn_param_count(r->blocks.params[i]);
    b->arithmetic = tn_tape_backward_arithmetic(r->tape);
    snprintf(b->description, sizeof b->description, "%s", loaded->description);
    return TN_OK;
}

static void take_medians(tn_lora_bench *b, const measurement *m) {
    b->seconds = tn_samples_median(&m->seconds);
    b->other = tn_samples_median(&m->other);
    b->optimizer = tn_samples_median(&m->optimizer);
    for (int op = 0; op < TN_OP_COUNT; op++) {
        b->forward[op] = tn_samples_median(&m->forward[op]);
        b->backward[op] = tn_samples_median(&m->backward[op]);
    }
    for (int kind = 0; kind < TN_PEAK_COUNT; kind++) b->peaks[kind] = tn_peaks_get(&m->peaks, (tn_peak_kind)kind);
}

/* Forward, dX and the head both ways, dX of the head; the adapter forward, to its halves and to its input. */
static void work_out(tn_lora_bench *b) {
    const double n = b->tokens, words = fmax(b->peaks[TN_PEAK_WORDS], b->peaks[TN_PEAK_REAL]),
                 integers = fmax(b->peaks[TN_PEAK_BYTES] / 2, words);
    const tn_model_flops flops = tn_model_flops_per_token(&b->config, b->tokens);
    b->work = (tn_lora_work){.forward = n * flops.ternary / 2,
                             .backward = n * flops.ternary / 2,
                             .head = n * flops.head,
                             .adapter = 3 * n * (double)b->parameters};
    b->work.ideal = b->work.forward / b->peaks[TN_PEAK_BYTES] + b->work.backward / integers + b->work.head / words +
                    b->work.adapter / b->peaks[TN_PEAK_REAL];
}

static tn_status measure(tn_lora_bench *b, tn_loaded *loaded, measurement *m) {
    run dry = {0}, real = {0};
    b->config = loaded->config;
    if (!b->tokens) b->tokens = TN_MIN((int)USUAL_TOKENS, b->config.context);
    if (b->tokens > b->config.context)
        return TN_FAIL(RANGE, "a step of %d tokens, the model's context is %d", b->tokens, b->config.context);
    TN_TRY(tn_packing_weigh(tn_model_config_counts(&b->config).ternary));
    tn_memory_table_add(&b->planned, "program and tokenizer", tn_process_resident_bytes());
    tn_status status = plan(b, loaded, &dry);
    if (!status) status = begin(&real, b, loaded, &dry);
    release(&dry);
    tn_memory_table_sort(&b->planned);
    if (!status) status = run_steps(&real, b, m);
    b->peak_rss = tn_process_peak_bytes();
    release(&real);
    return status;
}

tn_status tn_lora_bench_run(tn_lora_bench *b) {
    tn_loaded loaded = {0};
    measurement *m = tn_heap_zalloc(1, sizeof *m);
    if (!m) return TN_E_NOMEM;
    tn_status status = tn_model_file_open(b->model, &loaded);
    if (!status) status = measure(b, &loaded, m);
    tn_loaded_release(&loaded);
    if (!status) {
        take_medians(b, m);
        work_out(b);
    }
    tn_heap_free(m);
    return status;
}
