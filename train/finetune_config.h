/* SPDX-License-Identifier: MIT
 * finetune_config.h - what fine-tuning asks for besides the settings of any training run: method and objective at the
 * top of a configuration (method_keys.def), sections `lora`, `dpo` and `distill`. */
#ifndef TN_TRAIN_FINETUNE_CONFIG_H
#define TN_TRAIN_FINETUNE_CONFIG_H
#include "core/config.h"

typedef enum tn_method { TN_METHOD_FULL, TN_METHOD_LORA, TN_METHOD_LORA_MERGED, TN_METHOD_NORMS } tn_method;
enum { TN_LORA_RAW, TN_LORA_QUANTIZED }; /* lora.input */

#define KEY(type, field, initial, min, max, choices, help) TN_FIELD_##type field;
typedef struct tn_lora_config {
#include "train/lora_keys.def"
} tn_lora_config;
typedef struct tn_dpo_config {
#include "train/dpo_keys.def"
} tn_dpo_config;
typedef struct tn_distill_config {
#include "train/distill_keys.def"
} tn_distill_config;
typedef struct tn_finetune_config {
#include "train/method_keys.def"
    tn_lora_config lora;
    tn_dpo_config dpo;
    tn_distill_config distill;
} tn_finetune_config;
#undef KEY

/* For core/config.h; `values` is filled by the config calls. */
tn_section tn_method_section(tn_finetune_config *values);
enum { TN_FINETUNE_SECTIONS = 3 };
void tn_finetune_sections(tn_finetune_config *values, tn_section out[TN_FINETUNE_SECTIONS]); /* lora, dpo, distill */
/* "lora" */
const char *tn_method_name(tn_method method, char out[16]);

#endif
