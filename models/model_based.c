/* SPDX-License-Identifier: MIT
 * model_based.c - a model out of a checkpoint that holds a part of it: the base that its run began with, opened where
 * it was and known by its fingerprint, then what the run has trained - gains and tables take the base's place, an
 * adapter stands beside it, and the states of a merged one become those of the model. */
#include "models/model_file_priv.h"
#include "models/run_record.h"

#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 8 }; /* runs on runs */

typedef struct tn_based {
    tn_run_record record;
    tn_loaded base;
    tn_arena *arena; /* of the adapter */
    tn_adapter *adapter;
} tn_based;

void tn_based_free(tn_based *based) {
    if (!based) return;
    tn_loaded_release(&based->base);
    tn_run_record_release(&based->record);
    tn_arena_free(based->arena);
    tn_heap_free(based);
}

/* ---- opening ---- */

static tn_status open_base(tn_based *based, const char *path, int depth) {
    const char *base = based->record.model.base;
    if (depth >= DEPTH_MAX)
        return TN_FAIL(CORRUPT, "%s: its base has a base, and so on, more than %d times", path, (int)DEPTH_MAX);
    tn_status status = tn_model_file_open_at(base, depth + 1, &based->base);
    if (status != TN_E_MISSING && status != TN_E_IO) return status;
    return tn_fail_at(status, __FILE__, __LINE__,
                      "%s: holds what a run has changed of its base %s, which cannot be read: %s%s", path, base,
                      tn_error_message(),
                      based->record.tuning.method == TN_METHOD_LORA
                          ? "; where it has moved, give it as the model and this run with --lora"
                          : "");
}

static void describe(tn_loaded *out, int64_t step) {
    char method[16];
    const tn_based *based = out->based;
    snprintf(out->description, sizeof out->description, "checkpoint of step %lld, method %s, over %.120s",
             (long long)step, tn_method_name((tn_method)based->record.tuning.method, method), based->base.description);
}

tn_status tn_based_open(tn_loaded *out, tn_run_record *record, int64_t step) {
    tn_based *based = tn_heap_zalloc(1, sizeof *based);
    if (!based) {
        tn_run_record_release(record);
        return TN_E_NOMEM;
    }
    out->based = based;
    out->source = TN_SOURCE_BASED;
    based->record = *record;
    TN_TRY(open_base(based, out->path, out->depth));
    out->config = based->base.config;
    describe(out, step);
    return TN_OK;
}

static tn_status place(const tn_loaded *loaded, tn_param *table, tn_arena *arena) {
    if (tn_ckpt_has_param(loaded->checkpoint, table->name)) return tn_param_take_value(table, arena);
    return tn_model_file_place_table(&loaded->based->base, table, arena);
}

/* ---- reading ---- */

static tn_status check_base(const tn_based *based, const char *path, const tn_model *model) {
    char id[TN_FINGERPRINT_WHOLE];
    TN_TRY(tn_model_whole_fingerprint(model, id));
    if (strcmp(id, based->record.base_id) == 0) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: %s is not the base that the run began with (fingerprint %s, not %s)", path,
                   based->record.model.base, id, based->record.base_id);
}

typedef struct taking {
    tn_loaded *loaded;
    tn_model *model;
    tn_arena *scratch;
} taking;

static bool is_half(const tn_adapter *adapter, const char *name) {
    for (int i = 0; adapter && i < adapter->n_pairs; i++)
        if (strcmp(adapter->pairs[i].a.name, name) == 0 || strcmp(adapter->pairs[i].b.name, name) == 0) return true;
    return false;
}

/* A parameter of the model in place of the base's. */
static tn_status take_param(void *context, const char *name, int64_t rows, int64_t cols) {
    const taking *t = context;
    tn_ckpt *ckpt = t->loaded->checkpoint;
    tn_param *param = tn_model_find(t->model, name);
    if (is_half(t->loaded->based->adapter, name)) return TN_OK;
    if (!param || !param->tensor.real)
        return TN_FAIL(MISMATCH, "%s: parameter %s [%lld, %lld] is no part of what its method trains",
                       tn_ckpt_path(ckpt), name, (long long)rows, (long long)cols);
    float *room;
    TN_TAKE(room, t->scratch, tn_param_count(param), "loading");
    TN_TRY(tn_run_record_values(ckpt, param, room, param->tensor.real));
    tn_arena_reset(t->scratch);
    return TN_OK;
}

static bool is_merged(const tn_based *based) { return based->record.tuning.method == TN_METHOD_LORA_MERGED; }

static tn_status apply_adapter(tn_based *based, tn_model *model) {
    if (!based->adapter) return TN_OK;
    TN_TRY(tn_model_attach(model, based->adapter, 1));
    if (is_merged(based)) tn_model_settle(model, based->adapter);
    return TN_OK;
}

static tn_status make_adapter(tn_loaded *loaded) {
    tn_based *based = loaded->based;
    if (!tn_run_record_has_adapter(&based->record)) return TN_OK;
    if (!(based->arena = tn_arena_create("adapter"))) return TN_E_NOMEM;
    return tn_run_record_adapter(&based->record, loaded->checkpoint, &loaded->config, based->arena, &based->adapter);
}

static tn_status read(tn_loaded *loaded, tn_model *model, tn_arena *scratch) {
    tn_based *based = loaded->based;
    TN_TRY(make_adapter(loaded));
    TN_TRY(tn_model_file_read(&based->base, model));
    TN_TRY(check_base(based, loaded->path, model));
    TN_TRY(tn_ckpt_each_param(loaded->checkpoint, take_param, &(taking){loaded, model, scratch}));
    TN_TRY(apply_adapter(based, model));
    if (is_merged(based)) {
        tn_arena_free(based->arena);
        based->arena = NULL;
        based->adapter = NULL;
    }
    tn_ckpt_close(loaded->checkpoint);
    loaded->checkpoint = NULL;
    return TN_OK;
}

const tn_loader tn_based_loader = {NULL, place, read};
