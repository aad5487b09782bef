/* SPDX-License-Identifier: MIT
 * model_config.h - the shape of a model: the `model` section of a configuration (model_keys.def). */
#ifndef TN_LAYERS_MODEL_CONFIG_H
#define TN_LAYERS_MODEL_CONFIG_H
#include "core/config.h"

enum { TN_QUANTIZATION_BITNET, TN_QUANTIZATION_NONE };
enum { TN_WEIGHTS_ABSMEAN_TERNARY, TN_WEIGHTS_SIGN_BINARY };
enum { TN_ACTIVATION_RELU2, TN_ACTIVATION_SILU };
enum { TN_ROPE_NONE, TN_ROPE_LINEAR, TN_ROPE_LLAMA3 };

typedef struct tn_model_config {
#define KEY(type, field, initial, min, max, choices, help) TN_FIELD_##type field;
#include "layers/model_keys.def"
#undef KEY
} tn_model_config;

/* The section for core/config.h; `values` is filled by the config calls. */
tn_section tn_model_section(tn_model_config *values);

/* The same of a model that is made out of another one: `base` names it. */
typedef struct tn_based_model_config {
    tn_model_config model;
    const char *base; /* a file or folder that models/ reads; "" = none */
} tn_based_model_config;
tn_section tn_based_model_section(tn_based_model_config *values);

/* Fill in derived defaults (n_kv_head, head_dim) and check what single keys cannot: heads divide width, kv heads divide
 * heads, head_dim is even, vocab_size > 0. Fails: TN_E_CONFIG, the sentence names the keys and their values. */
tn_status tn_model_config_complete(tn_model_config *config);

/* How much slower pair i < head_dim / 2 of a head turns: 1, rope_factor, or, for llama3, what lies between them for
 * pairs that turn between rope_low_freq_factor and rope_high_freq_factor times in rope_original_context. In f32, as
 * files have it. `config` is complete. */
float tn_model_config_slowdown(const tn_model_config *config, int i);

/* Counts of parameters, for plans and reports. */
typedef struct tn_model_counts {
    int64_t ternary, table, gain, total;
} tn_model_counts;
tn_model_counts tn_model_config_counts(const tn_model_config *config);

#endif
