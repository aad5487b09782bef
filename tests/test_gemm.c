/* SPDX-License-Identifier: MIT
 * Products: exact where they are integers, and the same bits for a row alone, in a batch, and on any number of threads.
 */
#include "core/arena.h"
#include "core/par.h"
#include "core/rng.h"
#include "kernels/blas.h"
#include "kernels/kernels.h"
#include "tests/kernel_rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static tn_real *take_normal(size_t count, uint32_t stream) {
    const tn_rng rng = tn_rng_make(11, TN_PURPOSE_TEST, stream);
    tn_real *x = take(count, sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = (tn_real)tn_rng_normal(&rng, i);
    return x;
}

/* Whole numbers low..low+span-1. */
static int8_t *take_codes(size_t count, int low, int span, uint32_t stream) {
    const tn_rng rng = tn_rng_make(12, TN_PURPOSE_TEST, stream);
    int8_t *q = take(count, 1);
    for (size_t i = 0; i < count; i++) q[i] = (int8_t)(low + (int)tn_rng_below(&rng, i, (uint64_t)span));
    return q;
}

static tn_real *as_reals(const int8_t *q, size_t count) {
    tn_real *x = take(count, sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = q[i];
    return x;
}

static void *pack_as(tn_packing packing, int m, int k, const int8_t *states) {
    void *packed = take(tn_pack_ternary_bytes(packing, m, k), 1);
    tn_pack_ternary(packing, m, k, states, packed);
    return packed;
}

static void *pack_ternary(int m, int k, const int8_t *states) { return pack_as(TN_PACKING_PAIRS, m, k, states); }

static void *pack_real(int m, int k, const tn_real *w) {
    void *packed = take(tn_pack_real_bytes(m, k), 1);
    tn_pack_real(m, k, w, packed);
    return packed;
}

typedef struct shape {
    int n, m, k;
} shape;

static const shape shapes[] = {{1, 1, 1},      {1, 5, 3},      {2, 16, 16},   {3, 17, 15},   {4, 63, 31},
                               {5, 64, 64},    {6, 65, 33},    {7, 130, 100}, {13, 129, 77}, {97, 66, 257},
                               {200, 70, 300}, {1, 300, 1025}, {47, 20, 1036}};

/* ---- ternary ---- */
static void check_packed_integers(tn_packing packing, int n, int m, int k, const int8_t *q, const int8_t *states) {
    int32_t *acc = take((size_t)n * (size_t)m, sizeof *acc);
    tn_gemm_ternary_codes(packing, n, m, k, q, pack_as(packing, m, k, states), acc);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) {
            int64_t sum = 0;
            for (int t = 0; t < k; t++) sum += q[(int64_t)i * k + t] * states[(int64_t)j * k + t];
            if (acc[i * m + j] != sum)
                fail_msg("%s, packing %d [%d,%d,%d]: acc[%d,%d]", tn_kernels_isa(), packing, n, m, k, i, j);
        }
}

static void check_integers(int n, int m, int k, const int8_t *q, const int8_t *states) {
    check_packed_integers(TN_PACKING_TRIPLES, n, m, k, q, states);
    check_packed_integers(TN_PACKING_PAIRS, n, m, k, q, states);
}

static void gemm__ternary_sums_are_exact_integers(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t i = 0; i < TN_COUNT(shapes); i++) {
            const shape s = shapes[i];
            check_integers(s.n, s.m, s.k, take_codes((size_t)(s.n * s.k), -128, 256, 1),
                           take_codes((size_t)(s.m * s.k), -1, 3, 2));
        }
    }
}

/* Every height of a tile, of packed and of opened panels. */
static void gemm__ternary_sums_are_exact_for_any_number_of_rows(void **state) {
    (void)state;
    enum { MOST = 60, OUTPUTS = 70 };
    for (size_t isa = 0; tn_kernels_known(isa); isa++)
        for (int n = 1; n <= MOST && use_isa(isa); n++) {
            const int k = n % 2 ? 20 : 37;
            tn_arena_reset(arena);
            check_integers(n, OUTPUTS, k, take_codes((size_t)(n * k), -128, 256, 1),
                           take_codes((size_t)(OUTPUTS * k), -1, 3, 2));
        }
}

