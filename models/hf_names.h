/* SPDX-License-Identifier: MIT
 * hf_names.h - what Hugging Face calls a parameter: "model.layers.0.self_attn.q_proj.weight" is our
 * "blk.0.attn_q.weight" (hf_names.def). */
#ifndef TN_MODELS_HF_NAMES_H
#define TN_MODELS_HF_NAMES_H
#include "core/status.h"

enum { TN_HF_NAME_SIZE = 128 };

/* False when the other world has no such parameter; `out` is then "". */
bool tn_hf_name_of(const char *ours, char out[TN_HF_NAME_SIZE]);
bool tn_hf_name_to_ours(const char *theirs, char out[TN_HF_NAME_SIZE]);

#endif
