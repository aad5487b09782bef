/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/head_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { N = TN_HEAD_N, C = TN_HEAD_C, V = TN_HEAD_V };

static void head_loss__equals_the_loss_written_out(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    for (int k = 0; k < 4; k++) {
        c.options.z_loss = (tn_real)(k % 2 * 0.01);
        c.options.final = k / 2;
        tn_head_naive n = tn_head_rig_naive(&c);
        tn_tensor *loss = tn_head_rig_loss(&c);
        assert_ok(tn_tape_backward(c.g.tape, loss));
        assert_true(fabs(c.sum - n.nll) < 1e-6 * n.nll);
        assert_true(fabs((double)loss->real[0] - n.total) < 1e-6 * n.nll / 64);
        tn_head_assert_close(c.x_tensor->grad, n.dx, N * C);
        tn_head_assert_close(c.w->tensor.grad, n.dw, V * C);
    }
    tn_head_rig_release(&c);
}

static void head_loss__tokens_without_target_get_no_gradient(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    c.x[1 * C] = (tn_real)NAN; /* and are not even looked at */
    c.x[67 * C] = (tn_real)INFINITY;
    for (int final = 0; final < 2; final++) {
        c.options.final = final;
        assert_ok(tn_tape_backward(c.g.tape, tn_head_rig_loss(&c)));
        for (int i = 0; i < N; i++)
            for (int j = 0; j < C && c.targets[i] < 0; j++) assert_true(c.x_tensor->grad[i * C + j] == 0);
        for (int i = 0; i < V * C; i++) assert_true(isfinite(c.w->tensor.grad[i]));
        assert_true(isfinite(c.sum) && c.sum > 0);
    }
    tn_head_rig_release(&c);
}

static void head_loss__of_no_targets_is_zero(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    for (int i = 0; i < N; i++) c.targets[i] = -1;
    for (int final = 0; final < 2; final++) {
        c.options.final = final;
        tn_tensor *loss = tn_head_rig_loss(&c);
        assert_ok(tn_tape_backward(c.g.tape, loss));
        assert_true(loss->real[0] == 0 && c.sum == 0);
        for (int i = 0; i < N * C; i++) assert_true(c.x_tensor->grad[i] == 0);
        for (int i = 0; i < V * C; i++) assert_true(c.w->tensor.grad[i] == 0);
    }
    tn_head_rig_release(&c);
}

/* One divisor for the whole step: halves of a batch under it add up to the gradient of the batch. */
/* Two micro-batches under one divisor, every other token in each; the gradients of w add up. */
static tn_head_result two_passes(tn_head_rig *c, const int32_t *all) {
    tn_head_result r = {0};
    double sum = 0;
    tn_head_rig_forget(c);
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < N; i++) c->targets[i] = i % 2 == half ? all[i] : -1;
        tn_tensor *loss = tn_head_rig_more(c);
        assert_ok(tn_tape_backward(c->g.tape, loss));
        assert_false(c->w->grad_empty);
        sum += c->sum;
        r = tn_head_rig_keep(c, loss);
    }
    memcpy(c->targets, all, sizeof c->targets);
    c->sum = sum;
    return r;
}

static void head_loss__halves_under_one_divisor_make_the_whole(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    int32_t all[N];
    memcpy(all, c.targets, sizeof all);
    assert_ok(tn_tape_backward(c.g.tape, tn_head_rig_loss(&c)));
    double *whole = tn_arena_array(c.g.arena, V * C, sizeof *whole, "test");
    for (int i = 0; i < V * C; i++) whole[i] = (double)c.w->tensor.grad[i];
    double sum = c.sum;
    tn_head_result halves = two_passes(&c, all);
    assert_true(fabs(c.sum - sum) < 1e-9 * sum);
    tn_head_assert_close(halves.dw, whole, V * C);
    c.options.final = true;
    tn_head_result final = two_passes(&c, all);
    tn_head_assert_same(&halves, &final);
    tn_head_rig_release(&c);
}

static void head_loss__a_final_pass_gives_the_bits_of_forward_and_backward(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    for (int arithmetic = TN_BACKWARD_F32; arithmetic <= TN_BACKWARD_INT16; arithmetic++) {
        tn_tape_set_backward(c.g.tape, (tn_backward)arithmetic);
        tn_head_result first = tn_head_rig_run(&c, false, 1);
        for (int threads = 1; threads <= 3; threads++)
            for (int final = 0; final < 2; final++) {
                tn_head_result other = tn_head_rig_run(&c, final, threads);
                tn_head_assert_same(&first, &other);
            }
    }
    assert_ok(tn_par_set_threads(2));
    tn_head_rig_release(&c);
}

