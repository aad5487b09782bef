/* SPDX-License-Identifier: MIT */
#include "models/peft_names.h"

#include "layers/adapter.h"

#include <stdio.h>
#include <string.h>

const char *tn_peft_module(const char *target, char out[TN_HF_NAME_SIZE]) {
    (void)tn_hf_name_of(target, out);
    char *end = strrchr(out, '.');
    if (end) *end = '\0';
    return out;
}

const char *tn_peft_name(char out[TN_PEFT_NAME_SIZE], const char *prefix, const char *target, tn_adapter_half half) {
    char module[TN_HF_NAME_SIZE];
    const char letter = half == TN_ADAPTER_A ? 'A' : 'B';
    const bool embedding = tn_adapter_is_embedding(target);
    snprintf(out, TN_PEFT_NAME_SIZE, embedding ? "%s%s.lora_embedding_%c" : "%s%s.lora_%c.weight", prefix,
             tn_peft_module(target, module), letter);
    return out;
}
