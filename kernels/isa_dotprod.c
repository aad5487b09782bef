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

/* ---- opened panels: a step is a word of each output ---- */
#define O_STATES(ROWS, j)                                                                                              \
    {                                                                                                                  \
        const int8x16_t states = vreinterpretq_s8_u32(vld1q_u32(bytes + part * TERNARY_WIDTH + j * WORDS));            \
        ROWS_##ROWS(D_STEP, j)                                                                                         \
    }
#define O_PART(ROWS, number)                                                                                           \
    {                                                                                                                  \
        enum { part = (number) };                                                                                      \
        VRS_2(O_STATES, ROWS)                                                                                          \
    }
#define O_ROW_CODES(r, unused)                                                                                         \
    const int8x16_t codes##r = vreinterpretq_s8_s32(vdupq_n_s32(load_codes(q + r * q_stride)));
#define DEFINE_BYTE_TILE(ROWS)                                                                                         \
    static void byte_tile_##ROWS(int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes,                  \
                                 int32_t *restrict acc) {                                                              \
        ROWS_##ROWS(D_ROW_LOAD, 2);                                                                                    \
        for (; steps >= 4; steps -= 4, q += TN_TERNARY_GROUP, bytes += 4 * TERNARY_WIDTH) {                            \
            ROWS_##ROWS(D_ROW_CODES, 2);                                                                               \
            O_PART(ROWS, 0)                                                                                            \
            O_PART(ROWS, 1)                                                                                            \
            O_PART(ROWS, 2)                                                                                            \
            O_PART(ROWS, 3)                                                                                            \
        }                                                                                                              \
        for (; steps > 0; steps--, q += 4, bytes += TERNARY_WIDTH) {                                                   \
            ROWS_##ROWS(O_ROW_CODES, 0);                                                                               \
            O_PART(ROWS, 0)                                                                                            \
        }                                                                                                              \
        ROWS_##ROWS(D_ROW_STORE, 2);                                                                                   \
    }

DEFINE_BYTE_TILE(1)
DEFINE_BYTE_TILE(2)
DEFINE_BYTE_TILE(3)
DEFINE_BYTE_TILE(4)
DEFINE_BYTE_TILE(5)
DEFINE_BYTE_TILE(6)
DEFINE_BYTE_TILE(7)
DEFINE_BYTE_TILE(8)

static void byte_panel(int rows, int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes,
                       const int32_t *starts, int32_t *acc) {
    static byte_tile_fn *const tiles[] = {NULL,        byte_tile_1, byte_tile_2, byte_tile_3, byte_tile_4,
                                          byte_tile_5, byte_tile_6, byte_tile_7, byte_tile_8};
    byte_panel_of(tiles[rows], TERNARY_WIDTH / 2, rows, steps, q, q_stride, bytes, starts, acc);
}

void tn_kernels_add_dotprod(tn_kernels *table) {
    table->isa = "dotprod";
    table->spin_bytes = spin_bytes;
    table->ternary_panel = ternary_panel;
    table->ternary_panel_width = TERNARY_WIDTH;
    table->ternary_tile_rows = TERNARY_ROWS;
    table->ternary_opens = true;
    table->byte_panel = byte_panel;
}
#endif