static void head_loss__a_final_pass_prepares_its_gradients(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    c.options.final = true;
    tn_tensor *loss = tn_head_rig_loss(&c);
    assert_false(c.w->grad_empty);
    tn_head_result before = {.dw = tn_arena_array(c.g.arena, V * C, sizeof *before.dw, "test")};
    memcpy(before.dw, c.w->tensor.grad, V * C * sizeof *before.dw);
    assert_ok(tn_tape_backward(c.g.tape, loss));
    assert_memory_equal(before.dw, c.w->tensor.grad, V * C * sizeof *before.dw);
    tn_head_rig_release(&c);
}

/* Neither a pass that is not recorded nor one that keeps residuals touches a gradient in forward. */
static void head_loss__only_a_pass_that_trains_makes_gradients(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    c.options.final = true;
    const int32_t *ids = c.targets;
    for (int kept = 0; kept < 2; kept++) {
        tn_head_rig_forget(&c);
        tn_tape_residuals(c.g.tape, kept ? TN_RESIDUAL_KEEP : TN_RESIDUAL_OFF);
        tn_tape_begin(c.g.tape, kept ? TN_TAPE_RECORD : TN_TAPE_FORWARD, NULL);
        tn_tensor *x = tn_tape_real(c.g.tape, 2, (const int[]){N, C}, c.x, true);
        tn_tensor *targets = tn_tape_ids(c.g.tape, 1, (const int[]){N}, ids);
        (void)tn_head_loss(c.g.tape, x, c.w, targets, (tn_loss_options){.divisor = 64, .final = true});
        assert_ok(tn_tape_status(c.g.tape));
        assert_true(c.w->grad_empty && isnan(c.w->tensor.grad[0]));
    }
    tn_tape_residuals(c.g.tape, TN_RESIDUAL_OFF);
    tn_head_rig_release(&c);
}

/* One of the two gradients alone; that of an activation without one yet. */
static void head_loss__a_final_pass_gives_each_gradient_alone(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    tn_head_result both = tn_head_rig_run(&c, false, 2);
    tn_tensor *w = &c.w->tensor;
    tn_real *dw = w->grad;
    for (int wanted = 0; wanted < 2; wanted++) {
        tn_head_rig_forget(&c);
        w->needs_grad = wanted == 0;
        w->grad = wanted == 0 ? dw : NULL;
        tn_graph_begin(&c.g);
        tn_tensor *x = tn_tape_real(c.g.tape, 2, (const int[]){N, C}, c.x, wanted == 1);
        tn_tensor *targets = tn_tape_ids(c.g.tape, 1, (const int[]){N}, c.targets);
        tn_tensor *hidden = tn_reshape(c.g.tape, x, 3, (const int[]){2, N / 2, C});
        tn_tensor *loss = tn_head_loss(c.g.tape, hidden, c.w, targets,
                                       (tn_loss_options){.divisor = 64, .z_loss = (tn_real)0.01, .final = true});
        assert_ok(tn_tape_backward(c.g.tape, loss));
        if (wanted == 0)
            assert_memory_equal(w->grad, both.dw, V * C * sizeof *both.dw);
        else
            assert_memory_equal(x->grad, both.dx, N * C * sizeof *both.dx);
        assert_int_equal(c.w->grad_empty, wanted == 1);
        w->grad = dw;
    }
    tn_head_rig_release(&c);
}

/* bf16 keeps 8 bits: G, x and w are each off by 2^-9 of themselves at most. A code is off by 2^-12 of the largest of
 * its row, and so are then the logits. That something was rounded at all is asked for, too. */
static void head_loss__rounded_products_stay_near(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    for (int weighted = 0; weighted < 2; weighted++) {
        c.options.row_weight = weighted ? tn_head_rig_weights(&c) : NULL;
        tn_tape_set_backward(c.g.tape, TN_BACKWARD_F32);
        tn_head_result exact = tn_head_rig_run(&c, true, 2);
        tn_tape_set_backward(c.g.tape, TN_BACKWARD_BF16);
        tn_head_result rounded = tn_head_rig_run(&c, true, 2);
        tn_tape_set_backward(c.g.tape, TN_BACKWARD_INT16);
        tn_head_result coded = tn_head_rig_run(&c, true, 2);
        assert_memory_equal(&exact.loss, &rounded.loss, sizeof exact.loss);
        assert_true(fabs((double)(coded.loss - exact.loss)) < 1e-4 * c.sum / 64);
        const double found[] = {
            tn_head_difference(rounded.dx, exact.dx, N * C), tn_head_difference(rounded.dw, exact.dw, V * C),
            tn_head_difference(coded.dx, exact.dx, N * C), tn_head_difference(coded.dw, exact.dw, V * C)};
        for (int k = 0; k < 4; k++) {
            if (!(found[k] <= 0x1p-7)) fail_msg("%d: off by %g", k, found[k]);
#ifndef TN_F64
            assert_true(found[k] > 0);
#endif
        }
    }
    tn_head_rig_release(&c);
}

enum { LONG_N = 37, LONG_C = 1031, LONG_V = 301 };

