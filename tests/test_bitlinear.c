/* SPDX-License-Identifier: MIT
 * The quantised layer by numbers worked out by hand from docs/math.md. */
#include "core/par.h"
#include "kernels/backward.h"
#include "kernels/kernels.h"
#include "tests/graph.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

static const int three_by_three[] = {3, 3};
static const double w_worked[] = {.8, -.5, 1.2, -1.5, .4, -.9, 1.3, -.7, .2};
static const double x_worked[] = {1, -.6, .7, -.9, .4, -1.2, .8, -.5, .3};
static const double dy_worked[] = {1, 0, -1, .5, 1, 0, 0, -2, 1};

static tn_real *reals(tn_graph *g, int count, const double *values) {
    tn_real *r = tn_arena_array(g->arena, (size_t)count, sizeof *r, "test");
    for (int i = 0; i < count; i++) r[i] = (tn_real)values[i];
    return r;
}

/* The expected numbers are printed to six digits. */
static void assert_near(const tn_real *found, const double *expected, int count) {
    for (int i = 0; i < count; i++)
        if (!(fabs((double)found[i] - expected[i]) < 1.5e-6))
            fail_msg("number %d is %.7f, expected %.6f", i, (double)found[i], expected[i]);
}

static void bitlinear__worked_example_holds(void **state) {
    const int8_t t[] = {1, -1, 1, -1, 0, -1, 1, -1, 0}, q[] = {127, -76, 89, -95, 42, -127, 127, -79, 48};
    const double y[] = {1.91601, -1.417323, 1.332021, -2.07874, 1.748031, -1.07874, 1.333333, -.918635, 1.081365};
    const double dx[] = {0, 0, .833333, -.416667, -.416667, -.416667, 2.5, -.833333, 1.666667};
    const double dw[] = {.551181, -.4, .100787, -2.497638, 1.392126, -1.804724, -.2, .100787, -.398425};
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_param *w = tn_graph_latent(&g, 3, 3, reals(&g, 9, w_worked), 1);
    tn_tensor *x = tn_tape_real(g.tape, 2, three_by_three, reals(&g, 9, x_worked), true);
    tn_tensor *codes = tn_act_quant(g.tape, x, 1);
    tn_tensor *out = tn_bitlinear(g.tape, codes, w);
    assert_ok(tn_tape_status(g.tape));
    assert_memory_equal(w->states, t, sizeof t);
    assert_true(fabs((double)w->scale - .8333333) < 1e-6);
    assert_memory_equal(codes->codes, q, sizeof q);
    assert_near(out->real, y, 9);
    assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, out, reals(&g, 9, dy_worked))));
    assert_near(x->grad, dx, 9);
    assert_near(w->tensor.grad, dw, 9);
    tn_graph_release(&g);
}

static void quantisers__round_ties_to_even(void **state) {
    const double w[] = {.5, 1.5, -.5, -1.5}, x[] = {127, .5, 1.5, 2.5, -.5, -2.5};
    const int8_t t[] = {0, 1, 0, -1}, q[] = {127, 0, 2, 2, 0, -2};
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_param *param = tn_graph_latent(&g, 1, 4, reals(&g, 4, w), 1);
    assert_true(param->scale == 1);
    assert_memory_equal(param->states, t, sizeof t);
    tn_tensor *codes = tn_act_quant(g.tape, tn_tape_real(g.tape, 1, (const int[]){6}, reals(&g, 6, x), false), 1);
    assert_memory_equal(codes->codes, q, sizeof q);
    tn_graph_release(&g);
}

static void quantisers__survive_zeros_and_tiny_rows(void **state) {
    const double x[] = {0, 0, 0, 1e-6, -1e-6, 5e-7}, w[] = {0, 0, 0};
    const int8_t q[] = {0, 0, 0, 13, -13, 6}, t[] = {0, 0, 0};
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_param *param = tn_graph_latent(&g, 1, 3, reals(&g, 3, w), 1);
    assert_true(param->scale == (tn_real)1e-5);
    assert_memory_equal(param->states, t, sizeof t);
    tn_tensor *codes = tn_act_quant(g.tape, tn_tape_real(g.tape, 2, (const int[]){2, 3}, reals(&g, 6, x), false), 1);
    assert_memory_equal(codes->codes, q, sizeof q);
    assert_true(fabs((double)codes->row_scale[1] - 1.27e7) < 1);
    tn_graph_release(&g);
}

