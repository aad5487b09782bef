/* SPDX-License-Identifier: MIT */
#include "optim/schedule.h"
#include "tests/testing.h"

#include <math.h>

static double factor(tn_schedule_kind kind, double min_ratio, int64_t warmup, int64_t step) {
    tn_schedule s = {.kind = kind,
                     .min_ratio = min_ratio,
                     .warmup = warmup,
                     .stage2_start = 0.5,
                     .stage2_ratio = 0.6,
                     .weight_decay = 0.1};
    return tn_schedule_at(&s, step, 1000).factor;
}

static void assert_near(double a, double b) { assert_true(fabs(a - b) < 1e-12); }

static void schedule__passes_its_marked_points(void **state) {
    (void)state;
    assert_near(factor(TN_SCHEDULE_CONSTANT, 0, 0, 0), 1);
    assert_near(factor(TN_SCHEDULE_CONSTANT, 0, 0, 999), 1);
    assert_near(factor(TN_SCHEDULE_LINEAR, 0, 0, 0), 1);
    assert_near(factor(TN_SCHEDULE_LINEAR, 0, 0, 500), 0.5);
    assert_near(factor(TN_SCHEDULE_LINEAR, 0.1, 0, 500), 0.55);
    assert_near(factor(TN_SCHEDULE_LINEAR, 0, 200, 600), 0.5); /* halfway between warm-up and end */
    assert_near(factor(TN_SCHEDULE_COSINE, 0, 0, 500), 0.5);
    assert_near(factor(TN_SCHEDULE_COSINE, 0.1, 0, 250), 0.1 + 0.9 * 0.5 * (1 + sqrt(0.5)));
    assert_near(factor(TN_SCHEDULE_WSD, 0, 0, 799), 1);
    assert_near(factor(TN_SCHEDULE_WSD, 0, 0, 900), 0.5);
    assert_near(factor(TN_SCHEDULE_WSD, 0.2, 0, 900), 0.6);
    assert_near(factor(TN_SCHEDULE_TWO_STAGE, 0, 0, 0), 1);
    assert_near(factor(TN_SCHEDULE_TWO_STAGE, 0, 0, 499), 1 - 0.499);
    assert_near(factor(TN_SCHEDULE_TWO_STAGE, 0, 0, 500), 0.6 * 0.5);
    assert_near(factor(TN_SCHEDULE_TWO_STAGE, 0, 0, 999), 0.6 * 0.001);
    assert_near(factor(TN_SCHEDULE_TWO_STAGE, 0.1, 0, 999), 0.1);
}

static void warmup__rises_in_a_line_and_never_starts_at_zero(void **state) {
    (void)state;
    assert_near(factor(TN_SCHEDULE_CONSTANT, 0, 100, 0), 0.01);
    assert_near(factor(TN_SCHEDULE_CONSTANT, 0, 100, 49), 0.5);
    assert_near(factor(TN_SCHEDULE_CONSTANT, 0, 100, 99), 1);
    assert_near(factor(TN_SCHEDULE_TWO_STAGE, 0, 100, 49), 0.5 * (1 - 0.049));
    assert_int_equal(tn_schedule_default_warmup(TN_SCHEDULE_TWO_STAGE, 100000), 1000); /* 1 % */
    assert_int_equal(tn_schedule_default_warmup(TN_SCHEDULE_TWO_STAGE, 10000), 375);
    assert_int_equal(tn_schedule_default_warmup(TN_SCHEDULE_TWO_STAGE, 1000), 100); /* 10 % */
    assert_int_equal(tn_schedule_default_warmup(TN_SCHEDULE_COSINE, 1000), 0);
}

static void second_stage__ends_weight_decay(void **state) {
    (void)state;
    tn_schedule s = {.kind = TN_SCHEDULE_TWO_STAGE, .stage2_start = 0.5, .stage2_ratio = 0.6, .weight_decay = 0.1};
    assert_true(tn_schedule_at(&s, 499, 1000).weight_decay == 0.1);
    assert_true(tn_schedule_at(&s, 500, 1000).weight_decay == 0);
    s.kind = TN_SCHEDULE_LINEAR;
    assert_true(tn_schedule_at(&s, 999, 1000).weight_decay == 0.1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedule__passes_its_marked_points),
        cmocka_unit_test(warmup__rises_in_a_line_and_never_starts_at_zero),
        cmocka_unit_test(second_stage__ends_weight_decay),
    };
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
