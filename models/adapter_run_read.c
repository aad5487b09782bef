/* SPDX-License-Identifier: MIT
 * adapter_run_read.c - adapters out of checkpoints that `tern finetune` has left. */
#include "models/adapter_reading.h"

#include <stdio.h>
#include <string.h>

#include "core/fs.h"
#include "models/run_record.h"

/* Whoever takes the adapter alone must be told of what would be missing. */
static tn_status check_alone(void *context, const char *name, int64_t rows, int64_t cols) {
    const char *end = strrchr(name, '.');
    if (end && (strcmp(end, ".lora_a") == 0 || strcmp(end, ".lora_b") == 0)) return TN_OK;
    return TN_FAIL(
        UNSUPPORTED,
        "%s: %s [%lld, %lld] was trained in full beside the adapter (lora.modules_to_save), which is not the "
        "whole without it; the run is a model of its own (tern run -m), and nothing else holds both",
        (const char *)context, name, (long long)rows, (long long)cols);
}

static tn_status check_record(const tn_run_record *record, tn_ckpt *ckpt) {
    const char *path = tn_ckpt_path(ckpt);
    char method[16];
    if (!*record->model.base) return TN_FAIL(FORMAT, "%s: is a checkpoint of a model, it holds no adapter", path);
    (void)tn_method_name((tn_method)record->tuning.method, method);
    if (!tn_run_record_has_adapter(record))
        return TN_FAIL(FORMAT, "%s: is of method %s, it holds no adapter", path, method);
    if (record->tuning.method == TN_METHOD_LORA_MERGED)
        return TN_FAIL(
            UNSUPPORTED,
            "%s: is of method %s, whose adapter is inside the quantiser and cannot stand beside a model; give "
            "the run as a model",
            path, method);
    if (strchr(record->base_id, '+'))
        return TN_FAIL(UNSUPPORTED,
                       "%s: was trained beside another adapter, that of its base %s, and is not the whole without it; "
                       "give the run as a model",
                       path, record->model.base);
    return tn_ckpt_each_param(ckpt, check_alone, (void *)(uintptr_t)path);
}

static tn_status read_adapter(tn_ckpt *ckpt, tn_adapter **out, tn_arena *arena, const tn_model_config *config,
                              tn_adapter_origin *origin) {
    tn_run_record record;
    TN_TRY(tn_run_record_read(&record, ckpt));
    tn_status status = check_record(&record, ckpt);
    if (!status && config) status = tn_run_record_adapter(&record, ckpt, config, arena, out);
    snprintf(origin->base_id, sizeof origin->base_id, "%.*s", TN_FINGERPRINT - 1, record.base_id);
    snprintf(origin->base, sizeof origin->base, "%s", record.model.base);
    snprintf(origin->description, sizeof origin->description, "checkpoint");
    tn_run_record_release(&record);
    return status;
}

tn_status tn_adapter_read_run(const char *path, tn_adapter **out, tn_arena *arena, const tn_model_config *config,
                              tn_adapter_origin *origin) {
    char file[TN_RUN_RECORD_PATH];
    const char *which;
    tn_ckpt *ckpt;
    if (tn_path_is_dir(path)) {
        TN_TRY(tn_run_record_find(path, file, &which));
        path = file;
    }
    TN_TRY(tn_ckpt_open(&ckpt, path));
    tn_status status = read_adapter(ckpt, out, arena, config, origin);
    tn_ckpt_close(ckpt);
    return status;
}
