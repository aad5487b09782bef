/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/graph.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

static const int two_by_three[] = {2, 3};
static const tn_real six[] = {1, -2, 3, -4, 5, -6};

static void tape__second_backward_is_refused(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_param *w = tn_graph_param(&g, 1, 6, six, true);
    tn_tensor *x = tn_tape_real(g.tape, 2, (const int[]){1, 6}, six, false);
    tn_tensor *loss = tn_linear(g.tape, x, w);
    assert_ok(tn_tape_backward(g.tape, loss));
    assert_memory_equal(w->tensor.grad, six, sizeof six);
    assert_int_equal(tn_tape_backward(g.tape, loss), TN_E_ARG);
    assert_memory_equal(w->tensor.grad, six, sizeof six);
    tn_graph_release(&g);
}

static void tape__gradients_add_up_over_passes(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_param *w = tn_graph_param(&g, 1, 6, six, true);
    for (int pass = 1; pass <= 3; pass++) {
        tn_graph_begin(&g);
        tn_tensor *x = tn_tape_real(g.tape, 2, (const int[]){1, 6}, six, false);
        assert_ok(tn_tape_backward(g.tape, tn_linear(g.tape, x, w)));
        for (int i = 0; i < 6; i++) assert_true(w->tensor.grad[i] == (tn_real)pass * six[i]);
    }
    tn_graph_release(&g);
}

static void tape__first_failure_sticks(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_tensor *x = tn_tape_real(g.tape, 2, two_by_three, six, true);
    tn_tensor *y = tn_tape_real(g.tape, 2, (const int[]){3, 2}, six, true);
    tn_tensor *bad = tn_add(g.tape, x, y);
    assert_int_equal(bad->n_dims, 0);
    assert_int_equal(tn_tape_status(g.tape), TN_E_SHAPE);
    tn_tensor *later = tn_scale(g.tape, tn_mul(g.tape, bad, x), (tn_real)INFINITY); /* would be TN_E_RANGE */
    assert_int_equal(later->n_dims, 0);
    assert_int_equal(tn_tape_status(g.tape), TN_E_SHAPE);
    assert_int_equal(tn_tape_backward(g.tape, later), TN_E_SHAPE);
    tn_graph_begin(&g);
    assert_ok(tn_tape_status(g.tape));
    tn_graph_release(&g);
}

static void tape__reshape_shares_numbers_and_gradient(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_tensor *x = tn_tape_real(g.tape, 2, two_by_three, six, true);
    tn_tensor *y = tn_reshape(g.tape, x, 1, (const int[]){6});
    assert_true(y->real == x->real);
    const tn_real weights[] = {1, 2, 3, 4, 5, 6};
    /* x counts once directly and once through its other shape. */
    tn_tensor *twice = tn_add(g.tape, y, tn_reshape(g.tape, tn_scale(g.tape, x, 2), 1, (const int[]){6}));
    assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, twice, weights)));
    for (int i = 0; i < 6; i++) assert_true(x->grad[i] == 3 * weights[i]);
    assert_int_equal(tn_reshape(g.tape, x, 1, (const int[]){5})->n_dims, 0);
    assert_int_equal(tn_tape_status(g.tape), TN_E_SHAPE);
    tn_graph_release(&g);
}

static void tape__without_anything_trained_there_is_no_gradient(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_tensor *x = tn_tape_real(g.tape, 2, two_by_three, six, false);
    assert_int_equal(tn_tape_backward(g.tape, tn_graph_dot(&g, x, six)), TN_E_NOGRAD);
    tn_tape_begin(g.tape, TN_TAPE_FORWARD, NULL);
    x = tn_tape_real(g.tape, 2, two_by_three, six, true);
    assert_int_equal(tn_tape_backward(g.tape, tn_graph_dot(&g, x, six)), TN_E_NOGRAD);
    tn_graph_release(&g);
}

static void tape__frozen_parameter_lets_the_gradient_through(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_param *frozen = tn_graph_param(&g, 2, 3, six, false);
    const tn_real ones[] = {1, 1};
    tn_tensor *x = tn_tape_real(g.tape, 2, (const int[]){1, 3}, six, true);
    assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, tn_linear(g.tape, x, frozen), ones)));
    assert_null(frozen->tensor.grad);
    for (int i = 0; i < 3; i++) assert_true(x->grad[i] == six[i] + six[3 + i]);
    tn_graph_release(&g);
}

