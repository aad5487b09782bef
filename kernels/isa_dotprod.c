/* SPDX-License-Identifier: MIT
 * NEON with dot products of bytes (ARMv8.2 and later): the rows in which that differs from NEON. */
#ifndef TN_F64
#define VP_NEON
#include "kernels/bodies_neon.h"
#include "kernels/bodies_peak.h"

enum { TERNARY_ROWS = 8 };

#include "kernels/bodies_ternary.h"

DEFINE_DOT_TILE(ternary_tile_1, 1, 4)
DEFINE_DOT_TILE(ternary_tile_2, 2, 4)
DEFINE_DOT_TILE(ternary_tile_3, 3, 4)
DEFINE_DOT_TILE(ternary_tile_4, 4, 4)
DEFINE_DOT_TILE(tile_of_5, 5, 2)
DEFINE_DOT_TILE(tile_of_6, 6, 2)
DEFINE_DOT_TILE(tile_of_7, 7, 2)
DEFINE_DOT_TILE(tile_of_8, 8, 2)
DEFINE_TERNARY_TWICE(5, tile_of_5)
DEFINE_TERNARY_TWICE(6, tile_of_6)
DEFINE_TERNARY_TWICE(7, tile_of_7)
DEFINE_TERNARY_TWICE(8, tile_of_8)
static ternary_tile_fn *const ternary_tiles[] = {NULL,           ternary_tile_1, ternary_tile_2,
                                                 ternary_tile_3, ternary_tile_4, ternary_tile_5,
                                                 ternary_tile_6, ternary_tile_7, ternary_tile_8};

void tn_kernels_add_dotprod(tn_kernels *table) {
    table->isa = "dotprod";
    table->spin_bytes = spin_bytes;
    table->ternary_panel = ternary_panel;
    table->ternary_panel_width = TERNARY_WIDTH;
    table->ternary_tile_rows = TERNARY_ROWS;
}
#endif
