/* SPDX-License-Identifier: MIT
 * Every row of the kernel table, on every instruction set this CPU has, against the portable row; and the quantisers.
 * A row that is added to kernels.def and has no case here does not compile. */
#include "core/half.h"
#include "core/rng.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "tests/kernel_rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 320, GUARD = 32 };

/* What a case may read and write. The rows are filled at random; those called `out` are outputs or accumulators. */
typedef struct room {
    tn_real in[4][MOST + GUARD], out[3][MOST + GUARD];
    int8_t states[MOST + GUARD], codes[MOST + GUARD];
    int32_t acc[MOST + GUARD];
    double result;
} room;

static room before, wanted, got;

/* Sizes from 1e-4 to 1e3, both signs, some exact zeros. */
static tn_real draw(const tn_rng *rng, uint64_t index) {
    if (tn_rng_below(rng, 3 * index, 16) == 0) return 0;
    return (tn_real)(tn_rng_normal(rng, 3 * index + 1) * pow(10, 5 * tn_rng_uniform(rng, 3 * index + 2) - 4));
}

static void fill_room(room *r, uint32_t seed) {
    const tn_rng rng = tn_rng_make(seed, TN_PURPOSE_TEST, 0);
    tn_real *reals = r->in[0];
    const int count = (int)((sizeof r->in + sizeof r->out) / sizeof *reals);
    memset(r, 0, sizeof *r);
    for (int i = 0; i < count; i++) reals[i] = draw(&rng, (uint64_t)i);
    for (int i = 0; i < MOST + GUARD; i++) {
        r->out[2][i] = (tn_real)fabs((double)r->out[2][i]) + 1; /* a second moment */
        r->states[i] = (int8_t)((int)tn_rng_below(&rng, (uint64_t)i + 9000, 3) - 1);
        r->codes[i] = (int8_t)((int)tn_rng_below(&rng, (uint64_t)i + 19000, 256) - 128);
        r->acc[i] = (int32_t)tn_rng_below(&rng, (uint64_t)i + 29000, 1 << 24) - (1 << 23);
    }
}

/* ---- one case a row: call it with n elements ---- */
enum { COLUMN_ROWS = 7, COLUMNS = 45 };
#define CASE(name, ...)                                                                                                \
    static void case_##name(const tn_kernels *k, int n, room *r) { __VA_ARGS__; }
#define IN(i)  (r->in[i])
#define OUT(i) (r->out[i])

