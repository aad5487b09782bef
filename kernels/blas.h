/* SPDX-License-Identifier: MIT
 * blas.h - OpenBLAS behind one call; blas.c is the only file that includes <cblas.h>. */
#ifndef TN_KERNELS_BLAS_H
#define TN_KERNELS_BLAS_H
#include "kernels/gemm.h"

/* One BLAS thread a call, whichever build of the library was found. Called by tn_kernels_init. */
void tn_blas_init(void);
/* One serial product with one BLAS thread; arguments as tn_product. */
void tn_blas_gemm(tn_op_of op_a, tn_op_of op_b, int m, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                  const tn_real *b, int64_t ldb, tn_real beta, tn_real *c, int64_t ldc);
const char *tn_blas_core(void);      /* kernel set in use, "SkylakeX" */
const char *tn_blas_threading(void); /* "OpenMP", "pthreads", "serial" */
/* Whether its kernels use vectors as wide as those of tn_k; if not, tn_product goes without it. */
bool tn_blas_matches(void);
/* One sentence when the installation is slower than this CPU allows or of the wrong threading; NULL when all is well.
 */
const char *tn_blas_warning(void);

#endif
