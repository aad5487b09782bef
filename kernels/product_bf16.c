/* SPDX-License-Identifier: MIT
 * The product of operands rounded to bf16. In a tile of C k is cut into lengths, whose words, packed as bf16_panel
 * wants them, stay in the second-level cache: all columns of B, a block of rows of A at a time. */
#include "kernels/kernels_priv.h"
#include "kernels/product_priv.h"

#include <string.h>

enum {
    TILE_ROWS = 384,
    TILE_COLS = 256,
    TERMS = 512, /* in a length of k; gemm.h promises it */
    PAIRS = TERMS / 2,
    ROW_BLOCK = 96, /* a multiple of every bf16_tile_rows */
    COLS_PADDED = TILE_COLS + TN_BF16_WIDTH_MAX
};

/* One length of k, on the stack of the thread that computes the tile: 430 KB. */
typedef struct length {
    int terms, pairs;
    uint32_t a[PAIRS * ROW_BLOCK];   /* [pairs][ROW_BLOCK] */
    uint32_t b[PAIRS * COLS_PADDED]; /* panels [pairs][width] */
} length;

/* `first` is of k, `row` of the tile. */
static void pack_rows(length *l, const tn_product_job *p, const tn_product_tile *t, int first, int row, int count) {
    if (p->op_a == TN_AS_IS)
        tn_k->bf16_pair_cols(count, l->terms, t->a + row * p->lda + first, p->lda, l->a, ROW_BLOCK);
    else
        tn_k->bf16_pair_rows(l->terms, count, t->a + first * p->lda + row, p->lda, l->a, ROW_BLOCK);
}

static void pack_panels(length *l, const tn_product_job *p, const tn_product_tile *t, int first) {
    const int width = tn_k->bf16_panel_width;
    uint32_t *panel = l->b;
    for (int col = 0; col < t->cols; col += width, panel += l->pairs * width) {
        const int count = TN_MIN(t->cols - col, width);
        if (count < width) memset(panel, 0, sizeof *panel * (size_t)(l->pairs * width));
        if (p->op_b == TN_AS_IS)
            tn_k->bf16_pair_rows(l->terms, count, t->b + first * p->ldb + col, p->ldb, panel, width);
        else
            tn_k->bf16_pair_cols(count, l->terms, t->b + col * p->ldb + first, p->ldb, panel, width);
    }
}

/* c = alpha sums + beta c */
static void store_row(int n, tn_real alpha, const tn_real *sums, tn_real beta, tn_real *c) {
    if (beta == 0) { /* also over a NaN */
        tn_k->scale(n, alpha, sums, c);
        return;
    }
    if (beta != 1)
        for (int i = 0; i < n; i++) c[i] *= beta;
    tn_k->axpy(n, alpha, sums, c);
}

/* `count` rows of C, those in l->a, from `c` on. */
static void multiply_rows(const length *l, const tn_product_job *p, int count, int n, tn_real beta, tn_real *c) {
    const int width = tn_k->bf16_panel_width;
    const uint32_t *panel = l->b;
    for (int col = 0; col < n; col += width, panel += l->pairs * width) {
        const int cols = TN_MIN(n - col, width);
        for (int row = 0, rows; row < count; row += rows) {
            tn_real sums[TN_BF16_TILE_MAX];
            tn_real *to = c + row * p->ldc + col;
            rows = TN_MIN(tn_k->bf16_tile_rows, count - row);
            tn_prefetch_tile(to, rows, cols, p->ldc);
            memset(sums, 0, sizeof *sums * (size_t)(rows * width));
            tn_k->bf16_panel(rows, l->pairs, l->a + row, ROW_BLOCK, panel, sums);
            for (int r = 0; r < rows; r++) store_row(cols, p->alpha, sums + r * width, beta, to + r * p->ldc);
        }
    }
}

static void multiply_tile(const tn_product_job *p, const tn_product_tile *t) {
    length l;
    int first = 0;
    do { /* once for k = 0 too, which leaves beta C */
        l.terms = TN_MIN(p->k - first, (int)TERMS);
        l.pairs = (l.terms + 1) / 2;
        pack_panels(&l, p, t, first);
        for (int row = 0; row < t->rows; row += ROW_BLOCK) {
            const int count = TN_MIN(t->rows - row, (int)ROW_BLOCK);
            pack_rows(&l, p, t, first, row, count);
            multiply_rows(&l, p, count, t->cols, first ? 1 : p->beta, t->c + row * p->ldc);
        }
        first += TERMS;
    } while (first < p->k);
}

void tn_product_bf16(tn_op_of op_a, tn_op_of op_b, int m, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                     const tn_real *b, int64_t ldb, tn_real beta, tn_real *c, int64_t ldc) {
    const tn_product_job p = {op_a, op_b, m, n, k, alpha, beta, a, b, c, lda, ldb, ldc, false};
    tn_product_run(&p, TILE_ROWS, TILE_COLS, multiply_tile);
}

void tn_product_symmetric_bf16(tn_op_of op, int n, int k, tn_real alpha, const tn_real *a, int64_t lda, tn_real beta,
                               tn_real *c, int64_t ldc) {
    const tn_product_job p = tn_product_job_symmetric(op, n, k, alpha, a, lda, beta, c, ldc);
    tn_product_run(&p, TILE_ROWS, TILE_COLS, multiply_tile);
}