CASE(add, k->add(n, IN(0), IN(1), OUT(0)))
CASE(accumulate, k->accumulate(n, IN(0), OUT(0)))
CASE(mul, k->mul(n, IN(0), IN(1), OUT(0)))
CASE(mul_accumulate, k->mul_accumulate(n, IN(0), IN(1), OUT(0)))
CASE(scale, k->scale(n, (tn_real)1.7, IN(0), OUT(0)))
CASE(axpy, k->axpy(n, (tn_real)-0.3, IN(0), OUT(0)))
CASE(sum, r->result = k->sum(n, IN(0)))
CASE(sum_abs, r->result = k->sum_abs(n, IN(0)))
CASE(sum_squares, r->result = k->sum_squares(n, IN(0)))
CASE(quantize_row, r->result = (double)k->quantize_row(n, IN(0), r->codes))
CASE(dequantize_row, k->dequantize_row(n, r->codes, (tn_real)3.1, OUT(0)))
CASE(rescale, k->rescale(n, r->acc, (tn_real)3.1, (tn_real)0.02, OUT(0)))
CASE(ternarize, k->ternarize(n, IN(0), (tn_real)1.3, r->states))
CASE(binarize, k->binarize(n, IN(0), (tn_real)0.01, r->states))
CASE(expand_states, k->expand_states(n, r->states, (tn_real)0.02, OUT(0)))
CASE(rms_row, r->result = (double)k->rms_row(n, IN(0), n % 2 ? IN(1) : NULL, (tn_real)1e-5, OUT(0)))
CASE(rms_row_dx, k->rms_row_dx(n, IN(0), n % 2 ? IN(1) : NULL, IN(2), (tn_real)0.3, OUT(0)))
CASE(rms_row_dw, k->rms_row_dw(n, IN(0), IN(1), (tn_real)0.3, OUT(0)))
CASE(rms_row_back, k->rms_row_back(n, IN(0), n % 2 ? IN(1) : NULL, IN(2), (tn_real)0.3, OUT(0), OUT(1)))
CASE(relu2, k->relu2(n, IN(0), OUT(0)))
CASE(relu2_du, k->relu2_du(n, IN(0), IN(1), OUT(0)))
CASE(silu, k->silu(n, IN(0), OUT(0)))
CASE(silu_du, k->silu_du(n, IN(0), IN(1), OUT(0)))
CASE(relu2_gate, k->relu2_gate(n, IN(0), IN(1), OUT(0)))
CASE(relu2_gate_back, k->relu2_gate_back(n, IN(0), IN(1), IN(2), OUT(0), OUT(1)))
CASE(silu_gate, k->silu_gate(n, IN(0), IN(1), OUT(0)))
CASE(silu_gate_back, k->silu_gate_back(n, IN(0), IN(1), IN(2), OUT(0), OUT(1)))
CASE(rope_row, k->rope_row(n / 2 * 2, IN(0), IN(1), IN(2), n % 3 ? 1 : -1, OUT(0)))
CASE(rope_row_add, k->rope_row_add(n / 2 * 2, IN(0), IN(1), IN(2), n % 3 ? 1 : -1, OUT(0)))
CASE(row_max, r->result = (double)k->row_max(n, IN(0)))
CASE(exp_sum, r->result = (double)k->exp_sum(n, IN(0), 80))
CASE(exp_scaled, k->exp_scaled(n, IN(0), 2, (tn_real)0.5, OUT(0)))
CASE(exp_columns, if (n) k->exp_columns(1 + n % COLUMN_ROWS, TN_MIN(n, COLUMNS), IN(0), COLUMNS, OUT(0), OUT(1)))
CASE(adamw_step, const tn_adamw o = {(tn_real)1e-3, (tn_real)0.9, (tn_real)0.95, (tn_real)1e-8, (tn_real)0.1,
                                     (tn_real)0.7, (tn_real)0.1, (tn_real)0.05};
     r->result = k->adamw_step(n, &o, IN(0), OUT(0), OUT(1), OUT(2)))
CASE(adamw8bit_step, const tn_adamw o = {(tn_real)1e-3, (tn_real)0.9, (tn_real)0.95, (tn_real)1e-8, (tn_real)0.1,
                                         (tn_real)0.7, (tn_real)0.1, (tn_real)0.05};
     const tn_adamw_codes c = {(uint8_t *)r->codes, (uint8_t *)r->states, OUT(1), OUT(2), 12345};
     r->result = k->adamw8bit_step(n, &o, &c, IN(0), OUT(0)))
CASE(lion_step, const tn_lion o = {(tn_real)1e-3, (tn_real)0.9, (tn_real)0.99, (tn_real)0.1, (tn_real)0.7};
     r->result = k->lion_step(n, &o, IN(0), OUT(0), OUT(1)))
CASE(sgd_step, const tn_sgd o = {(tn_real)1e-3, (tn_real)0.9, (tn_real)0.1, (tn_real)0.7};
     r->result = k->sgd_step(n, &o, IN(0), OUT(0), OUT(1)))

