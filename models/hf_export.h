/* SPDX-License-Identifier: MIT
 * hf_export.h - a model to a folder that transformers loads as BitNetForCausalLM, or as LlamaForCausalLM where it has
 * no sub-norms. Like a GGUF file (export.h) it is proven before it gets its name: loaded again, its tokens and logits
 * must be EQUAL to the source's, bit for bit, after the roundings that it makes. A float twin is written without a
 * quantization_config. */
#ifndef TN_MODELS_HF_EXPORT_H
#define TN_MODELS_HF_EXPORT_H
#include "models/export.h"

/* TN_HF_TYPE_LATENTS ... from the rows of models/hf_types.def. */
typedef enum tn_hf_type {
#define HF_TYPE(word, name, help) TN_HF_TYPE_##name,
#include "models/hf_types.def"
#undef HF_TYPE
    TN_HF_TYPE_COUNT
} tn_hf_type;

const char *tn_hf_type_name(tn_hf_type type); /* "hf-packed" */

typedef struct tn_hf_export_options {
    tn_hf_type type;
    tn_table_type floats; /* F32, which is exact, or BF16: of every number that is not packed */
} tn_hf_export_options;

/* Export what tn_model_file_load reads from `source` to the folder `out`; report->bytes are those of model.safetensors.
 * A folder that is there is replaced when it holds nothing but such an export. Fails: what loading gives, for LATENTS
 * also that of a source without them; TN_E_UNSUPPORTED for what no class of transformers computes; TN_E_SHAPE naming a
 * matrix that cannot be packed; TN_E_CONFIG for a folder with other files; TN_E_MISMATCH when the proof fails. Then
 * there is no new folder, and an older one is untouched. */
tn_status tn_export_hf(const char *source, const char *out, tn_hf_export_options options, tn_export_report *report);
/* The same of a source that is changed before. */
tn_status tn_export_hf_edited(const char *source, const char *out, tn_hf_export_options options,
                              const tn_export_edit *edit, tn_export_report *report);

#endif
