/* SPDX-License-Identifier: MIT
 * NEON with products of small matrices of bytes and of bf16 (ARMv8.6): the rows in which that differs from NEON. */
#ifndef TN_F64
#define VP_NEON
#include "kernels/bodies_bf16_neon.h"
#include "kernels/bodies_neon.h"
#include "kernels/bodies_peak.h"

enum { TERNARY_ROWS = 8 };

#include "kernels/bodies_ternary.h"

/* Below four rows the dot product by lane is faster: it needs no pairs. */
DEFINE_DOT_TILE(ternary_tile_1, 1, 4)
DEFINE_DOT_TILE(ternary_tile_2, 2, 4)
DEFINE_DOT_TILE(ternary_tile_3, 3, 4)

/* smmla multiplies 2 rows of 8 codes with 8 states of 2 outputs: acc##p##j holds rows 2 p and 2 p + 1 of outputs 2 j
 * and 2 j + 1. The last of an odd number of rows makes a pair with itself: both write the same sums. */
#define M_SECOND(p) TN_MIN(2 * p + 1, rows - 1)
#define M_LOAD(p, WIDTH)                                                                                               \
    const int8_t *q##p = q + 2 * p * q_stride, *q_next##p = q + M_SECOND(p) * q_stride;                                \
    int32_t *to##p = acc + 2 * p * TERNARY_WIDTH, *to_next##p = acc + M_SECOND(p) * TERNARY_WIDTH;                     \
    int32x4_t acc##p##0 = vcombine_s32(vld1_s32(to##p), vld1_s32(to_next##p));                                         \
    int32x4_t acc##p##1 = vcombine_s32(vld1_s32(to##p + 2), vld1_s32(to_next##p + 2));                                 \
    int32x4_t acc##p##2 = vcombine_s32(vld1_s32(to##p + 4), vld1_s32(to_next##p + 4));                                 \
    int32x4_t acc##p##3 = vcombine_s32(vld1_s32(to##p + 6), vld1_s32(to_next##p + 6));