static void gemm__states_packed_by_rows_are_those_packed_at_once(void **state) {
    (void)state;
    static const int rows[] = {1, 63, 64, 65, 128, 200};
    enum { K_ODD = 53 };
    for (size_t isa = 0; tn_kernels_known(isa); isa++)
        for (size_t i = 0; i < 2 * TN_COUNT(rows) && use_isa(isa); i++) {
            const int m = rows[i / 2];
            const tn_packing packing = i % 2 ? TN_PACKING_TRIPLES : TN_PACKING_PAIRS;
            const int8_t *states = take_codes((size_t)(m * K_ODD), -1, 3, 2);
            const size_t bytes = tn_pack_ternary_bytes(packing, m, K_ODD);
            void *packed = take(bytes, 1);
            for (int first = (m - 1) / TN_PACK_ROWS * TN_PACK_ROWS; first >= 0; first -= TN_PACK_ROWS)
                tn_pack_ternary_rows(packing, m, K_ODD, first, TN_MIN((int)TN_PACK_ROWS, m - first),
                                     states + first * K_ODD, packed);
            assert_memory_equal(packed, pack_as(packing, m, K_ODD, states), bytes);
        }
}

/* All codes and all states at their ends: any partial sum that saturates shows. */
static void gemm__ternary_sums_never_saturate(void **state) {
    (void)state;
    enum { ROWS = 7, OUTPUTS = 3, K_LONG = 132104 };
    static const int lengths[] = {255, 256, 257, 1024, 6912, K_LONG - 1, K_LONG};
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t l = 0; l < TN_COUNT(lengths); l++) {
            const int k = lengths[l];
            tn_arena_reset(arena);
            int8_t *q = take((size_t)(ROWS * k), 1), *states = take((size_t)(OUTPUTS * k), 1);
            for (int r = 0; r < ROWS; r++) memset(q + r * k, r % 2 ? 127 : -128, (size_t)k);
            for (int j = 0; j < OUTPUTS; j++) memset(states + j * k, j - 1, (size_t)k);
            check_integers(ROWS, OUTPUTS, k, q, states);
        }
    }
}

static void gemm__ternary_product_scales_in_the_one_order(void **state) {
    (void)state;
    const int8_t q[] = {127, -76, 89, -95, 42, -127, 127, -79, 48}, states[] = {1, -1, 1, -1, 0, -1, 1, -1, 0};
    const double y[] = {1.91601, -1.417323, 1.332021, -2.07874, 1.748031, -1.07874, 1.333333, -.918635, 1.081365};
    const tn_real s[] = {127, 127 / (tn_real)1.2, 127 / (tn_real).8}, a = (tn_real).8333333;
    tn_real found[9];
    int32_t acc[9];
    const void *packed = pack_ternary(3, 3, states);
    tn_gemm_ternary(3, 3, 3, q, s, packed, a, found);
    tn_gemm_ternary_codes(TN_PACKING_PAIRS, 3, 3, 3, q, packed, acc);
    for (int i = 0; i < 9; i++) {
        assert_true(fabs((double)found[i] - y[i]) < 2e-6);
        assert_true(found[i] == (tn_real)acc[i] / s[i / 3] * a);
    }
}

/* A float product over the same whole numbers gives the same integers: every sum stays below 2^24. */
static void gemm__float_product_of_codes_equals_the_integers(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t i = 0; i < TN_COUNT(shapes); i++) {
            const int n = shapes[i].n, m = shapes[i].m, k = shapes[i].k;
            const int8_t *q = take_codes((size_t)(n * k), -127, 255, 3),
                         *states = take_codes((size_t)(m * k), -1, 3, 4);
            int32_t *acc = take((size_t)(n * m), sizeof *acc);
            tn_real *y = take((size_t)(n * m), sizeof *y);
            tn_gemm_ternary_codes(TN_PACKING_PAIRS, n, m, k, q, pack_ternary(m, k, states), acc);
            tn_gemm_real(n, m, k, as_reals(q, (size_t)(n * k)), pack_real(m, k, as_reals(states, (size_t)(m * k))), y);
            for (int j = 0; j < n * m; j++) assert_true(y[j] == (tn_real)acc[j]);
        }
    }
}

