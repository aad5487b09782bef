/* SPDX-License-Identifier: MIT */
#include <cblas.h>

void cblas_sgemm(CBLAS_ORDER order, CBLAS_TRANSPOSE op_a, CBLAS_TRANSPOSE op_b, blasint m, blasint n, blasint k,
                 float alpha, const float *a, blasint lda, const float *b, blasint ldb, float beta, float *c,
                 blasint ldc) {
    (void)order; /* the only one used is by rows */
    for (blasint i = 0; i < m; i++)
        for (blasint j = 0; j < n; j++) {
            float sum = 0, *to = c + i * ldc + j;
            for (blasint t = 0; t < k; t++)
                sum += a[op_a == CblasTrans ? t * lda + i : i * lda + t] *
                       b[op_b == CblasTrans ? j * ldb + t : t * ldb + j];
            *to = alpha * sum + (beta == 0 ? 0 : beta * *to);
        }
}

void openblas_set_num_threads(int threads) { (void)threads; }
char *openblas_get_corename(void) {
    static char name[] = "stand-in";
    return name;
}
int openblas_get_parallel(void) { return OPENBLAS_OPENMP; }
