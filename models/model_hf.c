/* SPDX-License-Identifier: MIT
 * model_hf.c - a model out of a Hugging Face folder: config.json, tokenizer, tensors - all of them, and no others. */
#include "models/model_file_priv.h"

#include "core/log.h"
#include "core/fs.h"
#include "models/hf_names.h"
#include "models/hf_tokenizer.h"
#include "models/hf_weights.h"

#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 4096, MAX_CONFIG = 1 << 20 };

/* ---- the tensors of the folder and those that config.json asks for must be the same ---- */

typedef struct tally {
    const tn_safetensors *file;
    tn_hf_weights weights;
    bool *expected; /* [tensors] */
} tally;

static void mark(const tally *t, const tn_safetensor *tensor) {
    t->expected[tensor - tn_safetensors_at(t->file, 0)] = true;
}

static tn_status expect(void *context, const tn_param *param) {
    const tally *t = context;
    const tn_safetensor *tensor = NULL, *scale = NULL;
    TN_TRY(tn_hf_check_weights(t->file, t->weights, param, &tensor, &scale));
    mark(t, tensor);
    if (scale) mark(t, scale);
    return TN_OK;
}

static bool ends_with(const char *text, const char *end) {
    size_t len = strlen(text), tail = strlen(end);
    return len >= tail && strcmp(text + len - tail, end) == 0;
}

static tn_status refuse(const tn_safetensor *t) {
    if (ends_with(t->name, ".bias"))
        return TN_FAIL(UNSUPPORTED, "%s: %s: Tern runs models without biases", t->path, t->name);
    if (ends_with(t->name, ".rms_norm.weight"))
        return TN_FAIL(UNSUPPORTED, "%s: %s: Tern has no norm of each matrix", t->path, t->name);
    return TN_FAIL(MISMATCH, "%s: tensor %s is not part of the model that config.json describes", t->path, t->name);
}

/* Older files carry the angles of rope; a tied head may be stored twice, and then counts for nothing. */
static bool is_idle(const tally *t, const tn_model_config *config, const tn_safetensor *tensor) {
    if (ends_with(tensor->name, ".rotary_emb.inv_freq")) return true;
    if (!config->tie_embeddings || strcmp(tensor->name, "lm_head.weight") != 0) return false;
    const tn_safetensor *table = tn_safetensors_find(t->file, "model.embed_tokens.weight");
    if (table->bytes != tensor->bytes || memcmp(table->data, tensor->data, table->bytes) != 0)
        tn_log(TN_LOG_WARN, "models", "%s: lm_head.weight is left out: config.json says that the embedding is the head",
               tensor->path);
    return true;
}

/* Before memory is taken for them. */
static tn_status check_tensors(const tn_safetensors *file, const tn_hf_config *config, tn_arena *scratch) {
    tally t = {.file = file, .weights = config->weights};
    TN_TAKE0(t.expected, scratch, tn_safetensors_count(file), "loading");
    TN_TRY(tn_model_each_param(&config->model, expect, &t));
    for (int64_t i = 0; i < tn_safetensors_count(file); i++) {
        const tn_safetensor *tensor = tn_safetensors_at(file, i);
        if (!t.expected[i] && !is_idle(&t, &config->model, tensor)) return refuse(tensor);
    }
    return TN_OK;
}

/* ---- the files ---- */

static tn_status read_config(const char *folder, tn_hf_config *out) {
    char path[PATH_SIZE];
    tn_buf text = {0};
    TN_TRY(tn_path_join(path, sizeof path, folder, "config.json"));
    tn_status status = tn_file_read(path, MAX_CONFIG, &text);
    if (!status) status = tn_hf_config_read(path, tn_buf_text(&text), text.len, out);
    tn_buf_release(&text);
    return status;
}

static tn_status open_tensors(const char *folder, tn_safetensors **out) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    char path[PATH_SIZE];
    for (size_t i = 0; i < TN_COUNT(names); i++) {
        TN_TRY(tn_path_join(path, sizeof path, folder, names[i]));
        if (tn_path_exists(path)) return tn_safetensors_open(out, path);
    }
    TN_TRY(tn_path_join(path, sizeof path, folder, "pytorch_model.bin"));
    return TN_FAIL(MISSING, "%s: holds no model.safetensors and no model.safetensors.index.json%s", folder,
                   tn_path_exists(path) ? "; pytorch_model.bin is not read" : "");
}

/* ---- a loader ---- */

static tn_status describe(const char *folder, tn_arena *scratch, tn_loaded *out) {
    tn_hf_config config;
    TN_TRY(read_config(folder, &config));
    TN_TRY(open_tensors(folder, &out->tensors));
    TN_TRY(check_tensors(out->tensors, &config, scratch));
    TN_TRY(tn_hf_tokenizer_load(&out->tokenizer, folder, &config));
    out->config = config.model;
    out->stored = config.weights;
    out->has_latents = config.weights == TN_HF_LATENTS || config.weights == TN_HF_FLOATS;
    snprintf(out->description, sizeof out->description, "Hugging Face %s, %s, embedding %s", config.model_type,
             tn_hf_weights_name(config.weights),
             tn_safetensor_type_name(tn_safetensors_find(out->tensors, "model.embed_tokens.weight")->type));
    return TN_OK;
}

static tn_status open_hf(const char *folder, tn_loaded *out) {
    tn_arena *scratch = tn_arena_create("loading");
    tn_status status = scratch ? describe(folder, scratch, out) : TN_E_NOMEM;
    tn_arena_free(scratch);
    return status;
}

static tn_status place(const tn_loaded *loaded, tn_param *table, tn_arena *arena) {
    tn_table stored;
    (void)arena;
    TN_TRY(tn_hf_table(loaded->tensors, table, &stored));
    return tn_param_put_table(table, stored);
}

static tn_status read(tn_loaded *loaded, tn_model *model, tn_arena *scratch) {
    tn_hf_reading reading = {.file = loaded->tensors, .weights = loaded->stored, .reading = {.scratch = scratch}};
    int n;
    tn_param **params = tn_model_params(model, &n);
    tn_status status = TN_OK;
    for (int i = 0; i < n && !status; i++) status = tn_hf_read_weights(&reading, params[i]);
    tn_reading_end(&reading.reading, loaded->path);
    tn_safetensors_drop_all(loaded->tensors);
    return status;
}

const tn_loader tn_hf_loader = {open_hf, place, read};