/* ---- real ---- */
static void check_against_double(shape s, const tn_real *x, const tn_real *w, const tn_real *y) {
    for (int i = 0; i < s.n; i++)
        for (int j = 0; j < s.m; j++) {
            double sum = 0, size = 0;
            for (int t = 0; t < s.k; t++) {
                const double term = (double)x[i * s.k + t] * (double)w[j * s.k + t];
                sum += term;
                size += fabs(term);
            }
            const double unit = sizeof(tn_real) == 4 ? 0x1p-24 : 0x1p-53; /* k roundings of at most half a unit each */
            if (!(fabs((double)y[i * s.m + j] - sum) <= 2 * s.k * unit * size))
                fail_msg("[%d,%d,%d] at %d,%d", s.n, s.m, s.k, i, j);
        }
}

static void gemm__real_product_is_near_the_double_one(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t i = 0; i < TN_COUNT(shapes); i++) {
            const shape s = shapes[i];
            const tn_real *x = take_normal((size_t)(s.n * s.k), 5), *w = take_normal((size_t)(s.m * s.k), 6);
            tn_real *y = take((size_t)(s.n * s.m), sizeof *y);
            tn_gemm_real(s.n, s.m, s.k, x, pack_real(s.m, s.k, w), y);
            check_against_double(s, x, w, y);
        }
    }
}

static void gemm__fused_instruction_sets_agree_to_the_bit(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(shapes); i++) {
        const shape s = shapes[i];
        const tn_real *x = take_normal((size_t)(s.n * s.k), 5), *w = take_normal((size_t)(s.m * s.k), 6);
        const size_t count = (size_t)(s.n * s.m);
        tn_real *first = NULL;
        for (size_t isa = 1; tn_kernels_known(isa); isa++) { /* 0, portable C, does not fuse */
            if (!use_isa(isa)) continue;
            tn_real *y = take(count, sizeof *y);
            tn_gemm_real(s.n, s.m, s.k, x, pack_real(s.m, s.k, w), y);
            if (!first) first = y;
            assert_memory_equal(first, y, count * sizeof *y);
        }
    }
}

/* ---- batches and threads ---- */
static void gemm__a_row_alone_has_the_bits_it_has_in_a_batch(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t i = 0; i < TN_COUNT(shapes); i++) {
            const int n = shapes[i].n, m = shapes[i].m, k = shapes[i].k;
            const int8_t *q = take_codes((size_t)(n * k), -127, 255, 3);
            const tn_real *x = take_normal((size_t)(n * k), 9), *s = take_normal((size_t)n, 10);
            const void *states = pack_ternary(m, k, take_codes((size_t)(m * k), -1, 3, 4));
            const void *w = pack_real(m, k, take_normal((size_t)(m * k), 11));
            tn_real *all[2] = {take((size_t)(n * m), sizeof **all), take((size_t)(n * m), sizeof **all)};
            tn_real *one = take((size_t)m, sizeof *one);
            tn_gemm_ternary(n, m, k, q, s, states, (tn_real).3, all[0]);
            tn_gemm_real(n, m, k, x, w, all[1]);
            for (int r = 0; r < n; r++) {
                tn_gemm_ternary(1, m, k, q + r * k, s + r, states, (tn_real).3, one);
                assert_memory_equal(one, all[0] + r * m, (size_t)m * sizeof *one);
                tn_gemm_real(1, m, k, x + r * k, w, one);
                assert_memory_equal(one, all[1] + r * m, (size_t)m * sizeof *one);
            }
        }
    }
}

