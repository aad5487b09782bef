/* SPDX-License-Identifier: MIT
 * The integer products of backward: exact on the fixed point that they are defined on, near the real products by the
 * bound that the fixed point gives, and the same on every instruction set and any number of threads. */
#include "core/arena.h"
#include "core/par.h"
#include "core/rng.h"
#include "kernels/backward.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "tests/kernel_rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- a case: dY of wild sizes, codes, states, and what is already in dX and dW ---- */
enum { GUARD = 64 };

typedef struct example {
    int n, m, k;
    tn_real *dy, *s, *old_dx, *old_dw; /* [n,m], [n], [n,k], [m,k] */
    int8_t *q, *states;                /* [n,k], [m,k] */
} example;

static const int shapes[][3] = {{1, 1, 1},    {7, 5, 33},     {2, 67, 130},  {257, 1, 33},   {257, 5, 130},
                                {7, 67, 1},   {97, 49, 65},   {256, 67, 33}, {513, 130, 67}, {1, 67, 257},
                                {50, 257, 7}, {1100, 48, 64}, {3, 16, 72},   {5, 81, 200}};

static tn_real *take_normal(size_t count, double size, uint32_t stream) {
    const tn_rng rng = tn_rng_make(21, TN_PURPOSE_TEST, stream);
    tn_real *x = take(count, sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = (tn_real)(size * tn_rng_normal(&rng, i));
    return x;
}

static int8_t *take_codes(size_t count, int low, int span, uint32_t stream) {
    const tn_rng rng = tn_rng_make(22, TN_PURPOSE_TEST, stream);
    int8_t *q = take(count, 1);
    for (size_t i = 0; i < count; i++) q[i] = (int8_t)(low + (int)tn_rng_below(&rng, i, (uint64_t)span));
    return q;
}

static example take_example(const int shape[3]) {
    const int n = shape[0], m = shape[1], k = shape[2];
    example e = {.n = n, .m = m, .k = k};
    e.dy = take_normal((size_t)n * m, 1e-3, 1);
    e.s = take((size_t)n, sizeof *e.s);
    for (int i = 0; i < n; i++) e.s[i] = (tn_real)(127 / (.5 + i % 7));
    for (int i = 0; i < n; i += 3) /* rows and columns of other sizes */
        for (int j = i % 5; j < m; j += 2) e.dy[(int64_t)i * m + j] *= (tn_real)pow(10, j % 4 - 3);
    e.q = take_codes((size_t)n * k, -128, 256, 2);
    e.states = take_codes((size_t)m * k, -1, 3, 3);
    e.old_dx = take_normal((size_t)n * k, 1e-2, 4);
    e.old_dw = take_normal((size_t)m * k, 1e-2, 5);
    return e;
}

static const tn_real scale_of_t = (tn_real).37;

/* Fills what lies past the end too, so that a product which writes there is found. */
static tn_real *copy_guarded(const tn_real *old, size_t count) {
    tn_real *copy = take(count + GUARD, sizeof *copy);
    memcpy(copy, old, count * sizeof *copy);
    for (int i = 0; i < GUARD; i++) copy[count + (size_t)i] = 42;
    return copy;
}

static void check_guard(const example *e, const char *what, const tn_real *x, size_t count) {
    for (int i = 0; i < GUARD; i++)
        if (x[count + (size_t)i] != 42) fail_msg("%s [%d,%d,%d] wrote past its end", what, e->n, e->m, e->k);
}

static tn_real *run_dx(const example *e, tn_sum sum) {
    const size_t count = (size_t)e->n * e->k;
    void *packed = take(tn_pack_ternary_turned_bytes(e->m, e->k), 1),
         *scratch = take(tn_ternary_dx_scratch(e->n, e->m), 1);
    tn_real *dx = copy_guarded(e->old_dx, count);
    tn_pack_ternary_turned(e->m, e->k, e->states, packed);
    tn_ternary_dx(e->n, e->m, e->k, e->dy, packed, scale_of_t, sum, dx, scratch);
    check_guard(e, "dx", dx, count);
    return dx;
}

/* From the panels of the forward product. */
static tn_real *run_dx_packed(const example *e, tn_packing packing, tn_sum sum) {
    const size_t count = (size_t)e->n * e->k, bytes = tn_ternary_dx_packed_scratch(e->n, e->m, e->k);
    void *packed = take(tn_pack_ternary_bytes(packing, e->m, e->k), 1);
    char *scratch = take(bytes + GUARD, 1);
    memset(scratch, 0x5a, bytes + GUARD);
    tn_real *dx = copy_guarded(e->old_dx, count);
    tn_pack_ternary(packing, e->m, e->k, e->states, packed);
    tn_ternary_dx_packed(e->n, e->m, e->k, e->dy, packing, packed, scale_of_t, sum, dx, scratch);
    check_guard(e, "dx", dx, count);
    for (int i = 0; i < GUARD; i++) assert_int_equal(scratch[bytes + (size_t)i], 0x5a);
    return dx;
}

/* Whatever the panels: NaN too. */
static void check_packed(const example *e, tn_sum sum, const tn_real *dx) {
    for (int packing = TN_PACKING_PAIRS; packing <= TN_PACKING_TRIPLES; packing++)
        if (memcmp(dx, run_dx_packed(e, (tn_packing)packing, sum), sizeof *dx * (size_t)e->n * (size_t)e->k))
            fail_msg("[%d,%d,%d] %s: dx from panels of %s differs", e->n, e->m, e->k, tn_kernels_isa(),
                     packing ? "triples" : "pairs");
}

static tn_real *run_dw(const example *e, tn_sum sum) {
    const size_t count = (size_t)e->m * e->k, bytes = tn_ternary_dw_scratch(e->n, e->m, e->k);
    char *scratch = take(bytes + GUARD, 1);
    memset(scratch, 0x5a, bytes + GUARD);
    tn_real *dw = copy_guarded(e->old_dw, count);
    tn_ternary_dw(e->n, e->m, e->k, e->dy, e->q, e->s, sum, dw, scratch);
    check_guard(e, "dw", dw, count);
    for (int i = 0; i < GUARD; i++) assert_int_equal(scratch[bytes + (size_t)i], 0x5a);
    return dw;
}

/* ---- the definition, term by term ---- */
static tn_real unit_of(double max) {
    const tn_real least = TN_MAX((tn_real)max, TN_FIXED_TINY);
    return least / TN_FIXED_TOP;
}
static int64_t fixed(tn_real x, tn_real unit) {
    const tn_real inverse = 1 / unit, scaled = x * inverse;
    return (int64_t)rint((double)scaled);
}

static tn_real dx_by_definition(const example *e, int i, int j, tn_sum sum) {
    const tn_real *dy = e->dy + (int64_t)i * e->m;
    double max = 0;
    for (int o = 0; o < e->m; o++) max = fmax(max, fabs((double)dy[o]));
    const tn_real unit = unit_of(max);
    int64_t total = 0;
    for (int o = 0; o < e->m; o++) total += fixed(dy[o], unit) * e->states[(int64_t)o * e->k + j];
    const tn_real factor = scale_of_t * unit, value = factor * (tn_real)total;
    return sum == TN_SUM_SET ? value : e->old_dx[(int64_t)i * e->k + j] + value;
}

static tn_real dw_by_definition(const example *e, int o, int j, tn_sum sum) {
    tn_real value = sum == TN_SUM_SET ? 0 : e->old_dw[(int64_t)o * e->k + j];
    for (int first = 0; first < e->n; first += TN_FIXED_CHUNK) {
        tn_real x[TN_FIXED_CHUNK];
        const int count = TN_MIN((int)TN_FIXED_CHUNK, e->n - first);
        double max = 0;
        for (int i = 0; i < count; i++) {
            const tn_real inverse = 1 / e->s[first + i];
            x[i] = e->dy[(int64_t)(first + i) * e->m + o] * inverse;
            max = fmax(max, fabs((double)x[i]));
        }
        const tn_real unit = unit_of(max);
        int64_t total = 0;
        for (int i = 0; i < count; i++) total += fixed(x[i], unit) * e->q[(int64_t)(first + i) * e->k + j];
        const tn_real term = unit * (tn_real)total;
        value = first == 0 && sum == TN_SUM_SET ? term : value + term;
    }
    return value;
}

static void check_definition(const example *e, tn_sum sum, const tn_real *dx, const tn_real *dw) {
    for (int i = 0; i < e->n; i++)
        for (int j = 0; j < e->k; j++)
            if (dx[(int64_t)i * e->k + j] != dx_by_definition(e, i, j, sum))
                fail_msg("%s [%d,%d,%d]: dx[%d,%d]", tn_kernels_isa(), e->n, e->m, e->k, i, j);
    for (int o = 0; o < e->m; o++)
        for (int j = 0; j < e->k; j++)
            if (dw[(int64_t)o * e->k + j] != dw_by_definition(e, o, j, sum))
                fail_msg("%s [%d,%d,%d]: dw[%d,%d]", tn_kernels_isa(), e->n, e->m, e->k, o, j);
}

/* The first instruction set against the definition, the others against the first. */
static void check_sets(const example *e, tn_sum sum) {
    const tn_real *dx = NULL, *dw = NULL;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        const tn_real *my_dx = run_dx(e, sum), *my_dw = run_dw(e, sum);
        if (!dx) check_definition(e, sum, dx = my_dx, dw = my_dw);
        if (memcmp(dx, my_dx, sizeof *dx * (size_t)(e->n * e->k)) ||
            memcmp(dw, my_dw, sizeof *dw * (size_t)(e->m * e->k)))
            fail_msg("[%d,%d,%d]: %s differs", e->n, e->m, e->k, tn_kernels_isa());
        check_packed(e, sum, dx);
    }
}

