/* SPDX-License-Identifier: MIT */
#include "train/evaluate.h"

#include <math.h>

typedef struct evaluator {
    tn_model *model;
    tn_tape *tape;
    const tn_batches *batches;
    const tn_vocabulary *vocabulary;
    tn_batch batch; /* [rows, T] */
    double sum;
    int64_t n_targets, bytes;
} evaluator;

/* Control tokens have no text, so they cost bits but add no bytes. */
static int64_t bytes_of(const tn_vocabulary *v, int32_t id) {
    return id < v->n_tokens && v->types[id] != TN_TOKEN_CONTROL ? v->lens[id] : 0;
}

static tn_status run_batch(evaluator *e, int64_t window, int rows) {
    tn_batches_cover(e->batches, window, rows, &e->batch);
    int64_t positions = (int64_t)rows * e->batches->context, targets = 0;
    for (int64_t i = 0; i < positions; i++) {
        if (e->batch.targets[i] < 0) continue;
        targets++;
        e->bytes += bytes_of(e->vocabulary, e->batch.targets[i]);
    }
    if (!targets) return TN_OK;
    double sum = 0;
    int dims[2] = {rows, e->batches->context};
    tn_tape_begin(e->tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *ids = tn_tape_ids(e->tape, 2, dims, e->batch.tokens);
    tn_tensor *wanted = tn_tape_ids(e->tape, 2, dims, e->batch.targets);
    tn_model_loss(e->model, e->tape, ids, wanted, e->batch.first, (tn_loss_options){.divisor = 1, .sum = &sum});
    TN_TRY(tn_tape_status(e->tape));
    e->sum += sum;
    e->n_targets += targets;
    return TN_OK;
}

static tn_status run(evaluator *e, int rows, int64_t max_batches) {
    int64_t windows = tn_batches_cover_count(e->batches);
    if (max_batches) windows = TN_MIN(windows, max_batches * rows);
    for (int64_t window = 0; window < windows; window += rows)
        TN_TRY(run_batch(e, window, (int)TN_MIN(windows - window, (int64_t)rows)));
    return TN_OK;
}

static tn_status take_batch(evaluator *e, tn_arena *arena, int rows) {
    int64_t positions = (int64_t)rows * e->batches->context;
    TN_TAKE(e->batch.tokens, arena, positions, "batch");
    TN_TAKE(e->batch.targets, arena, positions, "batch");
    if (e->batches->packing) TN_TAKE(e->batch.first, arena, positions, "batch");
    return TN_OK;
}

tn_status tn_evaluate(tn_evaluation *out, tn_model *model, tn_tape *tape, const tn_batches *batches,
                      const tn_tokenizer *tokenizer, int rows, int64_t max_batches) {
    evaluator e = {.model = model, .tape = tape, .batches = batches, .vocabulary = tn_tokenizer_vocabulary(tokenizer)};
    tn_arena *arena = tn_arena_create("evaluation");
    if (!arena) return TN_E_NOMEM;
    tn_status status = take_batch(&e, arena, rows);
    if (!status) status = run(&e, rows, max_batches);
    tn_arena_free(arena);
    if (status) return status;

    double loss = e.sum / (double)e.n_targets;
    double bits = e.bytes ? e.sum / log(2) / (double)e.bytes : (double)NAN;
    *out = (tn_evaluation){
        .loss = loss, .perplexity = exp(loss), .bits_per_byte = bits, .targets = e.n_targets, .bytes = e.bytes};
    return TN_OK;
}
