/* SPDX-License-Identifier: MIT
 * Rows of a head that count by their weights. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/head_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { N = TN_HEAD_N, C = TN_HEAD_C, V = TN_HEAD_V };

static void head_weights__give_the_loss_written_out(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    c.options.row_weight = tn_head_rig_weights(&c);
    tn_head_naive n = tn_head_rig_naive(&c);
    for (int final = 0; final < 2; final++) {
        tn_head_result found = tn_head_rig_run(&c, final, 2);
        assert_true(fabs(c.sum - n.nll) < 1e-6 * n.nll);
        assert_true(fabs((double)found.loss - n.total) < 1e-5 * fabs(n.total));
        tn_head_assert_close(found.dx, n.dx, N * C);
        tn_head_assert_close(found.dw, n.dw, V * C);
    }
    tn_head_rig_release(&c);
}

static void head_weights__of_one_change_no_bit(void **state) {
    tn_head_rig c;
    tn_real ones[N];
    double row_nll[N];
    (void)state;
    tn_head_rig_init(&c);
    for (int i = 0; i < N; i++) ones[i] = 1;
    for (int arithmetic = TN_BACKWARD_F32; arithmetic <= TN_BACKWARD_INT16; arithmetic++)
        for (int final = 0; final < 2; final++) {
            tn_tape_set_backward(c.g.tape, (tn_backward)arithmetic);
            c.options.row_weight = NULL, c.options.row_nll = NULL;
            tn_head_result without = tn_head_rig_run(&c, final, 2);
            c.options.row_weight = ones, c.options.row_nll = row_nll;
            tn_head_result with = tn_head_rig_run(&c, final, 2);
            tn_head_assert_same(&without, &with);
        }
    tn_head_rig_release(&c);
}

/* The likelihoods of rows with a target, and nothing else. A code is off by 2^-12 of the largest of its row. */
static void assert_row_nll(const tn_head_rig *c, const tn_head_naive *n, bool coded) {
    const double tolerance = coded ? 1e-2 : 1e-5;
    double sum = 0;
    for (int i = 0; i < N; i++) {
        const double found = c->options.row_nll[i];
        assert_true(c->targets[i] < 0 ? found == -1 : fabs(found - n->row_nll[i]) < tolerance);
        if (c->targets[i] >= 0) sum += found;
    }
    assert_true(sum == c->sum);
}

/* For a loss whose rows weigh what their likelihoods say. */
static void check_late_weights(tn_head_rig *c, const tn_head_naive *n, const tn_real *weights) {
    tn_real late[N] = {0};
    double row_nll[N];
    c->options.row_weight = weights, c->options.row_nll = NULL;
    tn_head_result early = tn_head_rig_run(c, true, 2);
    for (int i = 0; i < N; i++) row_nll[i] = -1;
    c->options.row_weight = late, c->options.row_nll = row_nll, c->options.final = false;
    tn_tensor *loss = tn_head_rig_loss(c);
    assert_true(loss->real[0] == 0);
    assert_row_nll(c, n, tn_tape_backward_arithmetic(c->g.tape) == TN_BACKWARD_INT16);
    memcpy(late, weights, sizeof late);
    assert_ok(tn_tape_backward(c->g.tape, loss));
    tn_head_result found = tn_head_rig_keep(c, loss);
    found.loss = early.loss;
    tn_head_assert_same(&early, &found);
}

static void head_weights__may_come_between_forward_and_backward(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    const tn_real *weights = tn_head_rig_weights(&c);
    const tn_head_naive n = tn_head_rig_naive(&c);
    for (int frozen = 0; frozen < 2; frozen++) {
        for (int arithmetic = TN_BACKWARD_F32; arithmetic <= TN_BACKWARD_INT16; arithmetic++) {
            tn_tape_set_backward(c.g.tape, (tn_backward)arithmetic);
            check_late_weights(&c, &n, weights);
        }
        tn_head_rig_freeze(&c);
    }
    tn_head_rig_release(&c);
}

/* dx is all there is to make, and takes f32: adapters learn from nothing else. */
static void head_that_is_not_trained__counts_in_f32(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    c.options.row_weight = tn_head_rig_weights(&c);
    tn_tape_set_backward(c.g.tape, TN_BACKWARD_F32);
    const tn_head_result trained = tn_head_rig_run(&c, true, 2);
    tn_head_rig_freeze(&c);
    for (int arithmetic = TN_BACKWARD_F32; arithmetic <= TN_BACKWARD_INT16; arithmetic++) {
        if (arithmetic == TN_BACKWARD_BF16) continue;
        tn_tape_set_backward(c.g.tape, (tn_backward)arithmetic);
        const tn_head_result frozen = tn_head_rig_run(&c, true, 2);
        assert_memory_equal(&trained.loss, &frozen.loss, sizeof frozen.loss);
        assert_memory_equal(trained.dx, frozen.dx, sizeof *frozen.dx * N * C);
    }
    tn_head_rig_release(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_weights__give_the_loss_written_out),
        cmocka_unit_test(head_weights__of_one_change_no_bit),
        cmocka_unit_test(head_weights__may_come_between_forward_and_backward),
        cmocka_unit_test(head_that_is_not_trained__counts_in_f32),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("head_weights", tests, NULL, NULL);
}
