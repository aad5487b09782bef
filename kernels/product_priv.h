/* SPDX-License-Identifier: MIT
 * product_priv.h - a product cut into tiles of C, which threads share. */
#ifndef TN_KERNELS_PRODUCT_PRIV_H
#define TN_KERNELS_PRODUCT_PRIV_H
#include "kernels/gemm.h"

/* C = alpha op(A) op(B) + beta C, as tn_product takes it. */
typedef struct tn_product_job {
    tn_op_of op_a, op_b;
    int m, n, k;
    tn_real alpha, beta;
    const tn_real *a, *b;
    tn_real *c;
    int64_t lda, ldb, ldc;
    bool symmetric; /* C is its own transpose: what lies below the diagonal is copied from above */
} tn_product_job;

/* A part of C, and where the rows of op(A) and the columns of op(B) that it needs begin. */
typedef struct tn_product_tile {
    int rows, cols;
    const tn_real *a, *b;
    tn_real *c;
} tn_product_tile;

/* op(A) op(A)' as a job. */
tn_product_job tn_product_job_symmetric(tn_op_of op, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                                        tn_real beta, tn_real *c, int64_t ldc);

/* Computes one tile; its outputs must not depend on how C was cut. */
typedef void tn_product_method(const tn_product_job *p, const tn_product_tile *t);

/* The job in tiles of at most rows x cols, smaller ones where there would be too few; square ones when symmetric. How
 * it is cut depends on the shape alone, so neither the number of threads nor the schedule changes a bit. */
void tn_product_run(const tn_product_job *p, int rows, int cols, tn_product_method *multiply);

#endif
