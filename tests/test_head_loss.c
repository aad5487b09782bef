/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/graph.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { N = 150, C = 12, V = 1500 }; /* several tiles each way, with tails */

typedef struct case_data {
    tn_graph g;
    tn_real *x;
    tn_param *w;
    int32_t targets[N];
    tn_tensor *x_tensor;
    double sum; /* of the negative log-likelihoods */
} case_data;

static void init(case_data *c) {
    tn_graph_init(&c->g);
    c->x = tn_graph_normal(&c->g, N * C, 0);
    c->w = tn_graph_param(&c->g, V, C, tn_graph_normal(&c->g, V * C, 1), true);
    tn_rng rng = tn_rng_make(2, TN_PURPOSE_TEST, 2);
    /* a third of the tokens has no target, among them a whole block of the first tile */
    for (int i = 0; i < N; i++)
        c->targets[i] = i % 3 == 1 || i < 64 ? -100 : (int32_t)tn_rng_below(&rng, (uint64_t)i, V);
}

static tn_tensor *loss_of(case_data *c, double divisor, double z_loss) {
    tn_loss_options options = {.divisor = divisor, .z_loss = (tn_real)z_loss, .sum = &c->sum};
    tn_graph_begin(&c->g);
    c->x_tensor = tn_tape_real(c->g.tape, 2, (const int[]){N, C}, c->x, true);
    tn_tensor *targets = tn_tape_ids(c->g.tape, 1, (const int[]){N}, c->targets);
    tn_tensor *loss = tn_head_loss(c->g.tape, c->x_tensor, c->w, targets, options);
    memset(c->w->tensor.grad, 0, V * C * sizeof(tn_real));
    return loss;
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
    for (int k = 0; k < 2; k++) {
        naive n = naive_loss(&c, 64, z_losses[k]);
        tn_tensor *loss = loss_of(&c, 64, z_losses[k]);
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
    c.x[67 * C] = (tn_real)1e30;
    assert_ok(tn_tape_backward(c.g.tape, loss_of(&c, 64, 0.01)));
    for (int i = 0; i < N; i++)
        for (int j = 0; j < C && c.targets[i] < 0; j++) assert_true(c.x_tensor->grad[i * C + j] == 0);
    assert_true(isfinite(c.sum) && c.sum > 0);
    tn_graph_release(&c.g);
}

static void head_loss__of_no_targets_is_zero(void **state) {
    case_data c;
    (void)state;
    init(&c);
    for (int i = 0; i < N; i++) c.targets[i] = -1;
    tn_tensor *loss = loss_of(&c, 1, 0.01);
    assert_ok(tn_tape_backward(c.g.tape, loss));
    assert_true(loss->real[0] == 0 && c.sum == 0);
    for (int i = 0; i < N * C; i++) assert_true(c.x_tensor->grad[i] == 0);
    for (int i = 0; i < V * C; i++) assert_true(c.w->tensor.grad[i] == 0);
    tn_graph_release(&c.g);
}

/* One divisor for the whole step: halves of a batch under it add up to the gradient of the batch. */
static void head_loss__halves_under_one_divisor_make_the_whole(void **state) {
    case_data c;
    (void)state;
    init(&c);
    int32_t all[N];
    memcpy(all, c.targets, sizeof all);
    assert_ok(tn_tape_backward(c.g.tape, loss_of(&c, 57, 0)));
    double *whole = tn_arena_array(c.g.arena, V * C, sizeof *whole, "test");
    for (int i = 0; i < V * C; i++) whole[i] = (double)c.w->tensor.grad[i];
    double sum = c.sum, parts = 0;
    tn_real *first = tn_arena_zalloc(c.g.arena, V * C, sizeof *first, "test");
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < N; i++) c.targets[i] = i % 2 == half ? all[i] : -1;
        assert_ok(tn_tape_backward(c.g.tape, loss_of(&c, 57, 0)));
        tn_k->accumulate(V * C, c.w->tensor.grad, first);
        parts += c.sum;
    }
    assert_true(fabs(parts - sum) < 1e-9 * sum);
    assert_close(first, whole, V * C);
    tn_graph_release(&c.g);
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
        cmocka_unit_test(head_loss__survives_large_logits),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("head_loss", tests, NULL, NULL);
}
