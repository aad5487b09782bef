/* SPDX-License-Identifier: MIT
 * Moments kept as 8-bit codes (kernels/bodies_moments.h): what they mean, how far off they are, and what an optimizer
 * makes of them. That every instruction set gives the same ones is test_kernels.c's. */
#include "core/rng.h"
#include "kernels/kernels.h"
#include "optim/optimizer.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

static void assert_near(double got, double wanted) { assert_true(fabs(got - wanted) <= 1e-6 * fabs(wanted)); }

/* What docs/math.md says that a code means. */
static double moment_of(uint8_t code) {
    const int c = code & 127;
    const double size = ldexp(1 + c % 8 / 8.0, c / 8 - 15) - ldexp(1, -15);
    return code > 127 ? -size : size;
}
static double square_of(uint8_t code) { return ldexp(1 + code % 8 / 8.0, code / 8 - 31) - ldexp(1, -31); }

enum { CODED = TN_CODE_BLOCK + 44 };
typedef struct coded {
    uint8_t m[CODED], v[CODED];
    tn_real m_scale[2], v_scale[2];
} coded;

/* m = g and v = g^2 of a step whose averages keep nothing. */
static void code_gradient(coded *c, const tn_real *g, uint32_t key) {
    const tn_adamw o = {.epsilon = (tn_real)1e-8, .grad_scale = 1, .correction1 = 1, .correction2 = 1};
    const tn_adamw_codes to = {c->m, c->v, c->m_scale, c->v_scale, key};
    static tn_real w[CODED];
    memset(c, 0, sizeof *c);
    tn_k->adamw8bit_step(CODED, &o, &to, g, w);
}

static void moments__are_within_an_eighth_and_right_on_average(void **state) {
    (void)state;
    enum { KEYS = 4096 };
    static double mean_m[CODED], mean_v[CODED];
    static coded c;
    tn_real g[CODED];
    const tn_rng rng = tn_rng_make(31, TN_PURPOSE_TEST, 0);
    for (int i = 0; i < CODED; i++) /* over six decades, a few zeros */
        g[i] = i % 16 ? (tn_real)(tn_rng_normal(&rng, (uint64_t)i) * pow(10, i % 7 - 4)) : 0;
    for (uint32_t key = 0; key < KEYS; key++) {
        code_gradient(&c, g, key * 77777);
        for (int i = 0; i < CODED; i++) {
            const double scale_m = (double)c.m_scale[i / TN_CODE_BLOCK], scale_v = (double)c.v_scale[i / TN_CODE_BLOCK];
            const double m = (double)g[i], v = (double)(g[i] * g[i]);
            const double code_m = scale_m * moment_of(c.m[i]), code_v = scale_v * square_of(c.v[i]);
            assert_true(fabs(code_m - m) <= (fabs(m) + scale_m * ldexp(1, -15)) / 8 * 1.000001);
            assert_true(fabs(code_v - v) <= (v + scale_v * ldexp(1, -31)) / 8 * 1.000001);
            assert_true(c.v[i] > 0);
            mean_m[i] += code_m / KEYS;
            mean_v[i] += code_v / KEYS;
        }
    }
    /* Rounded up as often as is fair. A step is at most 1/8, its deviation half of that; 6 of them over 64. */
    for (int i = 0; i < CODED; i++) {
        const double scale_m = (double)c.m_scale[i / TN_CODE_BLOCK], scale_v = (double)c.v_scale[i / TN_CODE_BLOCK];
        const double m = (double)g[i], v = (double)(g[i] * g[i]), sixth = 6.0 / 64 / 2 / 8;
        assert_true(fabs(mean_m[i] - m) <= sixth * (fabs(m) + scale_m * ldexp(1, -15)));
        /* but a square of 0 becomes the smallest code */
        assert_true(fabs(mean_v[i] - v) <= sixth * (v + scale_v * ldexp(1, -31)) + scale_v * ldexp(1, -34));
    }
}

static void moments__keep_the_largest_and_zeros(void **state) {
    (void)state;
    static coded c;
    tn_real g[CODED] = {0};
    code_gradient(&c, g, 1);
    for (int i = 0; i < CODED; i++) assert_true(c.m[i] == 0);
    assert_true(c.m_scale[0] == 0 && c.m_scale[1] == 0 && c.v_scale[0] == 0 && c.v_scale[1] == 0);
    g[3] = (tn_real)-1e-30; /* its square counts as 0 */
    g[TN_CODE_BLOCK + 7] = (tn_real)-2;
    code_gradient(&c, g, 1);
    assert_true(c.m[3] == 255 && c.v_scale[0] == 0);
    assert_near((double)c.m_scale[0] * moment_of(c.m[3]) * 1e30, -1);
    assert_near((double)c.m_scale[1] * moment_of(c.m[TN_CODE_BLOCK + 7]), -2);
    assert_near((double)c.v_scale[1] * square_of(c.v[TN_CODE_BLOCK + 7]), 4);
}

