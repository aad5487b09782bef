/* SPDX-License-Identifier: MIT
 * The f32 products of backward and of optimizers, on tiles of C whose size depends on the shape alone. The sum over k is
 * never cut between tasks, so neither the number of threads nor the schedule changes a bit. A tile is a call of OpenBLAS
 * where its kernels match the instruction set, else it runs on our own panels: an OpenBLAS older than the CPU falls back
 * to SSE, a tenth of the speed, and some systems pin it to AVX2 (blas.h). */
#include "core/par.h"
#include "kernels/blas.h"
#include "kernels/kernels_priv.h"

#include <string.h>

enum {
    TILE_MAX = 256,
    TILE_MIN = 64,
    TILES_WANTED = 8,
    SMALL_WORK = 1 << 17,
    DEPTH = 256 /* of k in the packed operands of a tile: two pieces of 256 KB at most, in the second-level cache */
};

typedef struct product_job {
    tn_op_of op_a, op_b;
    int m, n, k;
    tn_real alpha, beta;
    const tn_real *a, *b;
    tn_real *c;
    int64_t lda, ldb, ldc;
    int tile_rows, tile_cols;
    bool own;
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

/* One tile of C: op(A) [rows, k], op(B) [k, cols]. */
typedef struct product_tile {
    int rows, cols, k;
    const tn_real *a, *b;
    tn_real *c;
} product_tile;

/* ---- own panels ---- */

/* Rows of op(A) times alpha over `depth` of k, contiguous; in place where they are so already. */
static const tn_real *rows_of_a(const product_job *p, const product_tile *t, int first, int depth, tn_real *room,
                                int64_t *stride) {
    *stride = p->lda;
    if (p->op_a == TN_AS_IS && p->alpha == 1) return t->a + first;
    *stride = depth;
    if (p->op_a == TN_TRANSPOSED)
        tn_k->turn(depth, t->rows, t->a + first * p->lda, p->lda, room, depth);
    for (int r = 0; r < t->rows && p->alpha != 1; r++) {
        const tn_real *from = p->op_a == TN_AS_IS ? t->a + r * p->lda + first : room + (int64_t)r * depth;
        tn_k->scale(depth, p->alpha, from, room + (int64_t)r * depth);
    }
    return room;
}

/* Columns [col, col + count) of op(B) as a panel [depth][width], zeros beyond them. */
static void pack_panel(const product_job *p, const product_tile *t, int first, int depth, int col, int count,
                       tn_real *panel) {
    const int width = tn_k->real_panel_width;
    if (count < width) memset(panel, 0, sizeof *panel * (size_t)depth * (size_t)width);
    if (p->op_b == TN_TRANSPOSED) {
        tn_k->turn(count, depth, t->b + col * p->ldb + first, p->ldb, panel, width);
        return;
    }
    for (int i = 0; i < depth; i++)
        memcpy(panel + (int64_t)i * width, t->b + (first + i) * p->ldb + col, sizeof *panel * (size_t)count);
}

/* C of a panel that is wanted only in part. */
static void edge_panel(const product_job *p, const tn_real *a, int64_t stride, int rows, int depth, int count,
                       const tn_real *panel, tn_real *c) {
    const int width = tn_k->real_panel_width;
    tn_real room[TN_REAL_TILE_MAX] = {0};
    for (int r = 0; r < rows; r++) memcpy(room + r * width, c + r * p->ldc, sizeof *c * (size_t)count);
    tn_k->real_panel(rows, depth, a, stride, panel, room, width);
    for (int r = 0; r < rows; r++) memcpy(c + r * p->ldc, room + r * width, sizeof *c * (size_t)count);
}

static void add_depth(const product_job *p, const product_tile *t, int first, int depth) {
    tn_real room[TILE_MAX * DEPTH], panel[TN_REAL_WIDTH_MAX * DEPTH];
    const int width = tn_k->real_panel_width;
    int64_t stride;
    const tn_real *a = rows_of_a(p, t, first, depth, room, &stride);
    for (int col = 0; col < t->cols; col += width) {
        const int count = TN_MIN(width, t->cols - col);
        pack_panel(p, t, first, depth, col, count, panel);
        for (int row = 0, rows; row < t->rows; row += rows) {
            rows = TN_MIN(tn_k->real_tile_rows, t->rows - row);
            tn_real *c = t->c + row * p->ldc + col;
            if (count < width)
                edge_panel(p, a + row * stride, stride, rows, depth, count, panel, c);
            else
                tn_k->real_panel(rows, depth, a + row * stride, stride, panel, c, p->ldc);
        }
    }
}

static void multiply_own(const product_job *p, const product_tile *t) {
    for (int r = 0; r < t->rows && p->beta != 1; r++) {
        if (p->beta == 0) /* also over a NaN */
            memset(t->c + r * p->ldc, 0, sizeof *t->c * (size_t)t->cols);
        else
            tn_k->scale(t->cols, p->beta, t->c + r * p->ldc, t->c + r * p->ldc);
    }
    for (int first = 0; first < t->k; first += DEPTH) add_depth(p, t, first, TN_MIN(t->k - first, (int)DEPTH));
}

/* ---- tiles ---- */

static product_tile tile_of(const product_job *p, int64_t tile) {
    const int across = tiles_along(p->n, p->tile_cols);
    const int row = (int)(tile / across) * p->tile_rows, col = (int)(tile % across) * p->tile_cols;
    return (product_tile){.rows = TN_MIN(p->tile_rows, p->m - row),
                          .cols = TN_MIN(p->tile_cols, p->n - col),
                          .k = p->k,
                          .a = p->a + (p->op_a == TN_AS_IS ? row * p->lda : row),
                          .b = p->b + (p->op_b == TN_AS_IS ? col : col * p->ldb),
                          .c = p->c + row * p->ldc + col};
}

static void multiply_tiles(void *context, int64_t begin, int64_t end) {
    const product_job *p = context;
    for (int64_t i = begin; i < end; i++) {
        const product_tile t = tile_of(p, i);
        if (p->own)
            multiply_own(p, &t);
        else
            tn_blas_gemm(p->op_a, p->op_b, t.rows, t.cols, t.k, p->alpha, t.a, p->lda, t.b, p->ldb, p->beta, t.c,
                         p->ldc);
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
                     .ldc = ldc,
                     .own = !tn_blas_matches()};
    choose_tiles(&p);
    const int64_t tiles = (int64_t)tiles_along(m, p.tile_rows) * tiles_along(n, p.tile_cols);
    const bool small = (int64_t)m * n * k < SMALL_WORK; /* not worth waking threads */
    tn_par_for(tiles, small ? tiles : 1, multiply_tiles, &p);
}
