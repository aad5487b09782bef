/* SPDX-License-Identifier: MIT
 * AVX-512 BF16, which a CPU with the rest of AVX-512 may lack: the rows in which it differs. */
#ifndef TN_F64
#include "kernels/bodies_bf16.h"
#include "kernels/bodies_peak.h"
#include "kernels/kernels_priv.h"

void tn_kernels_add_bf16(tn_kernels *table) {
    if (!__builtin_cpu_supports("avx512bf16")) return;
    table->spin_bf16 = spin_bf16;
    table->bf16_pair_rows = bf16_pair_rows;
    table->bf16_pair_cols = bf16_pair_cols;
    table->bf16_panel = bf16_panel;
    table->bf16_panel_width = BF16_WIDTH;
    table->bf16_tile_rows = BF16_ROWS;
    table->bf16_pays = __builtin_cpu_is("amd");
}
#endif
