/* SPDX-License-Identifier: MIT
 * bodies_bf16.h - products of operands rounded to bf16, with sums of reals. A 32-bit word is a pair of neighbouring
 * terms, the first one in its low half. Included once by every isa_*.c; where there are no instructions for bf16, after
 * bodies_panel.h. Contracts: kernels.def. */
#include "kernels/simd.h"
#include "kernels/tile.h"

/* core/half.h, but for subnormal numbers, and without a branch, so that a loop over it becomes vectors. */
VR_INLINE uint32_t bf16_bits(tn_real x) {
    const float f = (float)x;
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    const uint32_t abs = u & 0x7fffffff, rounded = u + 0x7fff + (u >> 16 & 1), quiet = u | 0x400000;
    const uint32_t large = abs > 0x7f800000 ? quiet : rounded;
    return abs < 0x800000 ? u & 0x80000000 : large;
}

#if defined(__AVX512BF16__)
/* `first`, then `second`, 16 of each; it takes subnormal numbers for zeros. */
VR_INLINE __m512i bf16_halves(const tn_real *first, const tn_real *second) {
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(second), _mm512_loadu_ps(first));
}
#endif

VR_INLINE void pair_of_rows(int n, const tn_real *restrict first, const tn_real *restrict second,
                            uint32_t *restrict words) {
    int i = 0;
#if defined(__AVX512BF16__)
    uint16_t from[32]; /* 0 16 1 17 ... */
    for (int j = 0; j < 32; j++) from[j] = (uint16_t)(j / 2 + j % 2 * 16);
    const __m512i mix = _mm512_loadu_si512(from);
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_si512(words + i, _mm512_permutexvar_epi16(mix, bf16_halves(first + i, second + i)));
#endif
    for (; i < n; i++) words[i] = bf16_bits(first[i]) >> 16 | (bf16_bits(second[i]) & 0xffff0000);
}

static void bf16_pair_rows(int rows, int cols, const tn_real *x, int64_t stride, uint32_t *words, int64_t word_stride) {
    for (int r = 0; r + 1 < rows; r += 2, x += 2 * stride, words += word_stride)
        pair_of_rows(cols, x, x + stride, words);
    if (rows % 2 == 0) return;
    for (int i = 0; i < cols; i++) words[i] = bf16_bits(x[i]) >> 16;
}

enum { BLOCK_ROWS = LANES, BLOCK_COLS = 2 * LANES, BLOCK_PAIRS = LANES };

/* BLOCK_COLS neighbours, which are BLOCK_PAIRS words in memory. */
VR_INLINE void pair_neighbours(const tn_real *restrict x, uint32_t *restrict words) {
#if defined(__AVX512BF16__)
    _mm512_storeu_si512(words, bf16_halves(x, x + 16));
#else
    uint16_t halves[BLOCK_COLS];
    for (int i = 0; i < BLOCK_COLS; i++) halves[i] = (uint16_t)(bf16_bits(x[i]) >> 16);
    memcpy(words, halves, sizeof halves);
#endif
}

/* to[j][i] = from[i][j], a square of LANES. */
VR_INLINE void turn_words(uint32_t *to, int64_t to_row, const uint32_t *from) {
#ifdef TN_F64 /* a lane is no word */
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < LANES; j++) to[j * to_row + i] = from[i * LANES + j];
#else
    for (int i = 0; i < LANES; i += PART_LANES)
        for (int j = 0; j < LANES; j += PART_LANES)
            vp_turn((tn_real *)(to + j * to_row + i), to_row, (const tn_real *)(from + i * LANES + j), LANES);
#endif
}

VR_INLINE void pair_block(const tn_real *x, int64_t stride, uint32_t *words, int64_t word_stride) {
    uint32_t by_row[BLOCK_ROWS * BLOCK_PAIRS];
    for (int r = 0; r < BLOCK_ROWS; r++) pair_neighbours(x + r * stride, by_row + r * BLOCK_PAIRS);
    turn_words(words, word_stride, by_row);
}

/* A block that is cut off: filled up with zeros. */
static void pair_corner(int rows, int cols, const tn_real *x, int64_t stride, uint32_t *words, int64_t word_stride) {
    tn_real full[BLOCK_ROWS * BLOCK_COLS] = {0};
    uint32_t all[BLOCK_PAIRS * BLOCK_ROWS];
    for (int r = 0; r < rows; r++) memcpy(full + r * BLOCK_COLS, x + r * stride, sizeof *x * (size_t)cols);
    pair_block(full, BLOCK_COLS, all, BLOCK_ROWS);
    for (int p = 0; 2 * p < cols; p++)
        memcpy(words + p * word_stride, all + p * BLOCK_ROWS, sizeof *all * (size_t)rows);
}