/* Gaussian weights: P(|w| < a/2) with a = sqrt(2/pi) sigma is erf(.399/sqrt 2) = .310. */
static void quantisers__gaussian_zero_share_is_310_per_mille(void **state) {
    enum { ROWS = 250, COLS = 400, COUNT = ROWS * COLS };
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_param *w = tn_graph_latent(&g, ROWS, COLS, tn_graph_normal(&g, COUNT, 0), 1);
    int zeros = 0;
    for (int i = 0; i < COUNT; i++) zeros += w->states[i] == 0;
    assert_true(fabs((double)zeros / COUNT - .310) < .005);
    /* Quantising what the states stand for keeps the states and shrinks the scale to the share of non-zeros. */
    tn_real *stood_for = tn_arena_array(g.arena, COUNT, sizeof *stood_for, "test");
    tn_k->expand_states(COUNT, w->states, w->scale, stood_for);
    tn_param *again = tn_graph_latent(&g, ROWS, COLS, stood_for, 1);
    assert_memory_equal(again->states, w->states, COUNT);
    assert_true(fabs((double)(again->scale / w->scale) - (1 - (double)zeros / COUNT)) < 1e-5);
    tn_graph_release(&g);
}

enum { N = 5, M = 7, K = 33 };

static void bitlinear__lambda_zero_is_the_float_layer(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    const tn_real *w = tn_graph_normal(&g, M * K, 0), *x = tn_graph_normal(&g, N * K, 1),
                  *dy = tn_graph_normal(&g, N * M, 2);
    tn_param *latent = tn_graph_latent(&g, M, K, w, 0), *plain = tn_graph_param(&g, M, K, w, true);
    tn_tensor *xa = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, true);
    tn_tensor *xb = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, true);
    tn_tensor *a = tn_bitlinear(g.tape, tn_act_quant(g.tape, xa, 0), latent), *b = tn_linear(g.tape, xb, plain);
    assert_memory_equal(a->real, b->real, N * M * sizeof(tn_real));
    tn_tensor *loss = tn_add(g.tape, tn_graph_dot(&g, a, dy), tn_graph_dot(&g, b, dy));
    assert_ok(tn_tape_backward(g.tape, loss));
    assert_memory_equal(xa->grad, xb->grad, N * K * sizeof(tn_real));
    assert_memory_equal(latent->tensor.grad, plain->tensor.grad, M * K * sizeof(tn_real));
    tn_graph_release(&g);
}

/* Between 0 and 1 both operands lie on the line from the float to what the codes and states stand for. */
static void bitlinear__lambda_mixes_linearly(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    const tn_real *w = tn_graph_normal(&g, M * K, 0), *x = tn_graph_normal(&g, N * K, 1);
    tn_param *half = tn_graph_latent(&g, M, K, w, (tn_real)0.5), *full = tn_graph_latent(&g, M, K, w, 1);
    tn_tensor *xr = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, false);
    const tn_tensor *mixed = tn_act_quant(g.tape, xr, (tn_real)0.5), *codes = tn_act_quant(g.tape, xr, 1);
    for (int i = 0; i < N * K; i++) {
        double q = (double)codes->codes[i] / (double)codes->row_scale[i / K];
        assert_true(fabs((double)mixed->real[i] - ((double)x[i] + q) / 2) < 1e-6);
    }
    for (int i = 0; i < M * K; i++)
        assert_true(fabs((double)half->mixed[i] - (double)(w[i] + full->scale * (tn_real)full->states[i]) / 2) < 1e-6);
    tn_graph_release(&g);
}

static void bitlinear__operands_must_belong_together(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    const tn_real *w = tn_graph_normal(&g, M * K, 0), *x = tn_graph_normal(&g, N * K, 1);
    tn_param *half = tn_graph_latent(&g, M, K, w, (tn_real)0.5), *full = tn_graph_latent(&g, M, K, w, 1);
    tn_param *plain = tn_graph_param(&g, M, K, w, true);
    const struct {
        tn_real lambda;
        tn_param *w;
    } wrong[] = {{1, half}, {(tn_real)0.5, full}, {1, plain}};
    for (size_t i = 0; i < TN_COUNT(wrong); i++) {
        tn_graph_begin(&g);
        tn_tensor *xr = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, false);
        (void)tn_bitlinear(g.tape, tn_act_quant(g.tape, xr, wrong[i].lambda), wrong[i].w);
        assert_int_equal(tn_tape_status(g.tape), TN_E_DTYPE);
    }
    tn_graph_begin(&g);
    (void)tn_linear(g.tape, tn_tape_real(g.tape, 2, (const int[]){N, K}, x, false), full);
    assert_int_equal(tn_tape_status(g.tape), TN_E_DTYPE);
    tn_graph_release(&g);
}

