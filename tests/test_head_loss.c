/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/graph.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { N = 530, C = 12, V = 1500 }; /* more than one chunk of tokens and one block of ids, with tails */

typedef struct case_data {
    tn_graph g;
    tn_real *x;
    tn_param *w;
    int32_t targets[N];
    bool final;
    tn_tensor *x_tensor;
    double sum; /* of the negative log-likelihoods */
} case_data;

static void init(case_data *c) {
    memset(c, 0, sizeof *c);
    tn_graph_init(&c->g);
    c->x = tn_graph_normal(&c->g, N * C, 0);
    c->w = tn_graph_param(&c->g, V, C, tn_graph_normal(&c->g, V * C, 1), true);
    tn_rng rng = tn_rng_make(2, TN_PURPOSE_TEST, 2);
    /* a third of the tokens and all of the first have no target */
    for (int i = 0; i < N; i++)
        c->targets[i] = i % 3 == 1 || i < 64 ? -100 : (int32_t)tn_rng_below(&rng, (uint64_t)i, V);
}

/* What the gradient of w held before is forgotten. */
static void forget(case_data *c) {
    for (int i = 0; i < V * C; i++) c->w->tensor.grad[i] = (tn_real)NAN;
    c->w->grad_empty = true;
}

/* Adds to the gradient of w. */
static tn_tensor *more_loss_of(case_data *c, double divisor, double z_loss) {
    tn_loss_options options = {.divisor = divisor, .z_loss = (tn_real)z_loss, .sum = &c->sum, .final = c->final};
    tn_graph_begin(&c->g);
    c->x_tensor = tn_tape_real(c->g.tape, 2, (const int[]){N, C}, c->x, true);
    tn_tensor *targets = tn_tape_ids(c->g.tape, 1, (const int[]){N}, c->targets);
    return tn_head_loss(c->g.tape, c->x_tensor, c->w, targets, options);
}

static tn_tensor *loss_of(case_data *c, double divisor, double z_loss) {
    forget(c);
    return more_loss_of(c, divisor, z_loss);
}

/* The loss and its gradients written out in double, z [V] at a time. */
typedef struct naive {
    double nll, z_term, *dx, *dw;
} naive;

static void naive_row(const case_data *c, int i, double divisor, double z_loss, double *z, naive *n) {
    double max = -INFINITY, sum = 0;
    for (int v = 0; v < V; v++) {
        z[v] = 0;
        for (int j = 0; j < C; j++) z[v] += (double)c->x[i * C + j] * (double)c->w->tensor.real[v * C + j];
        max = fmax(max, z[v]);
    }
    for (int v = 0; v < V; v++) sum += exp(z[v] - max);
    double lse = max + log(sum);
    n->nll += lse - z[c->targets[i]];
    n->z_term += z_loss * lse * lse;
    for (int v = 0; v < V; v++) {
        double g = (exp(z[v] - lse) * (1 + 2 * z_loss * lse) - (v == c->targets[i])) / divisor;
        for (int j = 0; j < C; j++) {
            n->dx[i * C + j] += g * (double)c->w->tensor.real[v * C + j];
            n->dw[v * C + j] += g * (double)c->x[i * C + j];
        }
    }
}

static naive naive_loss(case_data *c, double divisor, double z_loss) {
    naive n = {.dx = tn_arena_zalloc(c->g.arena, N * C, sizeof(double), "test"),
               .dw = tn_arena_zalloc(c->g.arena, V * C, sizeof(double), "test")};
    double z[V];
    for (int i = 0; i < N; i++)
        if (c->targets[i] >= 0) naive_row(c, i, divisor, z_loss, z, &n);
    return n;
}

/* Relative to the largest: exp of a logit of size 10 in float carries 10 roundings. */
static void assert_close(const tn_real *found, const double *expected, int count) {
    double largest = 0, worst = 0;
    for (int i = 0; i < count; i++) {
        largest = fmax(largest, fabs(expected[i]));
        worst = fmax(worst, fabs((double)found[i] - expected[i]));
    }
    if (!(worst <= 3e-6 * largest)) fail_msg("off by %g where the largest is %g", worst, largest);
}

static void head_loss__equals_the_loss_written_out(void **state) {
    case_data c;
    (void)state;
    init(&c);
    const double z_losses[] = {0, 0.01};
    for (int k = 0; k < 4; k++) {
        naive n = naive_loss(&c, 64, z_losses[k % 2]);
        c.final = k / 2;
        tn_tensor *loss = loss_of(&c, 64, z_losses[k % 2]);
        assert_ok(tn_tape_backward(c.g.tape, loss));
        assert_true(fabs(c.sum - n.nll) < 1e-6 * n.nll);
        assert_true(fabs((double)loss->real[0] - (n.nll + n.z_term) / 64) < 1e-6 * n.nll / 64);
        assert_close(c.x_tensor->grad, n.dx, N * C);
        assert_close(c.w->tensor.grad, n.dw, V * C);
    }
    tn_graph_release(&c.g);
}