/* Outs of many sizes, so that stretches of panels cross from one to the next. */
static void gemm__products_of_the_same_codes_may_go_together(void **state) {
    (void)state;
    enum { OUTS = 4, MOST = 700, TERMS = 300 };
    static const int m[OUTS] = {130, 1, MOST, 65}, rows[] = {1, 2, 5, 17, 200};
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        const int n = rows[i];
        tn_ternary_out outs[OUTS];
        tn_real *alone = take((size_t)n * MOST, sizeof *alone), *s = take((size_t)n, sizeof *s);
        const int8_t *q = take_codes((size_t)n * TERMS, -127, 255, 3);
        for (int r = 0; r < n; r++) s[r] = 3 + (tn_real)r;
        assert_ok(tn_par_set_threads(3));
        for (int j = 0; j < OUTS; j++) {
            const int8_t *states = take_codes((size_t)m[j] * TERMS, -1, 3, 4 + (uint32_t)j);
            const tn_packing packing = j % 2 ? TN_PACKING_TRIPLES : TN_PACKING_PAIRS;
            outs[j] = (tn_ternary_out){.m = m[j], .packing = packing, .packed = pack_as(packing, m[j], TERMS, states)};
            outs[j].a = 2;
            outs[j].y = take((size_t)n * (size_t)m[j], sizeof *outs[j].y);
        }
        tn_gemm_ternary_each(n, TERMS, q, s, outs, OUTS);
        for (int j = 0; j < OUTS; j++) {
            const void *states = pack_ternary(m[j], TERMS, take_codes((size_t)m[j] * TERMS, -1, 3, 4 + (uint32_t)j));
            tn_gemm_ternary(n, m[j], TERMS, q, s, states, 2, alone);
            assert_memory_equal(outs[j].y, alone, (size_t)n * (size_t)m[j] * sizeof *alone);
        }
    }
}

static void gemm__threads_change_no_bit(void **state) {
    (void)state;
    enum { ROWS = 250, OUTPUTS = 300, TERMS = 259 };
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        const int8_t *q = take_codes(ROWS * TERMS, -127, 255, 3), *states = take_codes(OUTPUTS * TERMS, -1, 3, 4);
        const tn_real *x = take_normal(ROWS * TERMS, 9), *w = take_normal(OUTPUTS * TERMS, 11),
                      *s = take_normal(ROWS, 10);
        const size_t count = ROWS * OUTPUTS;
        tn_real *first = take(2 * count, sizeof *first), *now = take(2 * count, sizeof *now);
        for (int threads = 1; threads <= 3; threads++) {
            assert_ok(tn_par_set_threads(threads));
            memset(now, 0, 2 * count * sizeof *now);
            tn_gemm_ternary(ROWS, OUTPUTS, TERMS, q, s, pack_ternary(OUTPUTS, TERMS, states), (tn_real).3, now);
            tn_gemm_real(ROWS, OUTPUTS, TERMS, x, pack_real(OUTPUTS, TERMS, w), now + count);
            if (threads == 1) memcpy(first, now, 2 * count * sizeof *now);
            assert_memory_equal(first, now, 2 * count * sizeof *now);
        }
    }
}

/* ---- OpenBLAS ---- */
static int count_threads(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    int threads = -1;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Threads: %d", &threads) == 1) break;
    if (file) fclose(file);
    return threads;
}

/* Must run before any test that makes a team. */
static void gemm__openblas_starts_no_threads(void **state) {
    (void)state;
    enum { SIZE = 512 };
    const int before = count_threads();
    if (before < 0) skip();
    assert_ok(tn_par_set_threads(1));
    const tn_real *a = take_normal(SIZE * SIZE, 1);
    tn_real *c = take(SIZE * SIZE, sizeof *c);
    tn_blas_gemm(TN_AS_IS, TN_TRANSPOSED, SIZE, SIZE, SIZE, 1, a, SIZE, a, SIZE, 0, c, SIZE);
    tn_product(TN_AS_IS, TN_TRANSPOSED, SIZE, SIZE, SIZE, 1, a, SIZE, a, SIZE, 0, c, SIZE);
    assert_int_equal(count_threads(), before);
}

static void gemm__openblas_tells_what_it_is(void **state) {
    (void)state;
    assert_true(strlen(tn_blas_core()) > 0);
    const char *warning = tn_blas_warning();
#ifdef TN_PTHREADS
    assert_string_equal(tn_blas_threading(), "pthreads");
    assert_non_null(strstr(warning, "install its OpenMP build"));
#else
    assert_string_equal(tn_blas_threading(), "OpenMP");
    if (warning) assert_non_null(strstr(warning, tn_blas_core()));
#endif
}

typedef struct product_case {
    tn_op_of op_a, op_b;
    int m, n, k, spare; /* spare: how much longer stored rows are than needed */
    double alpha, beta;
} product_case;

