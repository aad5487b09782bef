/* SPDX-License-Identifier: MIT */
#include "models/tuning.h"

#define KEY(type, field, initial, min, max, choices, help)                                                             \
    {#field, TN_KEY_##type, offsetof(KEYS_OF, field), initial, min, max, choices, help},
static const tn_key method_keys[] = {
#define KEYS_OF tn_tuning
#include "models/method_keys.def"
#undef KEYS_OF
};
static const tn_key lora_keys[] = {
#define KEYS_OF tn_lora_config
#include "models/lora_keys.def"
#undef KEYS_OF
};
#undef KEY

tn_section tn_method_section(tn_tuning *values) {
    return (tn_section){"", method_keys, (int)TN_COUNT(method_keys), values, NULL};
}

tn_section tn_lora_section(tn_lora_config *values) {
    return (tn_section){"lora", lora_keys, (int)TN_COUNT(lora_keys), values, NULL};
}

const char *tn_method_name(tn_method method, char out[16]) {
    return tn_config_choice_name(method_keys[0].choices, (int)method, out, 16);
}

bool tn_tuning_needs_base(const tn_tuning *tuning) { return tuning->method != TN_METHOD_FULL; }

/* ---- adapters ---- */

static tn_status join(const tn_text_list *names, tn_buf *out) {
    for (int i = 0; i < names->count; i++) TN_TRY(tn_buf_printf(out, "%s%s", i ? "," : "", names->items[i]));
    return TN_OK;
}

static tn_status add_pairs(tn_adapter *adapter, const tn_lora_config *c) {
    tn_buf modules = {0};
    tn_status status = join(&c->target_modules, &modules);
    if (!status) status = tn_adapter_add_modules(adapter, tn_buf_text(&modules), c->rank, c->alpha, NULL, 0);
    tn_buf_release(&modules);
    if (!status || status == TN_E_NOMEM) return status;
    return tn_fail_at(TN_E_CONFIG, __FILE__, __LINE__, "lora.target_modules: %s", tn_error_message());
}

tn_status tn_tuning_make_adapter(tn_adapter **out, tn_arena *arena, const tn_model_config *model,
                                 const tn_tuning *tuning, tn_param_use use) {
    const tn_lora_config *c = &tuning->lora;
    const bool merged = tuning->method == TN_METHOD_LORA_MERGED;
    const tn_adapter_options options = {.input = (tn_adapter_input)c->input,
                                        .merged = merged,
                                        .rslora = c->rslora,
                                        .dropout = merged ? 0 : c->dropout,
                                        .trains = use == TN_PARAM_TRAINED};
    tn_adapter *adapter;
    TN_TRY(tn_adapter_create(&adapter, arena, model, &options));
    TN_TRY(add_pairs(adapter, c));
    for (int i = 0; i < adapter->n_pairs; i++) adapter->pairs[i].b.rate = (tn_real)c->plus_ratio;
    *out = adapter;
    return TN_OK;
}
