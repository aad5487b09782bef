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

static tn_status place(const tn_loaded *loaded, tn_param *table, tn_arena *arena) {
    tn_table stored;
    (void)arena;
    TN_TRY(tn_gguf_table(tn_gguf_find(loaded->file, table->name), &stored));
    return tn_param_put_table(table, stored);
}

static tn_status read(tn_loaded *loaded, tn_model *model, tn_arena *scratch) {
    TN_TRY(read_slowdown(loaded->file, model));
    TN_TRY(read_params(loaded->file, model, scratch));
    tn_gguf_drop_all(loaded->file);
    return TN_OK;
}

static tn_status describe(tn_loaded *out, tn_arena *scratch) {
    const tn_gguf *file = out->file;
    if (tn_gguf_has(file, "adapter.type")) return tn_model_file_is_adapter(tn_gguf_path(file));
    TN_TRY(tn_gguf_read_config(file, &out->config));
    TN_TRY(check_tensors(file, &out->config, scratch));
    TN_TRY(tn_tokenizer_from_gguf(&out->tokenizer, file));
    out->has_latents = out->config.quantization == TN_QUANTIZATION_NONE;
    snprintf(out->description, sizeof out->description, "GGUF %s, %s, embedding %s", tn_gguf_architecture_of(file),
             tn_ggml_type_name(tn_gguf_find(file, "blk.0.attn_q.weight")->type),
             tn_ggml_type_name(tn_gguf_find(file, "token_embd.weight")->type));
    return TN_OK;
}

static tn_status open_gguf(const char *path, tn_loaded *out) {
    TN_TRY(tn_gguf_open(&out->file, path));
    tn_arena *scratch = tn_arena_create("loading");
    tn_status status = scratch ? describe(out, scratch) : TN_E_NOMEM;
    tn_arena_free(scratch);
    return status;
}

const tn_loader tn_gguf_loader = {open_gguf, place, read};
