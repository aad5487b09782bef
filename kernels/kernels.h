/* SPDX-License-Identifier: MIT
 * kernels.h - the table of kernels: arithmetic on raw pointers, chosen once for this CPU.
 * Use: tn_kernels_init(NULL) at program start (after that the table is constant), then tn_k->rms_row(...).
 * TN_ISA=generic|avx2|avxvnni|avx512|neon|dotprod|i8mm in the environment masks the choice (tests, bug reports). */
#ifndef TN_KERNELS_KERNELS_H
#define TN_KERNELS_KERNELS_H
#include "core/status.h"
#include "kernels/attention.h"
#include "kernels/packing.h"
#include "kernels/screen.h"
#include "kernels/steps.h"

typedef struct tn_kernels {
    const char *isa; /* one of tn_kernels_known() */
#define KERNEL(result, name, parameters) result(*name) parameters;
#include "kernels/kernels.def"
#undef KERNEL
    /* Tile sizes that belong to ternary_panel, triple_panel, real_panel, pair_panel and bf16_panel. */
    int ternary_panel_width, ternary_tile_rows;
    bool ternary_opens; /* byte_panel beats ternary_panel when a panel serves many rows */
    int triple_tile_rows;
    bool triples_are_fast; /* rows of its own for triples: opening them costs less than 2-bit panels */
    tn_packing run_packing; /* of matrices that are run and never trained: tn_kernels_use_packing */
    int real_panel_width, real_tile_rows;
    int pair_panel_width, pair_tile_rows;
    int bf16_panel_width, bf16_tile_rows;
    bool bf16_pays; /* tn_bf16_pays */
} tn_kernels;

extern const tn_kernels *const tn_k;

/* Choose rows for this CPU, not above `isa` (NULL: TN_ISA, else the best). Fails: TN_E_ARG for an unknown name,
 * TN_E_UNSUPPORTED for one the CPU lacks. Tests may call it again with another name; packed weights are then stale. */
tn_status tn_kernels_init(const char *isa);
const char *tn_kernels_isa(void);
/* Pack what is only run so from now on, until tn_kernels_init, which goes back to pairs. */
void tn_kernels_use_packing(tn_packing packing);
/* Whether products of bf16 (tn_product_bf16) are faster than those of reals: where bf16_panel has instructions of its
 * own and they do more multiply-adds a cycle. AMD's do twice as many as in f32 (Zen 4, Zen 5); Intel's without AMX half
 * as many (measured: 43 against 88 GMAC/s of a core), since they take two cycles; ARM's bfmmla holds four times as
 * many, which only an emulator has run so far. */
bool tn_bf16_pays(void);
/* Names of instruction sets in rising order within one kind of CPU, "generic" first, for other CPUs too; NULL after the
 * last. */
const char *tn_kernels_known(size_t number);

#endif
