/* SPDX-License-Identifier: MIT */
#include "tests/adapter_rig.h"

#include "tests/testing.h"

#include <string.h>

/* States and scales, or values, of the latent model. */
static void freeze(tn_adapter_rig *rig) {
    int count;
    tn_param **from = tn_model_params(rig->latent, &count), **to = tn_model_params(rig->base, &count);
    for (int i = 0; i < count; i++) {
        if (from[i]->quantizer != TN_QUANT_NONE) {
            tn_param_put_states(to[i], 0, to[i]->rows, from[i]->states);
            to[i]->scale = from[i]->scale;
            continue;
        }
        if (!to[i]->tensor.real) assert_ok(tn_param_take_value(to[i], rig->arena));
        memcpy(to[i]->tensor.real, from[i]->tensor.real, sizeof(tn_real) * (size_t)tn_param_count(from[i]));
    }
    tn_model_refresh(rig->base, 1);
}

/* Gains other than 1. */
static void vary_gains(tn_model *model) {
    int count;
    tn_param **params = tn_model_params(model, &count);
    const tn_rng rng = tn_rng_make(6, TN_PURPOSE_TEST, 0);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < params[i]->cols && params[i]->tensor.n_dims == 1; j++)
            params[i]->tensor.real[j] = (tn_real)(0.5 + tn_rng_uniform(&rng, (uint64_t)(i * 100 + j)));
}

void tn_adapter_rig_init(tn_adapter_rig *rig, const tn_model_config *config) {
    *rig = (tn_adapter_rig){.config = *config};
    assert_non_null(rig->arena = tn_arena_create("test"));
    assert_non_null(rig->tape = tn_tape_create());
    assert_ok(tn_model_config_complete(&rig->config));
    assert_ok(tn_model_create(&rig->latent, rig->arena, &rig->config, TN_MODEL_TRAIN));
    assert_ok(tn_model_create(&rig->base, rig->arena, &rig->config, TN_MODEL_RUN));
    tn_model_init(rig->latent, 1);
    vary_gains(rig->latent);
    tn_model_refresh(rig->latent, 1);
    freeze(rig);
    const tn_rng rng = tn_rng_make(3, TN_PURPOSE_TEST, 0);
    for (int i = 0; i < TN_RIG_BATCH * TN_RIG_TIME; i++) {
        rig->tokens[i] = (int32_t)tn_rng_below(&rng, (uint64_t)(2 * i), (uint64_t)config->vocab_size);
        rig->targets[i] = (int32_t)tn_rng_below(&rng, (uint64_t)(2 * i + 1), (uint64_t)config->vocab_size);
    }
}

void tn_adapter_rig_release(tn_adapter_rig *rig) {
    tn_tape_free(rig->tape);
    tn_arena_free(rig->arena);
}

tn_adapter *tn_adapter_rig_make(tn_adapter_rig *rig, const char *modules, tn_adapter_input input, double dropout,
                                double b) {
    tn_adapter *adapter;
    const tn_adapter_options options = {.input = input, .dropout = dropout, .trains = true};
    assert_ok(tn_adapter_create(&adapter, rig->arena, &rig->config, &options));
    assert_ok(tn_adapter_add_modules(adapter, modules, 4, 6, NULL, 0));
    tn_adapter_init(adapter, 9);
    const tn_rng rng = tn_rng_make(7, TN_PURPOSE_TEST, 0);
    for (int i = 0; i < adapter->n_pairs; i++) {
        tn_param *up = &adapter->pairs[i].b;
        for (int64_t j = 0; j < tn_param_count(up); j++)
            up->tensor.real[j] = (tn_real)(b * tn_rng_normal(&rng, (uint64_t)(i * 10000 + j)));
    }
    return adapter;
}

double tn_adapter_rig_loss(tn_adapter_rig *rig, tn_model *model, tn_tape_mode mode, const tn_rng *rng, int first,
                           int rows) {
    const int dims[] = {rows, TN_RIG_TIME};
    double sum = 0;
    tn_tape_begin(rig->tape, mode, rng);
    tn_tensor *ids = tn_tape_ids(rig->tape, 2, dims, rig->tokens + first * TN_RIG_TIME);
    tn_tensor *targets = tn_tape_ids(rig->tape, 2, dims, rig->targets + first * TN_RIG_TIME);
    tn_tensor *loss = tn_model_loss(model, rig->tape, ids, targets, NULL,
                                    (tn_loss_options){.divisor = TN_RIG_BATCH * TN_RIG_TIME, .sum = &sum});
    assert_ok(tn_tape_status(rig->tape));
    if (mode == TN_TAPE_RECORD) assert_ok(tn_tape_backward(rig->tape, loss));
    return sum / (TN_RIG_BATCH * TN_RIG_TIME);
}

const tn_real *tn_adapter_rig_logits(tn_adapter_rig *rig, tn_model *model) {
    tn_tape_begin(rig->tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *ids = tn_tape_ids(rig->tape, 2, (const int[]){TN_RIG_BATCH, TN_RIG_TIME}, rig->tokens);
    tn_tensor *logits = tn_model_logits(model, rig->tape, tn_model_hidden(model, rig->tape, ids, NULL));
    assert_ok(tn_tape_status(rig->tape));
    const size_t count = (size_t)tn_tensor_count(logits);
    tn_real *kept = tn_arena_array(rig->arena, count, sizeof *kept, "test");
    assert_non_null(kept);
    memcpy(kept, logits->real, count * sizeof *kept);
    return kept;
}

tn_real *tn_adapter_rig_gradients(tn_adapter_rig *rig, const tn_model *model, int64_t *count) {
    tn_param *trained[128];
    const int n = tn_model_trained(model, NULL);
    assert_true(n <= 128);
    (void)tn_model_trained(model, trained);
    *count = 0;
    for (int i = 0; i < n; i++) *count += tn_param_count(trained[i]);
    tn_real *all = tn_arena_array(rig->arena, (size_t)*count, sizeof *all, "test"), *at = all;
    assert_non_null(all);
    for (int i = 0; i < n; i++) {
        memcpy(at, tn_param_grad(trained[i]), sizeof *at * (size_t)tn_param_count(trained[i]));
        at += tn_param_count(trained[i]);
        trained[i]->grad_empty = true;
    }
    return all;
}
