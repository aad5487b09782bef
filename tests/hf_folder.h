/* SPDX-License-Identifier: MIT
 * hf_folder.h - a Hugging Face folder written by hand from a model's values, apart from Tern's own exporter. */
#ifndef TN_TESTS_HF_FOLDER_H
#define TN_TESTS_HF_FOLDER_H
#include "models/hf_config.h"
#include "models/model_file.h"

/* How one tensor of the folder differs from what it should be. NULL fields change nothing. */
typedef struct tn_test_hf_edit {
    const char *drop;        /* leave this tensor out */
    const char *add;         /* add an F32 tensor [1] of 1 of that name */
    const char *shape;       /* write this one with an extra row */
    const char *name;        /* in this one, */
    int at;                  /* at this element, or byte of a packed one, */
    float value;             /* is this number, or byte */
    const char *zero;        /* this one is zeros */
    tn_safetensor_type type; /* of this one, */
    const char *typed;       /* by name */
} tn_test_hf_edit;

typedef struct tn_test_hf_options {
    tn_hf_weights weights;
    tn_safetensor_type floats; /* F32 or BF16 */
    bool numbers;              /* MULTIPLIED and DIVIDED: states as numbers, not packed */
    tn_test_hf_edit edit;
} tn_test_hf_options;

/* Write config.json, tokenizer.json and model.safetensors from a model that has latents and was refreshed. */
void tn_test_hf_folder(const char *dir, const tn_loaded *source, const tn_test_hf_options *options);
void tn_test_hf_file(const char *dir, const char *name, const char *text);

#endif