static void backward_products__are_exact_on_the_fixed_point(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(shapes); i++) {
        tn_arena_reset(arena);
        const example e = take_example(shapes[i]);
        check_sets(&e, TN_SUM_SET);
        check_sets(&e, TN_SUM_ADD);
    }
}

/* All codes, states and gradients at their ends, in whole chunks: any sum that overflows or saturates shows. */
static void backward_products__hold_the_largest_sums(void **state) {
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        tn_arena_reset(arena);
        example e = take_example((const int[]){512, 7, 66});
        memset(e.q, sign < 0 ? -128 : 127, (size_t)(e.n * e.k));
        memset(e.states, sign, (size_t)(e.m * e.k));
        for (int i = 0; i < e.n * e.m; i++) e.dy[i] = (tn_real)(i % e.m % 2 ? -3 : 3);
        for (int i = 0; i < e.n; i++) e.s[i] = 1;
        check_sets(&e, TN_SUM_SET);
    }
}

static void backward_products__hold_the_widest_matrix(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        tn_arena_reset(arena);
        example e = take_example((const int[]){1, TN_FIXED_M_MAX, 1});
        memset(e.states, -1, (size_t)e.m);
        for (int i = 0; i < e.m; i++) e.dy[i] = 1;
        const tn_real *dx = run_dx(&e, TN_SUM_SET);
        assert_true(dx[0] == dx_by_definition(&e, 0, 0, TN_SUM_SET));
        check_packed(&e, TN_SUM_SET, dx);
    }
}

