/* SPDX-License-Identifier: MIT
 * bodies_vnni.h - the ternary panel over dpbusd, which adds four products of bytes to each 32-bit sum: the same tile in
 * 512 bits (AVX-512 VNNI) and in 256 (AVX-VNNI). Included once by the files of those two. */
#include "kernels/simd.h"
#include "kernels/stream.h"
#include "kernels/tile.h"

/* One step takes four codes of each row: VRS registers of states against TERNARY_ROWS broadcasts. 24 accumulators, 4
 * states, 1 broadcast and the mask fill 30 of 32 registers; 12, 2, 1 and 1 fill 16 of 16. */
#if VP_BYTES == 64
typedef __m512i vi;
#define TERNARY_VRS 4
#define EACH_VI     VRS_4
VR_INLINE vi vi_load(const void *p) { return _mm512_loadu_si512(p); }
VR_INLINE void vi_store(void *p, vi x) { _mm512_storeu_si512(p, x); }
VR_INLINE vi vi_set8(int8_t x) { return _mm512_set1_epi8(x); }
VR_INLINE vi vi_set32(int32_t x) { return _mm512_set1_epi32(x); }
VR_INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
VR_INLINE int32_t vi_total(vi x) { return _mm512_reduce_add_epi32(x); }
VR_INLINE vi vi_bytes_of(vi words, int at) {
    return _mm512_and_si512(_mm512_srli_epi32(words, (unsigned)at), _mm512_set1_epi8(3));
}
VR_INLINE vi vi_dot(vi sum, vi bytes, vi codes) { return _mm512_dpbusd_epi32(sum, bytes, codes); }
#else
typedef __m256i vi;
#define TERNARY_VRS 2
#define EACH_VI     VRS_2
VR_INLINE vi vi_load(const void *p) { return _mm256_loadu_si256(p); }
VR_INLINE void vi_store(void *p, vi x) { _mm256_storeu_si256(p, x); }
VR_INLINE vi vi_set8(int8_t x) { return _mm256_set1_epi8(x); }
VR_INLINE vi vi_set32(int32_t x) { return _mm256_set1_epi32(x); }
VR_INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
VR_INLINE int32_t vi_total(vi x) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
/* The mask stays in memory, by force: in a register gcc 12 spills it and an accumulator in turn. */
VR_INLINE vi vi_bytes_of(vi words, int at) {
    static const int32_t threes[8] = {0x03030303, 0x03030303, 0x03030303, 0x03030303,
                                      0x03030303, 0x03030303, 0x03030303, 0x03030303};
    words = _mm256_srli_epi32(words, at);
    __asm__("vpand %1, %0, %0" : "+x"(words) : "m"(threes));
    return words;
}
VR_INLINE vi vi_dot(vi sum, vi bytes, vi codes) { return _mm256_dpbusd_avx_epi32(sum, bytes, codes); }
#endif

enum { GROUP_LINES = TERNARY_VRS * VP_BYTES / TN_ALIGN };
enum { VI_WORDS = VP_BYTES / 4, TERNARY_WIDTH = TERNARY_VRS * VI_WORDS, TERNARY_ROWS = 6, TERNARY_OPENS = true };
#define BYTE_PANEL_OWN

#include "kernels/bodies_bytes.h"

#include "kernels/bodies_ternary.h"

static int32_t sum_codes(int k, const int8_t *q) {
    const vi ones = vi_set8(1);
    vi sums = vi_set8(0), more = sums; /* two chains, for the latency of one */
    int i = 0;
    for (; i + 2 * VP_BYTES <= k; i += 2 * VP_BYTES) {
        sums = vi_dot(sums, ones, vi_load(q + i));
        more = vi_dot(more, ones, vi_load(q + i + VP_BYTES));
    }
    sums = vi_add(sums, more);
    for (; i + VP_BYTES <= k; i += VP_BYTES) sums = vi_dot(sums, ones, vi_load(q + i));
    if (i < k) {
        int8_t tail[VP_BYTES] = {0};
        memcpy(tail, q + i, (size_t)(k - i));
        sums = vi_dot(sums, ones, vi_load(tail));
    }
    return vi_total(sums);
}

#define T_LOAD(r, j)          vi acc##r##j = vi_load(acc + r * TERNARY_WIDTH + j * VI_WORDS);
#define T_STORE(r, j)         vi_store(acc + r * TERNARY_WIDTH + j * VI_WORDS, acc##r##j);
#define T_STEP(r, j)          acc##r##j = vi_dot(acc##r##j, w##j, codes);
#define T_STATES(part, j)     const vi w##j = vi_bytes_of(vi_load(panel + j * VI_WORDS), 2 * (part));
#define T_ROW_LOAD(r, WIDTH)  EACH_VI(T_LOAD, r)
#define T_ROW_STORE(r, WIDTH) EACH_VI(T_STORE, r)
#define T_ROW_STEP(r, part)                                                                                            \
    {                                                                                                                  \
        const vi codes = vi_set32(load_codes(q + r * q_stride + 4 * (part)));                                          \
        EACH_VI(T_STEP, r)                                                                                             \
    }
