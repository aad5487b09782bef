/* SPDX-License-Identifier: MIT
 * OpenBLAS: one serial product, and what is known about the installed library. core/par.c keeps
 * omp_get_max_threads() at 1 in every task, so the OpenMP build starts no team of its own. */
#include "kernels/blas.h"
#include "kernels/kernels.h"

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

/* The vectors that a kernel set of OpenBLAS 0.3.21 uses, in bits. */
static int core_bits(const char *core) {
    static const struct {
        const char *name;
        int bits;
    } cores[] = {{"SkylakeX", 512}, {"Cooperlake", 512}, {"SapphireRapids", 512}, {"Haswell", 256}, {"Zen", 256}};
    for (size_t i = 0; i < TN_COUNT(cores); i++)
        if (strcmp(core, cores[i].name) == 0) return cores[i].bits;
    return 128;
}

/* Of an instruction set of ours; 128 also where nothing is known better (portable C, other processors). */
static int isa_bits(const char *isa) {
    if (strncmp(isa, "avx512", 6) == 0) return 512;
    return strncmp(isa, "avx", 3) == 0 ? 256 : 128;
}

bool tn_blas_matches(void) { return core_bits(tn_blas_core()) >= isa_bits(tn_kernels_isa()); }

const char *tn_blas_warning(void) {
    static TN_THREAD_LOCAL char text[256];
    if (strcmp(tn_blas_threading(), "serial") == 0)
        return "the installed OpenBLAS is the serial build, which several threads may not call at once; install its "
               "OpenMP build, or run with --threads 1";
    if (strcmp(tn_blas_threading(), "pthreads") == 0)
        return "the installed OpenBLAS starts threads of its own that compete with ours; install its OpenMP build";
    const char *core = tn_blas_core(), *forced = getenv("OPENBLAS_CORETYPE");
    if (tn_blas_matches()) return NULL;
    if (forced && *forced)
        (void)snprintf(text, sizeof text,
                       "OPENBLAS_CORETYPE=%.32s holds OpenBLAS at its %.32s kernels, far below the speed of %.16s; "
                       "floating-point products run on Tern's own instead",
                       forced, core, tn_kernels_isa());
    else
        (void)snprintf(text, sizeof text,
                       "OpenBLAS does not know this CPU and chose its %.32s kernels, far below the speed of %.16s; "
                       "floating-point products run on Tern's own instead",
                       core, tn_kernels_isa());
    return text;
}
