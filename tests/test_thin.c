/* SPDX-License-Identifier: MIT
 * Products with thin matrices: right, whole numbers exactly so on every instruction set, and the same bits for a row
 * alone and in a batch, for rows that come in two calls, and on any number of threads. */
#include "core/rng.h"
#include "kernels/kernels.h"
#include "kernels/thin.h"
#include "tests/kernel_rig.h"

#include <math.h>
#include <string.h>

/* n rows, a long side, a rank */
static const int shapes[][3] = {{1, 1, 1},    {1, 300, 16}, {5, 17, 3},    {24, 64, 16},  {25, 130, 8},
                                {50, 70, 33}, {49, 31, 32}, {300, 70, 40}, {13, 129, 300}};

typedef struct example {
    int n, k, r;
    tn_real *x, *thin, *p; /* [n,k], [k,r], [n,r] */
} example;

static tn_real *take_numbers(size_t count, bool whole, uint32_t stream) {
    const tn_rng rng = tn_rng_make(31, TN_PURPOSE_TEST, stream);
    tn_real *x = take(count, sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = whole ? (tn_real)((int)tn_rng_below(&rng, i, 9) - 4) : (tn_real)tn_rng_normal(&rng, i);
    return x;
}

static example take_example(const int shape[3], bool whole) {
    example e = {.n = shape[0], .k = shape[1], .r = shape[2]};
    e.x = take_numbers((size_t)e.n * (size_t)e.k, whole, 1);
    e.thin = take_numbers((size_t)e.k * (size_t)e.r, whole, 2);
    e.p = take_numbers((size_t)e.n * (size_t)e.r, whole, 3);
    return e;
}

/* What the three give, one after another. */
typedef struct results {
    tn_real *p, *x, *thin;
} results;

static tn_real *copy(const tn_real *from, int rows, int cols) {
    tn_real *to = take((size_t)rows * (size_t)cols, sizeof *to);
    memcpy(to, from, (size_t)rows * (size_t)cols * sizeof *to);
    return to;
}

static results run(const example *e, tn_sum sum) {
    results r = {.p = take((size_t)e->n * (size_t)e->r, sizeof *r.p)};
    r.x = copy(e->x, e->n, e->k);
    r.thin = copy(e->thin, e->k, e->r);
    tn_thin_gather(e->n, e->k, e->r, e->x, e->thin, r.p);
    tn_thin_spread(e->n, e->k, e->r, e->p, e->thin, 2, sum, r.x);
    tn_thin_outer(e->n, e->k, e->r, e->x, e->p, sum, r.thin);
    return r;
}

static void assert_near(const example *e, const char *what, double found, double expected, double size, int terms) {
    if (!(fabs(found - expected) <= size * 1.2e-7 * (terms + 2)))
        fail_msg("%s %s [%d,%d,%d]: %g for %g", tn_kernels_isa(), what, e->n, e->k, e->r, found, expected);
}

/* Sums of `terms` products: a [terms] and b [terms], strides apart, on top of `start`. */
static void check_sum(const example *e, const char *what, tn_real found, int terms, const tn_real *a, int64_t a_step,
                      const tn_real *b, int64_t b_step, double factor, double start) {
    double sum = start, size = fabs(start);
    for (int t = 0; t < terms; t++) {
        const double term = factor * (double)a[t * a_step] * (double)b[t * b_step];
        sum += term;
        size += fabs(term);
    }
    assert_near(e, what, (double)found, sum, size, terms);
}

static void check_results(const example *e, const results *r, tn_sum sum) {
    const bool adds = sum == TN_SUM_ADD;
    for (int i = 0; i < e->n; i++)
        for (int j = 0; j < e->r; j++)
            check_sum(e, "gather", r->p[i * e->r + j], e->k, e->x + i * e->k, 1, e->thin + j, e->r, 1, 0);
    for (int i = 0; i < e->n; i++)
        for (int j = 0; j < e->k; j++)
            check_sum(e, "spread", r->x[i * e->k + j], e->r, e->p + i * e->r, 1, e->thin + j * e->r, 1, 2,
                      adds ? (double)e->x[i * e->k + j] : 0);
    for (int i = 0; i < e->k; i++)
        for (int j = 0; j < e->r; j++)
            check_sum(e, "outer", r->thin[i * e->r + j], e->n, e->x + i, e->k, e->p + j, e->r, 1,
                      adds ? (double)e->thin[i * e->r + j] : 0);
}

static void thin__products_are_what_they_say(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++)
        for (size_t i = 0; use_isa(isa) && i < TN_COUNT(shapes); i++) {
            tn_arena_reset(arena);
            const example e = take_example(shapes[i], false);
            for (int sum = TN_SUM_SET; sum <= TN_SUM_ADD; sum++) {
                const results r = run(&e, (tn_sum)sum);
                check_results(&e, &r, (tn_sum)sum);
            }
        }
}

