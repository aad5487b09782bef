/* SPDX-License-Identifier: MIT */
#include "models/lora_merge_file.h"

#include "models/adapter_file.h"

static tn_status load_parts(const tn_merge_job *job, const tn_loaded *source, tn_arena *arena, tn_merge_part *parts) {
    tn_adapter_base base = {.config = &source->config, .model = source->model};
    for (int i = 0; i < job->n_files; i++) {
        tn_adapter *adapter;
        TN_TRY(tn_adapter_file_load(&adapter, arena, job->files[i].path, &base, NULL));
        parts[i] = (tn_merge_part){adapter, job->files[i].scale};
    }
    return TN_OK;
}

static tn_status check_loss(const tn_merge_job *job, const tn_loaded *source) {
    const double lost = tn_merge_share_lost(&job->report.all);
    if (source->config.quantization == TN_QUANTIZATION_NONE || job->keeps_latents) return TN_OK;
    if (lost <= job->max_loss) return TN_OK;
    return TN_FAIL(
        RANGE,
        "%s: rounding to ternary weights would lose %.1f %% of the change, more than the %.1f %% of "
        "--max-loss; give the adapter beside the model with --lora, or merge it into latents, or say --force",
        source->path, 100 * lost, 100 * job->max_loss);
}

tn_status tn_merge_apply(void *context, tn_loaded *source, tn_arena *arena) {
    tn_merge_job *job = context;
    tn_merge_part *parts;
    if (tn_model_adapters(source->model))
        return TN_FAIL(UNSUPPORTED,
                       "%s: is a base with an adapter beside it; give the base with -m, and this with --lora",
                       source->path);
    TN_TAKE(parts, arena, job->n_files, "adapter");
    TN_TRY(load_parts(job, source, arena, parts));
    TN_TRY(tn_merge_adapters(source->model, parts, job->n_files, arena, &job->report));
    return check_loss(job, source);
}
