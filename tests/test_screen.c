/* SPDX-License-Identifier: MIT
 * The screened head: bounds hold for every row, and the largest logits are those of the full head, to the bit. */
#include "core/rng.h"
#include "kernels/gemm.h"
#include "kernels/screen.h"
#include "tests/kernel_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 1500, TERMS = 512, ROW_BYTES = TERMS / 256 * 210 };

static tn_real normal(uint32_t stream, uint64_t i) {
    const tn_rng rng = tn_rng_make(31, TN_PURPOSE_TEST, stream);
    return (tn_real)tn_rng_normal(&rng, i);
}

static unsigned char *take_table(tn_real std) {
    unsigned char *data = take((size_t)ROWS * ROW_BYTES, 1);
    tn_real row[TERMS];
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < TERMS; i++) row[i] = std * normal(1, (uint64_t)r * TERMS + (uint64_t)i);
        assert_ok(tn_table_encode_row(TN_TABLE_Q6_K, TERMS, row, data + r * ROW_BYTES));
    }
    return data;
}

static void set_half(unsigned char *at, unsigned half) {
    at[0] = (unsigned char)half, at[1] = (unsigned char)(half >> 8);
}

/* Rows of any bytes, with a d that is small, large, zero, negative, or not a number at all. */
static unsigned char *take_wild_table(void) {
    static const unsigned d[] = {0x1400, 0x2c00, 0, 0x8000, 0x9400, 0x0001, 0x7bff, 0x7e00, 0x7c00};
    const tn_rng rng = tn_rng_make(32, TN_PURPOSE_TEST, 0);
    unsigned char *data = take((size_t)ROWS * ROW_BYTES, 1);
    for (int i = 0; i < ROWS * ROW_BYTES; i++) data[i] = (unsigned char)tn_rng_below(&rng, (uint64_t)i, 256);
    for (int r = 0; r < ROWS; r++)
        for (int b = 0; b < TERMS / 256; b++)
            set_half(data + r * ROW_BYTES + 210 * b + 208, d[r % 100 ? r % 3 : r / 100 % (int)TN_COUNT(d)]);
    return data;
}

static const tn_real *full_logits(const tn_table *table, const tn_real *x) {
    tn_real *y = take(ROWS, sizeof *y), *room = take((size_t)tn_gemm_table_room(TERMS), sizeof *room);
    tn_gemm_table(1, ROWS, TERMS, x, table, y, room);
    return y;
}

static int by_size(const void *a, const void *b) {
    const tn_real x = *(const tn_real *)a, y = *(const tn_real *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static bool is_allowed(const tn_screen_question *q, int id) {
    return !q->allowed || (q->allowed[id / 64] >> id % 64 & 1);
}

/* The `top` largest allowed numbers that are no NaN. */
static int take_largest(const tn_real *z, const int32_t *ids, int n, const tn_screen_question *q, tn_real *out) {
    int count = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(z[i]) && is_allowed(q, ids ? ids[i] : i)) out[count++] = z[i];
    qsort(out, (size_t)count, sizeof *out, by_size);
    return TN_MIN(count, q->top);
}

static int check_pick(tn_screen *screen, const tn_table *table, const tn_real *x, int top, const uint64_t *allowed) {
    const int32_t also[] = {0, ROWS - 1, 77}, *ids;
    const tn_real *z = full_logits(table, x), *logits, *lower, *upper;
    tn_real *best[2] = {take(ROWS, sizeof **best), take(ROWS, sizeof **best)};
    bool seen[ROWS] = {false};
    const tn_screen_question question = {top, allowed, also, 3};
    const int count = tn_screen_pick(screen, x, &question, &ids, &logits);
    tn_screen_bounds(screen, &lower, &upper);
    for (int i = 0; i < count; i++) {
        assert_true(i == 0 || ids[i] > ids[i - 1]);
        assert_memory_equal(&logits[i], &z[ids[i]], sizeof *z); /* to the bit, NaN too */
        seen[ids[i]] = true;
    }
    for (int id = 0; id < ROWS; id++) {
        if (isnan(z[id]) && is_allowed(&question, id)) assert_true(seen[id]);
        if (lower[id] > z[id] || upper[id] < z[id])
            fail_msg("%s: logit %d = %g is not in [%g, %g]", tn_kernels_isa(), id, (double)z[id], (double)lower[id],
                     (double)upper[id]);
    }
    for (size_t i = 0; i < TN_COUNT(also); i++) assert_true(seen[also[i]]);
    const int wanted = take_largest(z, NULL, ROWS, &question, best[0]);
    assert_true(take_largest(logits, ids, count, &question, best[1]) >= wanted);
    assert_memory_equal(best[0], best[1], (size_t)wanted * sizeof **best);
    return count;
}

typedef tn_real entry(uint32_t seed, int i);
static tn_real plain(uint32_t seed, int i) { return normal(seed, (uint64_t)i); }
static tn_real outliers(uint32_t seed, int i) { return normal(seed, (uint64_t)i) * (i % 100 ? 1 : 1000); }
static tn_real tiny(uint32_t seed, int i) { return normal(seed, (uint64_t)i) * (tn_real)1e-36; }
static tn_real huge(uint32_t seed, int i) { return normal(seed, (uint64_t)i) * (tn_real)1e36; }
static tn_real zeros(uint32_t seed, int i) { return (void)seed, (void)i, 0; }
static tn_real one_only(uint32_t seed, int i) { return (int)(seed % TERMS) == i; }
static tn_real steps(uint32_t seed, int i) { return (tn_real)((i * 7 + (int)seed) % 5 - 2); }
static tn_real with_nan(uint32_t seed, int i) { return i == 99 ? (tn_real)NAN : normal(seed, (uint64_t)i); }
static tn_real with_infinity(uint32_t seed, int i) { return i == 99 ? (tn_real)INFINITY : normal(seed, (uint64_t)i); }
static entry *const kinds[] = {plain, outliers, tiny, huge, zeros, one_only, steps, with_nan, with_infinity};

static void check_table(const unsigned char *data, int rounds) {
    const tn_table table = {TN_TABLE_Q6_K, data};
    tn_screen *screen;
    assert_ok(tn_screen_create(&screen, arena, &table, ROWS, TERMS));
    tn_real *x = take(TERMS, sizeof *x);
    for (int round = 0; round < rounds; round++)
        for (size_t kind = 0; kind < TN_COUNT(kinds); kind++) {
            const tn_arena_mark mark = tn_arena_get_mark(arena);
            for (int i = 0; i < TERMS; i++) x[i] = kinds[kind](100 + (uint32_t)round, i);
            static const int tops[] = {1, 40, 3, ROWS, 2000};
            uint64_t allowed[(ROWS + 63) / 64];
            for (size_t i = 0; i < TN_COUNT(allowed); i++) allowed[i] = 0x123456789abcdef0 * (i + 1);
            (void)check_pick(screen, &table, x, tops[(size_t)round % TN_COUNT(tops)], round < 5 ? NULL : allowed);
            tn_arena_rewind(arena, &mark);
        }
}

static void screen__bounds_hold_and_the_best_are_those_of_the_full_head(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        tn_arena_reset(arena);
        check_table(take_table((tn_real).02), 10);
        check_table(take_wild_table(), 10);
    }
}

