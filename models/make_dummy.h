/* SPDX-License-Identifier: MIT
 * make_dummy.h - a GGUF file of any shape with random weights, so that anyone can measure a model without fetching one.
 * States are drawn evenly from -1, 0, +1; scales keep activations near unit size and logits apart. The tokenizer is
 * byte-level BPE that fills the vocabulary with words over the small letters, and has begin, end and turn tokens and a
 * chat template. The file is a function of shape, types and seed. It is written as it is made, tensor by tensor. */
#ifndef TN_MODELS_MAKE_DUMMY_H
#define TN_MODELS_MAKE_DUMMY_H
#include "models/export.h"
#include "layers/model_config.h"

typedef struct tn_dummy_options {
    tn_export_type type; /* of the ternary matrices */
    tn_table_type table; /* of the embedding, and of a head of its own */
    uint64_t seed;
} tn_dummy_options;

enum { TN_DUMMY_VOCABULARY = 259 }; /* the least: 256 bytes and three special tokens */

/* Bytes of the file, without making it; `config` is complete. Fails as tn_make_dummy. */
tn_status tn_dummy_bytes(const tn_model_config *config, tn_dummy_options options, int64_t *bytes);
/* Fails: TN_E_SHAPE naming the tensor whose rows do not fill blocks of its type; TN_E_RANGE for a vocabulary that is
 * too small; TN_E_UNSUPPORTED for a float twin; TN_E_IO, TN_E_NOMEM. */
tn_status tn_make_dummy(const tn_model_config *config, tn_dummy_options options, const char *path);

#endif
