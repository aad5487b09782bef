/* SPDX-License-Identifier: MIT
 * adapter_gguf.h - what the reader and the writer of GGUF adapters share: names, and how the one alpha of a file serves
 * pairs that differ. Runtimes compute alpha' / r B A x, r being that of the pair: alpha' is alpha, or with rsLoRA alpha
 * sqrt r; where pairs differ in it, B is multiplied by what is wanting. */
#ifndef TN_MODELS_ADAPTER_GGUF_H
#define TN_MODELS_ADAPTER_GGUF_H
#include "models/peft_names.h"

enum { TN_ADAPTER_GGUF_NAME = 80 };

/* "blk.0.attn_q.weight.lora_a". Returns `out`. */
const char *tn_adapter_gguf_name(char out[TN_ADAPTER_GGUF_NAME], const char *target, tn_adapter_half half);
/* alpha' of a pair. */
double tn_adapter_gguf_alpha(int rank, double alpha, bool rslora);
/* By what B of a pair of alpha' `own` is multiplied in a file of alpha' `file`: 1 where they differ by a rounding to
 * f32 alone. */
double tn_adapter_gguf_factor(double own, double file);

#endif
