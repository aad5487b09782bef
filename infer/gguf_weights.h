/* SPDX-License-Identifier: MIT
 * gguf_weights.h - one parameter to and from one tensor of a GGUF file.
 * A ternary matrix is stored as
 *   I2_S            codes and one f32 scale
 *   TQ2_0, TQ1_0    codes with d = 1 in every block, and the f32 scale in "<name without weight>scale": an f16 d would
 *                   round it. Files of others have d = scale and no such tensor; both are read
 *   F16, BF16, F32  the values -s, 0, +s. They are read back as codes and scale, so the arithmetic stays the trained
 *                   one; a matrix that holds anything else is refused
 * Every other parameter is floats. Norm gains are F32 always. */
#ifndef TN_INFER_GGUF_WEIGHTS_H
#define TN_INFER_GGUF_WEIGHTS_H
#include "autograd/param.h"
#include "formats/gguf.h"

/* ---- reading ---- */

/* Shape of the tensor of that name against the parameter. Fails: TN_E_MISSING, TN_E_MISMATCH. */
tn_status tn_gguf_check_weights(const tn_gguf *file, const tn_param *param);
/* Fill the value, or the states and scale of a frozen ternary parameter. Fails: TN_E_CORRUPT for a damaged tensor (a
 * code that is none, a matrix of zeros only, a scale that is not finite and positive, a float that is not finite);
 * TN_E_UNSUPPORTED for a type that does not serve here, or a matrix that should be ternary and is not. */
tn_status tn_gguf_read_weights(const tn_gguf *file, tn_param *param);
/* The parameter of which `name` is the scale tensor: "blk.0.attn_q.scale" -> "blk.0.attn_q.weight". False when it is no
 * name of that kind, or does not fit. */
bool tn_gguf_scale_owner(const char *name, char *owner, size_t size);

/* ---- writing ---- */

/* Types for the ternary matrices and for the table; float parameters that are neither go out as F32. */
typedef struct tn_gguf_types {
    int matrix; /* tn_ggml_type */
    int table;  /* TN_GGML_F32 or TN_GGML_F16 */
} tn_gguf_types;

/* Fails: TN_E_SHAPE naming the tensor and the multiple its row length must be; TN_E_CORRUPT for a ternary matrix of
 * zeros only; TN_E_RANGE for a scale or value that F16 cannot hold. */
tn_status tn_gguf_check_param(const tn_param *param, tn_gguf_types types);
/* Give a parameter the roundings that the file will have, so that it equals what is read back bit for bit. */
void tn_gguf_round_param(tn_param *param, tn_gguf_types types);
tn_status tn_gguf_announce_param(tn_gguf_writer *writer, const tn_param *param, tn_gguf_types types);
tn_status tn_gguf_put_param(tn_gguf_writer *writer, const tn_param *param, tn_gguf_types types);

#endif