static const product_case products[] = {
    {TN_AS_IS, TN_AS_IS, 1, 1, 1, 0, 1, 0},           {TN_AS_IS, TN_TRANSPOSED, 70, 33, 129, 5, 1, 0},
    {TN_TRANSPOSED, TN_AS_IS, 300, 130, 65, 3, 2, 1}, {TN_TRANSPOSED, TN_TRANSPOSED, 65, 257, 40, 1, -1, .5},
    {TN_AS_IS, TN_AS_IS, 600, 520, 30, 0, .5, 1},     {TN_TRANSPOSED, TN_AS_IS, 64, 64, 700, 0, 1, 1},
};

static void run_product(const product_case *p, const tn_real *a, const tn_real *b, tn_real *c) {
    const int lda = (p->op_a == TN_AS_IS ? p->k : p->m) + p->spare,
              ldb = (p->op_b == TN_AS_IS ? p->n : p->k) + p->spare;
    tn_product(p->op_a, p->op_b, p->m, p->n, p->k, (tn_real)p->alpha, a, lda, b, ldb, (tn_real)p->beta, c,
               p->n + p->spare);
}

static double product_at(const product_case *p, const tn_real *a, const tn_real *b, int i, int j) {
    const int lda = (p->op_a == TN_AS_IS ? p->k : p->m) + p->spare,
              ldb = (p->op_b == TN_AS_IS ? p->n : p->k) + p->spare;
    double sum = 0;
    for (int t = 0; t < p->k; t++)
        sum += (double)a[p->op_a == TN_AS_IS ? i * lda + t : t * lda + i] *
               (double)b[p->op_b == TN_AS_IS ? t * ldb + j : j * ldb + t];
    return sum;
}

static void gemm__openblas_products_are_right_on_any_number_of_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(products); i++) {
        const product_case *p = &products[i];
        const size_t rows = 720, count = rows * rows;
        const tn_real *a = take_normal(count, 1), *b = take_normal(count, 2), *old = take_normal(count, 3);
        tn_real *first = take(count, sizeof *first), *now = take(count, sizeof *now);
        for (int threads = 1; threads <= 3; threads++) {
            assert_ok(tn_par_set_threads(threads));
            memcpy(now, old, count * sizeof *now);
            run_product(p, a, b, now);
            if (threads == 1) memcpy(first, now, count * sizeof *now);
            assert_memory_equal(first, now, count * sizeof *now);
        }
        const int ldc = p->n + p->spare;
        const double tolerance = (sizeof(tn_real) == 4 ? 2e-6 : 1e-14) * p->k;
        for (int r = 0; r < p->m; r++)
            for (int j = 0; j < ldc; j++) {
                const double was = (double)old[r * ldc + j], at = (double)first[r * ldc + j];
                if (j >= p->n)
                    assert_true(at == was); /* between rows nothing is written */
                else
                    assert_true(fabs(at - (p->alpha * product_at(p, a, b, r, j) + p->beta * was)) < tolerance);
            }
        tn_arena_reset(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(gemm__openblas_starts_no_threads, clear_arena),
        cmocka_unit_test_setup(gemm__openblas_tells_what_it_is, clear_arena),
        cmocka_unit_test_setup(gemm__ternary_sums_are_exact_integers, clear_arena),
        cmocka_unit_test_setup(gemm__ternary_sums_are_exact_for_any_number_of_rows, clear_arena),
        cmocka_unit_test_setup(gemm__states_packed_by_rows_are_those_packed_at_once, clear_arena),
        cmocka_unit_test_setup(gemm__ternary_sums_never_saturate, clear_arena),
        cmocka_unit_test_setup(gemm__ternary_product_scales_in_the_one_order, clear_arena),
        cmocka_unit_test_setup(gemm__float_product_of_codes_equals_the_integers, clear_arena),
        cmocka_unit_test_setup(gemm__real_product_is_near_the_double_one, clear_arena),
        cmocka_unit_test_setup(gemm__fused_instruction_sets_agree_to_the_bit, clear_arena),
        cmocka_unit_test_setup(gemm__a_row_alone_has_the_bits_it_has_in_a_batch, clear_arena),
        cmocka_unit_test_setup(gemm__products_of_the_same_codes_may_go_together, clear_arena),
        cmocka_unit_test_setup(gemm__threads_change_no_bit, clear_arena),
        cmocka_unit_test_setup(gemm__openblas_products_are_right_on_any_number_of_threads, clear_arena),
    };
    return cmocka_run_group_tests_name("gemm", tests, make_arena, free_arena);
}
