/* SPDX-License-Identifier: MIT
 * param.h - parameters: values that are trained, or frozen weights that are run. What a parameter is picks its
 * arithmetic:
 *
 *   - vector or plain matrix: value f32; a matrix is also packed for the forward product
 *   - latent: value f32 that the optimizer moves; the forward sees its ternary states and one scale
 *   - frozen ternary: packed states and scale only, value NULL
 *   - table: an embedding or head that is used as a file has it, value NULL
 *
 * States, scale and packing are derived once per optimizer step by tn_param_refresh, also under gradient accumulation.
 */
#ifndef TN_AUTOGRAD_PARAM_H
#define TN_AUTOGRAD_PARAM_H
#include "autograd/tensor.h"
#include "core/arena.h"
#include "kernels/packing.h"
#include "kernels/table.h"

typedef enum tn_quantizer {
    TN_QUANT_NONE,            /* a float parameter */
    TN_QUANT_ABSMEAN_TERNARY, /* a = max(mean|W|, 1e-5), T = clamp(rint(W / a), -1, 1)       (BitNet b1.58) */
    TN_QUANT_SIGN_BINARY      /* a = max(mean|W|, 1e-5), T = W > mean W ? 1 : -1             (BitNet 1.0) */
} tn_quantizer;

/* What a parameter is made for. */
typedef enum tn_param_use {
    TN_PARAM_TRAINED, /* a value and its gradient */
    TN_PARAM_FIXED,   /* a value */
    TN_PARAM_FROZEN,  /* no value where there is less: packed states, or a table */
    TN_PARAM_KEPT     /* the same, and the states beside the packed ones, for exports */
} tn_param_use;

typedef struct tn_param {
    char name[64];    /* the GGUF name, "blk.0.attn_q.weight" */
    tn_tensor tensor; /* [cols] or [rows, cols]; real = value (NULL when frozen ternary or a table), grad = gradient
                         (NULL when not trained) */
    int rows, cols;   /* rows = 1 for a vector */
    tn_quantizer quantizer;
    bool decays;     /* gets weight decay */
    tn_real rate;    /* its learning rate as a multiple of the common one; 0 = 1 */
    bool product;    /* a matrix that multiplies activations: it is packed */
    bool tabular;    /* an embedding or head: it may be a table */
    tn_table table;  /* data = NULL: it has a value */
    bool grad_empty; /* the gradient holds nothing yet: the first product of a step sets it, later ones add */
    /* derived by tn_param_refresh */
    int8_t *states; /* [rows, cols]; quantised parameters only; NULL when frozen and not kept */
    tn_real scale;  /* a */
    tn_real lambda; /* 1 = fully quantised; below 1 the forward uses `mixed` */
    tn_real *mixed; /* W + lambda (Wq - W), [rows, cols]; only while lambda < 1 or residuals are replayed */
    /* sum |W| of each block (tn_param_block_size), where a is to come from; trained latents only */
    double *block_sums;
    bool sums_known;    /* block_sums are those of the value: left by the optimizer step for the next refresh */
    bool stale;         /* `packed` of a float matrix that is trained is made when a product asks for it */
    tn_packing packing; /* of packed_states */
    void *packed;       /* tiles of states (lambda = 1), of mixed, or of value */
    void *packed_states, *packed_real; /* where those tiles live */
    struct tn_beside *beside;          /* adapters attached to it (layers/adapter.h), in their order; NULL = none */
    void *packed_turned; /* tiles of the states turned, for the integer backward; quantised and trained only */
} tn_param;

/* Complete a parameter whose name, rows, cols, quantizer, decays, product and tabular are set: memory for what its use
 * says and for what refresh needs, from `arena`. */
tn_status tn_param_init(tn_param *param, tn_arena *arena, tn_param_use use);
/* A frozen ternary parameter is filled by rows: states [rows, cols] of the rows from `first_row` on, a multiple of
 * TN_PACK_ROWS (kernels/gemm.h); so is `rows` unless they are the last ones. Its scale is set beside. Threads may fill
 * different rows at the same time. */
void tn_param_put_states(tn_param *param, int first_row, int rows, const int8_t *states);
/* A frozen tabular parameter, once: is the table, whose data is borrowed, or gets memory for a value from `arena`.
 * Fails: TN_E_SHAPE when the rows do not fill the table's blocks; TN_E_NOMEM. */
tn_status tn_param_put_table(tn_param *param, tn_table table);
int64_t tn_param_table_bytes(const tn_param *param);  /* of its table; 0 when it has a value */
int64_t tn_param_packed_bytes(const tn_param *param); /* of the packing of a float matrix; 0 for any other */
tn_status tn_param_take_value(tn_param *param, tn_arena *arena);
/* Rows first..first+rows-1 of a float matrix: of its value, or decoded into room [rows, cols]. */
const tn_real *tn_param_rows(const tn_param *param, int first, int rows, tn_real *room);
/* States first..first+rows-1 of a ternary matrix: those that are kept, or unpacked into room [rows, cols]. Serial. */
const int8_t *tn_param_states(const tn_param *param, int first, int rows, int8_t *room);
/* Let a float parameter that was not trained be so from now on: memory for its gradient. */
tn_status tn_param_train(tn_param *param, tn_arena *arena);
/* Room for `mixed`, needed before the first refresh with lambda < 1. */
tn_status tn_param_allow_mixing(tn_param *param, tn_arena *arena);
/* The gradient, ready for adding: cleared first when it was empty. NULL when the parameter is not trained. */
tn_real *tn_param_grad(tn_param *param);
/* Derive states, scale and packing from the value, if there is one. lambda in [0,1]. Parallel inside. */
void tn_param_refresh(tn_param *param, tn_real lambda);
/* The same for each of a list, the small ones side by side. */
void tn_params_refresh(tn_param *const *params, int n_params, tn_real lambda);
/* What is stale is packed; for ops, before they read `packed`. Parallel inside. */
void tn_param_pack(tn_param *param);
/* The quantiser alone: states [rows, cols] and scale of a value [rows, cols]. Parallel inside, fixed reduction shape.
 */
void tn_param_quantize(tn_quantizer quantizer, int rows, int cols, const tn_real *value, int8_t *states,
                       tn_real *scale);
int64_t tn_param_count(const tn_param *param);
/* Elements in a block of the one cut that quantiser, norm and optimizer steps share: a multiple of 256 that depends on
 * `count`, the elements of the parameter, alone, and makes at most TN_PARAM_BLOCKS blocks of them. */
enum { TN_PARAM_BLOCKS = 1024 };
int64_t tn_param_block_size(int64_t count);

#endif