static void act_quant__readers_share_codes_and_add_gradients(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    const tn_real *x = tn_graph_normal(&g, N * K, 1), *dy = tn_graph_normal(&g, N * M, 2);
    tn_param *w[2] = {tn_graph_latent(&g, M, K, tn_graph_normal(&g, M * K, 3), 1),
                      tn_graph_latent(&g, M, K, tn_graph_normal(&g, M * K, 4), 1)};
    double sum[N * K] = {0};
    for (int i = 0; i < 2; i++) {
        tn_graph_begin(&g);
        tn_tensor *xr = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, true);
        tn_tensor *y = tn_bitlinear(g.tape, tn_act_quant(g.tape, xr, 1), w[i]);
        assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, y, dy)));
        for (int j = 0; j < N * K; j++) sum[j] += (double)xr->grad[j];
    }
    tn_graph_begin(&g);
    tn_tensor *xr = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, true), *codes = tn_act_quant(g.tape, xr, 1);
    tn_tensor *both = tn_add(g.tape, tn_bitlinear(g.tape, codes, w[0]), tn_bitlinear(g.tape, codes, w[1]));
    assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, both, dy)));
    for (int j = 0; j < N * K; j++) assert_true(fabs((double)xr->grad[j] - sum[j]) < 1e-5);
    tn_graph_release(&g);
}

/* A matrix of the states and the scale of `latent`, and nothing else. */
static void freeze(tn_graph *g, const tn_param *latent, tn_param_use use, tn_packing packing, tn_param *frozen) {
    *frozen = (tn_param){.name = "frozen",
                         .rows = latent->rows,
                         .cols = latent->cols,
                         .quantizer = TN_QUANT_ABSMEAN_TERNARY,
                         .product = true};
    tn_kernels_use_packing(packing);
    assert_ok(tn_param_init(frozen, g->arena, use));
    tn_kernels_use_packing(TN_PACKING_PAIRS);
    assert_null(frozen->tensor.real);
    tn_param_put_states(frozen, 0, latent->rows, latent->states);
    frozen->scale = latent->scale;
}

/* Forward, and the gradient of x, through both. */
static void check_frozen(tn_graph *g, tn_param *latent, tn_param *frozen, const tn_real *x, const tn_real *dy) {
    const int n = N, m = latent->rows, k = latent->cols;
    tn_graph_begin(g);
    tn_tensor *xa = tn_tape_real(g->tape, 2, (const int[]){n, k}, x, true);
    tn_tensor *xb = tn_tape_real(g->tape, 2, (const int[]){n, k}, x, true);
    tn_tensor *a = tn_bitlinear(g->tape, tn_act_quant(g->tape, xa, 1), latent);
    tn_tensor *b = tn_bitlinear(g->tape, tn_act_quant(g->tape, xb, 1), frozen);
    assert_memory_equal(a->real, b->real, (size_t)(n * m) * sizeof(tn_real));
    assert_ok(tn_tape_backward(g->tape, tn_add(g->tape, tn_graph_dot(g, a, dy), tn_graph_dot(g, b, dy))));
    assert_memory_equal(xa->grad, xb->grad, (size_t)(n * k) * sizeof(tn_real));
    assert_null(frozen->tensor.grad);
}

static void bitlinear__frozen_states_need_no_latent(void **state) {
    tn_graph g;
    enum { ROWS = 131, COLS = 100 };
    (void)state;
    tn_graph_init(&g);
    const tn_real *x = tn_graph_normal(&g, N * COLS, 1), *dy = tn_graph_normal(&g, N * ROWS, 2);
    tn_param *latent = tn_graph_latent(&g, ROWS, COLS, tn_graph_normal(&g, ROWS * COLS, 0), 1), frozen;
    for (int use = TN_PARAM_FROZEN; use <= TN_PARAM_KEPT; use++)
        for (int packing = TN_PACKING_PAIRS; packing <= TN_PACKING_TRIPLES; packing++)
            for (int arithmetic = TN_BACKWARD_F32; arithmetic <= TN_BACKWARD_INT16; arithmetic++) {
                freeze(&g, latent, (tn_param_use)use, (tn_packing)packing, &frozen);
                tn_tape_set_backward(g.tape, (tn_backward)arithmetic);
                check_frozen(&g, latent, &frozen, x, dy);
            }
    tn_graph_release(&g);
}

/* The slope that a replay takes through a T goes through the states as they are packed. */
static void bitlinear__a_replay_goes_through_packed_states(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    const tn_real *x = tn_graph_normal(&g, N * K, 1), *dy = tn_graph_normal(&g, N * M, 2);
    tn_param *latent = tn_graph_latent(&g, M, K, tn_graph_normal(&g, M * K, 0), 1), frozen[2];
    tn_real dx[2][N * K];
    for (int i = 0; i < 2; i++) {
        freeze(&g, latent, i ? TN_PARAM_KEPT : TN_PARAM_FROZEN, TN_PACKING_TRIPLES, &frozen[i]);
        for (int mode = TN_RESIDUAL_KEEP; mode <= TN_RESIDUAL_REPLAY; mode++) {
            tn_tape_residuals(g.tape, (tn_residual_mode)mode);
            tn_graph_begin(&g);
            tn_tensor *xr = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, true);
            tn_tensor *y = tn_bitlinear(g.tape, tn_act_quant(g.tape, xr, 1), &frozen[i]);
            assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, y, dy)));
            memcpy(dx[i], xr->grad, sizeof dx[i]);
        }
    }
    assert_memory_equal(dx[0], dx[1], sizeof dx[0]);
    tn_graph_release(&g);
}