static void bf16_pair_cols(int rows, int cols, const tn_real *x, int64_t stride, uint32_t *words, int64_t word_stride) {
    for (int r = 0; r < rows; r += BLOCK_ROWS)
        for (int c = 0; c < cols; c += BLOCK_COLS) {
            const int high = TN_MIN(rows - r, (int)BLOCK_ROWS), wide = TN_MIN(cols - c, (int)BLOCK_COLS);
            const tn_real *from = x + r * stride + c;
            uint32_t *to = words + c / 2 * word_stride + r;
            if (high == BLOCK_ROWS && wide == BLOCK_COLS)
                pair_block(from, stride, to, word_stride);
            else
                pair_corner(high, wide, from, stride, to, word_stride);
        }
}

#if defined(__AVX512BF16__)
enum { BF16_WIDTH = 64, BF16_ROWS = 6 };

/* 24 accumulators, 4 registers of the panel and 1 broadcast. By hand, since gcc 12 copies accumulators about. */
#define B_LOAD(r, j)           __m512 acc##r##j = _mm512_loadu_ps(acc + r * BF16_WIDTH + j * 16);
#define B_STORE(r, j)          _mm512_storeu_ps(acc + r * BF16_WIDTH + j * 16, acc##r##j);
#define B_STEP(r, j)           __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc##r##j) : "v"(b##j), "v"(pair));
#define B_PANEL(r, j)          const __m512i b##j = _mm512_loadu_si512(panel + j * 16);
#define B_ROW_LOAD(r, unused)  VRS_4(B_LOAD, r)
#define B_ROW_STORE(r, unused) VRS_4(B_STORE, r)
#define B_ROW_STEP(r, unused)                                                                                          \
    {                                                                                                                  \
        const __m512i pair = _mm512_set1_epi32((int)a[r]);                                                             \
        VRS_4(B_STEP, r)                                                                                               \
    }
#define DEFINE_BF16_TILE(COUNT)                                                                                        \
    static void bf16_tile_##COUNT(int pairs, const uint32_t *a, int64_t a_stride, const uint32_t *panel, float *acc) { \
        ROWS_##COUNT(B_ROW_LOAD, 0) for (int p = 0; p < pairs; p++, a += a_stride, panel += BF16_WIDTH){               \
            VRS_4(B_PANEL, 0) ROWS_##COUNT(B_ROW_STEP, 0)} ROWS_##COUNT(B_ROW_STORE, 0)                                \
    }

DEFINE_BF16_TILE(1)
DEFINE_BF16_TILE(2)
DEFINE_BF16_TILE(3)
DEFINE_BF16_TILE(4)
DEFINE_BF16_TILE(5)
DEFINE_BF16_TILE(6)

static void bf16_panel(int rows, int pairs, const uint32_t *a, int64_t a_stride, const uint32_t *panel, tn_real *acc) {
    typedef void tile_fn(int pairs, const uint32_t *a, int64_t a_stride, const uint32_t *panel, float *acc);
    static tile_fn *const tiles[] = {NULL,        bf16_tile_1, bf16_tile_2, bf16_tile_3,
                                     bf16_tile_4, bf16_tile_5, bf16_tile_6};
    tiles[rows](pairs, a, a_stride, panel, acc);
}

#else
/* ---- the panel where the CPU knows no bf16: back to reals, then as they are multiplied ---- */
enum { BF16_WIDTH = TILE_VRS * LANES, BF16_ROWS = TILE_ROWS, BF16_AT_ONCE = 64 /* pairs */ };

VR_INLINE tn_real bf16_real(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return (tn_real)f;
}

/* reals [2 pairs][n] */
VR_INLINE void split_pairs(int pairs, int n, const uint32_t *words, int64_t stride, tn_real *restrict reals) {
    for (int p = 0; p < pairs; p++, words += stride, reals += 2 * n)
        for (int i = 0; i < n; i++) {
            reals[i] = bf16_real(words[i] << 16);
            reals[n + i] = bf16_real(words[i] & 0xffff0000);
        }
}

static void bf16_panel(int rows, int pairs, const uint32_t *a, int64_t a_stride, const uint32_t *panel, tn_real *acc) {
    tn_real b[2 * BF16_AT_ONCE * BF16_WIDTH], factors[2 * BF16_AT_ONCE * BF16_ROWS];
    for (int left = pairs; left > 0; left -= BF16_AT_ONCE) {
        const int now = TN_MIN(left, (int)BF16_AT_ONCE);
        split_pairs(now, BF16_WIDTH, panel, BF16_WIDTH, b);
        split_pairs(now, rows, a, a_stride, factors);
        product_add(&(product){.rows = rows,
                               .cols = BF16_WIDTH,
                               .inner = 2 * now,
                               .a = factors,
                               .a_row = 1,
                               .a_step = rows,
                               .b = b,
                               .b_row = BF16_WIDTH,
                               .c = acc,
                               .c_row = BF16_WIDTH});
        a += now * a_stride;
        panel += now * BF16_WIDTH;
    }
}
#endif
