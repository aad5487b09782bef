/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/par.h"
#include "tests/testing.h"

#include <pthread.h>
#include <stdatomic.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { MOST_ITEMS = 5000 };

typedef struct tally {
    int64_t n, grain;
    atomic_int times[MOST_ITEMS]; /* how often each item came */
    atomic_int wrong;             /* blocks off the grid, workers out of range */
} tally;

static void count_items(void *context, int64_t begin, int64_t end) {
    tally *t = context;
    bool one_block = begin == 0 && end == t->n; /* inline runs get all at once */
    bool on_grid = begin % t->grain == 0 && end - begin <= t->grain && (end % t->grain == 0 || end == t->n);
    if (!one_block && !on_grid) atomic_fetch_add(&t->wrong, 1);
    if (tn_par_worker() < 0 || tn_par_worker() >= tn_par_threads()) atomic_fetch_add(&t->wrong, 1);
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&t->times[i], 1);
}

static void loop__visits_every_item_once(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 3, 8};
    static const int64_t sizes[] = {0, 1, 2, 7, 64, 1000, MOST_ITEMS}, grains[] = {1, 3, 64, 10000};
    tally *t = tn_heap_zalloc(1, sizeof *t);
    for (size_t a = 0; a < TN_COUNT(threads); a++) {
        assert_ok(tn_par_set_threads(threads[a]));
        for (size_t b = 0; b < TN_COUNT(sizes); b++)
            for (size_t c = 0; c < TN_COUNT(grains); c++) {
                t->n = sizes[b];
                t->grain = grains[c];
                for (int64_t i = 0; i < MOST_ITEMS; i++) t->times[i] = 0;
                tn_par_for(t->n, t->grain, count_items, t);
                for (int64_t i = 0; i < MOST_ITEMS; i++) assert_int_equal(t->times[i], i < t->n);
                assert_int_equal(t->wrong, 0);
            }
    }
    tn_heap_free(t);
}

static void inner(void *context, int64_t begin, int64_t end) {
    tally *t = context;
    if (begin != 0 || end != t->n) atomic_fetch_add(&t->wrong, 1);
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&t->times[i], 1);
}

static void outer(void *context, int64_t begin, int64_t end) {
    tally *t = context;
    int worker = tn_par_worker();
    for (int64_t i = begin; i < end; i++) tn_par_for(t->n, 1, inner, t);
    if (tn_par_worker() != worker) atomic_fetch_add(&t->wrong, 1);
}

static void nested_loop__runs_inline(void **state) {
    (void)state;
    enum { ROUNDS = 50 };
    tally *t = tn_heap_zalloc(1, sizeof *t);
    t->n = 10;
    assert_ok(tn_par_set_threads(4));
    tn_par_for(ROUNDS, 1, outer, t);
    assert_int_equal(t->wrong, 0);
    for (int64_t i = 0; i < t->n; i++) assert_int_equal(t->times[i], ROUNDS);
    assert_int_equal(tn_par_worker(), 0);
    tn_heap_free(t);
}

/* The product is a denormal: zero when they are flushed. volatile keeps it out of the compiler's hands. */
static float make_denormal(void) {
    volatile float small = 1e-30f, factor = 1e-10f;
    return small * factor;
}

static void find_denormals(void *context, int64_t begin, int64_t end) {
    atomic_int *found = context;
    for (int64_t i = begin; i < end; i++)
        if (make_denormal() != 0) atomic_fetch_add(found, 1);
}

static void workers__flush_denormals_and_callers_keep_theirs(void **state) {
    (void)state;
    atomic_int found = 0;
    for (int threads = 1; threads <= 4; threads++) {
        assert_ok(tn_par_set_threads(threads));
        tn_par_for(100, 1, find_denormals, &found);
        assert_int_equal(found, 0);
        assert_true(make_denormal() > 0);
    }
    unsigned saved = tn_fp_flush_denormals();
    assert_true(make_denormal() == 0);
    tn_fp_restore(saved);
    assert_true(make_denormal() > 0);
}

/* ---- callers from other threads ---- */

enum { CALLS = 400 };

static void count_and_look(void *context, int64_t begin, int64_t end) {
    count_items(context, begin, end);
#ifdef _OPENMP
    tally *t = context;
    if (omp_get_max_threads() != 1) atomic_fetch_add(&t->wrong, 1); /* OpenBLAS would start a team of its own */
#endif
}

static void *call_often(void *context) {
    tally *t = context;
    for (int i = 0; i < CALLS; i++) tn_par_for(t->n, t->grain, count_and_look, t);
    return NULL;
}

static void callers_on_two_threads__each_get_their_loop(void **state) {
    (void)state;
    pthread_t other;
    tally *mine = tn_heap_zalloc(1, sizeof *mine), *theirs = tn_heap_zalloc(1, sizeof *theirs);
    mine->n = theirs->n = 100;
    mine->grain = theirs->grain = 7;
    assert_ok(tn_par_set_threads(3));
    assert_int_equal(pthread_create(&other, NULL, call_often, theirs), 0);
    call_often(mine);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(mine->wrong + theirs->wrong, 0);
    for (int64_t i = 0; i < mine->n; i++) assert_int_equal(mine->times[i] + theirs->times[i], 2 * CALLS);
    tn_heap_free(mine);
    tn_heap_free(theirs);
}

static void team__may_go_and_come_back(void **state) {
    (void)state;
    tally *t = tn_heap_zalloc(1, sizeof *t);
    t->n = 100;
    t->grain = 1;
    for (int i = 0; i < 50; i++) {
        assert_ok(tn_par_set_threads(1 + i % 4));
        tn_par_for(t->n, t->grain, count_items, t);
        tn_par_stop();
        tn_par_stop(); /* nobody there: fine */
        tn_par_for(t->n, t->grain, count_items, t);
    }
    assert_int_equal(t->wrong, 0);
    for (int64_t i = 0; i < t->n; i++) assert_int_equal(t->times[i], 100);
    tn_heap_free(t);
}

static void threads__are_checked(void **state) {
    (void)state;
    assert_int_equal(tn_par_set_threads(-1), TN_E_RANGE);
    assert_int_equal(tn_par_set_threads(257), TN_E_RANGE);
    assert_ok(tn_par_set_threads(0));
    assert_int_equal(tn_par_threads(), tn_par_cores());
    assert_true(tn_par_cores() >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop__visits_every_item_once),
        cmocka_unit_test(nested_loop__runs_inline),
        cmocka_unit_test(workers__flush_denormals_and_callers_keep_theirs),
        cmocka_unit_test(callers_on_two_threads__each_get_their_loop),
        cmocka_unit_test(team__may_go_and_come_back),
        cmocka_unit_test(threads__are_checked),
    };
    return cmocka_run_group_tests_name("par", tests, NULL, NULL);
}
