/* SPDX-License-Identifier: MIT
 * gguf_config.h - the shape of a model to and from the keys of a GGUF file: both directions read gguf_keys.def.
 *
 * Architectures: bitnet-b1.58 and bitnet-25 (ReLU^2 unless <architecture>.hidden_activation says otherwise) and bitnet
 * (SiLU). What no other runtime knows is said in keys of ours, written only when it differs from what they assume:
 *   tern.quantization    "none"  the float twin: its matrices are floats, and activations are not quantised
 *   tern.tie_embeddings  false   the head is a tensor of its own, output.weight
 *   tern.qk_norm         true    attn_q_norm and attn_k_norm gains */
#ifndef TN_INFER_GGUF_CONFIG_H
#define TN_INFER_GGUF_CONFIG_H
#include "formats/gguf.h"
#include "layers/model_config.h"

/* "bitnet-b1.58" for ReLU^2, "bitnet" for SiLU: the one that llama.cpp computes so. */
const char *tn_gguf_architecture(const tn_model_config *config);

/* Read and complete `config`. Fails: TN_E_UNSUPPORTED for another architecture, activation or rope scaling;
 * TN_E_MISSING for a required key; TN_E_CORRUPT for a value out of range or keys that contradict each other. */
tn_status tn_gguf_read_config(const tn_gguf *file, tn_model_config *config);

/* Write general.architecture, general.type, general.name and the keys of the architecture. `config` is complete.
 * Fails: TN_E_UNSUPPORTED when a setting cannot be said in GGUF's f32. */
tn_status tn_gguf_put_config(tn_gguf_writer *writer, const tn_model_config *config, const char *name);

#endif