/* Rounded to the nearest, a second moment that changes little in a step would stay where it is. */
static void moments__rise_and_fall_like_floats(void **state) {
    (void)state;
    enum { TURN = 1500 };
    static coded c;
    static tn_real g[CODED], w[2][CODED], m[CODED], v[CODED];
    const tn_adamw o = {.beta1 = (tn_real)0.9,
                        .beta2 = (tn_real)0.999,
                        .epsilon = (tn_real)1e-8,
                        .grad_scale = 1,
                        .correction1 = 1,
                        .correction2 = 1};
    const tn_rng rng = tn_rng_make(32, TN_PURPOSE_TEST, 0);
    for (uint32_t step = 0; step < 2 * TURN; step++) {
        const tn_adamw_codes to = {c.m, c.v, c.m_scale, c.v_scale, step * 77777};
        for (int i = 0; i < CODED; i++)
            g[i] = (tn_real)((tn_rng_uniform(&rng, (uint64_t)step * CODED + (uint64_t)i) - 0.5) * pow(10, i % 3 - 2) *
                             (step < TURN ? 4 : 1));
        tn_k->adamw_step(CODED, &o, g, w[0], m, v);
        tn_k->adamw8bit_step(CODED, &o, &to, g, w[1]);
        if (step % TURN != TURN - 1) continue;
        double mean = 0;
        for (int i = 0; i < CODED; i++)
            mean += sqrt((double)c.v_scale[i / TN_CODE_BLOCK] * square_of(c.v[i]) / (double)v[i]) / CODED;
        print_message("step %u: the root of v is %.3f of the float one\n", step, mean);
        assert_true(fabs(mean - 1) < 0.03);
    }
}

/* ---- an optimizer with them ---- */

enum { WEIGHTS = 8192, STEPS = 400 };

/* Half the sum of h (w - target)^2, h over four decades in each block, seen through gradients with noise; how much of
 * it is left after steps whose rate falls in a line. */
static double share_left(tn_optimizer_kind kind, double noise, double beta2) {
    tn_arena *memory = tn_arena_create("test");
    tn_param param = {.name = "w", .rows = WEIGHTS / 128, .cols = 128, .decays = true}, *list = &param;
    tn_param_blocks blocks;
    tn_optimizer *optimizer;
    const tn_optimizer_settings settings = {.kind = kind, .beta1 = 0.9, .beta2 = beta2, .epsilon = 1e-8};
    const tn_rng rng = tn_rng_make(5, TN_PURPOSE_TEST, 0);
    assert_ok(tn_param_init(&param, memory, TN_PARAM_TRAINED));
    assert_ok(tn_param_blocks_init(&blocks, memory, &list, 1));
    assert_ok(tn_optimizer_create(&optimizer, memory, &blocks, &settings));
    double first = 0, last = 0;
    for (int step = 0; step <= STEPS; step++) {
        tn_real *grad = tn_param_grad(&param);
        last = 0;
        for (int i = 0; i < WEIGHTS; i++) {
            const double h = pow(10, i % 5 - 2), target = tn_rng_normal(&rng, (uint64_t)i);
            const double error = (double)param.tensor.real[i] - target;
            const double draw = tn_rng_normal(&rng, (uint64_t)i + (uint64_t)(step + 1) * WEIGHTS);
            last += h * error * error / 2;
            grad[i] = (tn_real)(h * error + noise * sqrt(h) * draw);
        }
        if (step == 0) first = last;
        const double rate = 0.02 * (1 - (double)step / STEPS);
        tn_optimizer_step(optimizer, &(tn_optimizer_rates){rate, rate, 0, 1});
    }
    tn_arena_free(memory);
    return last / first;
}

static void moments__lead_an_optimizer_as_far_as_floats(void **state) {
    (void)state;
    static const struct { double noise, beta2; } cases[] = {{0, 0.95}, {0.3, 0.95}, {0.3, 0.999}, {1, 0.95}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        const double floats = share_left(TN_OPTIMIZER_adamw, cases[i].noise, cases[i].beta2);
        const double codes = share_left(TN_OPTIMIZER_adamw8bit, cases[i].noise, cases[i].beta2);
        print_message("noise %g, beta2 %g: of the loss is left %.3e with floats, %.3e with codes\n", cases[i].noise,
                      cases[i].beta2, floats, codes);
        assert_true(floats < 0.05);
        assert_true(codes < 1.1 * floats + 1e-5); /* without noise, what rounding adds is all that is left */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments__are_within_an_eighth_and_right_on_average),
        cmocka_unit_test(moments__keep_the_largest_and_zeros),
        cmocka_unit_test(moments__rise_and_fall_like_floats),
        cmocka_unit_test(moments__lead_an_optimizer_as_far_as_floats),
    };
    if (tn_kernels_init(NULL)) return 1;
    return cmocka_run_group_tests_name("moments", tests, NULL, NULL);
}
