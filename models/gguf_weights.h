/* SPDX-License-Identifier: MIT
 * gguf_weights.h - one parameter to and from one tensor of a GGUF file.
 * A ternary matrix is stored as
 *   I2_S            codes and one f32 scale
 *   TQ2_0, TQ1_0    codes with d = 1 in every block, and the f32 scale in "<name without weight>scale": an f16 d would
 *                   round it. Where that tensor is not understood (llama), d = scale, rounded; both are read
 *   F16, BF16, F32  the values -s, 0, +s. They are read back as codes and scale, so the arithmetic stays the trained
 *                   one; a matrix that holds anything else is refused
 * Every other parameter is floats, or Q8_0 or Q6_K for an embedding or head. Norm gains are F32 always. */
#ifndef TN_MODELS_GGUF_WEIGHTS_H
#define TN_MODELS_GGUF_WEIGHTS_H
#include "formats/gguf.h"
#include "models/stored.h"

/* The type of a table that a tensor of that type (tn_ggml_type) is; false when it cannot be one. */
bool tn_gguf_table_type(int type, tn_table_type *out);
int tn_gguf_type_of_table(tn_table_type type); /* the way back */
/* A tensor as a table in the file. Fails: TN_E_UNSUPPORTED for a type that is none. */
tn_status tn_gguf_table(const tn_gguf_tensor *tensor, tn_table *out);
/* The name of the scale tensor of a matrix: "blk.0.attn_q.scale" for "blk.0.attn_q.weight". False when it has none, or
 * it does not fit. */
bool tn_gguf_scale_name(const char *name, char *scale, size_t size);

/* Which row of the parameter is row `row` of its tensor, and the other way round, for files whose heads of q and k lie
 * in pairs (tn_gguf_paired_heads); else the same row. */
int64_t tn_gguf_param_row(const tn_param *param, int paired_heads, int64_t row);
int64_t tn_gguf_tensor_row(const tn_param *param, int paired_heads, int64_t row);

/* ---- reading ---- */

/* How the parameters of one model are read. */
typedef struct tn_gguf_reading {
    const tn_gguf *file; /* must live as long as a model with tables */
    int paired_heads;    /* of the architecture */
    tn_reading reading;
} tn_gguf_reading;

/* Shape of the tensor of that name against the parameter. Fails: TN_E_MISSING, TN_E_MISMATCH. */
tn_status tn_gguf_check_weights(const tn_gguf *file, const tn_param *param);
/* Fill the value, the table, or the states and scale of a frozen ternary parameter. Parallel inside; pages of the file
 * that were read are given back. Fails: TN_E_CORRUPT for a damaged tensor (a code that is none, a scale that is not
 * finite and positive, a float that is not finite); TN_E_UNSUPPORTED for a type that does not serve here, or a matrix
 * that should be ternary and is not. */
tn_status tn_gguf_read_weights(tn_gguf_reading *reading, tn_param *param);

/* ---- writing ---- */

/* Types for the ternary matrices and for the table; float parameters that are neither go out as F32. */
typedef struct tn_gguf_types {
    int matrix; /* tn_ggml_type */
    tn_table_type table;
    int paired_heads;   /* of the architecture */
    bool scale_tensors; /* an exact scale may stand beside blocks that would round it */
} tn_gguf_types;

/* Fails: TN_E_SHAPE naming the tensor and the multiple its row length must be; TN_E_CORRUPT for a ternary matrix of
 * zeros only; TN_E_RANGE for a scale or value that F16 cannot hold. */
tn_status tn_gguf_check_param(const tn_param *param, tn_gguf_types types);
/* Give a parameter the roundings that the file will have, so that it equals what is read back bit for bit. A table of
 * another type than F32 becomes a table of that type, in `arena`. Fails: TN_E_RANGE for a number it cannot hold. */
tn_status tn_gguf_round_param(tn_param *param, tn_gguf_types types, tn_arena *arena);
/* Of a parameter that was rounded. */
tn_status tn_gguf_announce_param(tn_gguf_writer *writer, const tn_param *param, tn_gguf_types types);
tn_status tn_gguf_put_param(tn_gguf_writer *writer, const tn_param *param, tn_gguf_types types);

#endif
