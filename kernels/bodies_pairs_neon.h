/* SPDX-License-Identifier: MIT
 * bodies_pairs_neon.h - the tiles of pair_panel on NEON, which multiplies by a lane and widens: the panel's words are
 * taken apart into first and second numbers, eight outputs at a time, and a row's word is two lanes. 24 sums, 2
 * registers of rows and 4 of the panel. */
#include "kernels/neon.h"
#include "kernels/tile.h"

enum { PAIR_WIDTH = 16, PAIR_ROWS = 6 };

#define P_ZERO(r, j)          int32x4_t acc##r##j = vdupq_n_s32(0);
#define P_STORE(r, j)         vst1q_s32(acc + r * PAIR_WIDTH + j * 4, acc##r##j);
#define P_ROW_ZERO(r, WIDTH)  VRS_4(P_ZERO, r)
#define P_ROW_STORE(r, WIDTH) VRS_4(P_STORE, r)
#define P_STEP(r, j, next_j)                                                                                           \
    {                                                                                                                  \
        const int16x8_t g_of_row = r < 4 ? g_low : g_high;                                                             \
        acc##r##j = vmlal_laneq_s16(acc##r##j, vget_low_s16(first), g_of_row, 2 * (r % 4));                            \
        acc##r##next_j = vmlal_high_laneq_s16(acc##r##next_j, first, g_of_row, 2 * (r % 4));                           \
        acc##r##j = vmlal_laneq_s16(acc##r##j, vget_low_s16(second), g_of_row, 2 * (r % 4) + 1);                       \
        acc##r##next_j = vmlal_high_laneq_s16(acc##r##next_j, second, g_of_row, 2 * (r % 4) + 1);                      \
    }
#define P_STEP_LEFT(r, WIDTH)  P_STEP(r, 0, 1)
#define P_STEP_RIGHT(r, WIDTH) P_STEP(r, 2, 3)
#define P_EIGHT(ROWS, from, DO)                                                                                        \
    {                                                                                                                  \
        const int16x8_t left = vreinterpretq_s16_u32(vld1q_u32(from)),                                                 \
                        right = vreinterpretq_s16_u32(vld1q_u32(from + 4));                                            \
        const int16x8_t first = vuzp1q_s16(left, right), second = vuzp2q_s16(left, right);                             \
        ROWS_##ROWS(DO, 0)                                                                                             \
    }
#define DEFINE_PAIR_TILE(ROWS)                                                                                         \
    static void pair_tile_##ROWS(int pairs, const uint32_t *g, int64_t g_stride, const uint32_t *panel,                \
                                 int32_t *acc) {                                                                       \
        ROWS_##ROWS(P_ROW_ZERO, 0);                                                                                    \
        for (int p = 0; p < pairs; p++, g += g_stride, panel += PAIR_WIDTH) {                                          \
            const int16x8_t g_low = vreinterpretq_s16_u32(load_words(g, ROWS)),                                        \
                            g_high = ROWS > 4 ? vreinterpretq_s16_u32(load_words(g + 4, ROWS - 4)) : g_low;            \
            P_EIGHT(ROWS, panel, P_STEP_LEFT)                                                                          \
            P_EIGHT(ROWS, panel + 8, P_STEP_RIGHT)                                                                     \
        }                                                                                                              \
        ROWS_##ROWS(P_ROW_STORE, 0);                                                                                   \
    }