/* These fuse where the hardware can; on small whole numbers (and weights of exactly 1) rounding never happens. */
static void whole_numbers(int n, const room *r, tn_real *x) {
    for (int i = 0; i < n; i++) x[i] = r->codes[i];
}
static void case_attention_rows(const tn_kernels *k, int n, room *r) {
    if (n == 0) return;
    whole_numbers(n, r, IN(1));
    memset(IN(0), 0, sizeof IN(0));
    k->attention_rows(&(tn_attention_rows){.n_queries = n,
                                           .d = 1,
                                           .scale = 1,
                                           .q = IN(0),
                                           .q_stride = 1,
                                           .k = IN(0),
                                           .v = IN(1),
                                           .kv_stride = 1,
                                           .o = OUT(0),
                                           .o_stride = 1,
                                           .lse = OUT(1)});
}
enum { TILE_NUMBERS = 17 * TN_KEY_TILE };
static void case_attention_cached(const tn_kernels *k, int n, room *r) {
    static tn_real tile[MOST / TN_KEY_TILE + 1][TILE_NUMBERS];
    if (n == 0) return;
    whole_numbers(n, r, IN(1));
    memset(IN(0), 0, sizeof IN(0));
    for (int i = 0; i < n; i++) k->kv_put(TN_KV_F32, 1, i % TN_KEY_TILE, IN(0) + i, IN(1) + i, tile[i / TN_KEY_TILE]);
    k->attention_cached(&(tn_attention_cached){.n_queries = n,
                                               .heads = 1,
                                               .d = 1,
                                               .scale = 1,
                                               .type = TN_KV_F32,
                                               .tiles = tile,
                                               .tile_stride = sizeof tile[0],
                                               .q = IN(0),
                                               .o = OUT(0),
                                               .stride = 1});
}
#define case_kv_put case_attention_cached
/* What was put comes back from another place of another tile, as the bytes that the types say. */
static void case_kv_save(const tn_kernels *k, int n, room *r) {
    static tn_real tiles[2][TN_KEY_TILE * 2 * TN_ROUND_UP(TN_HEAD_DIM_MAX, 16) + 2 * TN_KEY_TILE];
    union {
        tn_real real[2 * TN_HEAD_DIM_MAX];
        uint16_t half[2 * TN_HEAD_DIM_MAX];
        int8_t code[2 * TN_HEAD_DIM_MAX + 16];
    } row, again;
    const int d = TN_MIN(n, 150), at = n % TN_KEY_TILE, other = (n * 5 + 1) % TN_KEY_TILE;
    for (int type = 0; d > 0 && type < TN_KV_TYPES; type++) {
        k->kv_put((tn_kv_type)type, d, at, IN(0), IN(1), tiles[0]);
        k->kv_save((tn_kv_type)type, d, at, tiles[0], &row);
        k->kv_restore((tn_kv_type)type, d, other, &row, tiles[1]);
        k->kv_save((tn_kv_type)type, d, other, tiles[1], &again);
        assert_memory_equal(&row, &again, tn_kv_row_bytes((tn_kv_type)type, d));
        tn_real units[2];
        memcpy(units, &row.code[2 * d], sizeof units);
        for (int i = 0; i < 2 * d; i++) {
            tn_real put = i < d ? IN(0)[i] : IN(1)[i - d], unit = units[i >= d];
            if (type == TN_KV_F32) assert_true(row.real[i] == put);
            if (type == TN_KV_F16) assert_int_equal(row.half[i], tn_f32_to_f16((float)put));
            if (type == TN_KV_Q8_0) assert_true(fabs((double)(row.code[i] * unit - put)) <= 0.50001 * (double)unit);
        }
        if (type == TN_KV_F32) memcpy(OUT(0), &row, sizeof *row.real * (size_t)d);
    }
}
#define case_kv_restore case_kv_save
static void case_attention_rows_back(const tn_kernels *k, int n, room *r) {
    if (n == 0) return;
    memset(IN(0), 0, sizeof IN(0));
    for (int i = 0; i < n; i++)
        OUT(0)[i] = 0, OUT(1)[i] = (tn_real)i, OUT(2)[i] = 0, r->in[2][i] = 0, IN(3)[i] = (tn_real)(i % 5);
    const tn_attention_rows forward = {.n_queries = n,
                                       .d = 1,
                                       .scale = 1,
                                       .q = IN(0),
                                       .q_stride = 1,
                                       .k = IN(0),
                                       .v = IN(0),
                                       .kv_stride = 1,
                                       .o = IN(0),
                                       .o_stride = 1,
                                       .lse = IN(0)};
    k->attention_rows_back(
        &(tn_attention_back){.forward = forward, .d_o = IN(3), .dq = OUT(0), .dk = OUT(2), .dv = OUT(1)});
}
/* The panels through their drivers, which know the layout: n rows against 3 outputs of 7 terms. */
static void case_ternary_panel(const tn_kernels *k, int n, room *r) {
    char packed[4096];
    assert_true(k->ternary_panel_width > 0 && tn_pack_ternary_bytes(TN_PACKING_PAIRS, 3, 7) <= sizeof packed);
    tn_pack_ternary(TN_PACKING_PAIRS, 3, 7, r->states, packed);
    tn_gemm_ternary_codes(TN_PACKING_PAIRS, n / 7, 3, 7, r->codes, packed, r->acc);
}
static void case_real_panel(const tn_kernels *k, int n, room *r) {
    tn_real packed[512];
    assert_true(k->real_panel_width > 0 && tn_pack_real_bytes(3, 7) <= sizeof packed);
    whole_numbers(21, r, IN(0));
    whole_numbers(n, r, IN(1));
    tn_pack_real(3, 7, IN(0), packed);
    tn_gemm_real(n / 7, 3, 7, IN(1), packed, OUT(0));
}
/* n / 16 rows of y. */
#define THIN_CASE(call)                                                                                                \
    whole_numbers(MOST, r, IN(0));                                                                                     \
    whole_numbers(MOST, r, IN(1));                                                                                     \
    memset(OUT(0), 0, sizeof *r->out[0] * (size_t)n);                                                                  \
    call
