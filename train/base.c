/* SPDX-License-Identifier: MIT */
#include "train/base.h"

#include "layers/adapter.h"
#include "models/weigh_packing.h"

static tn_status open_source(tn_base *base, const tn_run_config *run) {
    const char *path = run->based.base;
    if (!*path)
        return TN_FAIL(CONFIG, "model.base is missing: the model to start from (run folder, checkpoint, GGUF file or "
                               "Hugging Face folder)");
    tn_status status = tn_model_file_open(path, &base->source);
    return status ? tn_fail_at(status, __FILE__, __LINE__, "%s (model.base)", tn_error_message()) : TN_OK;
}

static tn_status check_method(const tn_base *base, const tn_run_config *run) {
    const bool floats = base->source.config.quantization == TN_QUANTIZATION_NONE;
    if (floats && run->finetune.method == TN_METHOD_LORA_MERGED)
        return TN_FAIL(CONFIG,
                       "method lora_merged moves ternary weights, but those of %s are floats; train with method lora, "
                       "and tern merge adds it",
                       base->source.path);
    if (base->source.has_latents || run->finetune.method != TN_METHOD_FULL) return TN_OK;
    return TN_FAIL(CONFIG,
                   "method full trains latent weights, but %s holds ternary ones alone; give the checkpoint it was "
                   "exported from, or train with method lora",
                   base->source.path);
}

tn_status tn_base_open(tn_base *base, tn_run_config *run) {
    *base = (tn_base){0};
    if (!run->finetunes) return TN_OK;
    TN_TRY(open_source(base, run));
    TN_TRY(check_method(base, run));
    TN_TRY(tn_run_config_take_model(run, base->source.path, &base->source.config));
    run->base = base;
    /* Before a plan counts what frozen matrices take. */
    const int64_t states = tn_model_config_counts(&base->source.config).ternary;
    return tn_tuning_needs_base(&run->finetune.tuning) ? tn_packing_weigh(states) : TN_OK;
}

const tn_tokenizer *tn_base_tokenizer(const tn_base *base) { return base->source.tokenizer; }

/* The checkpoint of a model that is trained in full has settings, and no room for other numbers. */
static tn_status check_rotation(const tn_base *base, const tn_model *model) {
    const tn_model_config *c = tn_model_get_config(model);
    for (int i = 0; i < c->head_dim / 2; i++)
        if (tn_model_slowdown(model)[i] != tn_model_config_slowdown(c, i))
            return TN_FAIL(UNSUPPORTED,
                           "%s slows rotations down by numbers of its own, which a checkpoint of method full cannot "
                           "hold",
                           base->source.path);
    return TN_OK;
}

/* What the base has goes in before an adapter of the run is there: a merged one has its states where the model's were,
 * and one that the base brings stands first. */
static tn_status read_below(tn_base *base, tn_model *model, tn_adapter *adapter) {
    if (adapter) tn_model_detach(model, adapter);
    TN_TRY(tn_model_file_read(&base->source, model));
    TN_TRY(tn_model_whole_fingerprint(model, base->id));
    return adapter ? tn_model_attach(model, adapter, 1) : TN_OK;
}

tn_status tn_base_fill(tn_base *base, const tn_run_config *run, tn_model *model) {
    tn_adapter *adapter = tn_model_adapters(model);
    TN_TRY(read_below(base, model, adapter));
    if (run->finetune.method == TN_METHOD_FULL) TN_TRY(check_rotation(base, model));
    if (adapter) tn_adapter_init(adapter, (uint64_t)run->train.seed);
    return TN_OK;
}

void tn_base_release(tn_base *base) { tn_loaded_release(&base->source); }
