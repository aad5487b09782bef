/* SPDX-License-Identifier: MIT */
#include "train/method.h"

#include "train/base.h"

static bool is_gain(const tn_param *like) { return !like->product && !like->tabular; }

static tn_param_use use_of(const void *context, const tn_param *like) {
    const tn_run_config *config = context;
    if (!config->finetunes || config->finetune.method == TN_METHOD_FULL) return TN_PARAM_TRAINED;
    return config->finetune.method == TN_METHOD_NORMS && is_gain(like) ? TN_PARAM_TRAINED : TN_PARAM_FROZEN;
}

static tn_status collect(tn_trained *trained, tn_arena *arena, tn_model *model) {
    int n;
    tn_param **params = tn_model_params(model, &n);
    TN_TAKE(trained->list, arena, n, "weights");
    for (int i = 0; i < n; i++)
        if (params[i]->tensor.grad) trained->list[trained->count++] = params[i];
    return TN_OK;
}

tn_status tn_method_make(tn_model **model, tn_trained *trained, tn_arena *arena, const tn_run_config *config) {
    *trained = (tn_trained){0};
    TN_TRY(tn_model_create_as(model, arena, &config->model, use_of, config));
    if (config->base) TN_TRY(tn_model_file_place(&config->base->source, *model, arena));
    return collect(trained, arena, *model);
}
