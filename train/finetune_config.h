/* SPDX-License-Identifier: MIT
 * finetune_config.h - what fine-tuning asks for besides the settings of any training run: method and objective at the
 * top of a configuration (models/tuning.h), sections `lora`, `dpo` and `distill`. */
#ifndef TN_TRAIN_FINETUNE_CONFIG_H
#define TN_TRAIN_FINETUNE_CONFIG_H
#include "models/tuning.h"

typedef enum tn_objective_kind { TN_OBJECTIVE_SFT, TN_OBJECTIVE_DPO, TN_OBJECTIVE_DISTILL } tn_objective_kind;

#define KEY(type, field, initial, min, max, choices, help) TN_FIELD_##type field;
typedef struct tn_dpo_config {
#include "train/dpo_keys.def"
} tn_dpo_config;
typedef struct tn_distill_config {
#include "train/distill_keys.def"
} tn_distill_config;
typedef struct tn_finetune_config {
    union {
        tn_tuning tuning;
        struct { /* the same by shorter names */
#include "models/method_keys.def"
            tn_lora_config lora;
        };
    };
    tn_dpo_config dpo;
    tn_distill_config distill;
} tn_finetune_config;
#undef KEY

/* For core/config.h; `values` is filled by the config calls. */
enum { TN_FINETUNE_SECTIONS = 3 };
void tn_finetune_sections(tn_finetune_config *values, tn_section out[TN_FINETUNE_SECTIONS]); /* lora, dpo, distill */

#endif
