/* SPDX-License-Identifier: MIT
 * AVX-512 with VNNI. Everything but the ternary panel comes from the shared bodies. */
#ifndef TN_F64
#include "kernels/bodies.h"

enum { TERNARY_WIDTH = 64, TERNARY_ROWS = 6 };

#include "kernels/bodies_ternary.h"

static int32_t sum_codes(int k, const int8_t *q) {
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i sum16 = _mm512_setzero_si512();
    int i = 0;
    for (; i + 64 <= k; i += 64) sum16 = _mm512_dpbusd_epi32(sum16, ones, _mm512_loadu_si512(q + i));
    const __mmask64 left = (1ULL << (k - i)) - 1;
    sum16 = _mm512_dpbusd_epi32(sum16, ones, _mm512_maskz_loadu_epi8(left, q + i));
    return _mm512_reduce_add_epi32(sum16);
}

/* One step takes four codes of each row: 4 registers of states against TERNARY_ROWS broadcasts. 24 accumulators, 4
 * states, 1 broadcast and the mask fill 30 of 32 registers. */
#define T_LOAD(r, j)  __m512i acc##r##j = _mm512_loadu_si512(acc + r * TERNARY_WIDTH + j * 16);
#define T_STORE(r, j) _mm512_storeu_si512(acc + r * TERNARY_WIDTH + j * 16, acc##r##j);
#define T_STEP(r, j)  acc##r##j = _mm512_dpbusd_epi32(acc##r##j, w##j, codes);

#define T_ROW_LOAD(r, WIDTH)  VRS_4(T_LOAD, r)
#define T_ROW_STORE(r, WIDTH) VRS_4(T_STORE, r)
#define T_ROW_STEP(r, part)                                                                                            \
    {                                                                                                                  \
        const __m512i codes = _mm512_set1_epi32(load_codes(q + r * q_stride + 4 * (part)));                            \
        VRS_4(T_STEP, r)                                                                                               \
    }
#define T_STATES(j, part)                                                                                              \
    const __m512i w##j = _mm512_and_si512(_mm512_srli_epi32(_mm512_loadu_si512(panel + j * 16), 2 * (part)), mask);
#define T_PART(ROWS, part)                                                                                             \
    {                                                                                                                  \
        T_STATES(0, part);                                                                                             \
        T_STATES(1, part);                                                                                             \
        T_STATES(2, part);                                                                                             \
        T_STATES(3, part);                                                                                             \
        ROWS_##ROWS(T_ROW_STEP, part);                                                                                 \
    }
#define DEFINE_TERNARY_TILE(ROWS)                                                                                      \
    static void ternary_tile_##ROWS(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel,              \
                                    int32_t *restrict acc) {                                                           \
        const __m512i mask = _mm512_set1_epi8(3);                                                                      \
        ROWS_##ROWS(T_ROW_LOAD, 4);                                                                                    \
        for (int g = 0; g < groups; g++, q += TN_TERNARY_GROUP, panel += TERNARY_WIDTH) {                              \
            T_PART(ROWS, 0);                                                                                           \
            T_PART(ROWS, 1);                                                                                           \
            T_PART(ROWS, 2);                                                                                           \
            T_PART(ROWS, 3);                                                                                           \
        }                                                                                                              \
        ROWS_##ROWS(T_ROW_STORE, 4);                                                                                   \
    }

DEFINE_TERNARY_TILE(1)
DEFINE_TERNARY_TILE(2)
DEFINE_TERNARY_TILE(3)
DEFINE_TERNARY_TILE(4)
DEFINE_TERNARY_TILE(5)
DEFINE_TERNARY_TILE(6)
static ternary_tile_fn *const ternary_tiles[] = {NULL,           ternary_tile_1, ternary_tile_2, ternary_tile_3,
                                                 ternary_tile_4, ternary_tile_5, ternary_tile_6};

#define KERNEL(result, name, parameters) .name = name,
const tn_kernels tn_kernels_avx512 = {
#include "kernels/kernels.def"
    TN_KERNEL_SIZES("avx512")};
#undef KERNEL
#endif
