/* SPDX-License-Identifier: MIT
 * panels.h - the real product on packed panels, which gemm.h and the fused head are made of. Serial: for use inside
 * tn_par_for bodies. Shapes: X [n,k], B [k,m], Y [n,m]; rows of stored matrices are `stride` numbers apart.
 * A panel is real_panel_width columns of B, [k][width], with zeros past the last column; panel p starts at p width k.
 * Every element of Y is one chain of multiply-adds over ascending k (real_panel in kernels.def), whatever else is in
 * the product: x y and y x give the same bits, so a product and its turned twin do too. Stale after tn_kernels_init. */
#ifndef TN_KERNELS_PANELS_H
#define TN_KERNELS_PANELS_H
#include "kernels/backward.h"

/* Numbers in the panels of B [k,m]. */
int64_t tn_panels_count(int k, int m);
/* B as it is stored, [k,m]. */
void tn_panels_pack(int k, int m, const tn_real *b, int64_t stride, tn_real *panels);
/* B stored turned, [m,k]. */
void tn_panels_pack_turned(int k, int m, const tn_real *b, int64_t stride, tn_real *panels);
/* Y (= or +=) X B; k > 0. The chain of += starts from what Y holds. */
void tn_panels_multiply(int n, int m, int k, const tn_real *x, int64_t x_stride, const tn_real *panels, tn_sum sum,
                        tn_real *y, int64_t y_stride);

#endif
