/* SPDX-License-Identifier: MIT */
#include "tests/network_rig.h"
#include "tests/testing.h"

#include <string.h>

const tn_model_config tn_network_small = {.vocab_size = 40,
                                          .d_model = 32,
                                          .n_layer = 2,
                                          .n_head = 4,
                                          .n_kv_head = 2,
                                          .d_ff = 48,
                                          .context = 32,
                                          .tie_embeddings = true,
                                          .sub_norms = true,
                                          .norm_eps = 1e-5,
                                          .rope_theta = 10000,
                                          .rope_factor = 1,
                                          .init_std = 0.1};

tn_model *tn_network_make(tn_arena *arena, const tn_model_config *config, tn_model_use use, uint64_t seed) {
    tn_model *model;
    tn_model_config whole = *config;
    assert_ok(tn_model_config_complete(&whole));
    assert_ok(tn_model_create(&model, arena, &whole, use));
    tn_model_init(model, seed);
    tn_model_refresh(model, 1);
    return model;
}

void tn_network_forget(tn_model *model) {
    int n;
    tn_param **params = tn_model_params(model, &n);
    for (int i = 0; i < n; i++) memset(params[i]->tensor.grad, 0, (size_t)tn_param_count(params[i]) * sizeof(tn_real));
}

void tn_network_assert_same_gradients(tn_model *a, tn_model *b) {
    int n, m;
    tn_param **x = tn_model_params(a, &n), **y = tn_model_params(b, &m);
    assert_int_equal(n, m);
    for (int i = 0; i < n; i++)
        assert_memory_equal(x[i]->tensor.grad, y[i]->tensor.grad, (size_t)tn_param_count(x[i]) * sizeof(tn_real));
}
