/* SPDX-License-Identifier: MIT
 * AVX-512 VBMI, which a CPU with the rest of AVX-512 may lack: vpermb looks a state up in 64 bytes, so that panels in
 * triples cost less to open than panels of 2 bits. */
#ifndef TN_F64
#include "kernels/kernels_priv.h"
#include "kernels/simd.h"
#include "kernels/stream.h"
#include "kernels/tile.h"
#include "kernels/triples.h"

typedef __m512i vi;
enum { VI_WORDS = 16, WIDTH = 4 * VI_WORDS, TILE_ROWS = 4 };

/* State i of a field at [i][field], plus 1; vpermb reads 6 bits of an index, and the sixth is not the field's. */
#define FIELD(i, f)    ((f) / ((i) == 0 ? 1 : (i) == 1 ? 3 : 9) % 3)
#define FIELDS_4(i, f) FIELD(i, f), FIELD(i, f + 1), FIELD(i, f + 2), FIELD(i, f + 3)
#define FIELDS_32(i)                                                                                                   \
    FIELDS_4(i, 0), FIELDS_4(i, 4), FIELDS_4(i, 8), FIELDS_4(i, 12), FIELDS_4(i, 16), FIELDS_4(i, 20),                 \
        FIELDS_4(i, 24), FIELDS_4(i, 28)
static const uint8_t states_of[3][64] = {
    {FIELDS_32(0), FIELDS_32(0)}, {FIELDS_32(1), FIELDS_32(1)}, {FIELDS_32(2), FIELDS_32(2)}};

VR_INLINE vi load(const void *p) { return _mm512_loadu_si512(p); }
VR_INLINE void store(void *p, vi x) { _mm512_storeu_si512(p, x); }

/* low where the mask is set, else high */
VR_INLINE vi choose(vi mask, vi low, vi high) { return _mm512_ternarylogic_epi64(mask, low, high, 0xca); }

VR_INLINE vi row_of(const uint32_t *group, int row) { return load(group + row * VI_WORDS); }

/* Unit `unit` of a group. Bits above the field mean nothing, and those from the neighbouring byte lie there. */
VR_INLINE vi unit_of(const uint32_t *group, int unit) {
    const vi low = _mm512_set1_epi8(7), four = _mm512_set1_epi8(15);
    if (unit < 5) return row_of(group, unit);
    const vi first = _mm512_srli_epi16(row_of(group, unit - 5), 5);
    if (unit < 7) return choose(low, first, _mm512_srli_epi16(row_of(group, unit - 2), 2));
    const vi third = _mm512_srli_epi16(row_of(group, 3), 4), fourth = _mm512_srli_epi16(row_of(group, 4), 3);
    return choose(low, first, choose(four, third, fourth));
}

VR_INLINE vi states_in(vi unit, vi table) { return _mm512_permutexvar_epi8(unit, table); }

VR_INLINE vi codes_at(const int8_t *q) {
    int32_t four;
    memcpy(&four, q, sizeof four);
    return _mm512_set1_epi32(four);
}