CASE(thin_panel, THIN_CASE(k->thin_panel(n / 16, 9, IN(0), 14, IN(1), 17, OUT(0), 16)))
CASE(thin_outer, THIN_CASE(k->thin_outer(n / 16, 9, IN(0), 22, IN(1), 17, OUT(0), 16)))
/* Rows of every type over any bytes but the exponents of infinities; 256 numbers fill the blocks of all. */
static void case_table_row(const tn_kernels *k, int n, room *r) {
    enum { VALUES = 256 };
    unsigned char row[4 * VALUES];
    if (n < VALUES) return;
    for (size_t i = 0; i < sizeof row; i++) row[i] = (unsigned char)(r->codes[(i * 7) % MOST] & 0xbb);
    for (int type = 0; type < TN_TABLE_TYPES; type++) {
        tn_real y[VALUES] = {0};
        k->table_row((tn_table_type)type, type == TN_TABLE_F16 ? VALUES - n % 20 : VALUES, row, y);
        for (int i = 0; i < VALUES; i++) OUT(type % 2)[i] = OUT(type % 2)[i] / 3 + y[i];
    }
}
/* Seven rows, of which 256 numbers lie in the first lanes of the panel's rows. */
static void case_table_panel(const tn_kernels *k, int n, room *r) {
    enum { VALUES = 256, ROWS = 7, STRIDE = 4 * VALUES, MOST_WIDTH = 64 };
    static unsigned char rows[ROWS * STRIDE];
    static tn_real work[ROWS * VALUES], panel[VALUES * MOST_WIDTH];
    if (n < VALUES) return;
    for (size_t i = 0; i < sizeof rows; i++) rows[i] = (unsigned char)(r->codes[(i * 7 + i / 99) % MOST] & 0xbb);
    for (int type = 0; type < TN_TABLE_TYPES; type++) {
        k->table_panel((tn_table_type)type, ROWS, VALUES, rows, STRIDE, work, panel);
        for (int i = 0; i < VALUES; i++)
            for (int j = 0; j < k->real_panel_width; j++)
                if (j < ROWS)
                    OUT(j % 3)[i] = OUT(j % 3)[i] / 3 + panel[i * k->real_panel_width + j];
                else
                    assert_true(panel[i * k->real_panel_width + j] == 0);
    }
}
static void case_chain(const tn_kernels *k, int n, room *r) {
    whole_numbers(n, r, IN(0));
    whole_numbers(n, r, IN(1));
    r->result = (double)k->chain(n, IN(0), IN(1));
}
/* One block of any codes; the sums stay whole numbers below 2^24. Sums of codes over 16 are those of the row. */
static void screen_case(int n, room *r, bool high, tn_real (*screen)(int, const void *, const tn_screen_x *)) {
    enum { CODES = 256, BLOCK = 210, SCALES = 192, D = 208 };
    static const int8_t zeros[CODES];
    unsigned char block[BLOCK + 3 * 64] = {0};
    int16_t sums[2][CODES / 16] = {{0}};
    if (n < CODES) return;
    for (int i = 0; i < SCALES; i++) block[i] = (unsigned char)r->codes[i];
    for (int i = 0; i < CODES / 16; i++) block[SCALES + i] = (unsigned char)r->states[i];
    block[D + 1] = 0x3c; /* 1 */
    for (int i = 0; i < CODES; i++) sums[1][i / 16] = (int16_t)(sums[1][i / 16] + r->codes[i]);
    if (high) memcpy(sums[0], sums[1], sizeof sums[0]);
    const tn_screen_x x = {high ? r->codes : zeros, high ? NULL : r->codes, sums[0]};
    r->result = (double)screen(CODES, block, &x) / (high ? 256 : 1);
}
static void case_screen_q6_k(const tn_kernels *k, int n, room *r) { screen_case(n, r, false, k->screen_q6_k); }
static void case_screen_q6_k_high(const tn_kernels *k, int n, room *r) { screen_case(n, r, true, k->screen_q6_k_high); }
/* Fixed point. Words of pairs go where 32-bit sums are; rows of 7, of 48 columns at most. */
enum { PAIR_ROWS = 7, PAIR_COLS = 45, WORD_STRIDE = 48 };
CASE(largest, r->result = (double)k->largest(n, IN(0)))
CASE(digit_row, r->result = (double)k->digit_row(n, IN(0), r->codes, r->states))
#define TWO_ROWS 2, n / 2, r->acc, 50, IN(0), OUT(0), n / 2
CASE(join_digits, k->join_digits(TWO_ROWS))
CASE(join_digits_add, k->join_digits_add(TWO_ROWS))
CASE(scale_sums, k->scale_sums(TWO_ROWS))
CASE(scale_sums_add, k->scale_sums_add(TWO_ROWS))
CASE(column_units, k->column_units(1 + n % PAIR_ROWS, TN_MIN(n, PAIR_COLS), IN(0), PAIR_COLS, IN(1), OUT(0), OUT(1)))
static void case_pair_rows(const tn_kernels *k, int n, room *r) {
    const int rows = 1 + n % PAIR_ROWS, cols = TN_MIN(n, PAIR_COLS);
    k->column_units(rows, cols, IN(0), PAIR_COLS, IN(1), IN(2), IN(3));
    k->pair_rows(rows, cols, IN(0), PAIR_COLS, IN(1), IN(3), (uint32_t *)r->acc, WORD_STRIDE);
}
CASE(pair_codes,
     k->pair_codes(1 + n % PAIR_ROWS, TN_MIN(n, PAIR_COLS), r->codes, PAIR_COLS, (uint32_t *)r->acc, WORD_STRIDE))
