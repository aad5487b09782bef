/* SPDX-License-Identifier: MIT
 * model_gguf.c - a model out of a GGUF file: keys, tokenizer, tensors - all of them, and no others. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "data/tokenizer_gguf.h"
#include "models/gguf_config.h"
#include "models/gguf_weights.h"
#include "models/model_file_priv.h"
#include "kernels/attention.h"
#include "models/weigh_packing.h"

/* ---- the tensors of the file and those that the keys ask for must be the same ---- */

typedef struct tally {
    const tn_gguf *file;
    bool *expected; /* [tensors] */
} tally;

static void mark(const tally *t, const tn_gguf_tensor *tensor) {
    t->expected[tensor - tn_gguf_tensor_at(t->file, 0)] = true;
}

static tn_status expect(void *context, const tn_param *param) {
    const tally *t = context;
    char name[80];
    TN_TRY(tn_gguf_check_weights(t->file, param));
    mark(t, tn_gguf_find(t->file, param->name));
    if (param->quantizer == TN_QUANT_NONE || !tn_gguf_scale_name(param->name, name, sizeof name)) return TN_OK;
    const tn_gguf_tensor *scale = tn_gguf_find(t->file, name);
    if (scale) mark(t, scale);
    return TN_OK;
}

static bool ends_with(const char *text, const char *end) {
    size_t len = strlen(text), tail = strlen(end);
    return len >= tail && strcmp(text + len - tail, end) == 0;
}

static tn_status refuse(const tn_gguf_tensor *t) {
    if (ends_with(t->name, ".bias"))
        return TN_FAIL(UNSUPPORTED, "%s: %s: Tern runs models without biases", t->path, t->name);
    return TN_FAIL(MISMATCH, "%s: tensor %s is not part of the model its keys describe", t->path, t->name);
}

/* Before memory is taken for them. */
static tn_status check_tensors(const tn_gguf *file, const tn_model_config *config, tn_arena *scratch) {
    tally t = {.file = file};
    TN_TAKE0(t.expected, scratch, tn_gguf_n_tensors(file), "loading");
    TN_TRY(tn_model_each_param(config, expect, &t));
    const tn_gguf_tensor *slowdown = tn_gguf_find(file, tn_gguf_slowdown_tensor);
    if (slowdown) mark(&t, slowdown);
    for (int64_t i = 0; i < tn_gguf_n_tensors(file); i++)
        if (!t.expected[i]) return refuse(tn_gguf_tensor_at(file, i));
    return TN_OK;
}

static tn_status read_params(const tn_gguf *file, tn_model *model, tn_arena *scratch) {
    tn_gguf_reading reading = {.file = file, .reading = {.scratch = scratch}};
    int n;
    tn_param **params = tn_model_params(model, &n);
    reading.paired_heads = tn_gguf_paired_heads(tn_gguf_architecture_of(file), tn_model_get_config(model));
    tn_status status = TN_OK;
    for (int i = 0; i < n && !status; i++) status = tn_gguf_read_weights(&reading, params[i]);
    tn_reading_end(&reading.reading, tn_gguf_path(file));
    return status;
}

static tn_status read_slowdown(const tn_gguf *file, tn_model *model) {
    const tn_gguf_tensor *t = tn_gguf_find(file, tn_gguf_slowdown_tensor);
    const int64_t n = tn_model_get_config(model)->head_dim / 2;
    float slowdown[TN_HEAD_DIM_MAX / 2];
    if (!t) return TN_OK;
    if (t->type != TN_GGML_F32 || t->ne[0] != n || t->ne[1] * t->ne[2] * t->ne[3] != 1)
        return TN_FAIL(MISMATCH, "%s: %s is %s with %lld values, expected %lld of F32", t->path, t->name,
                       tn_ggml_type_name(t->type), (long long)(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]),
                       (long long)n);
    memcpy(slowdown, t->data, t->bytes);
    for (int64_t i = 0; i < n; i++)
        if (!(slowdown[i] > 0 && isfinite(slowdown[i])))
            return TN_FAIL(CORRUPT, "%s: element %lld of %s is %g, expected a finite positive number", t->path,
                           (long long)i, t->name, (double)slowdown[i]);
    tn_model_set_slowdown(model, slowdown);
    return TN_OK;
}

static tn_status check_use(const tn_gguf *file, const tn_model_config *config, tn_model_use use) {
    if (use == TN_MODEL_RUN || use == TN_MODEL_EXPORT || config->quantization == TN_QUANTIZATION_NONE) return TN_OK;
    return TN_FAIL(UNSUPPORTED,
                   "%s: a GGUF file holds ternary weights, not the latents that training moves; give the "
                   "checkpoint it was exported from",
                   tn_gguf_path(file));
}

/* One piece of memory, where the doubling of an arena would leave an end of each huge page unused. */
static tn_status reserve(tn_arena *arena, const tn_model_config *config, tn_model_use use) {
    tn_model *rehearsed;
    tn_arena *dry = tn_arena_create_virtual("model");
    tn_status status = dry ? tn_model_create(&rehearsed, dry, config, use) : TN_E_NOMEM;
    if (!status) status = tn_arena_reserve(arena, tn_arena_peak(dry));
    tn_arena_free(dry);
    return status;
}

static tn_status load(tn_arena *arena, tn_arena *scratch, tn_model_use use, tn_loaded *out) {
    const tn_gguf *file = out->file;
    tn_model_config config;
    TN_TRY(tn_gguf_read_config(file, &config));
    TN_TRY(check_use(file, &config, use));
    TN_TRY(check_tensors(file, &config, scratch));
    TN_TRY(tn_tokenizer_from_gguf(&out->tokenizer, file));
    if (use == TN_MODEL_RUN) TN_TRY(tn_packing_weigh(tn_model_config_counts(&config).ternary));
    if (!tn_arena_peak(arena)) TN_TRY(reserve(arena, &config, use));
    TN_TRY(tn_model_create(&out->model, arena, &config, use));
    TN_TRY(read_slowdown(file, out->model));
    TN_TRY(read_params(file, out->model, scratch));
    snprintf(out->description, sizeof out->description, "GGUF %s, %s, embedding %s", tn_gguf_architecture_of(file),
             tn_ggml_type_name(tn_gguf_find(file, "blk.0.attn_q.weight")->type),
             tn_ggml_type_name(tn_gguf_find(file, "token_embd.weight")->type));
    tn_model_refresh(out->model, 1);
    tn_gguf_drop_all(file);
    return TN_OK;
}

tn_status tn_model_from_gguf(const char *path, tn_arena *arena, tn_model_use use, tn_loaded *out) {
    TN_TRY(tn_gguf_open(&out->file, path));
    out->source = TN_SOURCE_GGUF;
    tn_arena *scratch = tn_arena_create("loading");
    tn_status status = scratch ? load(arena, scratch, use, out) : TN_E_NOMEM;
    tn_arena_free(scratch);
    return status;
}
