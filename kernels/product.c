/* SPDX-License-Identifier: MIT
 * The backward and optimizer products: OpenBLAS on tiles of C whose size depends on the shape alone. The sum over k is
 * never cut, so neither the number of threads nor the schedule changes a bit. */
#include "core/par.h"
#include "kernels/blas.h"

enum { TILE_MAX = 256, TILE_MIN = 64, TILES_WANTED = 8, SMALL_WORK = 1 << 17 };

typedef struct product_job {
    tn_op_of op_a, op_b;
    int m, n, k;
    tn_real alpha, beta;
    const tn_real *a, *b;
    tn_real *c;
    int64_t lda, ldb, ldc;
    int tile_rows, tile_cols;
} product_job;

static int tiles_along(int size, int tile) { return (size + tile - 1) / tile; }

/* Large tiles are faster, but there must be enough for the threads of a common machine. */
static void choose_tiles(product_job *p) {
    p->tile_rows = p->tile_cols = TILE_MAX;
    while (tiles_along(p->m, p->tile_rows) * tiles_along(p->n, p->tile_cols) < TILES_WANTED) {
        int *longer = TN_MIN(p->tile_rows, p->m) >= TN_MIN(p->tile_cols, p->n) ? &p->tile_rows : &p->tile_cols;
        if (*longer <= TILE_MIN) return;
        *longer /= 2;
    }
}

static void multiply_tiles(void *context, int64_t begin, int64_t end) {
    const product_job *p = context;
    const int across = tiles_along(p->n, p->tile_cols);
    for (int64_t tile = begin; tile < end; tile++) {
        const int row = (int)(tile / across) * p->tile_rows, col = (int)(tile % across) * p->tile_cols;
        const int64_t a_at = p->op_a == TN_AS_IS ? row * p->lda : row;
        const int64_t b_at = p->op_b == TN_AS_IS ? col : col * p->ldb;
        tn_blas_gemm(p->op_a, p->op_b, TN_MIN(p->tile_rows, p->m - row), TN_MIN(p->tile_cols, p->n - col), p->k,
                     p->alpha, p->a + a_at, p->lda, p->b + b_at, p->ldb, p->beta, p->c + row * p->ldc + col, p->ldc);
    }
}

void tn_product(tn_op_of op_a, tn_op_of op_b, int m, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                const tn_real *b, int64_t ldb, tn_real beta, tn_real *c, int64_t ldc) {
    if (m <= 0 || n <= 0) return;
    product_job p = {.op_a = op_a,
                     .op_b = op_b,
                     .m = m,
                     .n = n,
                     .k = k,
                     .alpha = alpha,
                     .beta = beta,
                     .a = a,
                     .b = b,
                     .c = c,
                     .lda = lda,
                     .ldb = ldb,
                     .ldc = ldc};
    choose_tiles(&p);
    const int64_t tiles = (int64_t)tiles_along(m, p.tile_rows) * tiles_along(n, p.tile_cols);
    const bool small = (int64_t)m * n * k < SMALL_WORK; /* not worth waking threads */
    tn_par_for(tiles, small ? tiles : 1, multiply_tiles, &p);
}
