/* SPDX-License-Identifier: MIT
 * bodies_pairs.h - products of 16-bit numbers with exact 32-bit sums, for the weight gradient (backward_dw.c). A 32-bit
 * word is a pair of neighbouring tokens, the first one in its low half; a step multiplies and adds both. Included once
 * by every isa_*.c that fills pair_panel. */
#include "kernels/simd.h"
#include "kernels/tile.h"

/* acc += both products. By hand, since gcc 12 copies and spills accumulators around the intrinsics. */
#if defined(__AVX512VNNI__)
typedef __m512i vw;
#define PAIR_VRS 4
#define EACH_VW  VRS_4
VR_INLINE vw vw_load(const void *p) { return _mm512_loadu_si512(p); }
VR_INLINE void vw_store(void *p, vw x) { _mm512_storeu_si512(p, x); }
VR_INLINE vw vw_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
#define PAIR_ADD(acc, w, g) __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(g));
#elif defined(__AVX2__)
typedef __m256i vw;
#define PAIR_VRS 2
#define EACH_VW  VRS_2
VR_INLINE vw vw_load(const void *p) { return _mm256_loadu_si256(p); }
VR_INLINE void vw_store(void *p, vw x) { _mm256_storeu_si256(p, x); }
VR_INLINE vw vw_set(uint32_t x) { return _mm256_set1_epi32((int)x); }
#if defined(__AVXVNNI__)
#define PAIR_ADD(acc, w, g) __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(g));
#else
#define PAIR_ADD(acc, w, g)                                                                                            \
    {                                                                                                                  \
        vw both;                                                                                                       \
        __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(both) : "x"(w), "x"(g));                 \
    }
#endif
#endif

#ifdef PAIR_VRS
enum { VW_WORDS = VP_BYTES / 4, PAIR_WIDTH = PAIR_VRS * VW_WORDS, PAIR_ROWS = 6 };

#define P_ZERO(r, j)          vw acc##r##j = {0};
#define P_STORE(r, j)         vw_store(acc + r * PAIR_WIDTH + j * VW_WORDS, acc##r##j);
#define P_STEP(r, j)          PAIR_ADD(acc##r##j, w##j, both_of_row)
#define P_WORDS(r, j)         const vw w##j = vw_load(panel + j * VW_WORDS);
#define P_ROW_ZERO(r, WIDTH)  EACH_VW(P_ZERO, r)
#define P_ROW_STORE(r, WIDTH) EACH_VW(P_STORE, r)
#define P_ROW_STEP(r, WIDTH)                                                                                           \
    {                                                                                                                  \
        const vw both_of_row = vw_set(g[r]);                                                                           \
        EACH_VW(P_STEP, r)                                                                                             \
    }
#define DEFINE_PAIR_TILE(ROWS)                                                                                         \
    static void pair_tile_##ROWS(int pairs, const uint32_t *g, int64_t g_stride, const uint32_t *panel,                \
                                 int32_t *acc) {                                                                       \
        ROWS_##ROWS(P_ROW_ZERO, 0);                                                                                    \
        for (int p = 0; p < pairs; p++, g += g_stride, panel += PAIR_WIDTH) {                                          \
            EACH_VW(P_WORDS, 0)                                                                                        \
            ROWS_##ROWS(P_ROW_STEP, 0);                                                                                \
        }                                                                                                              \
        ROWS_##ROWS(P_ROW_STORE, 0);                                                                                   \
    }
#elif defined(VP_NEON)
#include "kernels/bodies_pairs_neon.h"
#endif

#ifdef DEFINE_PAIR_TILE
/* acc[rows][PAIR_WIDTH] = g[pairs][rows] x panel[pairs][PAIR_WIDTH] */
typedef void pair_tile_fn(int pairs, const uint32_t *g, int64_t g_stride, const uint32_t *panel, int32_t *acc);

DEFINE_PAIR_TILE(1)
DEFINE_PAIR_TILE(2)
DEFINE_PAIR_TILE(3)
DEFINE_PAIR_TILE(4)
DEFINE_PAIR_TILE(5)
DEFINE_PAIR_TILE(6)
static pair_tile_fn *const pair_tiles[] = {NULL,        pair_tile_1, pair_tile_2, pair_tile_3,
                                           pair_tile_4, pair_tile_5, pair_tile_6};

static void pair_panel(int rows, int pairs, const uint32_t *g, int64_t g_stride, const uint32_t *panel, int32_t *acc) {
    pair_tiles[rows](pairs, g, g_stride, panel, acc);
}
#else
enum { PAIR_WIDTH = 16, PAIR_ROWS = 4 };

static void pair_row(int pairs, const uint32_t *g, int64_t g_stride, const uint32_t *panel, int32_t *restrict acc) {
    int32_t sums[PAIR_WIDTH] = {0};
    for (int p = 0; p < pairs; p++, panel += PAIR_WIDTH) {
        const int32_t first = (int16_t)g[p * g_stride], second = (int16_t)(g[p * g_stride] >> 16);
        for (int j = 0; j < PAIR_WIDTH; j++) sums[j] += first * (int16_t)panel[j] + second * (int16_t)(panel[j] >> 16);
    }
    memcpy(acc, sums, sizeof sums);
}

static void pair_panel(int rows, int pairs, const uint32_t *g, int64_t g_stride, const uint32_t *panel, int32_t *acc) {
    for (int r = 0; r < rows; r++) pair_row(pairs, g + r, g_stride, panel, acc + r * PAIR_WIDTH);
}
#endif
