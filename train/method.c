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

/* ---- over a frozen model ---- */

/* A table that is trained is no longer one that lies in a file. */
static tn_status train_table(tn_param *table, tn_arena *arena) {
    if (!table->tensor.real) TN_TRY(tn_param_take_value(table, arena));
    return tn_param_train(table, arena);
}

/* Where embedding and head are one table, both names mean it. */
static tn_status train_besides(tn_model *model, tn_arena *arena, const tn_text_list *names) {
    for (int i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        if (strcmp(name, "norms") == 0)
            TN_TRY(tn_model_train_gains(model));
        else if (strcmp(name, "embed_tokens") == 0)
            TN_TRY(train_table(tn_model_find(model, "token_embd.weight"), arena));
        else if (strcmp(name, "lm_head") == 0)
            TN_TRY(train_table(tn_model_head(model), arena));
        else
            return TN_FAIL(CONFIG, "lora.modules_to_save: \"%.60s\" is not one of norms, embed_tokens, lm_head", name);
    }
    return TN_OK;
}

/* The pair of a table that is trained itself would learn what the table learns. */
static tn_status check_pair(tn_model *model, const tn_adapter_pair *pair) {
    if (strcmp(pair->target, "output.weight") == 0)
        return TN_FAIL(UNSUPPORTED,
                       "lora.target_modules: no loss goes through an adapter of lm_head; train it in full, as one of "
                       "lora.modules_to_save");
    if (!tn_model_find(model, pair->target)->tensor.grad) return TN_OK;
    return TN_FAIL(CONFIG,
                   "lora.target_modules: %s is trained in full (lora.modules_to_save), an adapter beside it has "
                   "nothing to add",
                   pair->target);
}

static tn_status choose(tn_model *model, tn_arena *arena, const tn_run_config *config) {
    if (config->finetune.method == TN_METHOD_NORMS) return tn_model_train_gains(model);
    tn_adapter *adapter;
    TN_TRY(train_besides(model, arena, &config->finetune.lora.modules_to_save));
    TN_TRY(tn_tuning_make_adapter(&adapter, arena, &config->model, &config->finetune.tuning, TN_PARAM_TRAINED));
    for (int i = 0; i < adapter->n_pairs; i++) TN_TRY(check_pair(model, &adapter->pairs[i]));
    return tn_model_attach(model, adapter, 1);
}

tn_status tn_method_make(tn_model **model, tn_trained *trained, tn_arena *arena, const tn_run_config *config) {
    const bool all = !config->finetunes || config->finetune.method == TN_METHOD_FULL;
    *trained = (tn_trained){0};
    TN_TRY(tn_model_create(model, arena, &config->model, all ? TN_MODEL_TRAIN : TN_MODEL_RUN));
    if (!all) TN_TRY(choose(*model, arena, config));
    if (config->base) TN_TRY(tn_model_file_place(&config->base->source, *model, arena));
    return collect(trained, arena, *model);
}
