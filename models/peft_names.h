/* SPDX-License-Identifier: MIT
 * peft_names.h - what PEFT calls the halves of a pair:
 * "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight".
 */
#ifndef TN_MODELS_PEFT_NAMES_H
#define TN_MODELS_PEFT_NAMES_H
#include "models/hf_names.h"

typedef enum tn_adapter_half { TN_ADAPTER_A, TN_ADAPTER_B } tn_adapter_half;

#define TN_PEFT_PREFIX "base_model.model."
enum { TN_PEFT_NAME_SIZE = TN_HF_NAME_SIZE + 64 };

/* The module: "model.layers.0.self_attn.q_proj" of our "blk.0.attn_q.weight". Returns `out`. */
const char *tn_peft_module(const char *target, char out[TN_HF_NAME_SIZE]);
/* The tensor of a half, behind a prefix. Returns `out`. */
const char *tn_peft_name(char out[TN_PEFT_NAME_SIZE], const char *prefix, const char *target, tn_adapter_half half);

#endif
