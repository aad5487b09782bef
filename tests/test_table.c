/* SPDX-License-Identifier: MIT
 * Rows of embedding tables: the layouts against the formulas of docs/format.md written out once more, and the roundings
 * of the encoders. */
#include "core/arena.h"
#include "core/half.h"
#include "core/rng.h"
#include "kernels/table.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { K = 512, ROW_MAX = 4 * K };

static void normals(tn_real *x, int n, double std, uint32_t stream) {
    const tn_rng rng = tn_rng_make(5, TN_PURPOSE_TEST, stream);
    for (int i = 0; i < n; i++) x[i] = (tn_real)(float)(std * tn_rng_normal(&rng, (uint64_t)i));
}

static float half_at(const unsigned char *p) { return tn_f16_to_f32((uint16_t)(p[0] | p[1] << 8)); }

/* ---- sizes ---- */

static void table__rows_fill_blocks(void **state) {
    (void)state;
    static const struct {
        tn_table_type type;
        int64_t k;
        size_t bytes; /* 0: does not fill blocks */
    } cases[] = {{TN_TABLE_F32, 3, 12},    {TN_TABLE_F16, 3, 6},       {TN_TABLE_BF16, 3, 6},   {TN_TABLE_Q8_0, 64, 68},
                 {TN_TABLE_Q8_0, 48, 0},   {TN_TABLE_Q6_K, 512, 420},  {TN_TABLE_Q6_K, 128, 0}, {TN_TABLE_F32, 0, 0},
                 {TN_TABLE_Q6_K, -256, 0}, {TN_TABLE_Q6_K, 2560, 2100}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_real x[1] = {0};
        unsigned char row[1];
        assert_int_equal(tn_table_check(cases[i].type, cases[i].k), cases[i].bytes ? TN_OK : TN_E_SHAPE);
        if (cases[i].bytes)
            assert_int_equal(tn_table_row_bytes(cases[i].type, cases[i].k), cases[i].bytes);
        else
            assert_int_equal(tn_table_encode_row(cases[i].type, cases[i].k, x, row), TN_E_SHAPE);
    }
}

/* ---- decoding ---- */

/* Value `l + 32 j` of half `h` of a block, as the table of the format says it. */
static double q6_k_value(const unsigned char *block, int h, int j, int l) {
    const unsigned char *low = block + 64 * h, *high = block + 128 + 32 * h;
    const int8_t *scales = (const int8_t *)block + 192 + 8 * h;
    static const struct {
        int byte, nibble, pair, scale;
    } places[] = {{0, 0, 0, 0}, {32, 0, 2, 2}, {0, 4, 4, 4}, {32, 4, 6, 6}};
    int q = (low[l + places[j].byte] >> places[j].nibble & 15) | (high[l] >> places[j].pair & 3) << 4;
    return (double)half_at(block + 208) * scales[l / 16 + places[j].scale] * (q - 32);
}

static void table__q6_k_blocks_of_any_bytes_decode_by_the_format(void **state) {
    (void)state;
    unsigned char row[2 * 210 + 1];
    tn_real y[K];
    const tn_rng rng = tn_rng_make(1, TN_PURPOSE_TEST, 0);
    for (size_t i = 0; i < sizeof row; i++) row[i] = (unsigned char)tn_rng_below(&rng, i, 256);
    for (int b = 0; b < 2; b++) memcpy(row + 1 + 210 * b + 208, b ? "\x01\x80" : "\x66\x2e", 2); /* -2^-24, 0.1 */
    tn_table_row(TN_TABLE_Q6_K, K, row + 1, y);                                                  /* at an odd address */
    for (int i = 0; i < K; i++) {
        double expected = q6_k_value(row + 1 + i / 256 * 210, i / 128 % 2, i / 32 % 4, i % 32);
        assert_true(y[i] == (tn_real)(float)expected);
    }
}

static void table__q8_0_blocks_decode_by_the_format(void **state) {
    (void)state;
    unsigned char row[34 * 2];
    tn_real y[64];
    for (size_t i = 0; i < sizeof row; i++) row[i] = (unsigned char)(37 * i + 11);
    memcpy(row, "\x00\x38", 2);      /* 0.5 */
    memcpy(row + 34, "\x00\xc4", 2); /* -4 */
    tn_table_row(TN_TABLE_Q8_0, 64, row, y);
    for (int i = 0; i < 64; i++) {
        int q = (int8_t)row[i / 32 * 34 + 2 + i % 32];
        assert_true(y[i] == (i < 32 ? (tn_real)0.5 : -4) * (tn_real)q);
    }
}

