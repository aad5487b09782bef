/* SPDX-License-Identifier: MIT
 * A piece of a panel, DEPTH deep, stays in the second-level cache while the rows of X stream past it. What the kernel
 * will add to is fetched ahead: it starts each tile by loading that, and rows of Y lie far apart. */
#include "kernels/panels.h"

#include "kernels/kernels_priv.h"

#include <string.h>

enum { DEPTH = 768 };

static int64_t panels_of(int m) { return (m + tn_k->real_panel_width - 1) / tn_k->real_panel_width; }

int64_t tn_panels_count(int k, int m) { return panels_of(m) * tn_k->real_panel_width * k; }

/* Row by row, so that B is read in order. */
void tn_panels_pack(int k, int m, const tn_real *b, int64_t stride, tn_real *panels) {
    const int width = tn_k->real_panel_width;
    for (int t = 0; t < k; t++, b += stride, panels += width) {
        tn_real *to = panels;
        for (int first = 0; first < m; first += width, to += (int64_t)width * k) {
            const int count = TN_MIN(width, m - first);
            memcpy(to, b + first, sizeof *to * (size_t)count);
            memset(to + count, 0, sizeof *to * (size_t)(width - count));
        }
    }
}

void tn_panels_pack_turned(int k, int m, const tn_real *b, int64_t stride, tn_real *panels) {
    const int width = tn_k->real_panel_width;
    for (int first = 0; first < m; first += width, panels += (int64_t)width * k) {
        const int count = TN_MIN(width, m - first);
        if (count < width) memset(panels, 0, sizeof *panels * (size_t)width * (size_t)k);
        tn_k->turn(count, k, b + first * stride, stride, panels, width);
    }
}

/* A product whose columns are those of one panel. */
typedef struct piece {
    int n, cols, k;
    const tn_real *x, *panel;
    int64_t x_stride, y_stride;
    tn_sum sum;
    tn_real *y;
} piece;

/* Rows of a panel that is wanted only in part. */
static void multiply_edge(const piece *p, int rows, const tn_real *x, tn_real *y) {
    const int width = tn_k->real_panel_width;
    tn_real tile[TN_REAL_TILE_MAX] = {0};
    const size_t size = sizeof *tile * (size_t)p->cols;
    for (int r = 0; r < rows && p->sum == TN_SUM_ADD; r++) memcpy(tile + r * width, y + r * p->y_stride, size);
    tn_k->real_panel(rows, p->k, x, p->x_stride, p->panel, tile, width);
    for (int r = 0; r < rows; r++) memcpy(y + r * p->y_stride, tile + r * width, size);
}

static void multiply_piece(const piece *p) {
    const int tile_rows = tn_k->real_tile_rows, width = tn_k->real_panel_width;
    for (int row = 0, rows; row < p->n; row += rows) {
        rows = TN_MIN(tile_rows, p->n - row);
        const tn_real *x = p->x + row * p->x_stride;
        tn_real *y = p->y + row * p->y_stride;
        tn_prefetch_tile(y + 2 * tile_rows * p->y_stride, TN_MIN(tile_rows, p->n - row - 2 * tile_rows), p->cols,
                         p->y_stride);
        if (p->cols < width) {
            multiply_edge(p, rows, x, y);
            continue;
        }
        for (int r = 0; r < rows && p->sum == TN_SUM_SET; r++)
            memset(y + r * p->y_stride, 0, sizeof *y * (size_t)width);
        tn_k->real_panel(rows, p->k, x, p->x_stride, p->panel, y, p->y_stride);
    }
}

void tn_panels_multiply(int n, int m, int k, const tn_real *x, int64_t x_stride, const tn_real *panels, tn_sum sum,
                        tn_real *y, int64_t y_stride) {
    TN_ASSERT(k > 0);
    const int width = tn_k->real_panel_width, pieces = (k + DEPTH - 1) / DEPTH, depth = (k + pieces - 1) / pieces;
    for (int col = 0; col < m; col += width)
        for (int at = 0; at < k; at += depth) {
            const piece p = {.n = n,
                             .cols = TN_MIN(width, m - col),
                             .k = TN_MIN(depth, k - at),
                             .x = x + at,
                             .x_stride = x_stride,
                             .panel = panels + (int64_t)col * k + (int64_t)at * width,
                             .sum = at ? TN_SUM_ADD : sum,
                             .y = y + col,
                             .y_stride = y_stride};
            multiply_piece(&p);
        }
}
