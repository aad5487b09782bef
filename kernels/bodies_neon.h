/* SPDX-License-Identifier: MIT
 * bodies_neon.h - what the ternary panels of the NEON sets share. States are unpacked as signed bytes by a table
 * look-up, which costs no more than a mask and a shift and leaves nothing to be taken off the sums. A panel is 16
 * outputs, four registers of words; tiles of many rows have accumulators for half of it and go over it twice. */
#include "kernels/simd.h"
#include "kernels/kernels_priv.h"
#include "kernels/tile.h"

#define TERNARY_SIGNED
enum { TERNARY_WIDTH = 16, WORDS = 4 /* of a register */ };

/* Half a byte of a packed word holds two states plus 1: those of the first look-up and of the second. */
static const int8_t low_states[16] = {-1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2};
static const int8_t high_states[16] = {-1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};

/* The states of k = 4 part .. 4 part + 3 of a group, for the four outputs whose words these are. */
#define STATES(words, part)                                                                                            \
    vqtbl1q_s8((part) % 2 ? second : first, (part) < 2 ? vandq_u8(words, half) : vshrq_n_u8(words, 4))
#define STATES_CONSTANTS                                                                                               \
    int8x16_t first = vld1q_s8(low_states), second = vld1q_s8(high_states);                                            \
    uint8x16_t half = vdupq_n_u8(15);                                                                                  \
    __asm__("" : "+w"(first), "+w"(second), "+w"(half)); /* else gcc makes them anew in every round */

/* A tile of 8 outputs done twice, as one of 16. */
#define DEFINE_TERNARY_TWICE(ROWS, tile)                                                                               \
    static void ternary_tile_##ROWS(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel,              \
                                    int32_t *restrict acc) {                                                           \
        tile(groups, q, q_stride, panel, acc);                                                                         \
        tile(groups, q, q_stride, panel + TERNARY_WIDTH / 2, acc + TERNARY_WIDTH / 2);                                 \
    }

#if defined(__ARM_FEATURE_DOTPROD)
/* sdot by lane adds four products of bytes to each 32-bit sum: states of four outputs against one of the four parts of
 * a row's group, with no broadcast. 8 rows of 2 registers: 16 sums, 8 codes, 3 constants. */
#define D_LOAD(r, j)          int32x4_t acc##r##j = vld1q_s32(acc + r * TERNARY_WIDTH + j * WORDS);
#define D_STORE(r, j)         vst1q_s32(acc + r * TERNARY_WIDTH + j * WORDS, acc##r##j);
#define D_ROW_LOAD(r, WIDTH)  VRS_##WIDTH(D_LOAD, r)
#define D_ROW_STORE(r, WIDTH) VRS_##WIDTH(D_STORE, r)
#define D_ROW_CODES(r, WIDTH) const int8x16_t codes##r = vld1q_s8(q + r * q_stride);
#define D_STEP(r, j)          acc##r##j = vdotq_laneq_s32(acc##r##j, states, codes##r, part);
#define D_PART(ROWS, j, number)                                                                                        \
    {                                                                                                                  \
        enum { part = (number) };                                                                                      \
        const int8x16_t states = STATES(words, number);                                                                \
        ROWS_##ROWS(D_STEP, j)                                                                                         \
    }
#define D_WORDS(ROWS, j)                                                                                               \
    {                                                                                                                  \
        const uint8x16_t words = vreinterpretq_u8_u32(vld1q_u32(panel + j * WORDS));                                   \
        D_PART(ROWS, j, 0)                                                                                             \
        D_PART(ROWS, j, 1)                                                                                             \
        D_PART(ROWS, j, 2)                                                                                             \
        D_PART(ROWS, j, 3)                                                                                             \
    }
#define DEFINE_DOT_TILE(name, ROWS, WIDTH)                                                                             \
    static void name(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel, int32_t *restrict acc) {    \
        STATES_CONSTANTS                                                                                               \
        ROWS_##ROWS(D_ROW_LOAD, WIDTH);                                                                                \
        for (int g = 0; g < groups; g++, q += TN_TERNARY_GROUP, panel += TERNARY_WIDTH) {                              \
            ROWS_##ROWS(D_ROW_CODES, WIDTH);                                                                           \
            VRS_##WIDTH(D_WORDS, ROWS)                                                                                 \
        }                                                                                                              \
        ROWS_##ROWS(D_ROW_STORE, WIDTH);                                                                               \
    }
#endif

/* ---- opened panels (ternary_rows.h): acc[rows][8 outputs] += q[rows, 4 steps] x bytes ---- */
typedef void byte_tile_fn(int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes, int32_t *restrict acc);

/* The second 8 outputs begin `second` words after the first. */
VR_INLINE void byte_panel_of(byte_tile_fn *tile, int second, int rows, int steps, const int8_t *q, int64_t q_stride,
                             const uint32_t *bytes, const int32_t *starts, int32_t *acc) {
    for (int r = 0; starts && r < rows; r++)
        for (int j = 0; j < TERNARY_WIDTH; j++) acc[r * TERNARY_WIDTH + j] = starts[r];
    tile(steps, q, q_stride, bytes, acc);
    tile(steps, q, q_stride, bytes + second, acc + TERNARY_WIDTH / 2);
}