/* Gradients of rows too long for one exact sum: dx, then dw. */
static tn_real *gradients_of_long_rows(tn_graph *g, tn_backward arithmetic, tn_real first, tn_real *loss) {
    const int all = (LONG_N + LONG_V) * LONG_C;
    tn_real *x = tn_graph_normal(g, LONG_N * LONG_C, 3), *kept = tn_arena_array(g->arena, all, sizeof *kept, "test");
    tn_param *w = tn_graph_param(g, LONG_V, LONG_C, tn_graph_normal(g, LONG_V * LONG_C, 4), true);
    int32_t ids[LONG_N];
    for (int i = 0; i < LONG_N; i++) ids[i] = i * 7 % LONG_V;
    for (int i = 0; i < LONG_N * LONG_C; i++) x[i] /= 32;
    x[5 * LONG_C] *= first;
    tn_tape_set_backward(g->tape, arithmetic);
    tn_graph_begin(g);
    tn_tensor *x_tensor = tn_tape_real(g->tape, 2, (const int[]){LONG_N, LONG_C}, x, true);
    tn_tensor *found = tn_head_loss(g->tape, x_tensor, w, tn_tape_ids(g->tape, 1, (const int[]){LONG_N}, ids),
                                    (tn_loss_options){.divisor = LONG_N, .final = true});
    assert_ok(tn_tape_backward(g->tape, found));
    *loss = found->real[0];
    memcpy(kept, x_tensor->grad, LONG_N * LONG_C * sizeof *kept);
    memcpy(kept + LONG_N * LONG_C, w->tensor.grad, LONG_V * LONG_C * sizeof *kept);
    return kept;
}

static void head_loss__codes_long_rows_in_stretches(void **state) {
    tn_graph g;
    tn_real losses[2];
    (void)state;
    tn_graph_init(&g);
    const tn_real *exact = gradients_of_long_rows(&g, TN_BACKWARD_F32, 1, &losses[0]),
                  *coded = gradients_of_long_rows(&g, TN_BACKWARD_INT16, 1, &losses[1]);
    assert_true(fabs((double)(losses[1] - losses[0])) < 1e-4 * (double)losses[0]);
    assert_true(tn_head_difference(coded, exact, LONG_N * LONG_C) < 0x1p-8);
    assert_true(tn_head_difference(coded + LONG_N * LONG_C, exact + LONG_N * LONG_C, LONG_V * LONG_C) < 0x1p-8);
    tn_graph_release(&g);
}

/* The row of a NaN or an infinity has no gradient but NaN, and the others of dx are as they were. */
static void head_loss__a_number_that_is_none_travels_on(void **state) {
    tn_graph g;
    tn_real loss;
    (void)state;
    tn_graph_init(&g);
    const tn_real bad[] = {(tn_real)NAN, (tn_real)INFINITY},
                  *good = gradients_of_long_rows(&g, TN_BACKWARD_INT16, 1, &loss);
    for (int k = 0; k < 2; k++) {
        const tn_real *found = gradients_of_long_rows(&g, TN_BACKWARD_INT16, bad[k], &loss);
        assert_true(isnan(loss));
        for (int i = 0; i < LONG_N * LONG_C; i++) assert_true(i / LONG_C == 5 ? isnan(found[i]) : found[i] == good[i]);
        for (int i = LONG_N * LONG_C; i < (LONG_N + LONG_V) * LONG_C; i++) assert_true(isnan(found[i]));
    }
    tn_graph_release(&g);
}

static void head_loss__survives_large_logits(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    for (int i = 0; i < N * C; i++) c.x[i] *= 1000;
    tn_tensor *loss = tn_head_rig_loss(&c);
    assert_ok(tn_tape_backward(c.g.tape, loss));
    assert_true(isfinite(loss->real[0]) && loss->real[0] > 100);
    for (int i = 0; i < N * C; i++) assert_true(isfinite(c.x_tensor->grad[i]));
    tn_head_rig_release(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_loss__equals_the_loss_written_out),
        cmocka_unit_test(head_loss__tokens_without_target_get_no_gradient),
        cmocka_unit_test(head_loss__of_no_targets_is_zero),
        cmocka_unit_test(head_loss__halves_under_one_divisor_make_the_whole),
        cmocka_unit_test(head_loss__a_final_pass_gives_the_bits_of_forward_and_backward),
        cmocka_unit_test(head_loss__a_final_pass_prepares_its_gradients),
        cmocka_unit_test(head_loss__only_a_pass_that_trains_makes_gradients),
        cmocka_unit_test(head_loss__a_final_pass_gives_each_gradient_alone),
        cmocka_unit_test(head_loss__rounded_products_stay_near),
        cmocka_unit_test(head_loss__codes_long_rows_in_stretches),
        cmocka_unit_test(head_loss__a_number_that_is_none_travels_on),
        cmocka_unit_test(head_loss__survives_large_logits),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("head_loss", tests, NULL, NULL);
}