/* Two readers of the codes: the first product sets the gradient, the second adds to it. */
static void bitlinear__backward_on_integers_is_the_integer_products(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    const tn_real *x = tn_graph_normal(&g, N * K, 1), *dy = tn_graph_normal(&g, N * M, 2);
    tn_param *w[2] = {tn_graph_latent(&g, M, K, tn_graph_normal(&g, M * K, 3), 1),
                      tn_graph_latent(&g, M, K, tn_graph_normal(&g, M * K, 4), 1)};
    tn_tape_set_backward(g.tape, TN_BACKWARD_INT16);
    tn_tensor *xr = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, true), *codes = tn_act_quant(g.tape, xr, 1);
    tn_tensor *both = tn_add(g.tape, tn_bitlinear(g.tape, codes, w[0]), tn_bitlinear(g.tape, codes, w[1]));
    assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, both, dy)));
    tn_real dx[N * K], dw[M * K];
    void *scratch = tn_arena_array(g.arena, tn_ternary_dx_scratch(N, M) + tn_ternary_dw_scratch(N, M, K), 1, "test");
    for (int i = 1; i >= 0; i--) /* backward goes from the last op to the first */
        tn_ternary_dx(N, M, K, dy, w[i]->packed_turned, w[i]->scale, i ? TN_SUM_SET : TN_SUM_ADD, dx, scratch);
    assert_memory_equal(xr->grad, dx, sizeof dx);
    tn_ternary_dw(N, M, K, dy, codes->codes, codes->row_scale, TN_SUM_SET, dw, scratch);
    for (int i = 0; i < 2; i++) assert_memory_equal(w[i]->tensor.grad, dw, sizeof dw);
    tn_graph_release(&g);
}

/* Numbers of dY are below 4: each of at most 7 terms is off by 4 / 65024. */
static void bitlinear__backward_on_integers_is_near_the_float_one(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    const tn_real *x = tn_graph_normal(&g, N * K, 1), *dy = tn_graph_normal(&g, N * M, 2);
    tn_real dx[2][N * K], dw[2][M * K];
    for (int i = 0; i < 2; i++) {
        tn_param *w = tn_graph_latent(&g, M, K, tn_graph_normal(&g, M * K, 3), 1);
        tn_tape_set_backward(g.tape, i ? TN_BACKWARD_INT16 : TN_BACKWARD_F32);
        tn_graph_begin(&g);
        tn_tensor *xr = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, true);
        tn_tensor *y = tn_bitlinear(g.tape, tn_act_quant(g.tape, xr, 1), w);
        assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, y, dy)));
        memcpy(dx[i], xr->grad, sizeof dx[i]);
        memcpy(dw[i], w->tensor.grad, sizeof dw[i]);
    }
    assert_memory_not_equal(dx[0], dx[1], sizeof dx[0]);
    for (int i = 0; i < N * K; i++) assert_true(fabs((double)dx[0][i] - (double)dx[1][i]) < 4e-4);
    for (int i = 0; i < M * K; i++) assert_true(fabs((double)dw[0][i] - (double)dw[1][i]) < 4e-4);
    tn_graph_release(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bitlinear__worked_example_holds),
        cmocka_unit_test(quantisers__round_ties_to_even),
        cmocka_unit_test(quantisers__survive_zeros_and_tiny_rows),
        cmocka_unit_test(quantisers__gaussian_zero_share_is_310_per_mille),
        cmocka_unit_test(bitlinear__lambda_zero_is_the_float_layer),
        cmocka_unit_test(bitlinear__lambda_mixes_linearly),
        cmocka_unit_test(bitlinear__operands_must_belong_together),
        cmocka_unit_test(act_quant__readers_share_codes_and_add_gradients),
        cmocka_unit_test(bitlinear__frozen_states_need_no_latent),
        cmocka_unit_test(bitlinear__a_replay_goes_through_packed_states),
        cmocka_unit_test(bitlinear__backward_on_integers_is_the_integer_products),
        cmocka_unit_test(bitlinear__backward_on_integers_is_near_the_float_one),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("bitlinear", tests, NULL, NULL);
}
