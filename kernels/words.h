/* SPDX-License-Identifier: MIT
 * words.h - the product of two operands in 16-bit fixed point, with exact sums: the weight gradient of a ternary matrix
 * and the head in training (docs/design/0002-speed.md, 1). Serial: for use inside tn_par_for bodies.
 * A word is two neighbouring terms of a sum, as pair_rows makes them (kernels.def); the right operand lies in panels of
 * pair_panel_width columns, [pairs][width], words past the last column being 0. Stale after tn_kernels_init. */
#ifndef TN_KERNELS_WORDS_H
#define TN_KERNELS_WORDS_H
#include "kernels/backward.h"

/* The largest code that both operands may have for a sum of `terms` products to fit 32 bits; terms > 0. */
int tn_words_top(int terms);

/* Words of the panels of an operand [2 pairs, m]. */
int64_t tn_words_panels_count(int pairs, int m);

/* Y [n,m] (= or +=) units[row] * sum over pairs of x [pairs][n] and the panels, rows of x being `x_stride` words apart
 * and panels `panel_stride`. */
void tn_words_multiply(int n, int m, int pairs, const uint32_t *x, int64_t x_stride, const uint32_t *panels,
                       int64_t panel_stride, const tn_real *units, tn_sum sum, tn_real *y, int64_t y_stride);

#endif
