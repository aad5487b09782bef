/* SPDX-License-Identifier: MIT
 * adapter_peft_read.c - adapters out of PEFT folders. */
#include "models/adapter_reading.h"

#include <stdio.h>
#include <string.h>

#include "core/fs.h"
#include "core/log.h"
#include "models/hf_weights.h"
#include "models/peft_config.h"
#include "models/peft_names.h"

enum { PATH_SIZE = 4096 + 64, MAX_CONFIG = 16 << 20 };

/* ---- tensors ---- */

static tn_status take(const tn_safetensors *file, const tn_safetensor *t, tn_adapter_stored *out) {
    char shape[128];
    out->path = t->path;
    out->name = t->name;
    out->number = t - tn_safetensors_at(file, 0);
    out->table.data = t->data;
    out->turned = true;
    if (!tn_hf_table_type(t->type, &out->table.type))
        return TN_FAIL(UNSUPPORTED, "%s: %s is %s, expected F32, F16 or BF16", t->path, t->name,
                       tn_safetensor_type_name(t->type));
    if (t->n_dims != 2)
        return TN_FAIL(MISMATCH, "%s: %s is %s, expected a matrix", t->path, t->name, tn_safetensor_shape(t, shape));
    out->rows = t->shape[0];
    out->cols = t->shape[1];
    return TN_OK;
}

/* Files of PEFT begin with the first of these; of adapters of a model without its head, and of some other tools, with
 * another. */
static const char *const prefixes[] = {TN_PEFT_PREFIX, "base_model.", ""};

static tn_status find(const tn_adapter_reading *r, const char *target, tn_adapter_half half, tn_adapter_stored *out) {
    for (size_t i = 0; i < TN_COUNT(prefixes); i++) {
        char name[TN_PEFT_NAME_SIZE];
        const tn_safetensor *t = tn_safetensors_find(r->file, tn_peft_name(name, prefixes[i], target, half));
        if (!t) continue;
        TN_TRY(take(r->file, t, out));
        out->turned = half == TN_ADAPTER_A;
        return TN_OK;
    }
    return TN_OK;
}

static tn_status terms(const tn_adapter_reading *r, const char *target, int found, double *alpha) {
    char module[TN_HF_NAME_SIZE];
    int rank;
    tn_peft_module(target, module);
    const tn_peft_named named = tn_peft_config_names(r->config, module);
    if (!found && named == TN_PEFT_YES)
        return TN_FAIL(MISSING, "%s: has no pair for %s, which target_modules names", r->path, module);
    if (!found) return TN_OK;
    if (named == TN_PEFT_NO)
        return TN_FAIL(MISMATCH, "%s: has a pair for %s, which target_modules does not name", r->path, module);
    TN_TRY(tn_peft_config_terms(r->config, module, &rank, alpha));
    if (rank == found) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: the pair of %s is of rank %d, adapter_config.json says %d", r->path, module, found,
                   rank);
}

static tn_status refuse(const tn_adapter_reading *r, int64_t number) {
    const tn_safetensor *t = tn_safetensors_at(r->file, number);
    if (tn_adapter_name_ends(t->name, ".base_layer.weight")) {
        tn_log(TN_LOG_WARN, "models", "%s: %s is left out: the base has its own", t->path, t->name);
        return TN_OK;
    }
    if (strstr(t->name, "lora_magnitude_vector"))
        return TN_FAIL(UNSUPPORTED, "%s: %s is of DoRA, Tern reads pairs of low rank alone", t->path, t->name);
    if (tn_adapter_name_ends(t->name, ".bias"))
        return TN_FAIL(UNSUPPORTED, "%s: %s: Tern runs models without biases", t->path, t->name);
    if (strstr(t->name, ".lora_"))
        return TN_FAIL(MISMATCH, "%s: %s is for a matrix that this model does not have", t->path, t->name);
    return TN_FAIL(UNSUPPORTED, "%s: %s is trained in full, Tern reads pairs of low rank alone", t->path, t->name);
}

/* ---- the folder ---- */

static tn_status read_tensors(const tn_safetensors *file, const tn_peft_config *config, tn_adapter **out,
                              tn_arena *arena, const tn_model_config *model) {
    const char *input = tn_safetensors_get_note(file, TN_ADAPTER_KEY_INPUT);
    tn_adapter_options options = {.rslora = config->rslora, .dropout = config->dropout};
    const tn_adapter_reading reading = {.path = tn_safetensors_path(file),
                                        .file = file,
                                        .config = config,
                                        .n_tensors = tn_safetensors_count(file),
                                        .find = find,
                                        .terms = terms,
                                        .refuse = refuse};
    TN_TRY(tn_adapter_read_input(reading.path, input, input ? strlen(input) : 0, &options.input));
    TN_TRY(tn_adapter_create(out, arena, model, &options));
    return tn_adapter_read_pairs(&reading, *out);
}

static tn_status open_tensors(const char *folder, tn_safetensors **out) {
    char path[PATH_SIZE];
    TN_TRY(tn_path_join(path, sizeof path, folder, "adapter_model.safetensors"));
    if (tn_path_exists(path)) return tn_safetensors_open(out, path);
    TN_TRY(tn_path_join(path, sizeof path, folder, "adapter_model.bin"));
    return TN_FAIL(MISSING, "%s: holds no adapter_model.safetensors%s", folder,
                   tn_path_exists(path) ? "; adapter_model.bin is not read" : "");
}

static tn_status read_config(const char *path, tn_peft_config *out) {
    tn_buf text = {0};
    *out = (tn_peft_config){0};
    tn_status status = tn_file_read(path, MAX_CONFIG, &text);
    if (!status) status = tn_peft_config_read(out, path, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}

tn_status tn_adapter_read_peft(const char *folder, tn_adapter **out, tn_arena *arena, const tn_model_config *model,
                               tn_adapter_origin *origin) {
    char path[PATH_SIZE];
    tn_peft_config config;
    tn_safetensors *file = NULL;
    TN_TRY(tn_path_join(path, sizeof path, folder, "adapter_config.json"));
    TN_TRY(read_config(path, &config));
    tn_status status = open_tensors(folder, &file);
    if (!status && model) status = read_tensors(file, &config, out, arena, model);
    if (!status) {
        const char *id = tn_safetensors_get_note(file, TN_ADAPTER_KEY_BASE);
        snprintf(origin->base_id, sizeof origin->base_id, "%s", id ? id : "");
        snprintf(origin->base, sizeof origin->base, "%s", config.base ? config.base : "");
        snprintf(origin->description, sizeof origin->description, "PEFT folder");
    }
    tn_safetensors_close(file);
    tn_peft_config_release(&config);
    return status;
}
