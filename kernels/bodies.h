/* SPDX-License-Identifier: MIT
 * bodies.h - all bodies over simd.h and the table made of them. An instruction set's file is: this header, its own
 * ternary_panel with TERNARY_WIDTH, TERNARY_ROWS and TERNARY_OPENS, and one table ended by TN_KERNEL_SIZES(its name).
 */
#ifndef TN_KERNELS_BODIES_H
#define TN_KERNELS_BODIES_H
#include "kernels/simd.h"
#include "kernels/kernels_priv.h"
#include "kernels/triples.h"
#include "kernels/bodies_runs.h"
#include "kernels/bodies_moments.h"
#include "kernels/bodies_rows.h"
#include "kernels/bodies_panel.h"
#include "kernels/bodies_bf16.h"
#include "kernels/bodies_attention.h"
#include "kernels/bodies_peak.h"
#include "kernels/bodies_backward.h"
#include "kernels/bodies_pairs.h"
#include "kernels/bodies_turn.h"
#include "kernels/bodies_screen.h"
#include "kernels/bodies_table.h"

/* Sets that have no rows of their own for triples take the portable ones. */
static void triple_panel(int rows, int k, const int8_t *q, int64_t q_stride, const void *panel, int32_t *acc) {
    tn_triple_panel(rows, k, q, q_stride, panel, acc);
}
static void triple_bytes(int groups, const uint32_t *panel, uint32_t *bytes) { tn_triple_bytes(groups, panel, bytes); }

#define TN_KERNEL_SIZES(isa_name)                                                                                      \
    .isa = (isa_name), .ternary_panel_width = TERNARY_WIDTH, .ternary_tile_rows = TERNARY_ROWS,                        \
    .ternary_opens = TERNARY_OPENS, .triple_tile_rows = TERNARY_ROWS, .real_panel_width = TILE_VRS * LANES,            \
    .real_tile_rows = TILE_ROWS, .pair_panel_width = PAIR_WIDTH, .pair_tile_rows = PAIR_ROWS,                          \
    .bf16_panel_width = BF16_WIDTH, .bf16_tile_rows = BF16_ROWS

#endif