/* ---- against the real products ---- */
/* Each term is off by at most half a unit times its other factor; then come a few roundings of f32, for each chunk. */
static void backward_products__are_near_the_real_products(void **state) {
    (void)state;
    for (size_t c = 0; c < TN_COUNT(shapes); c++) {
        const example e = take_example(shapes[c]);
        const tn_real *dx = run_dx(&e, TN_SUM_SET), *dw = run_dw(&e, TN_SUM_SET);
        for (int i = 0; i < e.n; i++)
            for (int j = 0; j < e.k; j++) {
                double real = 0, max = 0, states = 0;
                for (int o = 0; o < e.m; o++) {
                    const double dy = (double)e.dy[(int64_t)i * e.m + o], t = e.states[(int64_t)o * e.k + j];
                    real += (double)scale_of_t * dy * t;
                    states += fabs(t);
                    max = fmax(max, fabs(dy));
                }
                const double bound = (double)scale_of_t * states * max * (.5 / TN_FIXED_TOP + 4e-7);
                assert_true(fabs((double)dx[(int64_t)i * e.k + j] - real) <= bound);
            }
        for (int o = 0; o < e.m; o++)
            for (int j = 0; j < e.k; j++) {
                double real = 0, max = 0, codes = 0; /* the largest of all chunks bounds each */
                for (int i = 0; i < e.n; i++) {
                    const double x = (double)e.dy[(int64_t)i * e.m + o] / (double)e.s[i], q = e.q[(int64_t)i * e.k + j];
                    real += x * q;
                    codes += fabs(q);
                    max = fmax(max, fabs(x));
                }
                assert_true(fabs((double)dw[(int64_t)o * e.k + j] - real) <= codes * max * (.5 / TN_FIXED_TOP + 8e-7));
            }
        tn_arena_reset(arena);
    }
}

/* ---- zeros and what is not finite ---- */
static void backward_products__keep_zeros(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        tn_arena_reset(arena);
        example e = take_example((const int[]){300, 70, 40});
        for (int o = 0; o < e.m; o++) e.dy[(int64_t)5 * e.m + o] = o % 2 ? 0 : -(tn_real)0;
        for (int i = 0; i < e.n; i++) e.dy[(int64_t)i * e.m + 69] = 0;
        const tn_real *dx = run_dx(&e, TN_SUM_SET), *dw = run_dw(&e, TN_SUM_SET);
        for (int j = 0; j < e.k; j++) assert_true(dx[5 * e.k + j] == 0 && dw[69 * e.k + j] == 0);
        dx = run_dx(&e, TN_SUM_ADD);
        assert_memory_equal(dx + 5 * e.k, e.old_dx + 5 * e.k, (size_t)e.k * sizeof *dx);
        memset(e.dy, 0, sizeof *e.dy * (size_t)(e.n * e.m));
        dw = run_dw(&e, TN_SUM_ADD);
        assert_memory_equal(dw, e.old_dw, (size_t)(e.m * e.k) * sizeof *dw);
    }
}

