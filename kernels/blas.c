/* SPDX-License-Identifier: MIT
 * OpenBLAS: one serial product, and what is known about the installed library. core/par.c keeps
 * omp_get_max_threads() at 1 in every task, so the OpenMP build starts no team of its own. */
#include "kernels/blas.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef TN_F64
#define blas_gemm cblas_dgemm
#else
#define blas_gemm cblas_sgemm
#endif

static CBLAS_TRANSPOSE transpose_of(tn_op_of op) { return op == TN_AS_IS ? CblasNoTrans : CblasTrans; }

void tn_blas_gemm(tn_op_of op_a, tn_op_of op_b, int m, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                  const tn_real *b, int64_t ldb, tn_real beta, tn_real *c, int64_t ldc) {
    blas_gemm(CblasRowMajor, transpose_of(op_a), transpose_of(op_b), m, n, k, alpha, a, (blasint)lda, b, (blasint)ldb,
              beta, c, (blasint)ldc);
}

void tn_blas_init(void) { openblas_set_num_threads(1); }

const char *tn_blas_core(void) { return openblas_get_corename(); }

const char *tn_blas_threading(void) {
    switch (openblas_get_parallel()) {
    case OPENBLAS_SEQUENTIAL: return "serial";
    case OPENBLAS_OPENMP: return "OpenMP";
    default: return "pthreads";
    }
}

/* The kernel sets of OpenBLAS 0.3.21 that stop at AVX2 or below, by the one thing they share: not being these. */
static bool core_has_avx512(const char *core) {
    static const char *const names[] = {"SkylakeX", "Cooperlake", "SapphireRapids"};
    for (size_t i = 0; i < TN_COUNT(names); i++)
        if (strcmp(core, names[i]) == 0) return true;
    return false;
}

static bool cpu_has_avx512(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f");
#else
    return false;
#endif
}

const char *tn_blas_warning(void) {
    static TN_THREAD_LOCAL char text[256];
    if (strcmp(tn_blas_threading(), "serial") == 0)
        return "the installed OpenBLAS is the serial build, which several threads may not call at once; install its "
               "OpenMP build, or run with --threads 1";
    if (strcmp(tn_blas_threading(), "pthreads") == 0)
        return "the installed OpenBLAS starts threads of its own that compete with ours; install its OpenMP build";
    const char *core = tn_blas_core(), *forced = getenv("OPENBLAS_CORETYPE");
    if (!cpu_has_avx512() || core_has_avx512(core)) return NULL;
    if (forced && *forced)
        (void)snprintf(text, sizeof text,
                       "OPENBLAS_CORETYPE=%.32s holds OpenBLAS at its %.32s kernels, about half the speed that AVX-512 "
                       "gives; unset it",
                       forced, core);
    else
        (void)snprintf(text, sizeof text,
                       "OpenBLAS chose its %.32s kernels, about half the speed that the AVX-512 of this CPU gives",
                       core);
    return text;
}