/* Panels differ in width: the rows are those that all sets take, the columns the first ones. */
static void case_pair_panel(const tn_kernels *k, int n, room *r) {
    enum { ROWS = 4, PAIRS = 128, COLS = 16, MOST_COLS = 64, MOST_ROWS = 8 };
    static uint32_t panel[PAIRS * MOST_COLS];
    int32_t sums[MOST_ROWS * MOST_COLS];
    assert_true(k->pair_tile_rows >= ROWS && k->pair_panel_width >= COLS && k->pair_panel_width <= MOST_COLS);
    memset(panel, 0, sizeof panel);
    const int pairs = TN_MIN(n, PAIRS);
    for (int p = 0; p < pairs; p++)
        for (int j = 0; j < COLS; j++)
            panel[p * k->pair_panel_width + j] = (uint16_t)r->codes[p + j] | (uint32_t)r->codes[p + 2 * j] << 16;
    k->pair_panel(ROWS, pairs, (const uint32_t *)r->acc, 2, panel, sums);
    for (int i = 0; i < ROWS * COLS; i++) r->acc[i] = sums[i / COLS * k->pair_panel_width + i % COLS];
}
/* As ternary panels: through their drivers; 60 rows are enough for them to open a panel. */
static void case_byte_panel(const tn_kernels *k, int n, room *r) {
    char packed[4096];
    assert_true(k->ternary_panel_width > 0 && tn_pack_ternary_bytes(TN_PACKING_PAIRS, 3, 4) <= sizeof packed);
    tn_pack_ternary(TN_PACKING_PAIRS, 3, 4, r->states, packed);
    tn_gemm_ternary_codes(TN_PACKING_PAIRS, n / 4, 3, 4, r->codes, packed, r->acc);
}
#define case_ternary_bytes case_byte_panel
/* The same in triples, rows of 28 terms: a whole group and a tail. */
static void case_triple_panel(const tn_kernels *k, int n, room *r) {
    char packed[4096];
    assert_true(k->triple_tile_rows > 0 && tn_pack_ternary_bytes(TN_PACKING_TRIPLES, 3, 28) <= sizeof packed);
    tn_pack_ternary(TN_PACKING_TRIPLES, 3, 28, r->states, packed);
    tn_gemm_ternary_codes(TN_PACKING_TRIPLES, n / 28, 3, 28, r->codes, packed, r->acc);
}
#define case_triple_bytes case_triple_panel
/* n / 16 squares, whose words differ, in place of 32-bit sums. */
enum { TURN_SQUARES = MOST / 32 };
#define SQUARES_OF(n) TN_MIN((n) / 16, (int)TURN_SQUARES)
CASE(turn_pairs, k->turn_pairs(SQUARES_OF(n), (const uint32_t *)r->in[0], (uint32_t *)r->acc, 16))
static void case_turn_bytes(const tn_kernels *k, int n, room *r) {
    uint32_t bytes[4 * 16 * TURN_SQUARES];
    for (size_t i = 0; i < TN_COUNT(bytes); i++) bytes[i] = (uint32_t)r->acc[i % MOST] & 0x03030303;
    k->turn_bytes(SQUARES_OF(n), bytes, 16 * TURN_SQUARES, (uint32_t *)r->acc, 16);
}
CASE(sum_codes, r->result = k->sum_codes(n, r->codes))
CASE(turn, (k->turn(7, n / 7, IN(0), n / 7, OUT(0), 7), k->turn(n / 20, 20, IN(1), 20, OUT(1), n / 20)))
/* A set may do more a round than another, so only that it did anything is compared; bf16 is not in every set. */
CASE(spin_real, r->result = n == 0 || k->spin_real(n) >= n)
CASE(spin_bytes, r->result = n == 0 || k->spin_bytes(n) >= n)
CASE(spin_words, r->result = n == 0 || k->spin_words(n) >= n)
CASE(spin_bf16, r->result = k->spin_bf16(0) == 0 && k->spin_bf16(n) >= 0)
/* n / 3 columns of 3 rows, then the other way round, so that both have an odd end. */
static void case_bf16_pair_rows(const tn_kernels *k, int n, room *r) {
    k->bf16_pair_rows(3, n / 3, IN(0), n / 3, (uint32_t *)r->acc, n / 3);
}
static void case_bf16_pair_cols(const tn_kernels *k, int n, room *r) {
    k->bf16_pair_cols(n / 3, 3, IN(0), 3, (uint32_t *)r->acc, n / 3);
}
static void case_bf16_panel(const tn_kernels *k, int n, room *r) {
    assert_true(k->bf16_panel_width > 0);
    whole_numbers(21, r, IN(0));
    whole_numbers(n, r, IN(1));
    tn_product_bf16(TN_AS_IS, TN_TRANSPOSED, n / 7, 3, 7, 1, IN(1), 7, IN(0), 7, 0, OUT(0), 3);
}