/* The bounds are narrow: of normal numbers hardly more rows are computed than are asked for. */
static void screen__few_rows_are_left_in_question(void **state) {
    (void)state;
    const tn_table table = {TN_TABLE_Q6_K, take_table((tn_real).02)};
    tn_screen *screen;
    assert_ok(tn_screen_create(&screen, arena, &table, ROWS, TERMS));
    tn_real *x = take(TERMS, sizeof *x);
    int computed = 0;
    for (uint32_t round = 0; round < 20; round++) {
        for (int i = 0; i < TERMS; i++) x[i] = plain(round, i);
        computed += check_pick(screen, &table, x, 10, NULL);
    }
    assert_true(computed < 20 * (10 + 3 + 2)); /* 3 are asked for besides */
}

static void screen__equal_rows_are_all_in_question(void **state) {
    (void)state;
    unsigned char *data = take_table((tn_real).02);
    const tn_table table = {TN_TABLE_Q6_K, data};
    tn_screen *screen;
    const int32_t *ids;
    const tn_real *logits;
    for (int r = 1; r < ROWS; r++) memcpy(data + r * ROW_BYTES, data, ROW_BYTES);
    assert_ok(tn_screen_create(&screen, arena, &table, ROWS, TERMS));
    tn_real *x = take(TERMS, sizeof *x);
    for (int i = 0; i < TERMS; i++) x[i] = plain(3, i);
    assert_int_equal(tn_screen_pick(screen, x, &(tn_screen_question){.top = 1}, &ids, &logits), ROWS);
}

static void screen__threads_change_nothing(void **state) {
    (void)state;
    const tn_table table = {TN_TABLE_Q6_K, take_table((tn_real).02)};
    tn_real *x = take(TERMS, sizeof *x), *first = take(ROWS, sizeof *first);
    for (int i = 0; i < TERMS; i++) x[i] = plain(4, i);
    for (int threads = 1, count = 0; threads <= 3; threads++) {
        tn_screen *screen;
        const int32_t *ids;
        const tn_real *logits;
        assert_ok(tn_par_set_threads(threads));
        assert_ok(tn_screen_create(&screen, arena, &table, ROWS, TERMS));
        const int now = tn_screen_pick(screen, x, &(tn_screen_question){.top = 40}, &ids, &logits);
        if (threads == 1) memcpy(first, logits, (size_t)(count = now) * sizeof *first);
        assert_int_equal(now, count);
        assert_memory_equal(first, logits, (size_t)count * sizeof *first);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(screen__bounds_hold_and_the_best_are_those_of_the_full_head, clear_arena),
        cmocka_unit_test_setup(screen__few_rows_are_left_in_question, clear_arena),
        cmocka_unit_test_setup(screen__equal_rows_are_all_in_question, clear_arena),
        cmocka_unit_test_setup(screen__threads_change_nothing, clear_arena),
    };
    return cmocka_run_group_tests_name("screen", tests, make_arena, free_arena);
}