/* acc##r##j: outputs 16 j .. 16 j + 15 of row r. */
#define T_ZERO(r, j) vi acc##r##j = _mm512_setzero_si512();
#define T_STORE(r, j)                                                                                                  \
    store(acc + r * WIDTH + j * VI_WORDS, _mm512_add_epi32(load(acc + r * WIDTH + j * VI_WORDS), acc##r##j));
#define T_STEP(r, j)      acc##r##j = _mm512_dpbusd_epi32(acc##r##j, w##j, codes);
#define T_STATES(i, j)    const vi w##j = states_in(u##j, table##i);
#define T_PIN(r, j)       __asm__("" : "+v"(acc##r##j)); /* else gcc 12 opens all parts first, and spills */
#define T_ROW_PIN(r, _)   VRS_4(T_PIN, r)
#define T_UNIT(h, j)      const vi u##j = unit_of(panel, 4 * h + j);
#define T_ROW_ZERO(r, _)  VRS_4(T_ZERO, r)
#define T_ROW_STORE(r, _) VRS_4(T_STORE, r)
#define T_ROW_STEP(r, at)                                                                                              \
    {                                                                                                                  \
        const vi codes = codes_at(q + r * q_stride + (at));                                                            \
        VRS_4(T_STEP, r)                                                                                               \
    }
#define T_PART(ROWS, h, i)                                                                                             \
    {                                                                                                                  \
        VRS_4(T_STATES, i)                                                                                             \
        ROWS_##ROWS(T_ROW_STEP, 12 * h + 4 * i);                                                                       \
        ROWS_##ROWS(T_ROW_PIN, 0);                                                                                     \
    }
#define T_HALF(ROWS, h)                                                                                                \
    {                                                                                                                  \
        VRS_4(T_UNIT, h)                                                                                               \
        T_PART(ROWS, h, 0)                                                                                             \
        T_PART(ROWS, h, 1)                                                                                             \
        T_PART(ROWS, h, 2)                                                                                             \
    }
#define T_TABLES const vi table0 = load(states_of[0]), table1 = load(states_of[1]), table2 = load(states_of[2]);

/* acc[rows][WIDTH] += q[rows, 24 groups] x (panel + 1) */
typedef void triple_tile_fn(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel,
                            int32_t *restrict acc);
enum { GROUP_WORDS = TN_TRIPLE_ROWS * VI_WORDS };
#define DEFINE_TRIPLE_TILE(ROWS)                                                                                       \
    static void triple_tile_##ROWS(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel,               \
                                   int32_t *restrict acc) {                                                            \
        T_TABLES                                                                                                       \
        ROWS_##ROWS(T_ROW_ZERO, 0);                                                                                    \
        for (int g = 0; g < groups; g++, q += TN_TRIPLE_GROUP, panel += GROUP_WORDS) {                                 \
            tn_prefetch_stream(panel, TN_TRIPLE_ROWS);                                                                 \
            T_HALF(ROWS, 0)                                                                                            \
            T_HALF(ROWS, 1)                                                                                            \
        }                                                                                                              \
        ROWS_##ROWS(T_ROW_STORE, 0);                                                                                   \
    }
DEFINE_TRIPLE_TILE(2)
DEFINE_TRIPLE_TILE(3)
DEFINE_TRIPLE_TILE(4)

/* One row alone would wait for its own sums, so each half of a group has some. */
#define T_ALONE(h, i)                                                                                                  \
    {                                                                                                                  \
        const vi codes = codes_at(q + 12 * h + 4 * i);                                                                 \
        VRS_4(T_STATES, i)                                                                                             \
        VRS_4(T_STEP, h)                                                                                               \
    }
#define T_ALONE_HALF(h, _)                                                                                             \
    {                                                                                                                  \
        VRS_4(T_UNIT, h)                                                                                               \
        T_ALONE(h, 0)                                                                                                  \
        T_ALONE(h, 1)                                                                                                  \
        T_ALONE(h, 2)                                                                                                  \
    }
#define T_BOTH(_, j)                                                                                                   \
    store(acc + j * VI_WORDS, _mm512_add_epi32(load(acc + j * VI_WORDS), _mm512_add_epi32(acc0##j, acc1##j)));
static void triple_tile_1(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel, int32_t *restrict acc) {
    (void)q_stride;
    T_TABLES
    ROWS_2(T_ROW_ZERO, 0)
    for (int g = 0; g < groups; g++, q += TN_TRIPLE_GROUP, panel += GROUP_WORDS) {
        tn_prefetch_stream(panel, TN_TRIPLE_ROWS);
        ROWS_2(T_ALONE_HALF, 0)
    }
    VRS_4(T_BOTH, 0)
}

static void triple_panel(int rows, int k, const int8_t *q, int64_t q_stride, const void *panel, int32_t *acc) {
    static triple_tile_fn *const tiles[] = {NULL, triple_tile_1, triple_tile_2, triple_tile_3, triple_tile_4};
    for (int r = 0; r < rows; r++) {
        const vi start = _mm512_set1_epi32(-tn_k->sum_codes(k, q + r * q_stride)); /* states are 1 too large */
        for (int j = 0; j < 4; j++) store(acc + r * WIDTH + j * VI_WORDS, start);
    }
    const int groups = k / TN_TRIPLE_GROUP, left = k % TN_TRIPLE_GROUP;
    tiles[rows](groups, q, q_stride, panel, acc);
    if (left == 0) return;
    int8_t tail[TILE_ROWS * TN_TRIPLE_GROUP] = {0};
    for (int r = 0; r < rows; r++) memcpy(tail + r * TN_TRIPLE_GROUP, q + r * q_stride + k - left, (size_t)left);
    tiles[rows](1, tail, TN_TRIPLE_GROUP, (const uint32_t *)panel + (int64_t)groups * GROUP_WORDS, acc);
}

static void triple_bytes(int groups, const uint32_t *panel, uint32_t *bytes) {
    T_TABLES
    for (int g = 0; g < groups; g++, panel += GROUP_WORDS) {
        tn_prefetch_stream(panel, TN_TRIPLE_ROWS);
        for (int h = 0; h < 2; h++, bytes += 3 * WIDTH)
            for (int j = 0; j < 4; j++) {
                const vi unit = unit_of(panel, 4 * h + j);
                store(bytes + j * VI_WORDS, states_in(unit, table0));
                store(bytes + WIDTH + j * VI_WORDS, states_in(unit, table1));
                store(bytes + 2 * WIDTH + j * VI_WORDS, states_in(unit, table2));
            }
    }
}

void tn_kernels_add_vbmi(tn_kernels *table) {
    if (!__builtin_cpu_supports("avx512vbmi")) return;
    table->triple_panel = triple_panel;
    table->triple_bytes = triple_bytes;
    table->triple_tile_rows = TILE_ROWS;
    table->triples_are_fast = true;
}
#endif
