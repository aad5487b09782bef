/* SPDX-License-Identifier: MIT
 * gemm.h - the products: packing, tiling and threads around the micro-kernels, and OpenBLAS on tiles cut here.
 * Shapes: X [n,k] activations (a row is a token), W [m,k] weights (a row is an output), Y [n,m]. Row-major throughout.
 * Forward products are our own because a row must give the same bits alone and in any batch, which BLAS does not
 * promise; backward products go to OpenBLAS with one thread on tiles of constant size, so the thread count changes
 * nothing. */
#ifndef TN_KERNELS_GEMM_H
#define TN_KERNELS_GEMM_H
#include "kernels/packing.h"
#include "kernels/table.h"

/* ---- wide packing: panels of outputs, made at load or once per optimizer step, never stored on disk ---- */
size_t tn_pack_ternary_bytes(tn_packing packing, int m, int k);
void tn_pack_ternary(tn_packing packing, int m, int k, const int8_t *states, void *packed);
/* Rows first..first+rows-1 of the same; `first` is a multiple of TN_PACK_ROWS, and so is `rows` unless they are the
 * last ones. Every row of `packed` must have been given once; threads may give different ones at the same time. */
enum { TN_PACK_ROWS = 64 };
void tn_pack_ternary_rows(tn_packing packing, int m, int k, int first, int rows, const int8_t *states, void *packed);
/* And back: states [rows, k] of any rows. Serial. */
void tn_unpack_ternary_rows(tn_packing packing, int k, int first, int rows, const void *packed, int8_t *states);
size_t tn_pack_real_bytes(int m, int k);
void tn_pack_real(int m, int k, const tn_real *w, void *packed);

/* Y = (acc / s_i) * a, acc = q T^t exact in int32 (k <= 132104 keeps it exact in f32 too): the one order of operations
 * in trainer and runtime (docs/math.md, BitLinear). q [n,k], s [n]. T as one of several matrices that the same q
 * meets: */
typedef struct tn_ternary_out {
    int m;
    tn_packing packing;
    const void *packed; /* T [m,k] */
    tn_real a;
    const tn_real *base; /* [n,m] to add, apart from y; or NULL */
    tn_real *y;          /* [n,m], or */
    int32_t *acc;        /* [n,m] the bare integers; the other one is NULL */
} tn_ternary_out;
/* All of them in one hand-over to the threads. */
void tn_gemm_ternary_each(int n, int k, const int8_t *q, const tn_real *s, const tn_ternary_out *outs, int count);
/* One in pairs. */
void tn_gemm_ternary(int n, int m, int k, const int8_t *q, const tn_real *s, const void *packed, tn_real a, tn_real *y);
/* The bare integers of one, acc [n,m]: what every instruction set must agree on. */
void tn_gemm_ternary_codes(tn_packing packing, int n, int m, int k, const int8_t *q, const void *packed, int32_t *acc);
/* Y = X W^t; each output one chain over ascending k. */
void tn_gemm_real(int n, int m, int k, const tn_real *x, const void *packed, tn_real *y);
/* The same of the m rows of a table: the bits of tn_gemm_real of the numbers that tn_table_row gives. `room`: as many
 * numbers as tn_gemm_table_room says for the threads of now. */
int64_t tn_gemm_table_room(int k);
void tn_gemm_table(int n, int m, int k, const tn_real *x, const tn_table *table, tn_real *y, tn_real *room);

/* ---- backward and optimizer products (OpenBLAS on constant tiles, in parallel): C = alpha op(A) op(B) + beta C ----
 * op(A) [m,k], op(B) [k,n], C [m,n]; lda, ldb, ldc are row strides of the stored matrices. */
typedef enum tn_op_of { TN_AS_IS, TN_TRANSPOSED } tn_op_of;
void tn_product(tn_op_of op_a, tn_op_of op_b, int m, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                const tn_real *b, int64_t ldb, tn_real beta, tn_real *c, int64_t ldc);
/* The same with A and B rounded to bf16, half to even. Products of two such are exact; sums are tn_real, of 512 terms
 * of k at a time, which are added up in order. Faster than tn_product where tn_bf16_pays() (kernels.h). */
void tn_product_bf16(tn_op_of op_a, tn_op_of op_b, int m, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                     const tn_real *b, int64_t ldb, tn_real beta, tn_real *c, int64_t ldc);
/* C = alpha op(A) op(A)' + beta C with op(A) [n,k] and a C [n,n] that is its own transpose, before (unless beta is 0)
 * and after: little more than half of it is computed. In reals and in bf16, as above. */
void tn_product_symmetric(tn_op_of op, int n, int k, tn_real alpha, const tn_real *a, int64_t lda, tn_real beta,
                          tn_real *c, int64_t ldc);
void tn_product_symmetric_bf16(tn_op_of op, int n, int k, tn_real alpha, const tn_real *a, int64_t lda, tn_real beta,
                               tn_real *c, int64_t ldc);

#endif
