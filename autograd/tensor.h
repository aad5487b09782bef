/* SPDX-License-Identifier: MIT
 * tensor.h - a view of numbers with a shape. Row-major; the last dimension is contiguous. Tensors of a pass live in the
 * tape's step arena, tensors of parameters in the model arena; nobody frees one by itself. */
#ifndef TN_AUTOGRAD_TENSOR_H
#define TN_AUTOGRAD_TENSOR_H
#include "core/compiler.h"

typedef enum tn_dtype {
    TN_REAL,  /* tn_real */
    TN_CODES, /* int8 with one scale a row: value = code / row_scale[row] */
    TN_IDS    /* int32 token ids or targets */
} tn_dtype;

struct tn_param;

typedef struct tn_tensor {
    tn_dtype dtype;
    int n_dims;    /* 0 = empty (after a failure) */
    int dims[4];   /* B, T, C, ... or N, C */
    tn_real *real; /* of CODES: the numbers before their quantiser, where an op keeps them; else NULL */
    int8_t *codes;
    tn_real *row_scale; /* [rows], 127 / max|x| of the row; CODES only */
    int32_t *ids;
    tn_real *grad;          /* same shape, in tn_real (for CODES too: straight-through); NULL until backward needs it */
    bool needs_grad;        /* a parameter, or made from one */
    struct tn_param *param; /* the parameter this is the value of, or NULL */
} tn_tensor;

int64_t tn_tensor_count(const tn_tensor *x);
int tn_tensor_cols(const tn_tensor *x);     /* the last dimension; 0 when empty */
int64_t tn_tensor_rows(const tn_tensor *x); /* count / cols; 0 when empty */
bool tn_tensor_same_shape(const tn_tensor *a, const tn_tensor *b);
/* "[2,64,128]" for messages. */
const char *tn_tensor_shape(const tn_tensor *x, char out[64]);

#endif