static const struct {
    const char *name;
    void (*call)(const tn_kernels *k, int n, room *r);
} cases[] = {
#define KERNEL(result, name, parameters) {#name, case_##name},
#include "kernels/kernels.def"
#undef KERNEL
};

static const int lengths[] = {0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 256, 257, MOST};

static void check_guards(const char *name, int n, const room *r) {
    for (int i = n; i < MOST + GUARD; i++)
        for (int j = 0; j < 3; j++)
            if (r->out[j][i] != before.out[j][i]) fail_msg("%s wrote past its %d elements", name, n);
    if (memcmp(r->codes + n, before.codes + n, (size_t)(MOST + GUARD - n)) ||
        memcmp(r->states + n, before.states + n, (size_t)(MOST + GUARD - n)))
        fail_msg("%s wrote bytes past its %d elements", name, n);
}

static void check_case(size_t c, int n, const char *isa) {
    got = before;
    assert_ok(tn_kernels_init(isa));
    cases[c].call(tn_k, n, &got);
    check_guards(cases[c].name, n, &got);
    if (memcmp(&wanted, &got, sizeof got)) fail_msg("%s of %d elements: %s differs", cases[c].name, n, isa);
}

static void kernels__every_row_gives_the_portable_bits(void **state) {
    (void)state;
    enum { SETS_MAX = 16 };
    const char *sets[SETS_MAX];
    size_t count = 0;
    for (size_t isa = 0; tn_kernels_known(isa) && count < SETS_MAX; isa++)
        if (use_isa(isa)) sets[count++] = tn_kernels_known(isa);
    for (size_t c = 0; c < TN_COUNT(cases); c++)
        for (size_t l = 0; l < TN_COUNT(lengths); l++) {
            fill_room(&before, (uint32_t)(100 * c + l));
            wanted = before;
            assert_ok(tn_kernels_init("generic"));
            cases[c].call(tn_k, lengths[l], &wanted);
            for (size_t i = 0; i < count; i++) check_case(c, lengths[l], sets[i]);
        }
}

