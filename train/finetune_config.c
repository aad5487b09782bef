/* SPDX-License-Identifier: MIT */
#include "train/finetune_config.h"

#define KEY(type, field, initial, min, max, choices, help)                                                             \
    {#field, TN_KEY_##type, offsetof(KEYS_OF, field), initial, min, max, choices, help},
static const tn_key dpo_keys[] = {
#define KEYS_OF tn_dpo_config
#include "train/dpo_keys.def"
#undef KEYS_OF
};
static const tn_key distill_keys[] = {
#define KEYS_OF tn_distill_config
#include "train/distill_keys.def"
#undef KEYS_OF
};
#undef KEY

#define SECTION(name, keys, values)                                                                                    \
    (tn_section) { name, keys, (int)TN_COUNT(keys), values, NULL }

void tn_finetune_sections(tn_finetune_config *values, tn_section out[TN_FINETUNE_SECTIONS]) {
    out[0] = tn_lora_section(&values->lora);
    out[1] = SECTION("dpo", dpo_keys, &values->dpo);
    out[2] = SECTION("distill", distill_keys, &values->distill);
}
