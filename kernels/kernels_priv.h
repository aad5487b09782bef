/* SPDX-License-Identifier: MIT
 * kernels_priv.h - what kernels.c and gemm.c share with the instruction sets.
 *
 * A ternary panel holds `width` outputs (rows of T). Their states, plus 1, take 2 bits. Along k they lie in groups of
 * TN_TERNARY_GROUP; a group is one 32-bit word per output, and bits 8 b + 2 i of it hold k = 4 i + b of the group. So
 * (word >> 2 i) & 0x03030303 is four neighbouring states as bytes, the form that byte dot products take.
 * Past the last k and the last output states are 0. */
#ifndef TN_KERNELS_KERNELS_PRIV_H
#define TN_KERNELS_KERNELS_PRIV_H
#include "kernels/kernels.h"

enum {
    TN_TERNARY_GROUP = 16,
    TN_TERNARY_WIDTH_MAX = 64,
    TN_REAL_WIDTH_MAX = 64,
    TN_REAL_TILE_MAX = 6 * TN_REAL_WIDTH_MAX,
    TN_PAIR_TILE_MAX = 6 * 64,
    TN_BF16_WIDTH_MAX = 64,
    TN_BF16_TILE_MAX = 6 * TN_BF16_WIDTH_MAX
};

/* Tasks to hand out at a time, each worth `work` multiply-adds; below a million of them a thread of its own does not
 * pay. Speed only: no output is shared between tasks. */
static inline int64_t tn_grain_of(int64_t work) {
    return TN_MAX(((int64_t)1 << 20) / TN_MAX(work, (int64_t)1), (int64_t)1);
}

/* Fetch the lines of a tile of reals that a product is about to write, so that they come while it computes. */
static inline void tn_prefetch_tile(const tn_real *tile, int rows, int cols, int64_t stride) {
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < cols; j += TN_ALIGN / (int)sizeof *tile) __builtin_prefetch(tile + r * stride + j, 1);
}

extern tn_kernels tn_kernels_table; /* what tn_k points to; starts as tn_kernels_generic */
extern const tn_kernels tn_kernels_generic;
#if defined(__x86_64__) && !defined(TN_F64)
#define TN_KERNELS_X86 1
extern const tn_kernels tn_kernels_avx2, tn_kernels_avx512;
void tn_kernels_add_avxvnni(tn_kernels *table); /* to the rows of avx2 */
void tn_kernels_add_bf16(tn_kernels *table);    /* where the CPU has it, to the rows of avx512; the next too */
void tn_kernels_add_vbmi(tn_kernels *table);
#else
#define TN_KERNELS_X86 0
#endif
#if defined(__aarch64__) && !defined(TN_F64)
#define TN_KERNELS_ARM 1
extern const tn_kernels tn_kernels_neon;
void tn_kernels_add_dotprod(tn_kernels *table); /* to the rows of neon; the next too */
void tn_kernels_add_i8mm(tn_kernels *table);
#else
#define TN_KERNELS_ARM 0
#endif

#endif
