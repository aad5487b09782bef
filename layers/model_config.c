/* SPDX-License-Identifier: MIT */
#include "layers/model_config.h"

#include <math.h>

static const tn_key keys[] = {
#define KEY(type, field, initial, min, max, choices, help)                                                             \
    {#field, TN_KEY_##type, offsetof(tn_model_config, field), initial, min, max, choices, help},
#include "layers/model_keys.def"
#undef KEY
};

tn_section tn_model_section(tn_model_config *values) {
    return (tn_section){.name = "model", .keys = keys, .n_keys = (int)TN_COUNT(keys), .values = values};
}

static const tn_key based_keys[] = {
    {"base", TN_KEY_TEXT, offsetof(tn_based_model_config, base), "", 0, 0, NULL,
     "the model to start from: run folder, checkpoint, GGUF file or Hugging Face folder; the other settings of this "
     "section are its own"},
#define KEY(type, field, initial, min, max, choices, help)                                                             \
    {#field, TN_KEY_##type, offsetof(tn_based_model_config, model.field), initial, min, max, choices, help},
#include "layers/model_keys.def"
#undef KEY
};

tn_section tn_based_model_section(tn_based_model_config *values) {
    return (tn_section){.name = "model", .keys = based_keys, .n_keys = (int)TN_COUNT(based_keys), .values = values};
}

static tn_status check_rope(const tn_model_config *c) {
    if (c->rope_scaling == TN_ROPE_NONE && c->rope_factor != 1)
        return TN_FAIL(CONFIG, "model.rope_factor is %g, but model.rope_scaling is none", c->rope_factor);
    if (c->rope_scaling == TN_ROPE_LLAMA3 && !(c->rope_low_freq_factor < c->rope_high_freq_factor))
        return TN_FAIL(CONFIG, "model.rope_low_freq_factor %g is not below model.rope_high_freq_factor %g",
                       c->rope_low_freq_factor, c->rope_high_freq_factor);
    return TN_OK;
}

tn_status tn_model_config_complete(tn_model_config *c) {
    if (c->vocab_size < 1) return TN_FAIL(CONFIG, "model.vocab_size is not set and no tokenizer gives it");
    if (!c->n_kv_head) c->n_kv_head = c->n_head;
    if (c->n_kv_head > c->n_head || c->n_head % c->n_kv_head)
        return TN_FAIL(CONFIG, "model.n_kv_head %d does not divide model.n_head %d", c->n_kv_head, c->n_head);
    bool given = c->head_dim != 0;
    if (!given) {
        if (c->d_model % c->n_head)
            return TN_FAIL(CONFIG,
                           "model.n_head %d does not divide model.d_model %d; change one, or set model.head_dim",
                           c->n_head, c->d_model);
        c->head_dim = c->d_model / c->n_head;
    }
    if (c->head_dim % 2 || c->head_dim > 256)
        return TN_FAIL(CONFIG, "%s is %d; a head's size must be even and at most 256",
                       given ? "model.head_dim" : "model.d_model / model.n_head", c->head_dim);
    return check_rope(c);
}

float tn_model_config_slowdown(const tn_model_config *c, int i) {
    if (c->rope_scaling == TN_ROPE_NONE) return 1;
    if (c->rope_scaling == TN_ROPE_LINEAR) return (float)c->rope_factor;
    const double low = c->rope_low_freq_factor, high = c->rope_high_freq_factor;
    const double turns = c->rope_original_context * pow(c->rope_theta, -2.0 * i / c->head_dim) / (2 * M_PI);
    const double kept = fmin(fmax((turns - low) / (high - low), 0), 1); /* of the speed without scaling */
    return (float)(1 / ((1 - kept) / c->rope_factor + kept));
}

tn_model_counts tn_model_config_counts(const tn_model_config *c) {
    tn_model_counts n = {0};
    int64_t ternary = 0, table = 0, gain = 0;
    enum { TERNARY, TABLE, GAIN };
#define COUNT(kind, rows, cols, times)                                                                                 \
    *((kind) == TERNARY ? &ternary : (kind) == TABLE ? &table : &gain) += (int64_t)TN_MAX(rows, 1) * (cols) * (times);
#define BLOCK_PARAM(field, name, rows, cols, init, kind) COUNT(kind, rows, cols, c->n_layer)
#define MODEL_PARAM(field, name, rows, cols, init, kind) COUNT(kind, rows, cols, 1)
#include "layers/params.def"
#undef COUNT
    n.ternary = ternary;
    n.table = table;
    n.gain = gain;
    n.total = ternary + table + gain;
    return n;
}
