/* SPDX-License-Identifier: MIT
 * bodies_bf16_neon.h - bf16_panel on NEON with bfmmla, which multiplies 2 rows of 4 terms with 4 terms of 2 outputs:
 * two words of each, brought together here. acc##p##j holds rows 2 p and 2 p + 1 of outputs 2 j and 2 j + 1: 24 sums, 3
 * registers of rows and 3 of the panel. */
#include "kernels/neon.h"
#include "kernels/tile.h"

enum { BF16_WIDTH = 16, BF16_ROWS = 6 };

/* acc[rows][BF16_WIDTH] += a[pairs][rows] x panel[pairs][BF16_WIDTH] */
typedef void bf16_tile_fn(int pairs, const uint32_t *a, int64_t a_stride, const uint32_t *panel, float *acc);

/* What an odd number of words lacks. */
static const uint32_t no_words[BF16_WIDTH] = {0};

/* The second row of the last pair of an odd number of rows is read as the first, which is written after it. */
#define B_ROW(p)     (acc + 2 * (p)*BF16_WIDTH)
#define B_NEXT(p)    (acc + TN_MIN(2 * (p) + 1, rows - 1) * BF16_WIDTH)
#define B_LOAD(p, j) float32x4_t acc##p##j = vcombine_f32(vld1_f32(B_ROW(p) + 2 * j), vld1_f32(B_NEXT(p) + 2 * j));
#define B_STORE(p, j)                                                                                                  \
    vst1_f32(B_NEXT(p) + 2 * j, vget_high_f32(acc##p##j));                                                             \
    vst1_f32(B_ROW(p) + 2 * j, vget_low_f32(acc##p##j));
#define B_PAIR_LOAD(p, unused)  VRS_8(B_LOAD, p)
#define B_PAIR_STORE(p, unused) VRS_8(B_STORE, p)

#define B_BOTH(zip, words, next) vreinterpretq_bf16_u32(zip(words, next))
#define B_STEP(p, j)             acc##p##j = vbfmmlaq_f32(acc##p##j, x##p, y);
#define B_OUTPUTS(PAIRS, j, zip)                                                                                       \
    {                                                                                                                  \
        const bfloat16x8_t y = B_BOTH(zip, words, next);                                                               \
        ROWS_##PAIRS(B_STEP, j)                                                                                        \
    }
#define B_WORDS(PAIRS, at, j, next_j)                                                                                  \
    {                                                                                                                  \
        const uint32x4_t words = vld1q_u32(panel + at), next = vld1q_u32(panel_next + at);                             \
        B_OUTPUTS(PAIRS, j, vzip1q_u32)                                                                                \
        B_OUTPUTS(PAIRS, next_j, vzip2q_u32)                                                                           \
    }
#define B_TWO(PAIRS, a_more, panel_more)                                                                               \
    {                                                                                                                  \
        const uint32_t *a_next = a_more, *panel_next = panel_more;                                                     \
        const uint32x4_t low = load_words(a, rows), low_next = load_words(a_next, rows),                               \
                         high = load_words(a + 4, rows - 4), high_next = load_words(a_next + 4, rows - 4);             \
        TN_UNUSED const bfloat16x8_t x0 = B_BOTH(vzip1q_u32, low, low_next), x1 = B_BOTH(vzip2q_u32, low, low_next),   \
                                     x2 = B_BOTH(vzip1q_u32, high, high_next);                                         \
        B_WORDS(PAIRS, 0, 0, 1)                                                                                        \
        B_WORDS(PAIRS, 4, 2, 3)                                                                                        \
        B_WORDS(PAIRS, 8, 4, 5)                                                                                        \
        B_WORDS(PAIRS, 12, 6, 7)                                                                                       \
    }
#define DEFINE_BF16_TILE(ROWS, PAIRS)                                                                                  \
    static void bf16_tile_##ROWS(int pairs, const uint32_t *a, int64_t a_stride, const uint32_t *panel, float *acc) {  \
        enum { rows = ROWS };                                                                                          \
        ROWS_##PAIRS(B_PAIR_LOAD, 0);                                                                                  \
        for (; pairs > 1; pairs -= 2, a += 2 * a_stride, panel += 2 * BF16_WIDTH)                                      \
            B_TWO(PAIRS, a + a_stride, panel + BF16_WIDTH)                                                             \
        if (pairs > 0) B_TWO(PAIRS, no_words, no_words)                                                                \
        ROWS_##PAIRS(B_PAIR_STORE, 0);                                                                                 \
    }

DEFINE_BF16_TILE(1, 1)
DEFINE_BF16_TILE(2, 1)
DEFINE_BF16_TILE(3, 2)
DEFINE_BF16_TILE(4, 2)
DEFINE_BF16_TILE(5, 3)
DEFINE_BF16_TILE(6, 3)
static bf16_tile_fn *const bf16_tiles[] = {NULL,        bf16_tile_1, bf16_tile_2, bf16_tile_3,
                                           bf16_tile_4, bf16_tile_5, bf16_tile_6};

static void bf16_panel(int rows, int pairs, const uint32_t *a, int64_t a_stride, const uint32_t *panel, float *acc) {
    bf16_tiles[rows](pairs, a, a_stride, panel, acc);
}
