/* SPDX-License-Identifier: MIT
 * tuning.h - what a run of fine-tuning makes of its base, as its configuration says it: the method (method_keys.def)
 * and its adapter (section `lora`, lora_keys.def). Here because two sides read it: the trainer, and whoever opens what
 * the trainer left (run_record.h). */
#ifndef TN_MODELS_TUNING_H
#define TN_MODELS_TUNING_H
#include "core/config.h"
#include "layers/adapter.h"

typedef enum tn_method { TN_METHOD_FULL, TN_METHOD_LORA, TN_METHOD_LORA_MERGED, TN_METHOD_NORMS } tn_method;
enum { TN_LORA_RAW, TN_LORA_QUANTIZED }; /* lora.input */

#define KEY(type, field, initial, min, max, choices, help) TN_FIELD_##type field;
typedef struct tn_lora_config {
#include "models/lora_keys.def"
} tn_lora_config;
typedef struct tn_tuning {
#include "models/method_keys.def"
    tn_lora_config lora;
} tn_tuning;
#undef KEY

/* For core/config.h; `values` is filled by the config calls. */
tn_section tn_method_section(tn_tuning *values);
tn_section tn_lora_section(tn_lora_config *values);
/* "lora" */
const char *tn_method_name(tn_method method, char out[16]);

/* Whether the method changes a part of its base and leaves the rest to it. */
bool tn_tuning_needs_base(const tn_tuning *tuning);
/* The adapter of methods lora and lora_merged, not filled: its pairs are TN_PARAM_TRAINED, with the rates of LoRA+, or
 * TN_PARAM_FIXED. Fails: TN_E_CONFIG naming the key. */
tn_status tn_tuning_make_adapter(tn_adapter **out, tn_arena *arena, const tn_model_config *model,
                                 const tn_tuning *tuning, tn_param_use use);

#endif
