/* SPDX-License-Identifier: MIT
 * AVX2 with FMA. Everything but the ternary panel comes from the shared bodies. */
#ifndef TN_F64
#include "kernels/bodies.h"
#include "kernels/stream.h"

enum { TERNARY_WIDTH = 16, TERNARY_ROWS = 4, TERNARY_OPENS = true };
#define BYTE_PANEL_OWN

#include "kernels/bodies_bytes.h"
#include "kernels/bodies_ternary.h"

static int32_t sum_codes(int k, const int8_t *q) {
    const __m256i to_unsigned = _mm256_set1_epi8(-128);
    __m256i sums = _mm256_setzero_si256(); /* of q + 128, four of them */
    int i = 0;
    for (; i + 32 <= k; i += 32) {
        const __m256i codes = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(q + i)), to_unsigned);
        sums = _mm256_add_epi64(sums, _mm256_sad_epu8(codes, _mm256_setzero_si256()));
    }
    int64_t four[4];
    memcpy(four, &sums, sizeof four);
    int32_t sum = (int32_t)(four[0] + four[1] + four[2] + four[3]) - 128 * i;
    for (; i < k; i++) sum += q[i];
    return sum;
}

/* Products of two codes and two states add up in 16 bits: each is at most 2 x 2 x 128 = 512 in size (negative) or 508
 * (positive), so 64 of them, four a group, still fit. */
enum { GROUPS_PER_SUM = 16 };

/* Names a register without touching it: else gcc adds the four parts of a group up first and spills all of them. */
#define T_PIN(r, j) __asm__("" : "+x"(sum##r##j));

#define T_ZERO(r, j) __m256i sum##r##j = _mm256_setzero_si256();
#define T_STEP(r, j) sum##r##j = _mm256_add_epi16(sum##r##j, _mm256_maddubs_epi16(w##j, codes));
#define T_WIDEN(r, j)                                                                                                  \
    {                                                                                                                  \
        __m256i *to = (__m256i *)(acc + r * TERNARY_WIDTH + j * 8);                                                    \
        _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), _mm256_madd_epi16(sum##r##j, ones)));         \
    }
#define T_ROW_ZERO(r, WIDTH)  T_ZERO(r, 0) T_ZERO(r, 1)
#define T_ROW_PIN(r, WIDTH)   T_PIN(r, 0) T_PIN(r, 1)
#define T_ROW_WIDEN(r, WIDTH) T_WIDEN(r, 0) T_WIDEN(r, 1)
#define T_ROW_STEP(r, part)                                                                                            \
    {                                                                                                                  \
        const __m256i codes = _mm256_set1_epi32(load_codes(q + r * q_stride + 4 * (part)));                            \
        T_STEP(r, 0) T_STEP(r, 1)                                                                                      \
    }
#define T_STATES(j, part)                                                                                              \
    const __m256i w##j =                                                                                               \
        _mm256_and_si256(_mm256_srli_epi32(_mm256_loadu_si256((const __m256i *)(panel + j * 8)), 2 * (part)), mask);
#define T_PART(ROWS, part)                                                                                             \
    {                                                                                                                  \
        T_STATES(0, part);                                                                                             \
        T_STATES(1, part);                                                                                             \
        ROWS_##ROWS(T_ROW_STEP, part);                                                                                 \
        ROWS_##ROWS(T_ROW_PIN, 2);                                                                                     \
    }
#define DEFINE_TERNARY_TILE(ROWS)                                                                                      \
    static void ternary_tile_##ROWS(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel,              \
                                    int32_t *restrict acc) {                                                           \
        const __m256i mask = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);                                         \
        for (int left = groups; left > 0; left -= GROUPS_PER_SUM) {                                                    \
            ROWS_##ROWS(T_ROW_ZERO, 2);                                                                                \
            for (int g = TN_MIN(left, (int)GROUPS_PER_SUM); g > 0; g--) {                                              \
                T_PART(ROWS, 0);                                                                                       \
                T_PART(ROWS, 1);                                                                                       \
                T_PART(ROWS, 2);                                                                                       \
                T_PART(ROWS, 3);                                                                                       \
                q += TN_TERNARY_GROUP;                                                                                 \
                panel += TERNARY_WIDTH;                                                                                \
            }                                                                                                          \
            ROWS_##ROWS(T_ROW_WIDEN, 2);                                                                               \
        }                                                                                                              \
    }

DEFINE_TERNARY_TILE(1)
DEFINE_TERNARY_TILE(2)
DEFINE_TERNARY_TILE(3)
DEFINE_TERNARY_TILE(4)
static ternary_tile_fn *const ternary_tiles[] = {NULL, ternary_tile_1, ternary_tile_2, ternary_tile_3, ternary_tile_4};

/* ---- opened panels: a step is four states of each output ---- */
enum { STEPS_PER_SUM = 4 * GROUPS_PER_SUM };

#define B_STATES(j) const __m256i w##j = _mm256_loadu_si256((const __m256i *)(bytes + j * 8));
#define DEFINE_BYTE_TILE(ROWS)                                                                                         \
    static void byte_tile_##ROWS(int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes,                  \
                                 int32_t *restrict acc) {                                                              \
        const __m256i ones = _mm256_set1_epi16(1);                                                                     \
        for (int left = steps; left > 0; left -= STEPS_PER_SUM) {                                                      \
            ROWS_##ROWS(T_ROW_ZERO, 2);                                                                                \
            for (int s = TN_MIN(left, (int)STEPS_PER_SUM); s > 0; s--) {                                               \
                B_STATES(0)                                                                                            \
                B_STATES(1)                                                                                            \
                ROWS_##ROWS(T_ROW_STEP, 0);                                                                            \
                ROWS_##ROWS(T_ROW_PIN, 2);                                                                             \
                q += 4;                                                                                                \
                bytes += TERNARY_WIDTH;                                                                                \
            }                                                                                                          \
            ROWS_##ROWS(T_ROW_WIDEN, 2);                                                                               \
        }                                                                                                              \
    }

DEFINE_BYTE_TILE(1)
DEFINE_BYTE_TILE(2)
DEFINE_BYTE_TILE(3)
DEFINE_BYTE_TILE(4)
static ternary_tile_fn *const byte_tiles[] = {NULL, byte_tile_1, byte_tile_2, byte_tile_3, byte_tile_4};

static void byte_panel(int rows, int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes,
                       const int32_t *starts, int32_t *acc) {
    for (int i = 0; i < rows * TERNARY_WIDTH && starts; i++) acc[i] = starts[i / TERNARY_WIDTH];
    byte_tiles[rows](steps, q, q_stride, bytes, acc);
}

#define KERNEL(result, name, parameters) .name = name,
const tn_kernels tn_kernels_avx2 = {
#include "kernels/kernels.def"
    TN_KERNEL_SIZES("avx2")};
#undef KERNEL
#endif
