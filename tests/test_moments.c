/* SPDX-License-Identifier: MIT
 * Moments kept as 8-bit codes (kernels/bodies_moments.h): what they mean, how far off they are, and what an optimizer
 * makes of them. That every instruction set gives the same ones is test_kernels.c's. */
#include "core/rng.h"
#include "kernels/kernels.h"
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments__are_within_an_eighth_and_right_on_average),
        cmocka_unit_test(moments__keep_the_largest_and_zeros),
    };
    if (tn_kernels_init(NULL)) return 1;
    return cmocka_run_group_tests_name("moments", tests, NULL, NULL);
}
