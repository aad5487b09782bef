/* SPDX-License-Identifier: MIT
 * hf_config.h - config.json of a Hugging Face folder: the shape of a model, how its matrices are stored, and the ids
 * that begin and end its texts; both directions read hf_keys.def.
 * Classes: BitNetForCausalLM (ReLU^2, sub-norms) and LlamaForCausalLM (SiLU, none), each with matrices that the
 * quantizer "bitnet" of transformers makes ternary, or with floats. */
#ifndef TN_MODELS_HF_CONFIG_H
#define TN_MODELS_HF_CONFIG_H
#include "core/buf.h"
#include "layers/model_config.h"

/* How the matrices are stored. */
typedef enum tn_hf_weights {
    TN_HF_FLOATS,     /* no quantization_config: they are what they are, as transformers computes them */
    TN_HF_LATENTS,    /* autobitlinear, online: quantised by the mean of their sizes when they are used */
    TN_HF_MULTIPLIED, /* autobitlinear, offline: states, packed or as numbers; weight_scale is the scale */
    TN_HF_DIVIDED     /* bitlinear: packed states; weight_scale is 1 / scale */
} tn_hf_weights;

enum { TN_HF_IDS = 16 };

/* Ids that end a text, in the order of the file. */
typedef struct tn_hf_ids {
    int list[TN_HF_IDS], count;
} tn_hf_ids;

typedef struct tn_hf_config {
    tn_model_config model; /* complete */
    tn_hf_weights weights;
    const char *model_type; /* "bitnet" or "llama" */
    int bos;                /* -1 = none */
    tn_hf_ids eos;
} tn_hf_config;

const char *tn_hf_weights_name(tn_hf_weights weights); /* "autobitlinear offline" */

/* Read the text of a config.json; `path` begins the sentences. Fails: TN_E_FORMAT for what is no JSON object;
 * TN_E_MISSING for a required key; TN_E_CORRUPT for a value of another kind or out of range; TN_E_UNSUPPORTED for
 * another class, activation, scaling of rope or quantisation; TN_E_CONFIG for keys that contradict each other. */
tn_status tn_hf_config_read(const char *path, const char *text, size_t len, tn_hf_config *out);

/* What goes into a config.json beside the configuration of the model. */
typedef struct tn_hf_config_options {
    tn_hf_weights weights;
    const char *dtype; /* of the floats, as PyTorch calls it: "float32" */
    int bos, eos, pad; /* -1 = none */
} tn_hf_config_options;

/* Append a config.json. `config` is complete. Fails: TN_E_UNSUPPORTED for what no class of transformers computes:
 * QK-norm, heads of another size with sub-norms. */
tn_status tn_hf_config_write(const tn_model_config *config, const tn_hf_config_options *options, tn_buf *out);

#endif
