/* SPDX-License-Identifier: MIT
 * Rows of the kernel table against what they compute, in double; test_kernels.c holds the instruction sets together. */
#include "core/rng.h"
#include "kernels/kernels.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

/* ---- exp ---- */
static tn_real exp_of(tn_real x) {
    tn_real y;
    tn_k->exp_scaled(1, &x, 0, 1, &y);
    return y;
}

static void formulas__exp_is_right_to_1_1_ulp(void **state) {
    (void)state;
    const double epsilon = sizeof(tn_real) == 4 ? 0x1p-23 : 0x1p-52;
    double worst = 0;
    for (double x = -87.3; x < 88.72; x += 0.00037) {
        const double wanted_value = exp((double)(tn_real)x);
        const double ulp = epsilon * exp2(floor(log2(wanted_value)));
        worst = fmax(worst, fabs((double)exp_of((tn_real)x) - wanted_value) / ulp);
    }
    print_message("exp: %.3f ulp\n", worst);
    assert_true(worst < 1.1);
}

static void formulas__exp_ends_in_zero_infinity_and_nan(void **state) {
    (void)state;
    assert_true(exp_of(0) == 1);
    assert_true(exp_of(-(tn_real)INFINITY) == 0 && exp_of(-1000) == 0);
    assert_true(exp_of((tn_real)INFINITY) == (tn_real)INFINITY && exp_of(1000) == (tn_real)INFINITY);
    assert_true(isnan(exp_of((tn_real)NAN)));
}

/* ---- rows against formulas in double ---- */
static void check_near(const char *what, double found, double expected) {
    const double tolerance = (sizeof(tn_real) == 4 ? 4e-6 : 1e-13) * (1 + fabs(expected));
    if (!(fabs(found - expected) <= tolerance)) fail_msg("%s: %.9g instead of %.9g", what, found, expected);
}

enum { N = 50 };
static tn_real xs[N], ys[N], zs[N], as[N], bs[N], cs[N];

static void fill_normal(tn_real *x, uint32_t stream) {
    const tn_rng rng = tn_rng_make(3, TN_PURPOSE_TEST, stream);
    for (int i = 0; i < N; i++) x[i] = (tn_real)tn_rng_normal(&rng, (uint64_t)i);
}

static void fill_inputs(void) {
    fill_normal(xs, 1);
    fill_normal(ys, 2);
    fill_normal(zs, 3);
    fill_normal(as, 4);
    fill_normal(bs, 5);
    fill_normal(cs, 6);
}

static double silu_of(double u) { return u / (1 + exp(-u)); }
static double relu_of(double u) { return u > 0 ? u : 0; }

static void formulas__gates_follow_their_formulas(void **state) {
    (void)state;
    fill_inputs();
    const double h = 1e-5; /* central difference, error below 1e-10 */
    tn_real h1[N], h2[N], du[N] = {0}, dv[N] = {0}, eu[N] = {0}, ev[N] = {0}, fu[N] = {0}, gu[N] = {0};
    tn_k->relu2_gate(N, xs, ys, h1);
    tn_k->silu_gate(N, xs, ys, h2);
    tn_k->relu2_gate_back(N, xs, ys, zs, du, dv);
    tn_k->silu_gate_back(N, xs, ys, zs, eu, ev);
    tn_k->relu2_du(N, xs, zs, fu);
    tn_k->silu_du(N, xs, zs, gu);
    for (int i = 0; i < N; i++) {
        const double u = (double)xs[i], v = (double)ys[i], d = (double)zs[i];
        const double slope = (silu_of(u + h) - silu_of(u - h)) / (2 * h);
        check_near("relu2_gate", (double)h1[i], relu_of(u) * relu_of(u) * v);
        check_near("silu_gate", (double)h2[i], silu_of(u) * v);
        check_near("relu2_gate du", (double)du[i], 2 * relu_of(u) * v * d);
        check_near("relu2_gate dv", (double)dv[i], relu_of(u) * relu_of(u) * d);
        assert_true(fabs((double)eu[i] - slope * v * d) < 1e-5 * (1 + fabs(v * d)));
        check_near("silu_gate dv", (double)ev[i], silu_of(u) * d);
        check_near("relu2 du", (double)fu[i], 2 * relu_of(u) * d);
        assert_true(fabs((double)gu[i] - slope * d) < 1e-5 * (1 + fabs(d)));
    }
}

/* sum_j z_j y_j as a function of one x, the others as they are: its slope is what rms_row_dx adds. */
static double rms_loss(int moved, double by) {
    double squares = 0, loss = 0;
    for (int j = 0; j < N; j++) squares += pow((double)xs[j] + (j == moved ? by : 0), 2);
    for (int j = 0; j < N; j++)
        loss += (double)zs[j] * (double)ys[j] * ((double)xs[j] + (j == moved ? by : 0)) / sqrt(squares / N + 1e-5);
    return loss;
}

