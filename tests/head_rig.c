/* SPDX-License-Identifier: MIT */
#include "tests/head_rig.h"
#include "core/par.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { N = TN_HEAD_N, C = TN_HEAD_C, V = TN_HEAD_V };

void tn_head_rig_init(tn_head_rig *rig) {
    memset(rig, 0, sizeof *rig);
    tn_graph_init(&rig->g);
    rig->x = tn_graph_normal(&rig->g, N * C, 0);
    rig->w = tn_graph_param(&rig->g, V, C, tn_graph_normal(&rig->g, V * C, 1), true);
    rig->options = (tn_loss_options){.divisor = 64, .z_loss = (tn_real)0.01, .sum = &rig->sum};
    tn_rng rng = tn_rng_make(2, TN_PURPOSE_TEST, 2);
    for (int i = 0; i < N; i++)
        rig->targets[i] = i % 3 == 1 || i < 64 ? -100 : (int32_t)tn_rng_below(&rng, (uint64_t)i, V);
}

void tn_head_rig_release(tn_head_rig *rig) { tn_graph_release(&rig->g); }

void tn_head_rig_teach(tn_head_rig *rig) {
    const int c = TN_HEAD_TEACHER_C;
    tn_real *head = tn_graph_normal(&rig->g, V * c, 2);
    rig->options.teacher = (tn_teacher){.head = tn_graph_param(&rig->g, V, c, head, false),
                                        .hidden = tn_graph_normal(&rig->g, N * c, 3),
                                        .temperature = 3,
                                        .weight = 2,
                                        .divergence = &rig->divergence};
}

void tn_head_rig_freeze(tn_head_rig *rig) {
    rig->w->tensor.needs_grad = false;
    rig->w->tensor.grad = NULL;
}

void tn_head_rig_forget(tn_head_rig *rig) {
    for (int i = 0; i < V * C && rig->w->tensor.grad; i++) rig->w->tensor.grad[i] = (tn_real)NAN;
    rig->w->grad_empty = true;
}

tn_tensor *tn_head_rig_more(tn_head_rig *rig) {
    tn_graph_begin(&rig->g);
    rig->x_tensor = tn_tape_real(rig->g.tape, 2, (const int[]){N, C}, rig->x, true);
    tn_tensor *targets = tn_tape_ids(rig->g.tape, 1, (const int[]){N}, rig->targets);
    return tn_head_loss(rig->g.tape, rig->x_tensor, rig->w, targets, rig->options);
}

tn_tensor *tn_head_rig_loss(tn_head_rig *rig) {
    tn_head_rig_forget(rig);
    return tn_head_rig_more(rig);
}

tn_real *tn_head_rig_weights(tn_head_rig *rig) {
    tn_real *weights = tn_arena_array(rig->g.arena, N, sizeof *weights, "test");
    for (int i = 0; i < N; i++) weights[i] = (tn_real)((i % 7 - 3) * (i % 5 + 1)) / 4;
    return weights;
}

tn_head_result tn_head_rig_keep(const tn_head_rig *rig, const tn_tensor *loss) {
    tn_head_result r = {.loss = loss->real[0],
                        .dx = tn_arena_array(rig->g.arena, N * C, sizeof *r.dx, "test"),
                        .dw = tn_arena_zalloc(rig->g.arena, V * C, sizeof *r.dw, "test")};
    memcpy(r.dx, rig->x_tensor->grad, N * C * sizeof *r.dx);
    if (rig->w->tensor.grad) memcpy(r.dw, rig->w->tensor.grad, V * C * sizeof *r.dw);
    return r;
}

tn_head_result tn_head_rig_run(tn_head_rig *rig, bool final, int threads) {
    assert_ok(tn_par_set_threads(threads));
    rig->options.final = final;
    tn_tensor *loss = tn_head_rig_loss(rig);
    assert_ok(tn_tape_backward(rig->g.tape, loss));
    return tn_head_rig_keep(rig, loss);
}