#define M_STORE_PART(p, j)                                                                                             \
    vst1_s32(to##p + 2 * j, vget_low_s32(acc##p##j));                                                                  \
    vst1_s32(to_next##p + 2 * j, vget_high_s32(acc##p##j));
#define M_STORE(p, WIDTH) VRS_4(M_STORE_PART, p)
#define M_CODES(p, at)    const int8x16_t codes##p = vcombine_s8(vld1_s8(q##p + at), vld1_s8(q_next##p + at));
#define M_NEXT(p, WIDTH)  q##p += TN_TERNARY_GROUP, q_next##p += TN_TERNARY_GROUP;
#define M_STEP(p, j)      acc##p##j = vmmlaq_s32(acc##p##j, codes##p, states);
#define M_OUTPUTS(PAIRS, j, zip)                                                                                       \
    {                                                                                                                  \
        const int8x16_t states = vreinterpretq_s8_s32(zip(vreinterpretq_s32_s8(left), vreinterpretq_s32_s8(right)));   \
        ROWS_##PAIRS(M_STEP, j)                                                                                        \
    }
/* Codes 8 h .. 8 h + 7 of a group are parts 2 h and 2 h + 1. */
#define M_WORDS(PAIRS, word, h, j, next_j)                                                                             \
    {                                                                                                                  \
        const uint8x16_t words = vreinterpretq_u8_u32(vld1q_u32(panel + word * WORDS));                                \
        const int8x16_t left = STATES(words, 2 * h), right = STATES(words, 2 * h + 1);                                 \
        M_OUTPUTS(PAIRS, j, vzip1q_s32)                                                                                \
        M_OUTPUTS(PAIRS, next_j, vzip2q_s32)                                                                           \
    }
#define M_HALF(PAIRS, h)                                                                                               \
    {                                                                                                                  \
        ROWS_##PAIRS(M_CODES, 8 * h);                                                                                  \
        M_WORDS(PAIRS, 0, h, 0, 1)                                                                                     \
        M_WORDS(PAIRS, 1, h, 2, 3)                                                                                     \
    }
#define DEFINE_MATRIX_TILE(name, ROWS, PAIRS)                                                                          \
    static void name(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel, int32_t *acc) {             \
        enum { rows = ROWS };                                                                                          \
        STATES_CONSTANTS                                                                                               \
        ROWS_##PAIRS(M_LOAD, 0);                                                                                       \
        for (int g = 0; g < groups; g++, panel += TERNARY_WIDTH) {                                                     \
            M_HALF(PAIRS, 0)                                                                                           \
            M_HALF(PAIRS, 1)                                                                                           \
            ROWS_##PAIRS(M_NEXT, 0);                                                                                   \
        }                                                                                                              \
        ROWS_##PAIRS(M_STORE, 0);                                                                                      \
    }

DEFINE_MATRIX_TILE(tile_of_4, 4, 2)
DEFINE_MATRIX_TILE(tile_of_5, 5, 3)
DEFINE_MATRIX_TILE(tile_of_6, 6, 3)
DEFINE_MATRIX_TILE(tile_of_7, 7, 4)
DEFINE_MATRIX_TILE(tile_of_8, 8, 4)
DEFINE_TERNARY_TWICE(4, tile_of_4)
DEFINE_TERNARY_TWICE(5, tile_of_5)
DEFINE_TERNARY_TWICE(6, tile_of_6)
DEFINE_TERNARY_TWICE(7, tile_of_7)
DEFINE_TERNARY_TWICE(8, tile_of_8)
static ternary_tile_fn *const ternary_tiles[] = {NULL,           ternary_tile_1, ternary_tile_2,
                                                 ternary_tile_3, ternary_tile_4, ternary_tile_5,
                                                 ternary_tile_6, ternary_tile_7, ternary_tile_8};

/* ---- opened panels: two steps are 8 registers, each 8 states of 2 outputs ---- */
enum { TWO_STEPS = 2 * TERNARY_WIDTH /* words */ };

static void ternary_bytes(int groups, const uint32_t *panel, uint32_t *bytes) {
    const uint32x4_t mask = vdupq_n_u32(0x03030303);
    for (; groups > 0; groups--, panel += TERNARY_WIDTH, bytes += 2 * TWO_STEPS)
        for (int j = 0; j < 4; j++) {
            const uint32x4_t words = vld1q_u32(panel + j * WORDS);
            const uint32x4_t first = vandq_u32(words, mask), second = vandq_u32(vshrq_n_u32(words, 2), mask),
                             third = vandq_u32(vshrq_n_u32(words, 4), mask),
                             fourth = vandq_u32(vshrq_n_u32(words, 6), mask);
            vst1q_u32(bytes + 2 * j * WORDS, vzip1q_u32(first, second));
            vst1q_u32(bytes + (2 * j + 1) * WORDS, vzip2q_u32(first, second));
            vst1q_u32(bytes + TWO_STEPS + 2 * j * WORDS, vzip1q_u32(third, fourth));
            vst1q_u32(bytes + TWO_STEPS + (2 * j + 1) * WORDS, vzip2q_u32(third, fourth));
        }
}

/* Four codes and four zeros: what an odd last step takes. */
VR_INLINE int8x8_t half_codes(const int8_t *q) {
    return vreinterpret_s8_s32(vset_lane_s32(load_codes(q), vdup_n_s32(0), 0));
}
#define O_STATES(PAIRS, j)                                                                                             \
    {                                                                                                                  \
        const int8x16_t states = vreinterpretq_s8_u32(vld1q_u32(bytes + j * WORDS));                                   \
        ROWS_##PAIRS(M_STEP, j)                                                                                        \
    }
#define O_LAST_CODES(p, unused) const int8x16_t codes##p = vcombine_s8(half_codes(q##p), half_codes(q_next##p));
#define O_NEXT(p, unused)       q##p += 8, q_next##p += 8;
#define DEFINE_BYTE_TILE(ROWS, PAIRS)                                                                                  \
    static void byte_tile_##ROWS(int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes,                  \
                                 int32_t *restrict acc) {                                                              \
        enum { rows = ROWS };                                                                                          \
        ROWS_##PAIRS(M_LOAD, 0);                                                                                       \
        for (; steps >= 2; steps -= 2, bytes += TWO_STEPS) {                                                           \
            ROWS_##PAIRS(M_CODES, 0);                                                                                  \
            VRS_4(O_STATES, PAIRS)                                                                                     \
            ROWS_##PAIRS(O_NEXT, 0);                                                                                   \
        }                                                                                                              \
        if (steps > 0) {                                                                                               \
            ROWS_##PAIRS(O_LAST_CODES, 0);                                                                             \
            VRS_4(O_STATES, PAIRS)                                                                                     \
        }                                                                                                              \
        ROWS_##PAIRS(M_STORE, 0);                                                                                      \
    }

DEFINE_BYTE_TILE(1, 1)
DEFINE_BYTE_TILE(2, 1)
DEFINE_BYTE_TILE(3, 2)
DEFINE_BYTE_TILE(4, 2)
DEFINE_BYTE_TILE(5, 3)
DEFINE_BYTE_TILE(6, 3)
DEFINE_BYTE_TILE(7, 4)
DEFINE_BYTE_TILE(8, 4)

static void byte_panel(int rows, int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes,
                       const int32_t *starts, int32_t *acc) {
    static byte_tile_fn *const tiles[] = {NULL,        byte_tile_1, byte_tile_2, byte_tile_3, byte_tile_4,
                                          byte_tile_5, byte_tile_6, byte_tile_7, byte_tile_8};
    byte_panel_of(tiles[rows], TERNARY_WIDTH, rows, steps, q, q_stride, bytes, starts, acc);
}

void tn_kernels_add_i8mm(tn_kernels *table) {
    table->isa = "i8mm";
    table->spin_bytes = spin_bytes;
    table->ternary_panel = ternary_panel;
    table->ternary_panel_width = TERNARY_WIDTH;
    table->ternary_tile_rows = TERNARY_ROWS;
    table->ternary_opens = true;
    table->ternary_bytes = ternary_bytes;
    table->byte_panel = byte_panel;
    table->spin_bf16 = spin_bf16;
    table->bf16_panel = bf16_panel;
    table->bf16_panel_width = BF16_WIDTH;
    table->bf16_tile_rows = BF16_ROWS;
    table->bf16_pays = true; /* bfmmla does four times as many as fmla */
}
#endif
