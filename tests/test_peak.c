/* SPDX-License-Identifier: MIT
 * The hot micro-kernels run near the peak of the CPU, which is measured in the same process. What this finds is a
 * compiler that moves accumulators to the stack, or a change that takes half of the speed and no bit of the results. */
#include "kernels/kernels.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEPTH = 512, ROWS_MAX = 8, FEWEST_TRIES = 5 };
static const double PROMISED = 0.6, TRY_SECONDS = 3e-4, LONGEST_SECONDS = 3;

/* All operands of one call, well within a first-level cache. */
static struct operands {
    _Alignas(TN_ALIGN) tn_real real_panel[DEPTH / 8 * 64], y[ROWS_MAX * 64], x[ROWS_MAX * DEPTH];
    _Alignas(TN_ALIGN) uint32_t words[DEPTH / 8 * 64], rows_of_words[DEPTH / 8 * ROWS_MAX];
    _Alignas(TN_ALIGN) int32_t acc[ROWS_MAX * 64];
    int8_t codes[ROWS_MAX * DEPTH];
} o;

/* Each runs its kernel once and returns the multiply-adds done. */
static int64_t run_ternary(void) {
    const int rows = tn_k->ternary_tile_rows;
    tn_k->ternary_panel(rows, DEPTH, o.codes, DEPTH, o.words, o.acc);
    return (int64_t)rows * DEPTH * tn_k->ternary_panel_width;
}
static int64_t run_bytes(void) {
    const int rows = tn_k->ternary_tile_rows, steps = DEPTH / 8;
    tn_k->byte_panel(rows, steps, o.codes, DEPTH, o.words, o.acc, o.acc);
    return (int64_t)rows * 4 * steps * tn_k->ternary_panel_width;
}
static int64_t run_real(void) {
    const int rows = tn_k->real_tile_rows, depth = DEPTH / 8;
    tn_k->real_panel(rows, depth, o.x, DEPTH, o.real_panel, o.y, tn_k->real_panel_width);
    return (int64_t)rows * depth * tn_k->real_panel_width;
}
static int64_t run_pairs(void) {
    const int rows = tn_k->pair_tile_rows, pairs = DEPTH / 8;
    tn_k->pair_panel(rows, pairs, o.rows_of_words, ROWS_MAX, o.words, o.acc);
    return (int64_t)rows * 2 * pairs * tn_k->pair_panel_width;
}
static int64_t run_bf16(void) {
    const int rows = tn_k->bf16_tile_rows, pairs = DEPTH / 8;
    tn_k->bf16_panel(rows, pairs, o.rows_of_words, ROWS_MAX, o.words, o.y);
    return (int64_t)rows * 2 * pairs * tn_k->bf16_panel_width;
}

/* A set that does not open panels has no promise to keep. */
static int64_t spin_bytes_opened(void) { return tn_k->ternary_opens ? tn_k->spin_bytes(100) : 0; }
static int64_t spin_bytes(void) { return tn_k->spin_bytes(100); }
static int64_t spin_words(void) { return tn_k->spin_words(100); }
static int64_t spin_bf16(void) { return tn_k->spin_bf16(100); }
static int64_t spin_real(void) { return tn_k->spin_real(100); }

/* Time of this thread alone, so that a neighbour who takes the core does not count. */
static double own_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double try_once(int64_t (*run)(void)) {
    double begin = own_seconds(), seconds;
    int64_t done = 0;
    do {
        for (int i = 0; i < 10; i++) done += run();
        seconds = own_seconds() - begin;
    } while (seconds < TRY_SECONDS);
    return (double)done / seconds;
}

/* Why nothing is promised here, or NULL. */
static const char *excuse(void) {
    const char *preloaded = getenv("LD_PRELOAD");
    if (preloaded && strstr(preloaded, "vgpreload")) return "valgrind interprets every instruction";
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return "a sanitizer slows everything down";
#elif defined(TN_DEBUG)
    return "a debug build is not optimised";
#elif !defined(__x86_64__)
    return "only the x86-64 kernels promise a rate, and an emulator cannot be told from a CPU here";
#else
    return NULL;
#endif
}

/* The best of many short tries of both in turn; over as soon as it is good enough. */
static double best_share(int64_t (*run)(void), int64_t (*spin)(void)) {
    double best = 0, peak = 0, end = own_seconds() + LONGEST_SECONDS;
    for (int tries = 0; tries < FEWEST_TRIES || (best < PROMISED * peak && own_seconds() < end); tries++) {
        double speed = try_once(spin);
        peak = speed > peak ? speed : peak;
        speed = try_once(run);
        best = speed > best ? speed : best;
    }
    return best / peak;
}

static void check(const char *kernel, int64_t (*run)(void), int64_t (*spin)(void)) {
    if (excuse()) {
        print_message("skipped: %s\n", excuse());
        skip();
    }
    int slow = 0;
    for (size_t i = 1; tn_kernels_known(i); i++) { /* nothing is promised of portable C */
        if (tn_kernels_init(tn_kernels_known(i)) || spin() == 0) continue;
        memset(&o, 0, sizeof o);
        const double share = best_share(run, spin);
        print_message("%s on %s: %.0f %% of the peak\n", kernel, tn_kernels_isa(), 100 * share);
        slow += share < PROMISED;
    }
    assert_ok(tn_kernels_init(NULL));
    assert_int_equal(slow, 0);
}

static void peak__ternary_panels_reach_60_percent(void **state) {
    (void)state;
    check("ternary_panel", run_ternary, spin_bytes);
}
static void peak__opened_panels_reach_60_percent(void **state) {
    (void)state;
    check("byte_panel", run_bytes, spin_bytes_opened);
}
static void peak__pair_panels_reach_60_percent(void **state) {
    (void)state;
    check("pair_panel", run_pairs, spin_words);
}
static void peak__real_panels_reach_60_percent(void **state) {
    (void)state;
    check("real_panel", run_real, spin_real);
}
static void peak__bf16_panels_reach_60_percent(void **state) {
    (void)state;
    check("bf16_panel", run_bf16, spin_bf16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peak__ternary_panels_reach_60_percent),
        cmocka_unit_test(peak__opened_panels_reach_60_percent),
        cmocka_unit_test(peak__pair_panels_reach_60_percent),
        cmocka_unit_test(peak__real_panels_reach_60_percent),
        cmocka_unit_test(peak__bf16_panels_reach_60_percent),
    };
    return cmocka_run_group_tests_name("peak", tests, NULL, NULL);
}
