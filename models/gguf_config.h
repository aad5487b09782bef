/* SPDX-License-Identifier: MIT
 * gguf_config.h - the shape of a model to and from the keys of a GGUF file: both directions read gguf_keys.def.
 *
 * Architectures: bitnet-b1.58 and bitnet-25 (ReLU^2 unless <architecture>.hidden_activation says otherwise), bitnet
 * (SiLU), and llama (SiLU, no sub-norms, q and k in neighbouring pairs). rope_freqs.weight says how much slower each
 * pair of a head turns. What no other runtime knows is said in keys of ours, written only when it differs from what
 * they assume: tern.quantization    "none"  the float twin: its matrices are floats, and activations are not quantised
 *   tern.tie_embeddings  false   the head is a tensor of its own, output.weight; llama needs no key for that
 *   tern.sub_norms       false   no attn_sub_norm and ffn_sub_norm; nor does it for that
 *   tern.qk_norm         true    attn_q_norm and attn_k_norm gains */
#ifndef TN_MODELS_GGUF_CONFIG_H
#define TN_MODELS_GGUF_CONFIG_H
#include "formats/gguf.h"
#include "layers/model_config.h"

/* The one that other runtimes compute so: "llama" for SiLU without sub-norms and QK-norm, else "bitnet" for SiLU,
 * "bitnet-b1.58" for ReLU^2. */
const char *tn_gguf_architecture(const tn_model_config *config);
/* The size of heads whose rows of q and k lie in neighbouring pairs in files of that architecture: new row 2 j + t of a
 * head is row t d / 2 + j of ours. 0: they lie as ours. */
int tn_gguf_paired_heads(const char *architecture, const tn_model_config *config);
/* Fails: TN_E_UNSUPPORTED for an architecture that is none of these, TN_E_MISSING. */
tn_status tn_gguf_check_architecture(const tn_gguf *file);
/* The architecture of a file that this, or tn_gguf_read_config, has accepted. */
const char *tn_gguf_architecture_of(const tn_gguf *file);
extern const char tn_gguf_slowdown_tensor[]; /* "rope_freqs.weight" */

/* Read and complete `config`. Fails: TN_E_UNSUPPORTED for another architecture, activation or rope scaling;
 * TN_E_MISSING for a required key; TN_E_CORRUPT for a value out of range or keys that contradict each other. */
tn_status tn_gguf_read_config(const tn_gguf *file, tn_model_config *config);

/* Write general.architecture, general.type, general.name and the keys of the architecture. `config` is complete.
 * Fails: TN_E_UNSUPPORTED when a setting cannot be said in GGUF's f32. */
tn_status tn_gguf_put_config(tn_gguf_writer *writer, const tn_model_config *config, const char *name);

#endif
