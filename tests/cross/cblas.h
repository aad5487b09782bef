/* SPDX-License-Identifier: MIT
 * cblas.h - as much of OpenBLAS's header as kernels/blas.c uses, for machines known only by a cross compiler. The
 * product behind it is the plain one. */
#ifndef TN_TESTS_CROSS_CBLAS_H
#define TN_TESTS_CROSS_CBLAS_H

typedef int blasint;
typedef enum CBLAS_ORDER { CblasRowMajor = 101, CblasColMajor = 102 } CBLAS_ORDER;
typedef enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112 } CBLAS_TRANSPOSE;
enum { OPENBLAS_SEQUENTIAL, OPENBLAS_THREAD, OPENBLAS_OPENMP };

void cblas_sgemm(CBLAS_ORDER order, CBLAS_TRANSPOSE op_a, CBLAS_TRANSPOSE op_b, blasint m, blasint n, blasint k,
                 float alpha, const float *a, blasint lda, const float *b, blasint ldb, float beta, float *c,
                 blasint ldc);
void openblas_set_num_threads(int threads);
char *openblas_get_corename(void);
int openblas_get_parallel(void);

#endif
