/* SPDX-License-Identifier: MIT
 * What the benchmarks compute from what they measure. */
#include "bench/peak.h"
#include "bench/preset.h"
#include "bench/roofline.h"
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void bench__a_median_is_the_middle(void **state) {
    (void)state;
    tn_samples s = {0};
    assert_true(tn_samples_median(&s) == 0);
    tn_samples_add(&s, 5);
    assert_true(tn_samples_median(&s) == 5);
    tn_samples_add(&s, 1);
    assert_true(tn_samples_median(&s) == 3);
    tn_samples_add(&s, 100);
    assert_true(tn_samples_median(&s) == 5);
    assert_true(tn_samples_upper_quartile(&s) == 100);
    tn_samples_add(&s, 6);
    tn_samples_add(&s, 7);
    assert_true(tn_samples_upper_quartile(&s) == 7);
    for (int i = 0; i < TN_SAMPLES_MAX; i++) tn_samples_add(&s, 7); /* the old ones are forgotten */
    assert_true(tn_samples_median(&s) == 7);
}

static void near(double found, double expected) {
    if (!(fabs(found / expected - 1) < 1e-12)) fail_msg("%.17g instead of %.17g", found, expected);
}

/* 30m: 8 blocks of 4 x 512 x 512 + 3 x 512 x 1408 weights, a head of 8192 x 512; by hand from bench/README.md. */
static void bench__the_roofline_is_the_formula(void **state) {
    (void)state;
    tn_arena *arena = tn_arena_create("test");
    tn_run_config config;
    assert_ok(tn_run_config_init(&config, arena));
    tn_preset_apply(1, &config);
    assert_ok(tn_model_config_complete(&config.model));
    const double ternary = 8 * (4 * 512. * 512 + 3 * 512. * 1408), head = 8192. * 512, tokens = 2048;

    const double intel[TN_PEAK_COUNT] = {88e9, 368e9, 190e9, 43e9};
    tn_roofline r = tn_roofline_best(&config.model, tokens, intel);
    near(r.forward, tokens * ternary / 368e9);
    near(r.backward, 2 * tokens * ternary / 190e9);
    near(r.head, 3 * tokens * head / 190e9);
    near(tn_roofline_seconds(&r), r.forward + r.backward + r.head);
    assert_string_equal(r.arithmetic[1], "int16");
    r = tn_roofline_bf16(&config.model, tokens, intel);
    near(r.backward, 2 * tokens * ternary / 43e9);
    near(r.head, 3 * tokens * head / 43e9);

    const double amd[TN_PEAK_COUNT] = {88e9, 352e9, 170e9, 176.5e9}, old[TN_PEAK_COUNT] = {10e9, 12e9, 9e9, 0};
    r = tn_roofline_best(&config.model, tokens, amd);
    near(r.rates[1], 176.5e9);
    near(r.rates[2], 176.5e9);
    r = tn_roofline_best(&config.model, tokens, old);
    near(r.rates[0], 12e9);
    near(r.rates[1], 10e9);
    r = tn_roofline_bf16(&config.model, tokens, old);
    assert_true(tn_roofline_seconds(&r) == 0);

    config.model.quantization = TN_QUANTIZATION_NONE; /* the float twin has no integers */
    r = tn_roofline_best(&config.model, tokens, amd);
    near(r.rates[0], 176.5e9);
    tn_arena_free(arena);
}

static void bench__every_preset_is_a_model(void **state) {
    (void)state;
    int n = 0;
    for (const char *name = tn_preset_names; name; name = strchr(name, '|') ? strchr(name, '|') + 1 : NULL, n++) {
        assert_memory_equal(name, tn_preset_name(n), strlen(tn_preset_name(n)));
        tn_arena *arena = tn_arena_create("test");
        tn_run_config config;
        assert_ok(tn_run_config_init(&config, arena));
        tn_preset_apply(n, &config);
        assert_ok(tn_model_config_complete(&config.model));
        const double million = atof(tn_preset_name(n)), counted = (double)tn_model_config_counts(&config.model).total;
        assert_true(fabs(counted / (1e6 * million) - 1) < 0.15);
        tn_arena_free(arena);
    }
    assert_int_equal(n, 3);
}

/* A rate is of all threads together, and there is none where the instruction set has no such arithmetic. */
static void bench__peaks_are_measured_in_every_instruction_set(void **state) {
    (void)state;
    assert_ok(tn_par_set_threads(2));
    for (size_t i = 0; tn_kernels_known(i); i++) {
        tn_peaks peaks = {0};
        if (tn_kernels_init(tn_kernels_known(i))) continue;
        tn_peaks_try_all(&peaks);
        for (int kind = 0; kind < TN_PEAK_COUNT; kind++)
            if (kind != TN_PEAK_BF16) assert_true(tn_peaks_get(&peaks, (tn_peak_kind)kind) > 1e5);
        assert_true((tn_peaks_get(&peaks, TN_PEAK_BF16) > 0) == (tn_k->spin_bf16(1) > 0));
    }
    assert_ok(tn_kernels_init(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bench__a_median_is_the_middle),
        cmocka_unit_test(bench__the_roofline_is_the_formula),
        cmocka_unit_test(bench__every_preset_is_a_model),
        cmocka_unit_test(bench__peaks_are_measured_in_every_instruction_set),
    };
    return cmocka_run_group_tests_name("bench", tests, NULL, NULL);
}
