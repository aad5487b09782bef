/* SPDX-License-Identifier: MIT
 * model_gguf.c - a model out of a GGUF file: keys, tokenizer, tensors - all of them, and no others. */
#include <stdio.h>

#include "data/tokenizer_gguf.h"
#include "infer/gguf_config.h"
#include "infer/gguf_weights.h"
#include "infer/model_file_priv.h"
#include "infer/weigh_packing.h"

static int64_t tensor_count(const tn_gguf_tensor *t) {
    int64_t count = 1;
    for (int i = 0; i < t->n_dims; i++) count *= t->ne[i];
    return count;
}

/* What the tensors hold must be what the keys ask for before memory is taken for it. */
static tn_status check_count(const tn_gguf *file, const tn_model_config *config) {
    int64_t count = 0, expected = tn_model_config_counts(config).total;
    char owner[80];
    for (int64_t i = 0; i < tn_gguf_n_tensors(file); i++) {
        const tn_gguf_tensor *t = tn_gguf_tensor_at(file, i);
        if (!tn_gguf_scale_owner(t->name, owner, sizeof owner)) count += tensor_count(t);
    }
    if (count == expected) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: its tensors hold %lld weights, its keys describe %lld", tn_gguf_path(file),
                   (long long)count, (long long)expected);
}

static bool belongs(tn_model *model, const char *name) {
    char owner[80];
    if (tn_model_find(model, name)) return true;
    if (!tn_gguf_scale_owner(name, owner, sizeof owner)) return false;
    const tn_param *p = tn_model_find(model, owner);
    return p && p->quantizer != TN_QUANT_NONE;
}

static tn_status check_tensors(const tn_gguf *file, tn_model *model) {
    for (int64_t i = 0; i < tn_gguf_n_tensors(file); i++) {
        const char *name = tn_gguf_tensor_at(file, i)->name;
        if (!belongs(model, name))
            return TN_FAIL(MISMATCH, "%s: tensor %s is not part of the model its keys describe", tn_gguf_path(file),
                           name);
    }
    return TN_OK;
}

static tn_status read_params(const tn_gguf *file, tn_model *model, tn_arena *arena) {
    int n;
    tn_param **params = tn_model_params(model, &n);
    TN_TRY(check_tensors(file, model));
    for (int i = 0; i < n; i++) {
        if (params[i]->tabular && !params[i]->tensor.real) TN_TRY(tn_param_take_value(params[i], arena));
        TN_TRY(tn_gguf_read_weights(file, params[i]));
    }
    return TN_OK;
}

static tn_status check_use(const tn_gguf *file, const tn_model_config *config, tn_model_use use) {
    if (use == TN_MODEL_RUN || use == TN_MODEL_EXPORT || config->quantization == TN_QUANTIZATION_NONE) return TN_OK;
    return TN_FAIL(UNSUPPORTED,
                   "%s: a GGUF file holds ternary weights, not the latents that training moves; give the "
                   "checkpoint it was exported from",
                   tn_gguf_path(file));
}

static tn_status load(const tn_gguf *file, tn_arena *arena, tn_model_use use, tn_loaded *out) {
    tn_model_config config;
    TN_TRY(tn_gguf_read_config(file, &config));
    TN_TRY(check_use(file, &config, use));
    TN_TRY(check_count(file, &config));
    TN_TRY(tn_tokenizer_from_gguf(&out->tokenizer, file));
    if (use == TN_MODEL_RUN) TN_TRY(tn_packing_weigh(tn_model_config_counts(&config).ternary));
    TN_TRY(tn_model_create(&out->model, arena, &config, use));
    TN_TRY(read_params(file, out->model, arena));
    const tn_gguf_tensor *matrix = tn_gguf_find(file, "blk.0.attn_q.weight");
    snprintf(out->description, sizeof out->description, "GGUF %s, %s", tn_gguf_architecture(&config),
             matrix ? tn_ggml_type_name(matrix->type) : "");
    tn_model_refresh(out->model, 1);
    return TN_OK;
}

tn_status tn_model_from_gguf(const char *path, tn_arena *arena, tn_model_use use, tn_loaded *out) {
    tn_gguf *file;
    TN_TRY(tn_gguf_open(&file, path));
    out->source = TN_SOURCE_GGUF;
    tn_status status = load(file, arena, use, out);
    tn_gguf_close(file);
    return status;
}