static void table__rows_are_found_by_their_number(void **state) {
    (void)state;
    tn_real x[3 * K], y[2 * K], one[K];
    unsigned char data[3 * ROW_MAX];
    normals(x, 3 * K, 1, 1);
    for (int type = 0; type < TN_TABLE_TYPES; type++) {
        size_t bytes = tn_table_row_bytes((tn_table_type)type, K);
        for (int r = 0; r < 3; r++)
            assert_ok(tn_table_encode_row((tn_table_type)type, K, x + r * K, data + (size_t)r * bytes));
        tn_table_rows(&(tn_table){(tn_table_type)type, data}, K, 1, 2, y);
        for (int r = 1; r < 3; r++) {
            tn_table_row((tn_table_type)type, K, data + (size_t)r * bytes, one);
            assert_memory_equal(y + (r - 1) * K, one, sizeof one);
        }
    }
}

/* ---- encoding ---- */

static void table__floats_round_half_to_even(void **state) {
    (void)state;
    /* Between two neighbours of each type: the even one is below, then above. */
    static const tn_real f16[] = {(tn_real)(1 + 0x1p-11), (tn_real)(1 + 3 * 0x1p-11), -65504};
    static const tn_real f16_expected[] = {1, (tn_real)(1 + 0x1p-9), -65504};
    static const tn_real bf16[] = {(tn_real)(1 + 0x1p-8), (tn_real)(1 + 3 * 0x1p-8), (tn_real)3e38};
    static const tn_real bf16_expected[] = {1, (tn_real)(1 + 0x1p-6), (tn_real)0x1.c4p127};
    unsigned char row[12];
    tn_real y[3];
    assert_ok(tn_table_encode_row(TN_TABLE_F16, 3, f16, row));
    tn_table_row(TN_TABLE_F16, 3, row, y);
    assert_memory_equal(y, f16_expected, sizeof y);
    assert_ok(tn_table_encode_row(TN_TABLE_BF16, 3, bf16, row));
    tn_table_row(TN_TABLE_BF16, 3, row, y);
    assert_memory_equal(y, bf16_expected, sizeof y);
    assert_ok(tn_table_encode_row(TN_TABLE_F32, 3, bf16, row));
    tn_table_row(TN_TABLE_F32, 3, row, y);
    for (int i = 0; i < 3; i++) assert_true(y[i] == (tn_real)(float)bf16[i]);
}

static void table__q8_0_rounds_half_to_even(void **state) {
    (void)state;
    tn_real x[32] = {127, (tn_real).5, (tn_real)1.5, (tn_real)2.5, (tn_real)-.5, (tn_real)-2.5, (tn_real)-126.5};
    static const int8_t expected[32] = {127, 0, 2, 2, 0, -2, -126};
    unsigned char row[34];
    assert_ok(tn_table_encode_row(TN_TABLE_Q8_0, 32, x, row));
    assert_true(half_at(row) == 1);
    assert_memory_equal(row + 2, expected, sizeof expected);
    for (int i = 0; i < 32; i++) x[i] = 0;
    assert_ok(tn_table_encode_row(TN_TABLE_Q8_0, 32, x, row));
    for (size_t i = 0; i < sizeof row; i++) assert_int_equal(row[i], 0);
}

static double relative_error(tn_table_type type, const tn_real *x) {
    unsigned char row[ROW_MAX];
    tn_real y[K];
    double error = 0, size = 0;
    assert_ok(tn_table_encode_row(type, K, x, row));
    tn_table_row(type, K, row, y);
    for (int i = 0; i < K; i++) {
        error += ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
        size += (double)x[i] * (double)x[i];
    }
    return sqrt(error / size);
}

static void table__encoded_rows_stay_near(void **state) {
    (void)state;
    /* Root mean square, of Gaussian rows of any size and of rows whose runs differ twentyfold. Rounding to 6 bits over
     * the greatest of 16 values, 1.97 deviations on average, leaves 1.97 / 32 / sqrt(12) = 0.0178, to 8 bits over that
     * of 32 values 2.3 / 127 / sqrt(12) = 0.0052. Measured: up to 0.0173 and 0.0056. */
    static const double stds[] = {1e-3, 1, 300};
    tn_real x[K];
    for (size_t s = 0; s < TN_COUNT(stds); s++) {
        normals(x, K, stds[s], (uint32_t)s);
        assert_true(relative_error(TN_TABLE_Q6_K, x) < 0.018);
        assert_true(relative_error(TN_TABLE_Q8_0, x) < 0.0058);
        assert_true(relative_error(TN_TABLE_BF16, x) < 0x1p-9);
        assert_true(relative_error(TN_TABLE_F16, x) < 0x1p-11);
        assert_true(relative_error(TN_TABLE_F32, x) == 0);
    }
    for (int i = 0; i < K; i++) x[i] *= (tn_real)(i / 16 % 2 ? 0.05 : 1);
    assert_true(relative_error(TN_TABLE_Q6_K, x) < 0.018);
}