static bool same(const example *e, const results *a, const results *b) {
    return memcmp(a->p, b->p, sizeof *a->p * (size_t)(e->n * e->r)) == 0 &&
           memcmp(a->x, b->x, sizeof *a->x * (size_t)(e->n * e->k)) == 0 &&
           memcmp(a->thin, b->thin, sizeof *a->thin * (size_t)(e->k * e->r)) == 0;
}

static void thin__whole_numbers_are_exact_on_every_set(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(shapes); i++) {
        tn_arena_reset(arena);
        const example e = take_example(shapes[i], true);
        assert_ok(tn_kernels_init("generic"));
        const results expected = run(&e, TN_SUM_ADD);
        for (size_t isa = 0; tn_kernels_known(isa); isa++) {
            if (!use_isa(isa)) continue;
            const results found = run(&e, TN_SUM_ADD);
            if (!same(&e, &expected, &found)) fail_msg("%s [%d,%d,%d]", tn_kernels_isa(), e.n, e.k, e.r);
        }
    }
}

/* A row alone; and, for outer, all rows in two calls, as two micro-batches bring them. */
static void thin__rows_do_not_know_their_neighbours(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++)
        for (size_t i = 0; use_isa(isa) && i < TN_COUNT(shapes); i++) {
            tn_arena_reset(arena);
            const example e = take_example(shapes[i], false);
            const results all = run(&e, TN_SUM_ADD);
            tn_real *thin = copy(e.thin, e.k, e.r);
            for (int row = 0; row < e.n; row++) {
                example one = e;
                one.n = 1, one.x += row * e.k, one.p += row * e.r;
                const results r = run(&one, TN_SUM_ADD);
                assert_memory_equal(r.p, all.p + row * e.r, sizeof *r.p * (size_t)e.r);
                assert_memory_equal(r.x, all.x + row * e.k, sizeof *r.x * (size_t)e.k);
            }
            const int half = e.n / 3;
            tn_thin_outer(half, e.k, e.r, e.x, e.p, TN_SUM_ADD, thin);
            tn_thin_outer(e.n - half, e.k, e.r, e.x + half * e.k, e.p + half * e.r, TN_SUM_ADD, thin);
            assert_memory_equal(thin, all.thin, sizeof *thin * (size_t)(e.k * e.r));
        }
}

static void thin__threads_change_no_bit(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        tn_arena_reset(arena);
        const example e = take_example((const int[]){500, 700, 24}, false);
        const results one = run(&e, TN_SUM_ADD);
        for (int threads = 2; threads <= 3; threads++) {
            assert_ok(tn_par_set_threads(threads));
            const results more = run(&e, TN_SUM_ADD);
            assert_true(same(&e, &one, &more));
        }
        assert_ok(tn_par_set_threads(1));
    }
}

/* To set reads nothing, not even a NaN. */
static void thin__to_set_reads_nothing(void **state) {
    (void)state;
    const example e = take_example((const int[]){50, 70, 24}, false);
    const results expected = run(&e, TN_SUM_SET);
    results found = run(&e, TN_SUM_SET);
    for (int i = 0; i < e.n * e.k; i++) found.x[i] = (tn_real)NAN;
    for (int i = 0; i < e.k * e.r; i++) found.thin[i] = (tn_real)NAN;
    tn_thin_spread(e.n, e.k, e.r, e.p, e.thin, 2, TN_SUM_SET, found.x);
    tn_thin_outer(e.n, e.k, e.r, e.x, e.p, TN_SUM_SET, found.thin);
    assert_true(same(&e, &expected, &found));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(thin__products_are_what_they_say, clear_arena),
        cmocka_unit_test_setup(thin__whole_numbers_are_exact_on_every_set, clear_arena),
        cmocka_unit_test_setup(thin__rows_do_not_know_their_neighbours, clear_arena),
        cmocka_unit_test_setup(thin__threads_change_no_bit, clear_arena),
        cmocka_unit_test_setup(thin__to_set_reads_nothing, clear_arena),
    };
    return cmocka_run_group_tests_name("thin", tests, make_arena, free_arena);
}
