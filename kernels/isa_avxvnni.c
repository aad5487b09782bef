/* SPDX-License-Identifier: MIT
 * AVX2 with AVX-VNNI, byte dot products in 256 bits: the rows in which that differs from AVX2. */
#ifndef TN_F64
#include "kernels/kernels_priv.h"
#include "kernels/bodies_vnni.h"
#include "kernels/bodies_pairs.h"
#include "kernels/bodies_peak.h"

void tn_kernels_add_avxvnni(tn_kernels *table) {
    table->isa = "avxvnni";
    table->spin_bytes = spin_bytes;
    table->spin_words = spin_words;
    table->ternary_panel = ternary_panel;
    table->ternary_bytes = ternary_bytes;
    table->byte_panel = byte_panel;
    table->sum_codes = sum_codes;
    table->ternary_panel_width = TERNARY_WIDTH;
    table->ternary_tile_rows = TERNARY_ROWS;
    table->pair_panel = pair_panel;
    table->pair_panel_width = PAIR_WIDTH;
    table->pair_tile_rows = PAIR_ROWS;
}
#endif
