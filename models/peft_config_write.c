/* SPDX-License-Identifier: MIT
 * peft_config_write.c - adapter_config.json as PEFT saves it: keys in the order of the alphabet, two blanks a level. */
#include "models/peft_config.h"

#include <stdio.h>
#include <string.h>

#include "formats/json_text.h"

static tn_status put_text(tn_buf *out, const char *text) {
    json_t *value = json_string(text);
    tn_status status = tn_json_text_put(value, out);
    json_decref(value);
    return status;
}

/* ---- modules by the shortest name that says enough ---- */

typedef double tn_peft_term(const tn_adapter_pair *pair);

static double rank_of(const tn_adapter_pair *pair) { return pair->rank; }
static double alpha_of(const tn_adapter_pair *pair) { return pair->alpha; }

/* "q_proj" of "model.layers.0.self_attn.q_proj" */
static const char *last_name(const char *module) {
    const char *dot = strrchr(module, '.');
    return dot ? dot + 1 : module;
}

/* One module over all blocks. */
typedef struct tn_peft_group {
    const tn_adapter *adapter;
    const char *module; /* "q_proj" */
    int pairs, matrices;
} tn_peft_group;

static tn_status count(void *context, const char *target, const char *module) {
    tn_peft_group *g = context;
    if (strcmp(module, g->module) != 0) return TN_OK;
    g->matrices++;
    g->pairs += tn_adapter_find(g->adapter, target) != NULL;
    return TN_OK;
}

static bool is_of(const tn_adapter_pair *pair, const char *module) {
    char name[TN_HF_NAME_SIZE];
    return strcmp(last_name(tn_peft_module(pair->target, name)), module) == 0;
}

/* Whether the short name means this pair and its like, and nothing else. */
static bool is_everywhere(const tn_adapter *adapter, const char *module) {
    tn_peft_group g = {.adapter = adapter, .module = module};
    (void)tn_adapter_each_target(&adapter->config, count, &g);
    return g.pairs == g.matrices;
}

static bool is_first(const tn_adapter *adapter, int i, const char *module) {
    for (int j = 0; j < i; j++)
        if (is_of(&adapter->pairs[j], module)) return false;
    return true;
}

static bool is_uniform(const tn_adapter *adapter, const char *module, tn_peft_term *term) {
    const tn_adapter_pair *first = NULL;
    for (int i = 0; i < adapter->n_pairs; i++) {
        const tn_adapter_pair *pair = &adapter->pairs[i];
        if (!is_of(pair, module)) continue;
        if (!first) first = pair;
        if (term(pair) != term(first)) return false;
    }
    return true;
}

static tn_status put_pattern(tn_buf *out, const tn_adapter *adapter, tn_peft_term *term) {
    const char *before = "{";
    for (int i = 0; i < adapter->n_pairs; i++) {
        const tn_adapter_pair *pair = &adapter->pairs[i];
        char name[TN_HF_NAME_SIZE];
        const char *module = tn_peft_module(pair->target, name), *last = last_name(module);
        const bool uniform = is_uniform(adapter, last, term);
        if (term(pair) == term(&adapter->pairs[0]) || (uniform && !is_first(adapter, i, last))) continue;
        TN_TRY(tn_buf_printf(out, "%s\n    \"%s\": ", before, uniform ? last : module));
        TN_TRY(tn_buf_put_real(out, term(pair)));
        before = ",";
    }
    return tn_buf_puts(out, *before == '{' ? "{}" : "\n  }");
}

static tn_status put_targets(tn_buf *out, const tn_adapter *adapter) {
    const char *before = "[";
    for (int i = 0; i < adapter->n_pairs; i++) {
        char name[TN_HF_NAME_SIZE];
        const char *module = tn_peft_module(adapter->pairs[i].target, name), *last = last_name(module);
        const bool everywhere = is_everywhere(adapter, last);
        if (everywhere && !is_first(adapter, i, last)) continue;
        TN_TRY(tn_buf_printf(out, "%s\n    \"%s\"", before, everywhere ? last : module));
        before = ",";
    }
    return tn_buf_puts(out, "\n  ]");
}

/* ---- all of it ---- */

tn_status tn_peft_config_write(const tn_adapter *adapter, const char *base, tn_buf *out) {
    const tn_adapter_pair *first = &adapter->pairs[0];
    TN_TRY(tn_buf_puts(out, "{\n  \"alpha_pattern\": "));
    TN_TRY(put_pattern(out, adapter, alpha_of));
    TN_TRY(tn_buf_puts(out, ",\n  \"base_model_name_or_path\": "));
    TN_TRY(base && *base ? put_text(out, base) : tn_buf_puts(out, "null"));
    TN_TRY(tn_buf_puts(out, ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,\n"
                            "  \"init_lora_weights\": true,\n  \"lora_alpha\": "));
    TN_TRY(tn_buf_put_real(out, first->alpha));
    TN_TRY(tn_buf_puts(out, ",\n  \"lora_dropout\": "));
    TN_TRY(tn_buf_put_real(out, adapter->options.dropout));
    TN_TRY(tn_buf_puts(out, ",\n  \"modules_to_save\": null,\n  \"peft_type\": \"LORA\",\n"));
    TN_TRY(tn_buf_printf(out, "  \"r\": %d,\n  \"rank_pattern\": ", first->rank));
    TN_TRY(put_pattern(out, adapter, rank_of));
    TN_TRY(tn_buf_puts(out, ",\n  \"target_modules\": "));
    TN_TRY(put_targets(out, adapter));
    return tn_buf_printf(out, ",\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": false,\n  \"use_rslora\": %s\n}\n",
                         adapter->options.rslora ? "true" : "false");
}