static void head_loss__tokens_without_target_get_no_gradient(void **state) {
    case_data c;
    (void)state;
    init(&c);
    c.x[1 * C] = (tn_real)NAN; /* and are not even looked at */
    c.x[67 * C] = (tn_real)INFINITY;
    for (int final = 0; final < 2; final++) {
        c.final = final;
        assert_ok(tn_tape_backward(c.g.tape, loss_of(&c, 64, 0.01)));
        for (int i = 0; i < N; i++)
            for (int j = 0; j < C && c.targets[i] < 0; j++) assert_true(c.x_tensor->grad[i * C + j] == 0);
        for (int i = 0; i < V * C; i++) assert_true(isfinite(c.w->tensor.grad[i]));
        assert_true(isfinite(c.sum) && c.sum > 0);
    }
    tn_graph_release(&c.g);
}

static void head_loss__of_no_targets_is_zero(void **state) {
    case_data c;
    (void)state;
    init(&c);
    for (int i = 0; i < N; i++) c.targets[i] = -1;
    for (int final = 0; final < 2; final++) {
        c.final = final;
        tn_tensor *loss = loss_of(&c, 1, 0.01);
        assert_ok(tn_tape_backward(c.g.tape, loss));
        assert_true(loss->real[0] == 0 && c.sum == 0);
        for (int i = 0; i < N * C; i++) assert_true(c.x_tensor->grad[i] == 0);
        for (int i = 0; i < V * C; i++) assert_true(c.w->tensor.grad[i] == 0);
    }
    tn_graph_release(&c.g);
}

/* One divisor for the whole step: halves of a batch under it add up to the gradient of the batch. */
/* What a pass gives: the loss and the gradients. */
typedef struct result {
    tn_real loss, *dx, *dw;
} result;

static result keep(const case_data *c, const tn_tensor *loss) {
    result r = {.loss = loss->real[0],
                .dx = tn_arena_array(c->g.arena, N * C, sizeof *r.dx, "test"),
                .dw = tn_arena_array(c->g.arena, V * C, sizeof *r.dw, "test")};
    memcpy(r.dx, c->x_tensor->grad, N * C * sizeof *r.dx);
    memcpy(r.dw, c->w->tensor.grad, V * C * sizeof *r.dw);
    return r;
}

static void assert_same(const result *a, const result *b) {
    assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
    assert_memory_equal(a->dx, b->dx, N * C * sizeof *a->dx);
    assert_memory_equal(a->dw, b->dw, V * C * sizeof *a->dw);
}

/* Two micro-batches under one divisor, every other token in each; the gradients of w add up. */
static result two_passes(case_data *c, const int32_t *all) {
    result r = {0};
    double sum = 0;
    forget(c);
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < N; i++) c->targets[i] = i % 2 == half ? all[i] : -1;
        tn_tensor *loss = more_loss_of(c, 57, 0);
        assert_ok(tn_tape_backward(c->g.tape, loss));
        assert_false(c->w->grad_empty);
        sum += c->sum;
        r = keep(c, loss);
    }
    memcpy(c->targets, all, sizeof c->targets);
    c->sum = sum;
    return r;
}

static void head_loss__halves_under_one_divisor_make_the_whole(void **state) {
    case_data c;
    (void)state;
    init(&c);
    int32_t all[N];
    memcpy(all, c.targets, sizeof all);
    assert_ok(tn_tape_backward(c.g.tape, loss_of(&c, 57, 0)));
    double *whole = tn_arena_array(c.g.arena, V * C, sizeof *whole, "test");
    for (int i = 0; i < V * C; i++) whole[i] = (double)c.w->tensor.grad[i];
    double sum = c.sum;
    result halves = two_passes(&c, all);
    assert_true(fabs(c.sum - sum) < 1e-9 * sum);
    assert_close(halves.dw, whole, V * C);
    c.final = true;
    result final = two_passes(&c, all);
    assert_same(&halves, &final);
    tn_graph_release(&c.g);
}

static result run(case_data *c, bool final, int threads) {
    assert_ok(tn_par_set_threads(threads));
    c->final = final;
    tn_tensor *loss = loss_of(c, 64, 0.01);
    assert_ok(tn_tape_backward(c->g.tape, loss));
    return keep(c, loss);
}

static void head_loss__a_final_pass_gives_the_bits_of_forward_and_backward(void **state) {
    case_data c;
    (void)state;
    init(&c);
    for (int arithmetic = TN_BACKWARD_F32; arithmetic <= TN_BACKWARD_INT16; arithmetic++) {
        tn_tape_set_backward(c.g.tape, (tn_backward)arithmetic);
        result first = run(&c, false, 1);
        for (int threads = 1; threads <= 3; threads++)
            for (int final = 0; final < 2; final++) {
                result other = run(&c, final, threads);
                assert_same(&first, &other);
            }
    }
    assert_ok(tn_par_set_threads(2));
    tn_graph_release(&c.g);
}