/* As a maximum does that takes its second operand when either is NaN. */
static void kernels__relu_passes_a_nan_on(void **state) {
    (void)state;
    enum { COUNT = 40 };
    tn_real x[COUNT], y[COUNT];
    for (size_t isa = 0; tn_kernels_known(isa); isa++)
        for (int where = 0; where < COUNT && tn_kernels_init(tn_kernels_known(isa)) == TN_OK; where++) {
            for (int i = 0; i < COUNT; i++) x[i] = i == where ? (tn_real)NAN : (tn_real)(i - 20);
            tn_k->relu2(COUNT, x, y);
            for (int i = 0; i < COUNT; i++) assert_int_equal(isnan(y[i]) != 0, i == where);
        }
}

static void kernels__an_unknown_instruction_set_is_refused(void **state) {
    (void)state;
    assert_ok(tn_kernels_init("generic"));
    assert_int_equal(tn_kernels_init("sse9"), TN_E_ARG);
    assert_string_equal(tn_kernels_isa(), "generic");
    setenv("TN_ISA", "mmx", 1);
    assert_int_equal(tn_kernels_init(NULL), TN_E_ARG);
    setenv("TN_ISA", "generic", 1);
    assert_ok(tn_kernels_init(NULL));
    assert_string_equal(tn_kernels_isa(), "generic");
    unsetenv("TN_ISA");
    assert_ok(tn_kernels_init(NULL));
}

/* ---- quantisers: worked out by hand from docs/math.md ---- */
static void check_codes(const tn_real *x, int k, double s, const int8_t *codes) {
    int8_t q[8];
    const double found = (double)tn_k->quantize_row(k, x, q);
    assert_true(fabs(found / s - 1) < 1e-6);
    assert_memory_equal(q, codes, (size_t)k);
}

