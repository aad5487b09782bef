/* SPDX-License-Identifier: MIT
 * The f32 products of backward and of optimizers, on tiles of C whose size depends on the shape alone. The sum over k
 * is never cut between tasks, so neither the number of threads nor the schedule changes a bit. A tile is a call of
 * OpenBLAS where its kernels match the instruction set, else it runs on our own panels: an OpenBLAS older than the CPU
 * falls back to SSE, a tenth of the speed, and some systems pin it to AVX2 (blas.h). */
#include "kernels/blas.h"
#include "kernels/kernels.h"
#include "kernels/panels.h"
#include "kernels/product_priv.h"

#include <string.h>

enum {
    TILE_MAX = 256, /* a multiple of every real_panel_width */
    DEPTH = 256     /* of k in the packed operands of a tile: two pieces of 256 KB, in the second-level cache */
};

/* ---- own panels ---- */

/* Rows of op(A) times alpha over `depth` of k, contiguous; in place where they are so already. */
static const tn_real *rows_of_a(const tn_product_job *p, const tn_product_tile *t, int first, int depth, tn_real *room,
                                int64_t *stride) {
    *stride = p->lda;
    if (p->op_a == TN_AS_IS && p->alpha == 1) return t->a + first;
    *stride = depth;
    if (p->op_a == TN_TRANSPOSED) tn_k->turn(depth, t->rows, t->a + first * p->lda, p->lda, room, depth);
    for (int r = 0; r < t->rows && p->alpha != 1; r++) {
        const tn_real *from = p->op_a == TN_AS_IS ? t->a + r * p->lda + first : room + (int64_t)r * depth;
        tn_k->scale(depth, p->alpha, from, room + (int64_t)r * depth);
    }
    return room;
}

static void add_depth(const tn_product_job *p, const tn_product_tile *t, int first, int depth) {
    tn_real room[TILE_MAX * DEPTH], panels[TILE_MAX * DEPTH];
    int64_t stride;
    const tn_real *a = rows_of_a(p, t, first, depth, room, &stride);
    if (p->op_b == TN_TRANSPOSED)
        tn_panels_pack_turned(depth, t->cols, t->b + first, p->ldb, panels);
    else
        tn_panels_pack(depth, t->cols, t->b + first * p->ldb, p->ldb, panels);
    tn_panels_multiply(t->rows, t->cols, depth, a, stride, panels, TN_SUM_ADD, t->c, p->ldc);
}

static void multiply_own(const tn_product_job *p, const tn_product_tile *t) {
    for (int r = 0; r < t->rows && p->beta != 1; r++) {
        if (p->beta == 0) /* also over a NaN */
            memset(t->c + r * p->ldc, 0, sizeof *t->c * (size_t)t->cols);
        else
            tn_k->scale(t->cols, p->beta, t->c + r * p->ldc, t->c + r * p->ldc);
    }
    for (int first = 0; first < p->k; first += DEPTH) add_depth(p, t, first, TN_MIN(p->k - first, (int)DEPTH));
}

/* ---- or OpenBLAS ---- */

static void multiply_blas(const tn_product_job *p, const tn_product_tile *t) {
    tn_blas_gemm(p->op_a, p->op_b, t->rows, t->cols, p->k, p->alpha, t->a, p->lda, t->b, p->ldb, p->beta, t->c, p->ldc);
}

void tn_product(tn_op_of op_a, tn_op_of op_b, int m, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                const tn_real *b, int64_t ldb, tn_real beta, tn_real *c, int64_t ldc) {
    const tn_product_job p = {op_a, op_b, m, n, k, alpha, beta, a, b, c, lda, ldb, ldc, false};
    tn_product_run(&p, TILE_MAX, TILE_MAX, tn_blas_matches() ? multiply_blas : multiply_own);
}

void tn_product_symmetric(tn_op_of op, int n, int k, tn_real alpha, const tn_real *a, int64_t lda, tn_real beta,
                          tn_real *c, int64_t ldc) {
    const tn_product_job p = tn_product_job_symmetric(op, n, k, alpha, a, lda, beta, c, ldc);
    tn_product_run(&p, TILE_MAX, TILE_MAX, tn_blas_matches() ? multiply_blas : multiply_own);
}
