/* SPDX-License-Identifier: MIT
 * backward.h - the two products of a ternary matrix's backward, on integers (docs/design/0002-speed.md, 1).
 * Shapes: X [n,k] codes q with a scale s a row (a row is a token), T [m,k] in {-1,0,1} with scale a, dY [n,m].
 *
 * dY becomes 16-bit fixed point: a token's row for dX, a column (an output) over a chunk of TN_FIXED_CHUNK tokens
 * for dW. Sums of integers are exact, so that a result is the same on every instruction set and for any number of
 * threads. The only error worth the name is the rounding of dY, at most max / 65024 an element, max the largest |dY| of
 * its row or column. Zeros give zeros. A NaN or an infinity in dY makes NaN of all that its row (dX) or its column (dW)
 * reaches; what stays below TN_FIXED_TINY counts as zero.
 *
 * Parallel inside. `scratch` is the caller's, aligned to TN_ALIGN, of the size told below for the same arguments
 * and the same tn_par_threads(), and holds nothing between calls. */
#ifndef TN_KERNELS_BACKWARD_H
#define TN_KERNELS_BACKWARD_H
#include "core/compiler.h"
#include "kernels/packing.h"

enum {
    TN_FIXED_CHUNK = 512,  /* tokens of dW that share one scale an output: 512 x 32512 x 128 < 2^31 */
    TN_FIXED_TOP = 32512,  /* what max becomes: 127 x 256, the largest that two signed digits hold */
    TN_FIXED_M_MAX = 66052 /* 32512 m < 2^31 */
};
#define TN_FIXED_TINY ((tn_real)1e-30)

/* What a product does with its output. */
typedef enum tn_sum {
    TN_SUM_SET, /* writes it; the old content, even NaN, is not read */
    TN_SUM_ADD  /* adds to it */
} tn_sum;

/* T' as panels for dX, from states [m,k]. Stale after tn_kernels_init. */
size_t tn_pack_ternary_turned_bytes(int m, int k);
void tn_pack_ternary_turned(int m, int k, const int8_t *states, void *packed);

/* dX [n,k] (= or +=) a dY T. m <= TN_FIXED_M_MAX. */
size_t tn_ternary_dx_scratch(int n, int m);
void tn_ternary_dx(int n, int m, int k, const tn_real *dy, const void *packed_turned, tn_real a, tn_sum sum,
                   tn_real *dx, void *scratch);

/* The same bits from panels that were packed for the forward product (packing.h), which a frozen matrix has and no
 * others: they are turned, each once for TN_FIXED_CHUNK tokens. */
size_t tn_ternary_dx_packed_scratch(int n, int m, int k);
void tn_ternary_dx_packed(int n, int m, int k, const tn_real *dy, tn_packing packing, const void *packed, tn_real a,
                          tn_sum sum, tn_real *dx, void *scratch);

/* dW [m,k] (= or +=) (dY / s)' q: chunks of tokens in order, each exact. q [n,k], s [n]. */
size_t tn_ternary_dw_scratch(int n, int m, int k);
void tn_ternary_dw(int n, int m, int k, const tn_real *dy, const int8_t *q, const tn_real *s, tn_sum sum, tn_real *dw,
                   void *scratch);

#endif
