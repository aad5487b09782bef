/* SPDX-License-Identifier: MIT
 * thin.h - products with matrices of few columns, as the two of a low-rank adapter are: D [k,r] and U [m,r], r far
 * below k and m. Three of them make forward and backward of Y += c (X D) U':
 *
 *   gather   P = X D,      dP = c dY U       sums over the long side
 *   spread   Y += c P U',  dX += dP D'       sums over r
 *   outer    dU += dY' P,  dD += X' dP       sums over rows
 *
 * Every number is one chain of multiply-adds (real_panel in kernels.def), over ascending k, r or rows, that spread and
 * outer start from what is there: a row gives the bits that it gives alone, rows that come in two calls give outer what
 * they give in one, and no number of threads changes a bit. Rows are contiguous, as are those of D and U. Parallel
 * inside. */
#ifndef TN_KERNELS_THIN_H
#define TN_KERNELS_THIN_H
#include "kernels/backward.h"

/* P [n,r] = X [n,k] D. */
void tn_thin_gather(int n, int k, int r, const tn_real *x, const tn_real *d, tn_real *p);
/* Y [n,m] (= or +=) P [n,r] (c U)'. */
void tn_thin_spread(int n, int m, int r, const tn_real *p, const tn_real *u, tn_real c, tn_sum sum, tn_real *y);
/* U [m,r] (= or +=) Y' P for Y [n,m], P [n,r]. */
void tn_thin_outer(int n, int m, int r, const tn_real *y, const tn_real *p, tn_sum sum, tn_real *u);

#endif