static void kernels__quantizer_gives_the_reference_codes(void **state) {
    (void)state;
    const tn_real rows[3][3] = {{1, (tn_real)-.6, (tn_real).7},
                                {(tn_real)-.9, (tn_real).4, (tn_real)-1.2},
                                {(tn_real).8, (tn_real)-.5, (tn_real).3}};
    const int8_t codes[3][3] = {{127, -76, 89}, {-95, 42, -127}, {127, -79, 48}};
    const double max[3] = {1, 1.2, .8};
    for (int i = 0; i < 3; i++) check_codes(rows[i], 3, 127 / max[i], codes[i]);
    const tn_real ties[6] = {127, (tn_real).5, (tn_real)1.5, (tn_real)2.5, (tn_real)-.5, (tn_real)-2.5};
    check_codes(ties, 6, 1, (const int8_t[]){127, 0, 2, 2, 0, -2});
    check_codes((const tn_real[]){0, 0}, 2, 127e5, (const int8_t[]){0, 0});
    check_codes((const tn_real[]){(tn_real)1e-6, 0}, 2, 127e5, (const int8_t[]){13, 0});
}

static void kernels__quantizer_passes_a_nan_on_as_its_scale(void **state) {
    (void)state;
    const tn_real bad[] = {(tn_real)NAN, (tn_real)INFINITY, -(tn_real)INFINITY};
    for (int where = 0; where < 40; where += 13)
        for (int i = 0; i < 3; i++) {
            tn_real x[40];
            int8_t q[40], zeros[40] = {0};
            for (int j = 0; j < 40; j++) x[j] = 1;
            x[where] = bad[i];
            assert_true(isnan(tn_k->quantize_row(40, x, q)));
            assert_memory_equal(q, zeros, 40);
        }
}

static void kernels__states_are_rounded_half_to_even(void **state) {
    (void)state;
    int8_t states[9];
    const tn_real ties[] = {(tn_real).5, (tn_real)1.5, (tn_real)-.5, (tn_real)-1.5, (tn_real).51, (tn_real)-.51, 1e30f,
                            0,           (tn_real)NAN};
    tn_k->ternarize(9, ties, 1, states);
    assert_memory_equal(states, ((const int8_t[]){0, 1, 0, -1, 1, -1, 1, 0, 0}), 9);
    const tn_real w[9] = {(tn_real).8,  (tn_real)-.5, (tn_real)1.2, (tn_real)-1.5, (tn_real).4,
                          (tn_real)-.9, (tn_real)1.3, (tn_real)-.7, (tn_real).2};
    const double mean = tn_k->sum_abs(9, w) / 9;
    assert_true(fabs(mean - .833333) < 1e-6);
    tn_k->ternarize(9, w, (tn_real)(1 / mean), states);
    assert_memory_equal(states, ((const int8_t[]){1, -1, 1, -1, 0, -1, 1, -1, 0}), 9);
    tn_k->binarize(3, (const tn_real[]){-1, 0, 1}, 0, states);
    assert_memory_equal(states, ((const int8_t[]){-1, -1, 1}), 3);
}

/* erf(.399 / sqrt 2) of Gaussian weights become 0 (docs/math.md, BitLinear). */
static void kernels__a_gaussian_matrix_gets_31_percent_zeros(void **state) {
    (void)state;
    enum { N = 100000 };
    static tn_real w[N];
    static int8_t states[N];
    const tn_rng rng = tn_rng_make(7, TN_PURPOSE_TEST, 0);
    for (int i = 0; i < N; i++) w[i] = (tn_real)tn_rng_normal(&rng, (uint64_t)i);
    tn_k->ternarize(N, w, (tn_real)(N / tn_k->sum_abs(N, w)), states);
    int zeros = 0;
    for (int i = 0; i < N; i++) zeros += states[i] == 0;
    assert_true(zeros > N * .305 && zeros < N * .315);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels__every_row_gives_the_portable_bits),
        cmocka_unit_test(kernels__relu_passes_a_nan_on),
        cmocka_unit_test(kernels__an_unknown_instruction_set_is_refused),
        cmocka_unit_test(kernels__quantizer_gives_the_reference_codes),
        cmocka_unit_test(kernels__quantizer_passes_a_nan_on_as_its_scale),
        cmocka_unit_test(kernels__states_are_rounded_half_to_even),
        cmocka_unit_test(kernels__a_gaussian_matrix_gets_31_percent_zeros),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
