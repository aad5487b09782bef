/* SPDX-License-Identifier: MIT */
#include "kernels/words.h"

#include "kernels/kernels_priv.h"

#include <math.h>

int tn_words_top(int terms) {
    TN_ASSERT(terms > 0);
    return TN_MIN((int)sqrt((double)INT32_MAX / terms), (int)INT16_MAX);
}

int64_t tn_words_panels_count(int pairs, int m) {
    const int width = tn_k->pair_panel_width;
    return (int64_t)((m + width - 1) / width) * width * pairs;
}

typedef void store_sums(int rows, int n, const int32_t *sums, int64_t stride, const tn_real *units, tn_real *y,
                        int64_t y_stride);

void tn_words_multiply(int n, int m, int pairs, const uint32_t *x, int64_t x_stride, const uint32_t *panels,
                       int64_t panel_stride, const tn_real *units, tn_sum sum, tn_real *y, int64_t y_stride) {
    const int width = tn_k->pair_panel_width;
    store_sums *const store = sum == TN_SUM_SET ? tn_k->scale_sums : tn_k->scale_sums_add;
    int32_t tile[TN_PAIR_TILE_MAX];
    for (int col = 0; col < m; col += width, panels += panel_stride) {
        const int cols = TN_MIN(width, m - col);
        for (int row = 0, rows; row < n; row += rows) {
            rows = TN_MIN(tn_k->pair_tile_rows, n - row);
            tn_real *to = y + row * y_stride + col;
            tn_prefetch_tile(to, rows, cols, y_stride);
            tn_k->pair_panel(rows, pairs, x + row, x_stride, panels, tile);
            store(rows, cols, tile, width, units + row, to, y_stride);
        }
    }
}
