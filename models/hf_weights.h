/* SPDX-License-Identifier: MIT
 * hf_weights.h - one parameter to and from one tensor of a Hugging Face folder. A ternary matrix is stored as
 *   LATENTS       numbers [rows, cols]
 *   MULTIPLIED    U8 [rows / 4, cols]: bits 2 i and 2 i + 1 of row r are the state + 1 of row r + i rows / 4; or the
 *                 states as numbers [rows, cols]; and "<name>_scale" [1], the scale
 *   DIVIDED       the same, and "<name>_scale" is 1 / scale
 * Every other parameter is F32, F16 or BF16. */
#ifndef TN_MODELS_HF_WEIGHTS_H
#define TN_MODELS_HF_WEIGHTS_H
#include "formats/safetensors.h"
#include "models/hf_config.h"
#include "models/stored.h"

/* ---- reading ---- */

/* How the parameters of one model are read. */
typedef struct tn_hf_reading {
    const tn_safetensors *file; /* must live as long as a model with tables */
    tn_hf_weights weights;
    tn_reading reading;
} tn_hf_reading;

/* The type of a table that numbers of that type are; false when they cannot be one. */
bool tn_hf_table_type(tn_safetensor_type type, tn_table_type *out);
/* Name, type and shape of a parameter's tensor, which goes to *tensor, and of its scale; NULL where there is none.
 * Fails: TN_E_MISSING, TN_E_MISMATCH, TN_E_UNSUPPORTED. */
tn_status tn_hf_check_weights(const tn_safetensors *file, tn_hf_weights weights, const tn_param *param,
                              const tn_safetensor **tensor, const tn_safetensor **scale);
/* A tabular parameter's tensor as a table in the file. Fails: as above. */
tn_status tn_hf_table(const tn_safetensors *file, const tn_param *param, tn_table *out);
/* Fill the value or the table, or states and scale of a frozen ternary parameter: those of latents are what training
 * would derive. A ternary parameter that has a value takes latents as they are. Fails: as above, and as
 * models/stored.h. */
tn_status tn_hf_read_weights(tn_hf_reading *reading, tn_param *param);

/* ---- writing ---- */

/* What becomes of a model: floats of one type, and matrices as LATENTS, MULTIPLIED and packed, or FLOATS. */
typedef struct tn_hf_format {
    tn_hf_weights weights;
    tn_table_type floats; /* F32, F16 or BF16; also of the scales */
} tn_hf_format;

/* Numbers of the writer's tensors that one parameter becomes. */
typedef struct tn_hf_numbers {
    int tensor, scale; /* scale: packed matrices only */
} tn_hf_numbers;

/* Fails: TN_E_UNSUPPORTED for a parameter that has no name there; TN_E_SHAPE for a matrix to be packed whose rows are
 * no multiple of 4; TN_E_CORRUPT for one of zeros; TN_E_RANGE for a scale that is no finite positive number. */
tn_status tn_hf_check_param(const tn_param *param, tn_hf_format format);
/* Give a parameter the roundings that the file will have; tables may need room in `arena`. To be refreshed afterwards.
 * Fails: TN_E_RANGE for a number the type cannot hold. */
tn_status tn_hf_round_param(tn_param *param, tn_hf_format format, tn_arena *arena);
/* Of a parameter that was rounded. */
tn_status tn_hf_announce_param(tn_safetensors_writer *writer, const tn_param *param, tn_hf_format format,
                               tn_hf_numbers *numbers);
tn_status tn_hf_put_param(tn_safetensors_writer *writer, const tn_param *param, tn_hf_format format,
                          const tn_hf_numbers *numbers);

#endif
