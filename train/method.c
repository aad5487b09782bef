/* SPDX-License-Identifier: MIT */
#include "train/method.h"

#include "layers/adapter.h"
#include "train/base.h"

#include <string.h>

static tn_status collect(tn_trained *trained, tn_arena *arena, const tn_model *model) {
    trained->count = tn_model_trained(model, NULL);
    TN_TAKE(trained->list, arena, trained->count, "weights");
    tn_model_trained(model, trained->list);
    return TN_OK;
}

/* ---- an adapter beside a frozen model ---- */

static tn_status join(const tn_text_list *names, tn_buf *out) {
    for (int i = 0; i < names->count; i++) TN_TRY(tn_buf_printf(out, "%s%s", i ? "," : "", names->items[i]));
    return TN_OK;
}

static tn_status add_pairs(tn_adapter *adapter, const tn_lora_config *c) {
    tn_buf modules = {0};
    tn_status status = join(&c->target_modules, &modules);
    if (!status) status = tn_adapter_add_modules(adapter, tn_buf_text(&modules), c->rank, c->alpha, NULL, 0);
    tn_buf_release(&modules);
    if (status == TN_E_ARG)
        return tn_fail_at(TN_E_CONFIG, __FILE__, __LINE__, "lora.target_modules: %s", tn_error_message());
    return status;
}

static tn_status add_adapter(tn_model *model, tn_arena *arena, const tn_run_config *config) {
    const tn_lora_config *c = &config->finetune.lora;
    const tn_adapter_options options = {
        .input = (tn_adapter_input)c->input, .rslora = c->rslora, .dropout = c->dropout, .trains = true};
    tn_adapter *adapter;
    TN_TRY(tn_adapter_create(&adapter, arena, &config->model, &options));
    TN_TRY(add_pairs(adapter, c));
    for (int i = 0; i < adapter->n_pairs; i++) adapter->pairs[i].b.rate = (tn_real)c->plus_ratio;
    return tn_model_attach(model, adapter, 1);
}

static tn_status train_besides(tn_model *model, const tn_text_list *names) {
    for (int i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], "norms") != 0)
            return TN_FAIL(CONFIG, "lora.modules_to_save has \"%.60s\": this version trains norms besides an adapter",
                           names->items[i]);
        TN_TRY(tn_model_train_gains(model));
    }
    return TN_OK;
}

static tn_status choose(tn_model *model, tn_arena *arena, const tn_run_config *config) {
    if (config->finetune.method == TN_METHOD_NORMS) return tn_model_train_gains(model);
    TN_TRY(train_besides(model, &config->finetune.lora.modules_to_save));
    return add_adapter(model, arena, config);
}

tn_status tn_method_make(tn_model **model, tn_trained *trained, tn_arena *arena, const tn_run_config *config) {
    const bool all = !config->finetunes || config->finetune.method == TN_METHOD_FULL;
    *trained = (tn_trained){0};
    TN_TRY(tn_model_create(model, arena, &config->model, all ? TN_MODEL_TRAIN : TN_MODEL_RUN));
    if (config->base) TN_TRY(tn_model_file_place(&config->base->source, *model, arena));
    if (!all) TN_TRY(choose(*model, arena, config));
    return collect(trained, arena, *model);
}