static void head_loss__a_final_pass_prepares_its_gradients(void **state) {
    case_data c;
    (void)state;
    init(&c);
    c.final = true;
    tn_tensor *loss = loss_of(&c, 64, 0);
    assert_false(c.w->grad_empty);
    result before = {.dw = tn_arena_array(c.g.arena, V * C, sizeof *before.dw, "test")};
    memcpy(before.dw, c.w->tensor.grad, V * C * sizeof *before.dw);
    assert_ok(tn_tape_backward(c.g.tape, loss));
    assert_memory_equal(before.dw, c.w->tensor.grad, V * C * sizeof *before.dw);
    tn_graph_release(&c.g);
}

/* Neither a pass that is not recorded nor one that keeps residuals touches a gradient in forward. */
static void head_loss__only_a_pass_that_trains_makes_gradients(void **state) {
    case_data c;
    (void)state;
    init(&c);
    c.final = true;
    const int32_t *ids = c.targets;
    for (int kept = 0; kept < 2; kept++) {
        forget(&c);
        tn_tape_residuals(c.g.tape, kept ? TN_RESIDUAL_KEEP : TN_RESIDUAL_OFF);
        tn_tape_begin(c.g.tape, kept ? TN_TAPE_RECORD : TN_TAPE_FORWARD, NULL);
        tn_tensor *x = tn_tape_real(c.g.tape, 2, (const int[]){N, C}, c.x, true);
        tn_tensor *targets = tn_tape_ids(c.g.tape, 1, (const int[]){N}, ids);
        (void)tn_head_loss(c.g.tape, x, c.w, targets, (tn_loss_options){.divisor = 64, .final = true});
        assert_ok(tn_tape_status(c.g.tape));
        assert_true(c.w->grad_empty && isnan(c.w->tensor.grad[0]));
    }
    tn_tape_residuals(c.g.tape, TN_RESIDUAL_OFF);
    tn_graph_release(&c.g);
}

/* One of the two gradients alone; that of an activation without one yet. */
static void head_loss__a_final_pass_gives_each_gradient_alone(void **state) {
    case_data c;
    (void)state;
    init(&c);
    result both = run(&c, false, 2);
    tn_tensor *w = &c.w->tensor;
    tn_real *dw = w->grad;
    for (int wanted = 0; wanted < 2; wanted++) {
        forget(&c);
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
    tn_graph_release(&c.g);
}

/* The largest difference, relative to the largest expected. */
static double difference(const tn_real *found, const tn_real *expected, int count) {
    double largest = 0, worst = 0;
    for (int i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)expected[i]));
        worst = fmax(worst, fabs((double)found[i] - (double)expected[i]));
    }
    return worst / largest;
}

/* bf16 keeps 8 bits: G, x and w are each off by 2^-9 of themselves at most. A code is off by 2^-12 of the largest of
 * its row, and so are then the logits. That something was rounded at all is asked for, too. */
static void head_loss__rounded_products_stay_near(void **state) {
    case_data c;
    (void)state;
    init(&c);
    result exact = run(&c, true, 2);
    tn_tape_set_backward(c.g.tape, TN_BACKWARD_BF16);
    result rounded = run(&c, true, 2);
    tn_tape_set_backward(c.g.tape, TN_BACKWARD_INT16);
    result coded = run(&c, true, 2);
    assert_memory_equal(&exact.loss, &rounded.loss, sizeof exact.loss);
    assert_true(fabs((double)(coded.loss - exact.loss)) < 1e-4 * (double)exact.loss);
    const double found[] = {difference(rounded.dx, exact.dx, N * C), difference(rounded.dw, exact.dw, V * C),
                            difference(coded.dx, exact.dx, N * C), difference(coded.dw, exact.dw, V * C)};
    for (int k = 0; k < 4; k++) {
        if (!(found[k] <= 0x1p-7)) fail_msg("%d: off by %g", k, found[k]);
#ifndef TN_F64
        assert_true(found[k] > 0);
#endif
    }
    tn_graph_release(&c.g);
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
    assert_true(difference(coded, exact, LONG_N * LONG_C) < 0x1p-8);
    assert_true(difference(coded + LONG_N * LONG_C, exact + LONG_N * LONG_C, LONG_V * LONG_C) < 0x1p-8);
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
    case_data c;
    (void)state;
    init(&c);
    for (int i = 0; i < N * C; i++) c.x[i] *= 1000;
    tn_tensor *loss = loss_of(&c, 64, 0);
    assert_ok(tn_tape_backward(c.g.tape, loss));
    assert_true(isfinite(loss->real[0]) && loss->real[0] > 100);
    for (int i = 0; i < N * C; i++) assert_true(isfinite(c.x_tensor->grad[i]));
    tn_graph_release(&c.g);
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
