/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "kernels/kernels.h"
#include "kernels/product_priv.h"

enum {
    TILES_WANTED = 8,
    SMALL_WORK = 1 << 17,
    SYMMETRIC_TILE = 128 /* the smaller, the less is computed twice */
};

typedef struct tiling {
    const tn_product_job *job;
    tn_product_method *multiply;
    int rows, cols; /* of a tile */
} tiling;

static int tiles_along(int size, int tile) { return (size + tile - 1) / tile; }

/* Large tiles are faster, but there must be enough for the threads of a common machine. */
static void shrink_tiles(tiling *t) {
    const int m = t->job->m, n = t->job->n, least_rows = t->rows / 4, least_cols = t->cols / 4;
    while (tiles_along(m, t->rows) * tiles_along(n, t->cols) < TILES_WANTED) {
        const bool rows_are_longer = TN_MIN(t->rows, m) >= TN_MIN(t->cols, n);
        int *longer = rows_are_longer ? &t->rows : &t->cols;
        if (*longer <= (rows_are_longer ? least_rows : least_cols)) return;
        *longer /= 2;
    }
}

/* Tiles are cut alike along both sides, so a tile is on the diagonal, above or below it. */
static void mirror_tile(const tn_product_job *p, int row, int col, int rows, int cols) {
    tn_real *c = p->c + row * p->ldc + col, *mirror = p->c + col * p->ldc + row;
    if (row != col) {
        tn_k->turn(rows, cols, c, p->ldc, mirror, p->ldc);
        return;
    }
    for (int i = 1; i < rows; i++)
        for (int j = 0; j < i; j++) c[i * p->ldc + j] = c[j * p->ldc + i];
}

static void multiply_tiles(void *context, int64_t begin, int64_t end) {
    const tiling *t = context;
    const tn_product_job *p = t->job;
    const int across = tiles_along(p->n, t->cols);
    for (int64_t i = begin; i < end; i++) {
        const int row = (int)(i / across) * t->rows, col = (int)(i % across) * t->cols;
        const int rows = TN_MIN(t->rows, p->m - row), cols = TN_MIN(t->cols, p->n - col);
        if (p->symmetric && row > col) continue;
        t->multiply(p, &(tn_product_tile){.rows = rows,
                                          .cols = cols,
                                          .a = p->a + (p->op_a == TN_AS_IS ? row * p->lda : row),
                                          .b = p->b + (p->op_b == TN_AS_IS ? col : col * p->ldb),
                                          .c = p->c + row * p->ldc + col});
        if (p->symmetric) mirror_tile(p, row, col, rows, cols);
    }
}

tn_product_job tn_product_job_symmetric(tn_op_of op, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                                        tn_real beta, tn_real *c, int64_t ldc) {
    const tn_op_of other = op == TN_AS_IS ? TN_TRANSPOSED : TN_AS_IS;
    return (tn_product_job){op, other, n, n, k, alpha, beta, a, a, c, lda, lda, ldc, true};
}

void tn_product_run(const tn_product_job *p, int rows, int cols, tn_product_method *multiply) {
    if (p->m <= 0 || p->n <= 0) return;
    tiling t = {.job = p, .multiply = multiply, .rows = rows, .cols = cols};
    if (p->symmetric)
        t.rows = t.cols = TN_MIN(rows, (int)SYMMETRIC_TILE);
    else
        shrink_tiles(&t);
    const int64_t tiles = (int64_t)tiles_along(p->m, t.rows) * tiles_along(p->n, t.cols);
    const bool small = (int64_t)p->m * p->n * p->k < SMALL_WORK; /* not worth waking threads */
    tn_par_for(tiles, small ? tiles : 1, multiply_tiles, &t);
}