static void table__q6_k_gives_back_what_it_can_hold(void **state) {
    (void)state;
    /* d = 2^-7 holds every scale of 1, 2, .. 128 in units of itself. */
    tn_real x[K], y[K];
    unsigned char row[ROW_MAX];
    const tn_rng rng = tn_rng_make(3, TN_PURPOSE_TEST, 0);
    for (int i = 0; i < K; i++) {
        int code = (int)tn_rng_below(&rng, (uint64_t)i, 64) - 32;
        x[i] = (tn_real)(i % 16 ? code : -32) * (tn_real)(i / 16 % 2 ? 1 : 0.25);
    }
    assert_ok(tn_table_encode_row(TN_TABLE_Q6_K, K, x, row));
    tn_table_row(TN_TABLE_Q6_K, K, row, y);
    assert_memory_equal(x, y, sizeof x);
    for (int i = 0; i < K; i++) x[i] *= 1024;
    assert_ok(tn_table_encode_row(TN_TABLE_Q6_K, K, x, row));
    tn_table_row(TN_TABLE_Q6_K, K, row, y);
    assert_memory_equal(x, y, sizeof x);
    memset(x, 0, sizeof x);
    assert_ok(tn_table_encode_row(TN_TABLE_Q6_K, K, x, row));
    tn_table_row(TN_TABLE_Q6_K, K, row, y);
    for (int i = 0; i < K; i++) assert_true(y[i] == 0);
}

static void table__what_a_type_cannot_hold_is_refused(void **state) {
    (void)state;
    static const struct {
        tn_table_type type;
        double value;
    } cases[] = {{TN_TABLE_F16, 65520},     {TN_TABLE_F16, NAN},  {TN_TABLE_BF16, 3.4e38}, {TN_TABLE_BF16, INFINITY},
                 {TN_TABLE_Q8_0, -8400000}, {TN_TABLE_Q8_0, NAN}, {TN_TABLE_Q6_K, 2.7e8},  {TN_TABLE_Q6_K, -INFINITY},
                 {TN_TABLE_Q6_K, NAN},      {TN_TABLE_Q6_K, 1e38}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_real x[K];
        unsigned char row[ROW_MAX];
        normals(x, K, 1, 9);
        x[300] = (tn_real)cases[i].value;
        assert_int_equal(tn_table_encode_row(cases[i].type, K, x, row), TN_E_RANGE);
        assert_non_null(strstr(tn_error_message(), "element 300 is"));
    }
}

static void table__numbers_that_are_not_finite_are_found(void **state) {
    (void)state;
    /* The last number, or scale, of a row: largest finite, infinite, NaN. */
    static const uint32_t f32[] = {0x7f7fffff, 0x7f800000, 0xffc00000}, f16[] = {0x7bff, 0xfc00, 0x7e01},
                          bf16[] = {0xff7f, 0x7f80, 0x7fc1};
    static const struct {
        const uint32_t *bits;
        size_t from_end, bytes;
    } cases[TN_TABLE_TYPES] = {[TN_TABLE_F32] = {f32, 4, 4},
                               [TN_TABLE_F16] = {f16, 2, 2},
                               [TN_TABLE_BF16] = {bf16, 2, 2},
                               [TN_TABLE_Q8_0] = {f16, 34, 2},
                               [TN_TABLE_Q6_K] = {f16, 2, 2}};
    for (int type = 0; type < TN_TABLE_TYPES; type++)
        for (int i = 0; i < 3; i++) {
            tn_real x[K], y[K];
            unsigned char row[ROW_MAX];
            normals(x, K, 1, 4);
            assert_ok(tn_table_encode_row((tn_table_type)type, K, x, row));
            assert_true(tn_table_finite((tn_table_type)type, K, row));
            unsigned char *last = row + tn_table_row_bytes((tn_table_type)type, K) - cases[type].from_end;
            memcpy(last, &cases[type].bits[i], cases[type].bytes);
            assert_int_equal(tn_table_finite((tn_table_type)type, K, row), i == 0);
            tn_table_row((tn_table_type)type, K, row, y);
            bool finite = true;
            for (int j = 0; j < K; j++) finite &= isfinite(y[j]) != 0;
            assert_int_equal(finite, i == 0);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table__rows_fill_blocks),
        cmocka_unit_test(table__q6_k_blocks_of_any_bytes_decode_by_the_format),
        cmocka_unit_test(table__q8_0_blocks_decode_by_the_format),
        cmocka_unit_test(table__rows_are_found_by_their_number),
        cmocka_unit_test(table__numbers_that_are_not_finite_are_found),
        cmocka_unit_test(table__floats_round_half_to_even),
        cmocka_unit_test(table__q8_0_rounds_half_to_even),
        cmocka_unit_test(table__encoded_rows_stay_near),
        cmocka_unit_test(table__q6_k_gives_back_what_it_can_hold),
        cmocka_unit_test(table__what_a_type_cannot_hold_is_refused),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