void tn_head_assert_same(const tn_head_result *a, const tn_head_result *b) {
    assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
    assert_memory_equal(a->dx, b->dx, N * C * sizeof *a->dx);
    assert_memory_equal(a->dw, b->dw, V * C * sizeof *a->dw);
}

/* z [V]: the logits of a row. */
static void make_logits(const tn_real *x, const tn_param *w, double *z) {
    for (int v = 0; v < V; v++) {
        z[v] = 0;
        for (int j = 0; j < w->cols; j++) z[v] += (double)x[j] * (double)w->tensor.real[v * w->cols + j];
    }
}

static double log_sum(const double *z, double temperature) {
    double max = -INFINITY, sum = 0;
    for (int v = 0; v < V; v++) max = fmax(max, z[v] / temperature);
    for (int v = 0; v < V; v++) sum += exp(z[v] / temperature - max);
    return max + log(sum);
}

/* Adds d/dz to g [V]; returns the divergence. */
static double learn_from_teacher(const tn_head_rig *rig, int i, const double *z, double *g) {
    const tn_teacher *t = &rig->options.teacher;
    const double tau = (double)t->temperature;
    double zt[V], divergence = 0;
    make_logits(t->hidden + i * t->head->cols, t->head, zt);
    const double lse = log_sum(z, tau), lse_t = log_sum(zt, tau);
    for (int v = 0; v < V; v++) {
        const double log_s = z[v] / tau - lse, log_t = zt[v] / tau - lse_t;
        divergence += exp(log_t) * (log_t - log_s);
        g[v] += (double)t->weight * tau * (exp(log_s) - exp(log_t));
    }
    return divergence;
}

static void add_row(const tn_head_rig *rig, int i, tn_head_naive *n) {
    const tn_loss_options *o = &rig->options;
    double z[V], g[V];
    make_logits(rig->x + i * C, rig->w, z);
    const double lse = log_sum(z, 1), c = (double)o->z_loss, tau = (double)o->teacher.temperature,
                 weight = (o->row_weight ? (double)o->row_weight[i] : 1) / o->divisor;
    for (int v = 0; v < V; v++) g[v] = exp(z[v] - lse) * (1 + 2 * c * lse) - (v == rig->targets[i]);
    const double divergence = o->teacher.head ? learn_from_teacher(rig, i, z, g) : 0;
    n->row_nll[i] = lse - z[rig->targets[i]];
    n->nll += n->row_nll[i];
    n->divergence += divergence;
    n->total += weight * (n->row_nll[i] + c * lse * lse + (double)o->teacher.weight * tau * tau * divergence);
    for (int v = 0; v < V; v++) {
        for (int j = 0; j < C; j++) {
            n->dx[i * C + j] += weight * g[v] * (double)rig->w->tensor.real[v * C + j];
            n->dw[v * C + j] += weight * g[v] * (double)rig->x[i * C + j];
        }
    }
}

tn_head_naive tn_head_rig_naive(tn_head_rig *rig) {
    tn_head_naive n = {.row_nll = tn_arena_zalloc(rig->g.arena, N, sizeof(double), "test"),
                       .dx = tn_arena_zalloc(rig->g.arena, N * C, sizeof(double), "test"),
                       .dw = tn_arena_zalloc(rig->g.arena, V * C, sizeof(double), "test")};
    for (int i = 0; i < N; i++)
        if (rig->targets[i] >= 0) add_row(rig, i, &n);
    return n;
}

void tn_head_assert_close(const tn_real *found, const double *expected, int count) {
    double largest = 0, worst = 0;
    for (int i = 0; i < count; i++) {
        largest = fmax(largest, fabs(expected[i]));
        worst = fmax(worst, fabs((double)found[i] - expected[i]));
    }
    if (!(worst <= 3e-6 * largest)) fail_msg("off by %g where the largest is %g", worst, largest);
}

double tn_head_difference(const tn_real *found, const tn_real *expected, int count) {
    double largest = 0, worst = 0;
    for (int i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)expected[i]));
        worst = fmax(worst, fabs((double)found[i] - (double)expected[i]));
    }
    return worst / largest;
}