static void backward_products__pass_on_what_is_not_finite(void **state) {
    (void)state;
    const tn_real bad[] = {(tn_real)NAN, -(tn_real)NAN, (tn_real)INFINITY, -(tn_real)INFINITY};
    for (size_t isa = 0; tn_kernels_known(isa); isa++)
        for (size_t b = 0; b < TN_COUNT(bad) && use_isa(isa); b++)
            for (int where = 0; where < 67; where += 11) {
                tn_arena_reset(arena);
                example e = take_example((const int[]){261, 67, 20});
                const int row = where % 2 ? 260 : where;
                e.dy[row * e.m + where] = bad[b];
                const tn_real *dx = run_dx(&e, TN_SUM_SET), *dw = run_dw(&e, TN_SUM_SET);
                for (int i = 0; i < e.n; i++)
                    for (int j = 0; j < e.k; j++) assert_int_equal(isnan(dx[i * e.k + j]) != 0, i == row);
                for (int o = 0; o < e.m; o++)
                    for (int j = 0; j < e.k; j++) assert_int_equal(isnan(dw[o * e.k + j]) != 0, o == where);
                check_packed(&e, TN_SUM_SET, dx);
            }
}

/* A scale that failed (kernels.def, quantize_row) makes the whole gradient fail. */
static void backward_products__pass_on_a_failed_scale(void **state) {
    (void)state;
    example e = take_example((const int[]){9, 7, 20});
    e.s[8] = (tn_real)NAN;
    const tn_real *dw = run_dw(&e, TN_SUM_SET);
    for (int i = 0; i < e.m * e.k; i++) assert_true(isnan(dw[i]));
}

static void backward_products__count_the_tiniest_as_zero(void **state) {
    (void)state;
    example e = take_example((const int[]){6, 7, 20});
    for (int i = 0; i < e.n * e.m; i++) e.dy[i] = (tn_real)1e-36;
    const tn_real *dx = run_dx(&e, TN_SUM_SET), *dw = run_dw(&e, TN_SUM_SET);
    for (int i = 0; i < e.n * e.k; i++) assert_true(dx[i] == 0);
    for (int i = 0; i < e.m * e.k; i++) assert_true(dw[i] == 0);
}

static void backward_products__to_set_reads_nothing(void **state) {
    (void)state;
    example e = take_example((const int[]){300, 67, 33});
    const tn_real *dx = run_dx(&e, TN_SUM_SET), *dw = run_dw(&e, TN_SUM_SET);
    for (int i = 0; i < e.n * e.k; i++) e.old_dx[i] = (tn_real)NAN;
    for (int i = 0; i < e.m * e.k; i++) e.old_dw[i] = (tn_real)NAN;
    assert_memory_equal(run_dx(&e, TN_SUM_SET), dx, sizeof *dx * (size_t)(e.n * e.k));
    assert_memory_equal(run_dw(&e, TN_SUM_SET), dw, sizeof *dw * (size_t)(e.m * e.k));
}

/* ---- threads ---- */
static void backward_products__threads_change_no_bit(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        tn_arena_reset(arena);
        const example e = take_example((const int[]){700, 260, 333});
        const tn_real *dx = run_dx(&e, TN_SUM_ADD), *dw = run_dw(&e, TN_SUM_ADD);
        for (int threads = 2; threads <= 3; threads++) {
            assert_ok(tn_par_set_threads(threads));
            assert_memory_equal(run_dx(&e, TN_SUM_ADD), dx, sizeof *dx * (size_t)(e.n * e.k));
            assert_memory_equal(run_dw(&e, TN_SUM_ADD), dw, sizeof *dw * (size_t)(e.m * e.k));
            check_packed(&e, TN_SUM_ADD, dx);
        }
        assert_ok(tn_par_set_threads(1));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(backward_products__are_exact_on_the_fixed_point, clear_arena),
        cmocka_unit_test_setup(backward_products__hold_the_largest_sums, clear_arena),
        cmocka_unit_test_setup(backward_products__hold_the_widest_matrix, clear_arena),
        cmocka_unit_test_setup(backward_products__are_near_the_real_products, clear_arena),
        cmocka_unit_test_setup(backward_products__keep_zeros, clear_arena),
        cmocka_unit_test_setup(backward_products__pass_on_what_is_not_finite, clear_arena),
        cmocka_unit_test_setup(backward_products__pass_on_a_failed_scale, clear_arena),
        cmocka_unit_test_setup(backward_products__count_the_tiniest_as_zero, clear_arena),
        cmocka_unit_test_setup(backward_products__to_set_reads_nothing, clear_arena),
        cmocka_unit_test_setup(backward_products__threads_change_no_bit, clear_arena),
    };
    return cmocka_run_group_tests_name("backward_products", tests, make_arena, free_arena);
}
