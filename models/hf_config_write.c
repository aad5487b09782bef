/* SPDX-License-Identifier: MIT
 * hf_config_write.c - config.json, with every key whose default differs between classes or versions of transformers. */
#include "models/hf_config.h"
#include "models/shape_fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct key_row {
    const char *key, *field;
} key_row;

static const key_row rows[] = {
#define HF_KEY(key, field, need) {key, #field},
#include "models/hf_keys.def"
};

/* "  "key": text", behind what is there already. */
static tn_status put(tn_buf *out, const char *key, const char *text) {
    return tn_buf_printf(out, "%s\n  \"%s\": %s", out->len > 1 ? "," : "", key, text);
}

static tn_status put_int(tn_buf *out, const char *key, int value) {
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    return put(out, key, text);
}

static tn_status put_id(tn_buf *out, const char *key, int id) {
    return id < 0 ? put(out, key, "null") : put_int(out, key, id);
}

static tn_status put_bool(tn_buf *out, const char *key, bool value) { return put(out, key, value ? "true" : "false"); }

static tn_status put_text(tn_buf *out, const char *key, const char *text) {
    return tn_buf_printf(out, "%s\n  \"%s\": \"%s\"", out->len > 1 ? "," : "", key, text);
}

/* The fewest digits that give the number back; with a point, for readers that tell reals from integers by it. */
static const char *real_text(double value, char out[40]) {
    snprintf(out, 40, "%.15g", value);
    if (strtod(out, NULL) != value) snprintf(out, 40, "%.17g", value);
    if (!strpbrk(out, ".e")) strncat(out, ".0", 3);
    return out;
}

/* ---- parts ---- */

static tn_status put_shape(const tn_model_config *c, tn_buf *out) {
    char number[40];
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        const double value = tn_shape_field_get(c, rows[i].field);
        if (c->sub_norms && strcmp(rows[i].key, "head_dim") == 0) continue; /* BitNetForCausalLM has no such key */
        if (tn_shape_field_is_real(rows[i].field))
            TN_TRY(put(out, rows[i].key, real_text(value, number)));
        else
            TN_TRY(put_int(out, rows[i].key, (int)value));
    }
    TN_TRY(put_text(out, "hidden_act", c->activation == TN_ACTIVATION_RELU2 ? "relu2" : "silu"));
    return put_bool(out, "tie_word_embeddings", c->tie_embeddings);
}

/* The numbers of a scaling, one object for both spellings of it. */
static tn_status scaling_text(const tn_model_config *c, const char *theta, tn_buf *out) {
    char a[40], b[40], d[40];
    TN_TRY(tn_buf_puts(out, "{"));
    if (theta) TN_TRY(tn_buf_printf(out, "\"rope_theta\": %s, ", theta));
    if (c->rope_scaling == TN_ROPE_NONE) return tn_buf_puts(out, "\"rope_type\": \"default\"}");
    TN_TRY(tn_buf_printf(out, "\"rope_type\": \"%s\", \"factor\": %s",
                         c->rope_scaling == TN_ROPE_LINEAR ? "linear" : "llama3", real_text(c->rope_factor, a)));
    if (c->rope_scaling == TN_ROPE_LLAMA3)
        TN_TRY(tn_buf_printf(out,
                             ", \"low_freq_factor\": %s, \"high_freq_factor\": %s, "
                             "\"original_max_position_embeddings\": %d",
                             real_text(c->rope_low_freq_factor, b), real_text(c->rope_high_freq_factor, d),
                             c->rope_original_context));
    return tn_buf_puts(out, "}");
}

/* Older versions and converters read rope_theta and rope_scaling, version 5 reads rope_parameters. */
static tn_status put_rope(const tn_model_config *c, tn_buf *out) {
    char theta[40];
    tn_buf text = {0};
    real_text(c->rope_theta, theta);
    tn_status status = put(out, "rope_theta", theta);
    if (!status && c->rope_scaling != TN_ROPE_NONE) status = scaling_text(c, NULL, &text);
    if (!status && c->rope_scaling != TN_ROPE_NONE) status = put(out, "rope_scaling", tn_buf_text(&text));
    tn_buf_reset(&text);
    if (!status) status = scaling_text(c, theta, &text);
    if (!status) status = put(out, "rope_parameters", tn_buf_text(&text));
    tn_buf_release(&text);
    return status;
}

static tn_status put_quantization(tn_hf_weights weights, tn_buf *out) {
    if (weights == TN_HF_FLOATS) return TN_OK;
    TN_ASSERT(weights == TN_HF_LATENTS || weights == TN_HF_MULTIPLIED);
    return put(out, "quantization_config",
               weights == TN_HF_LATENTS
                   ? "{\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\", \"quantization_mode\": "
                     "\"online\"}"
                   : "{\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\", \"quantization_mode\": "
                     "\"offline\"}");
}

static tn_status check_class(const tn_model_config *c) {
    if (c->qk_norm) return TN_FAIL(UNSUPPORTED, "no class of transformers has ternary matrices and model.qk_norm");
    if (c->sub_norms && c->n_head * c->head_dim != c->d_model)
        return TN_FAIL(UNSUPPORTED,
                       "model.n_head %d of model.head_dim %d is not model.d_model %d, as BitNetForCausalLM has it",
                       c->n_head, c->head_dim, c->d_model);
    return TN_OK;
}

tn_status tn_hf_config_write(const tn_model_config *config, const tn_hf_config_options *options, tn_buf *out) {
    tn_buf text = {0};
    TN_TRY(check_class(config));
    const bool bitnet = config->sub_norms;
    tn_status status = tn_buf_putc(&text, '{');
    if (!status) status = put(&text, "architectures", bitnet ? "[\"BitNetForCausalLM\"]" : "[\"LlamaForCausalLM\"]");
    if (!status) status = put_text(&text, "model_type", bitnet ? "bitnet" : "llama");
    if (!status) status = put_text(&text, "torch_dtype", options->dtype);
    if (!status) status = put_shape(config, &text);
    if (!status) status = put_rope(config, &text);
    if (!status) status = put_bool(&text, "attention_bias", false);
    if (!status) status = put(&text, "attention_dropout", "0.0");
    if (!status) status = put_bool(&text, "use_cache", true);
    if (!status) status = put_id(&text, "bos_token_id", options->bos);
    if (!status) status = put_id(&text, "eos_token_id", options->eos);
    if (!status) status = put_id(&text, "pad_token_id", options->pad);
    if (!status) status = put_quantization(options->weights, &text);
    if (!status) status = tn_buf_puts(&text, "\n}\n");
    if (!status) status = tn_buf_append(out, text.data, text.len);
    tn_buf_release(&text);
    return status;
}