#define T_PART(ROWS, part)                                                                                             \
    {                                                                                                                  \
        EACH_VI(T_STATES, part)                                                                                        \
        ROWS_##ROWS(T_ROW_STEP, part);                                                                                 \
    }
#define DEFINE_TERNARY_TILE(ROWS)                                                                                      \
    static void ternary_tile_##ROWS(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel,              \
                                    int32_t *restrict acc) {                                                           \
        ROWS_##ROWS(T_ROW_LOAD, 0);                                                                                    \
        for (int g = 0; g < groups; g++, q += TN_TERNARY_GROUP, panel += TERNARY_WIDTH) {                              \
            tn_prefetch_stream(panel, GROUP_LINES);                                                                    \
            T_PART(ROWS, 0);                                                                                           \
            T_PART(ROWS, 1);                                                                                           \
            T_PART(ROWS, 2);                                                                                           \
            T_PART(ROWS, 3);                                                                                           \
        }                                                                                                              \
        ROWS_##ROWS(T_ROW_STORE, 0);                                                                                   \
    }

/* One row alone would wait for its own sums, so each part of a group has some. */
#define T_ZERO(part, j)          vi acc##part##j = vi_set8(0);
#define T_TOTAL(part, j)         vi_add(vi_add(acc0##j, acc1##j), vi_add(acc2##j, acc3##j))
#define T_PIN(part, j)           __asm__("" : "+v"(acc##part##j)); /* else gcc 12 moves the sums about, and spills */
#define T_ADD(part, j)           vi_store(acc + j * VI_WORDS, vi_add(vi_load(acc + j * VI_WORDS), T_TOTAL(part, j)));
#define T_PART_ZERO(part, WIDTH) EACH_VI(T_ZERO, part)
#define T_PART_ALONE(part, WIDTH)                                                                                      \
    {                                                                                                                  \
        const vi codes = vi_set32(load_codes(q + 4 * (part)));                                                         \
        EACH_VI(T_STATES, part)                                                                                        \
        EACH_VI(T_STEP, part)                                                                                          \
        EACH_VI(T_PIN, part)                                                                                           \
    }
static void ternary_tile_1(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel,
                           int32_t *restrict acc) {
    (void)q_stride;
    ROWS_4(T_PART_ZERO, 0)
    for (int g = 0; g < groups; g++, q += TN_TERNARY_GROUP, panel += TERNARY_WIDTH) {
        tn_prefetch_stream(panel, GROUP_LINES);
        ROWS_4(T_PART_ALONE, 0)
    }
    EACH_VI(T_ADD, 0)
}

DEFINE_TERNARY_TILE(2)
DEFINE_TERNARY_TILE(3)
DEFINE_TERNARY_TILE(4)
DEFINE_TERNARY_TILE(5)
DEFINE_TERNARY_TILE(6)
static ternary_tile_fn *const ternary_tiles[] = {NULL,           ternary_tile_1, ternary_tile_2, ternary_tile_3,
                                                 ternary_tile_4, ternary_tile_5, ternary_tile_6};

/* ---- opened panels: a step is four states of each output ---- */
#define B_START(r, j)     vi acc##r##j = start##r;
#define B_LOAD_SUM(r, j)  acc##r##j = vi_load(acc + r * TERNARY_WIDTH + j * VI_WORDS);
#define B_STATES(part, j) const vi w##j = vi_load(bytes + j * VI_WORDS);
#define B_ROW_START(r, WIDTH)                                                                                          \
    const vi start##r = vi_set32(starts ? starts[r] : 0);                                                              \
    EACH_VI(B_START, r)
#define B_ROW_LOAD(r, WIDTH) EACH_VI(B_LOAD_SUM, r)
#define DEFINE_BYTE_TILE(ROWS)                                                                                         \
    static void byte_tile_##ROWS(int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes,                  \
                                 const int32_t *starts, int32_t *restrict acc) {                                       \
        ROWS_##ROWS(B_ROW_START, 0);                                                                                   \
        if (!starts) {                                                                                                 \
            ROWS_##ROWS(B_ROW_LOAD, 0);                                                                                \
        }                                                                                                              \
        for (int s = 0; s < steps; s++, q += 4, bytes += TERNARY_WIDTH) {                                              \
            EACH_VI(B_STATES, 0)                                                                                       \
            ROWS_##ROWS(T_ROW_STEP, 0);                                                                                \
        }                                                                                                              \
        ROWS_##ROWS(T_ROW_STORE, 0);                                                                                   \
    }

DEFINE_BYTE_TILE(1)
DEFINE_BYTE_TILE(2)
DEFINE_BYTE_TILE(3)
DEFINE_BYTE_TILE(4)
DEFINE_BYTE_TILE(5)
DEFINE_BYTE_TILE(6)
typedef void byte_tile_fn(int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes, const int32_t *starts,
                          int32_t *restrict acc);
static byte_tile_fn *const byte_tiles[] = {NULL,        byte_tile_1, byte_tile_2, byte_tile_3,
                                           byte_tile_4, byte_tile_5, byte_tile_6};

static void byte_panel(int rows, int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes,
                       const int32_t *starts, int32_t *acc) {
    byte_tiles[rows](steps, q, q_stride, bytes, starts, acc);
}
