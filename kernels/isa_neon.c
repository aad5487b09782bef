/* SPDX-License-Identifier: MIT
 * NEON of every 64-bit ARM. Everything but the ternary panel comes from the shared bodies. */
#ifndef TN_F64
#define VP_NEON
#include "kernels/bodies.h"
#include "kernels/bodies_neon.h"

enum { TERNARY_ROWS = 4, TERNARY_OPENS = false };

#include "kernels/bodies_bytes.h"
#include "kernels/bodies_ternary.h"

/* A product of a code and a state is at most 128 in size, so 16 bits hold the sum of 255, four a group. */
enum { GROUPS_PER_SUM = 63 };

/* Two registers of 16-bit sums belong to one of words: of each output, four that are added up at the end. */
#define T_ZERO(r, j) int16x8_t low##r##j = vdupq_n_s16(0), high##r##j = vdupq_n_s16(0);
#define T_STEP(r, j)                                                                                                   \
    low##r##j = vmlal_s8(low##r##j, vget_low_s8(states), vget_low_s8(codes##r));                                       \
    high##r##j = vmlal_high_s8(high##r##j, states, codes##r);
#define T_WIDEN(r, j)                                                                                                  \
    {                                                                                                                  \
        int32_t *to = acc + r * TERNARY_WIDTH + j * WORDS;                                                             \
        const int32x4_t sums = vpaddq_s32(vpaddlq_s16(low##r##j), vpaddlq_s16(high##r##j));                            \
        vst1q_s32(to, vaddq_s32(vld1q_s32(to), sums));                                                                 \
    }
#define T_ROW_ZERO(r, WIDTH)  VRS_##WIDTH(T_ZERO, r)
#define T_ROW_WIDEN(r, WIDTH) VRS_##WIDTH(T_WIDEN, r)
#define T_ROW_CODES(r, part)                                                                                           \
    const int8x16_t codes##r = vreinterpretq_s8_s32(vdupq_n_s32(load_codes(q + r * q_stride + 4 * (part))));
#define T_WORDS(ROWS, j)                                                                                               \
    {                                                                                                                  \
        const uint8x16_t words = vreinterpretq_u8_u32(vld1q_u32(panel + j * WORDS));                                   \
        const int8x16_t states = STATES(words, part);                                                                  \
        ROWS_##ROWS(T_STEP, j)                                                                                         \
    }
#define T_PART(ROWS, WIDTH, number)                                                                                    \
    {                                                                                                                  \
        enum { part = (number) };                                                                                      \
        ROWS_##ROWS(T_ROW_CODES, number);                                                                              \
        VRS_##WIDTH(T_WORDS, ROWS)                                                                                     \
    }
#define DEFINE_TERNARY_TILE(name, ROWS, WIDTH)                                                                         \
    static void name(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel, int32_t *restrict acc) {    \
        STATES_CONSTANTS                                                                                               \
        for (int left = groups; left > 0; left -= GROUPS_PER_SUM) {                                                    \
            ROWS_##ROWS(T_ROW_ZERO, WIDTH);                                                                            \
            for (int g = TN_MIN(left, (int)GROUPS_PER_SUM); g > 0; g--) {                                              \
                T_PART(ROWS, WIDTH, 0)                                                                                 \
                T_PART(ROWS, WIDTH, 1)                                                                                 \
                T_PART(ROWS, WIDTH, 2)                                                                                 \
                T_PART(ROWS, WIDTH, 3)                                                                                 \
                q += TN_TERNARY_GROUP;                                                                                 \
                panel += TERNARY_WIDTH;                                                                                \
            }                                                                                                          \
            ROWS_##ROWS(T_ROW_WIDEN, WIDTH);                                                                           \
        }                                                                                                              \
    }

DEFINE_TERNARY_TILE(ternary_tile_1, 1, 4)
DEFINE_TERNARY_TILE(ternary_tile_2, 2, 4)
DEFINE_TERNARY_TILE(tile_of_3, 3, 2)
DEFINE_TERNARY_TILE(tile_of_4, 4, 2)
DEFINE_TERNARY_TWICE(3, tile_of_3)
DEFINE_TERNARY_TWICE(4, tile_of_4)
static ternary_tile_fn *const ternary_tiles[] = {NULL, ternary_tile_1, ternary_tile_2, ternary_tile_3, ternary_tile_4};

#define KERNEL(result, name, parameters) .name = name,
const tn_kernels tn_kernels_neon = {
#include "kernels/kernels.def"
    TN_KERNEL_SIZES("neon")};
#undef KERNEL
#endif