/* ---- dropout: the only op that draws ---- */

enum { MANY = 40000 };

static tn_tensor *drop(tn_graph *g, uint64_t seed, uint32_t site, tn_tensor **x) {
    tn_rng rng = tn_rng_make(seed, TN_PURPOSE_DROPOUT, 0);
    tn_tape_begin(g->tape, TN_TAPE_RECORD, &rng);
    *x = tn_tape_real(g->tape, 1, (const int[]){MANY}, tn_graph_normal(g, MANY, 0), true);
    return tn_dropout(g->tape, *x, (tn_real)0.25, site);
}

static void dropout__backward_draws_the_same_mask(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_tensor *x, *y = drop(&g, 1, 3, &x);
    const tn_real *weights = tn_graph_normal(&g, MANY, 1);
    assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, y, weights)));
    int kept = 0;
    for (int i = 0; i < MANY; i++) {
        bool keep = y->real[i] != 0;
        kept += keep;
        assert_true(x->grad[i] == (keep ? weights[i] * (tn_real)(1 / 0.75) : 0));
        if (keep) assert_true(y->real[i] == x->real[i] * (tn_real)(1 / 0.75));
    }
    /* Five standard deviations of a binomial: a fair mask fails once in 1.7 million, and this one is fixed. */
    assert_true(fabs(kept - MANY * 0.75) < 5 * sqrt(MANY * 0.75 * 0.25));
    tn_graph_release(&g);
}

static bool same_mask(const tn_real *a, const tn_real *b) {
    int differences = 0;
    for (int i = 0; i < MANY; i++) differences += (a[i] != 0) != (b[i] != 0);
    return differences == 0;
}

static void dropout__mask_follows_seed_and_site(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_real *masks[4];
    const uint64_t seeds[] = {1, 1, 2, 1};
    const uint32_t sites[] = {3, 3, 3, 4};
    for (int i = 0; i < 4; i++) {
        tn_tensor *x, *y = drop(&g, seeds[i], sites[i], &x);
        masks[i] = tn_arena_array(g.arena, MANY, sizeof(tn_real), "test");
        memcpy(masks[i], y->real, MANY * sizeof(tn_real));
    }
    assert_true(same_mask(masks[0], masks[1]));
    assert_false(same_mask(masks[0], masks[2]));
    assert_false(same_mask(masks[0], masks[3]));
    tn_graph_release(&g);
}

static void dropout__is_the_identity_outside_training(void **state) {
    tn_graph g;
    tn_rng rng = tn_rng_make(1, TN_PURPOSE_DROPOUT, 0);
    (void)state;
    tn_graph_init(&g);
    tn_tape_begin(g.tape, TN_TAPE_FORWARD, &rng);
    tn_tensor *x = tn_tape_real(g.tape, 1, (const int[]){6}, six, false);
    assert_memory_equal(tn_dropout(g.tape, x, (tn_real)0.5, 0)->real, six, sizeof six);
    tn_graph_begin(&g);
    x = tn_tape_real(g.tape, 1, (const int[]){6}, six, false);
    assert_memory_equal(tn_dropout(g.tape, x, (tn_real)0.5, 0)->real, six, sizeof six);
    tn_graph_release(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tape__second_backward_is_refused),
        cmocka_unit_test(tape__gradients_add_up_over_passes),
        cmocka_unit_test(tape__first_failure_sticks),
        cmocka_unit_test(tape__reshape_shares_numbers_and_gradient),
        cmocka_unit_test(tape__without_anything_trained_there_is_no_gradient),
        cmocka_unit_test(tape__frozen_parameter_lets_the_gradient_through),
        cmocka_unit_test(dropout__backward_draws_the_same_mask),
        cmocka_unit_test(dropout__mask_follows_seed_and_site),
        cmocka_unit_test(dropout__is_the_identity_outside_training),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("tape", tests, NULL, NULL);
}