static void formulas__rms_norm_follows_its_formula(void **state) {
    (void)state;
    fill_inputs();
    double squares = 0;
    for (int i = 0; i < N; i++) squares += (double)xs[i] * (double)xs[i];
    tn_real y[N], dx[N] = {0}, dw[N] = {0};
    const tn_real r = tn_k->rms_row(N, xs, ys, (tn_real)1e-5, y);
    check_near("rms r", (double)r, 1 / sqrt(squares / N + 1e-5));
    tn_k->rms_row_dx(N, xs, ys, zs, r, dx);
    tn_k->rms_row_dw(N, xs, zs, r, dw);
    for (int i = 0; i < N; i++) {
        check_near("rms y", (double)y[i], (double)(ys[i] * xs[i]) / sqrt(squares / N + 1e-5));
        check_near("rms dw", (double)dw[i], (double)(zs[i] * xs[i]) / sqrt(squares / N + 1e-5));
        assert_true(fabs((double)dx[i] - (rms_loss(i, 1e-5) - rms_loss(i, -1e-5)) / 2e-5) < 1e-5);
    }
}

static void formulas__turning_there_and_back_is_the_identity(void **state) {
    (void)state;
    fill_inputs();
    tn_real cosine[N / 2], sine[N / 2], y[N];
    for (int i = 0; i < N / 2; i++) cosine[i] = (tn_real)cos(i + .5), sine[i] = (tn_real)sin(i + .5);
    tn_k->rope_row(N, xs, cosine, sine, 1, y);
    check_near("rope first", (double)y[0], (double)xs[0] * cos(.5) - (double)xs[N / 2] * sin(.5));
    check_near("rope second", (double)y[N / 2], (double)xs[N / 2] * cos(.5) + (double)xs[0] * sin(.5));
    tn_k->rope_row(N, y, cosine, sine, -1, y); /* in place */
    for (int i = 0; i < N; i++) check_near("rope", (double)y[i], (double)xs[i]);
}

static void formulas__optimizer_steps_follow_their_formulas(void **state) {
    (void)state;
    fill_inputs();
    const tn_adamw o = {(tn_real).01, (tn_real).9, (tn_real).95, (tn_real)1e-8,
                        (tn_real).1,  (tn_real).5, (tn_real).1,  (tn_real).05};
    const tn_lion l = {(tn_real).01, (tn_real).9, (tn_real).99, (tn_real).1, (tn_real).5};
    const tn_sgd s = {(tn_real).01, (tn_real).9, (tn_real).1, (tn_real).5};
    tn_real w[3][N], m[3][N], v[N];
    for (int i = 0; i < 3; i++) memcpy(w[i], as, sizeof as), memcpy(m[i], bs, sizeof bs);
    for (int i = 0; i < N; i++) v[i] = cs[i] * cs[i];
    const double sums[] = {tn_k->adamw_step(N, &o, xs, w[0], m[0], v), tn_k->lion_step(N, &l, xs, w[1], m[1]),
                           tn_k->sgd_step(N, &s, xs, w[2], m[2])};
    for (int i = 0; i < 3; i++) assert_true(sums[i] == tn_k->sum_abs(N, w[i]));
    for (int i = 0; i < N; i++) {
        const double g = .5 * (double)xs[i], w0 = (double)as[i], m0 = (double)bs[i], v0 = (double)(cs[i] * cs[i]);
        const double m1 = .9 * m0 + .1 * g, v1 = .95 * v0 + .05 * g * g, u = m1 > 0 ? 1 : -1, g1 = g + .1 * w0;
        check_near("adamw w", (double)w[0][i], w0 - .01 * (m1 / .1 / (sqrt(v1 / .05) + 1e-8) + .1 * w0));
        check_near("adamw m", (double)m[0][i], m1);
        check_near("adamw v", (double)v[i], v1);
        check_near("lion w", (double)w[1][i], w0 - .01 * (u + .1 * w0));
        check_near("lion m", (double)m[1][i], .99 * m0 + .01 * g);
        check_near("sgd m", (double)m[2][i], .9 * m0 + g1);
        check_near("sgd w", (double)w[2][i], w0 - .01 * (.9 * m0 + g1));
    }
}

static void formulas__sums_and_softmax_pieces_are_right(void **state) {
    (void)state;
    fill_inputs();
    double sum = 0, sizes = 0, squares = 0, exps = 0, max = -INFINITY;
    for (int i = 0; i < N; i++) {
        const double x = (double)xs[i];
        sum += x, sizes += fabs(x), squares += x * x, exps += exp(x - 1), max = fmax(max, x);
    }
    assert_true(fabs(tn_k->sum(N, xs) - sum) < 1e-12 && fabs(tn_k->sum_abs(N, xs) - sizes) < 1e-12);
    assert_true(fabs(tn_k->sum_squares(N, xs) - squares) < 1e-12);
    assert_true((double)tn_k->row_max(N, xs) == max);
    check_near("exp_sum", (double)tn_k->exp_sum(N, xs, 1) / exps, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formulas__exp_is_right_to_1_1_ulp),
        cmocka_unit_test(formulas__exp_ends_in_zero_infinity_and_nan),
        cmocka_unit_test(formulas__gates_follow_their_formulas),
        cmocka_unit_test(formulas__rms_norm_follows_its_formula),
        cmocka_unit_test(formulas__turning_there_and_back_is_the_identity),
        cmocka_unit_test(formulas__optimizer_steps_follow_their_formulas),
        cmocka_unit_test(formulas__sums_and_softmax_pieces_are_right),
    };
    return cmocka_run_group_tests_name("formulas", tests, NULL, NULL);
}
