/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "core/rng.h"
#include "kernels/gemm.h"
#include "kernels/kernels_priv.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "tests/testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* One of each group: a gain, a table, hidden matrices that are tall, wide, and larger than one block. */
enum { N_PARAMS = 5, STEPS = 6 };
static const struct {
    const char *name;
    int rows, cols;
    bool decays;
} shapes[N_PARAMS] = {{"gain", 1, 37, false},
                      {"table", 50, 16, false},
                      {"tall", 40, 24, true},
                      {"wide", 24, 40, true},
                      {"large", 150, 130, true}};

typedef struct bench {
    tn_arena *arena;
    tn_param params[N_PARAMS];
    tn_param *list[N_PARAMS];
    tn_param_blocks blocks;
    tn_optimizer *optimizer;
} bench;

static bool is_coded(int p) { return shapes[p].rows * shapes[p].cols >= TN_OPTIMIZER_CODED; }

/* The tolerance of six steps of 0.02; weights are below 5. Measured at most 7e-7, 1e-6 for muon, whose matrix products
 * add their roundings (6e-4 when their operands are rounded to bf16), and 9.4e-3 for moments that are rounded to an
 * eighth. */
static double tolerance(tn_optimizer_kind kind, int p) {
    if (kind == TN_OPTIMIZER_adamw8bit && is_coded(p)) return 3e-2;
    if (kind == TN_OPTIMIZER_muon && shapes[p].decays && tn_bf16_pays()) return 2e-3;
    return kind == TN_OPTIMIZER_muon ? 5e-6 : 2e-6;
}

static double random_value(uint32_t stream, int64_t i) {
    tn_rng rng = tn_rng_make(7, TN_PURPOSE_TEST, stream);
    return (double)(float)tn_rng_normal(&rng, (uint64_t)i);
}

static const tn_optimizer_settings settings = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .momentum = 0.95};
static const tn_optimizer_rates rates = {
    .learning_rate = 0.02, .table_learning_rate = 0.005, .weight_decay = 0.1, .grad_scale = 0.5};

static void bench_init(bench *b, tn_optimizer_kind kind) {
    *b = (bench){.arena = tn_arena_create("test")};
    for (int p = 0; p < N_PARAMS; p++) {
        tn_param *param = b->list[p] = &b->params[p];
        *param = (tn_param){.rows = shapes[p].rows, .cols = shapes[p].cols, .decays = shapes[p].decays};
        if (param->decays) param->quantizer = TN_QUANT_ABSMEAN_TERNARY;
        snprintf(param->name, sizeof param->name, "%s", shapes[p].name);
        assert_ok(tn_param_init(param, b->arena, TN_PARAM_TRAINED));
        for (int64_t i = 0; i < tn_param_count(param); i++)
            param->tensor.real[i] = (tn_real)random_value((uint32_t)p, i);
    }
    tn_optimizer_settings s = settings;
    s.kind = kind;
    assert_ok(tn_param_blocks_init(&b->blocks, b->arena, b->list, N_PARAMS));
    assert_ok(tn_optimizer_create(&b->optimizer, b->arena, &b->blocks, &s));
}

static void bench_release(bench *b) { tn_arena_free(b->arena); }

static double gradient(int p, int step, int64_t i) { return random_value((uint32_t)(100 + 10 * p + step), i); }

static void fill_gradients(bench *b, int step) {
    for (int p = 0; p < N_PARAMS; p++)
        for (int64_t i = 0; i < tn_param_count(b->list[p]); i++)
            tn_param_grad(b->list[p])[i] = (tn_real)gradient(p, step, i);
}

static void bench_run(bench *b) {
    for (int step = 0; step < STEPS; step++) {
        fill_gradients(b, step);
        tn_optimizer_step(b->optimizer, &rates);
    }
}

/* ---- the same rules, straight from their formulas, in double ---- */

enum { LARGEST = 150 * 130 };
typedef struct reference {
    double w[LARGEST], m[LARGEST], v[LARGEST];
} reference;

static void adamw_reference(reference *r, int64_t i, double g, double lr, double decay, int t) {
    r->m[i] = 0.9 * r->m[i] + 0.1 * g;
    r->v[i] = 0.95 * r->v[i] + 0.05 * g * g;
    double m = r->m[i] / (1 - pow(0.9, t)), v = r->v[i] / (1 - pow(0.95, t));
    r->w[i] -= lr * (m / (sqrt(v) + 1e-8) + decay * r->w[i]);
}

static void sgd_reference(reference *r, int64_t i, double g, double lr, double decay, int t) {
    (void)t;
    r->m[i] = 0.95 * r->m[i] + g + decay * r->w[i];
    r->w[i] -= lr * r->m[i];
}

static void lion_reference(reference *r, int64_t i, double g, double lr, double decay, int t) {
    (void)t;
    double u = 0.9 * r->m[i] + 0.1 * g;
    r->w[i] -= lr * ((u > 0) - (u < 0) + decay * r->w[i]);
    r->m[i] = 0.95 * r->m[i] + 0.05 * g;
}

/* C [m,n] = A [m,k] B [k,n] */
static void multiply(double *c, const double *a, const double *b, int m, int k, int n) {
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int l = 0; l < k; l++) sum += a[i * k + l] * b[l * n + j];
            c[i * n + j] = sum;
        }
}

/* X = 3.4445 X + (-4.775 A + 2.0315 A A) X, A = X X'; X [m,k], m <= k */
static void newton_schulz(double *x, int m, int k) {
    static double xt[LARGEST], a[LARGEST], aa[LARGEST], bx[LARGEST];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < k; j++) xt[j * m + i] = x[i * k + j];
    multiply(a, x, xt, m, k, m);
    multiply(aa, a, a, m, m, m);
    for (int i = 0; i < m * m; i++) aa[i] = -4.775 * a[i] + 2.0315 * aa[i];
    multiply(bx, aa, x, m, m, k);
    for (int i = 0; i < m * k; i++) x[i] = 3.4445 * x[i] + bx[i];
}

static void transpose(double *out, const double *in, int m, int k) {
    for (int i = 0; i < m; i++)
        for (int j = 0; j < k; j++) out[j * m + i] = in[i * k + j];
}

static void muon_reference(reference *r, int m, int k, const double *g, double lr, double decay) {
    static double u[LARGEST], t[LARGEST];
    double norm = 0;
    for (int i = 0; i < m; i++) {
        double squares = 0;
        for (int j = i * k; j < (i + 1) * k; j++) {
            r->m[j] = 0.95 * r->m[j] + g[j];
            u[j] = g[j] + 0.95 * r->m[j];
            squares += u[j] * u[j];
        }
        for (int j = i * k; j < (i + 1) * k; j++) u[j] /= sqrt(squares / k);
    }
    for (int j = 0; j < m * k; j++) norm += u[j] * u[j];
    for (int j = 0; j < m * k; j++) u[j] /= sqrt(norm);
    if (m > k) transpose(t, u, m, k);
    double *x = m > k ? t : u;
    for (int i = 0; i < 3; i++) newton_schulz(x, TN_MIN(m, k), TN_MAX(m, k));
    if (m > k) transpose(u, t, k, m);
    double step = lr * sqrt(TN_MAX(1.0, (double)m / k));
    for (int j = 0; j < m * k; j++) r->w[j] -= step * u[j] + lr * decay * r->w[j];
}

static bool is_hidden(int p) { return shapes[p].decays; }
static bool is_table(int p) { return shapes[p].rows > 1 && !shapes[p].decays; }

static void reference_step(reference *r, tn_optimizer_kind kind, int p, int step) {
    static double g[LARGEST];
    int64_t count = (int64_t)shapes[p].rows * shapes[p].cols;
    bool rest_of_muon = kind == TN_OPTIMIZER_muon && !is_hidden(p);
    double lr = is_table(p) || rest_of_muon ? rates.table_learning_rate : rates.learning_rate;
    double decay = is_hidden(p) ? rates.weight_decay : 0;
    for (int64_t i = 0; i < count; i++) g[i] = rates.grad_scale * gradient(p, step, i);
    if (kind == TN_OPTIMIZER_muon && is_hidden(p)) {
        muon_reference(r, shapes[p].rows, shapes[p].cols, g, lr, decay);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        if (kind == TN_OPTIMIZER_sgd)
            sgd_reference(r, i, g[i], lr, decay, step + 1);
        else if (kind == TN_OPTIMIZER_lion)
            lion_reference(r, i, g[i], lr, decay, step + 1);
        else
            adamw_reference(r, i, g[i], lr, decay, step + 1);
    }
}

static double largest_difference(const bench *b, tn_optimizer_kind kind, int p) {
    static reference r;
    double worst = 0;
    int64_t count = tn_param_count(&b->params[p]);
    memset(&r, 0, sizeof r);
    for (int64_t i = 0; i < count; i++) r.w[i] = random_value((uint32_t)p, i);
    for (int step = 0; step < STEPS; step++) reference_step(&r, kind, p, step);
    for (int64_t i = 0; i < count; i++) worst = fmax(worst, fabs((double)b->params[p].tensor.real[i] - r.w[i]));
    return worst;
}

static void every_rule__follows_its_formula(void **state) {
    (void)state;
    for (int kind = 0; kind < TN_OPTIMIZER_COUNT; kind++) {
        bench b;
        bench_init(&b, (tn_optimizer_kind)kind);
        bench_run(&b);
        for (int p = 0; p < N_PARAMS; p++) {
            double worst = largest_difference(&b, (tn_optimizer_kind)kind, p),
                   limit = tolerance((tn_optimizer_kind)kind, p);
            print_message("%-9s %-6s [%d,%d] off by %.1e of %.0e\n", tn_optimizer_name((tn_optimizer_kind)kind),
                          shapes[p].name, shapes[p].rows, shapes[p].cols, worst, limit);
            assert_true(worst <= limit);
        }
        bench_release(&b);
    }
}

static void muon__is_right_in_bf16_too(void **state) {
    (void)state;
    const bool pays = tn_bf16_pays();
    bench b;
    tn_kernels_table.bf16_pays = true;
    bench_init(&b, TN_OPTIMIZER_muon);
    bench_run(&b);
    for (int p = 0; p < N_PARAMS; p++) {
        double worst = largest_difference(&b, TN_OPTIMIZER_muon, p);
        print_message("bf16 %-6s off by %.1e of %.0e\n", shapes[p].name, worst, tolerance(TN_OPTIMIZER_muon, p));
        assert_true(worst <= tolerance(TN_OPTIMIZER_muon, p));
    }
    bench_release(&b);
    tn_kernels_table.bf16_pays = pays;
}

static void every_rule__gives_the_same_bits_for_any_threads(void **state) {
    (void)state;
    for (int kind = 0; kind < TN_OPTIMIZER_COUNT; kind++) {
        bench one, four;
        assert_ok(tn_par_set_threads(1));
        bench_init(&one, (tn_optimizer_kind)kind);
        bench_run(&one);
        assert_ok(tn_par_set_threads(4));
        bench_init(&four, (tn_optimizer_kind)kind);
        bench_run(&four);
        for (int p = 0; p < N_PARAMS; p++)
            assert_memory_equal(one.params[p].tensor.real, four.params[p].tensor.real,
                                (size_t)tn_param_count(one.list[p]) * sizeof(tn_real));
        for (int i = 0; i < tn_optimizer_slot_count(one.optimizer); i++) {
            tn_slot a = tn_optimizer_slot(one.optimizer, i), c = tn_optimizer_slot(four.optimizer, i);
            assert_memory_equal(a.values, c.values, tn_slot_bytes(&a));
        }
        bench_release(&one);
        bench_release(&four);
    }
}

static void assert_slot(const tn_slot *s, const tn_param *param, const char *name, tn_slot_type type, int64_t count) {
    assert_string_equal(s->name, name);
    assert_ptr_equal(s->param, param);
    assert_int_equal(s->type, type);
    assert_int_equal(s->count, count);
    assert_int_equal(tn_slot_bytes(s), (size_t)count * (type == TN_SLOT_CODE ? 1 : sizeof(tn_real)));
}

static void every_rule__keeps_the_slots_of_its_row(void **state) {
    (void)state;
    static const char *const names[TN_OPTIMIZER_COUNT][TN_OPTIMIZER_SLOTS] = {
#define OPTIM(name, slot0, slot1, type) {slot0, slot1},
#include "optim/optims.def"
#undef OPTIM
    };
    static const tn_slot_type types[TN_OPTIMIZER_COUNT] = {
#define OPTIM(name, slot0, slot1, type) TN_SLOT_##type,
#include "optim/optims.def"
#undef OPTIM
    };
    for (int kind = 0; kind < TN_OPTIMIZER_COUNT; kind++) {
        bench b;
        bench_init(&b, (tn_optimizer_kind)kind);
        int slot = 0;
        for (int p = 0; p < N_PARAMS; p++) {
            bool adamw =
                (kind == TN_OPTIMIZER_muon && !is_hidden(p)) || (kind == TN_OPTIMIZER_adamw8bit && !is_coded(p));
            int rule = adamw ? TN_OPTIMIZER_adamw : kind;
            int64_t count = tn_param_count(b.list[p]);
            for (int i = 0; i < TN_OPTIMIZER_SLOTS && names[rule][i]; i++) {
                bool coded = types[rule] == TN_SLOT_CODE;
                tn_slot s = tn_optimizer_slot(b.optimizer, slot++);
                assert_slot(&s, b.list[p], names[rule][i], types[rule], count);
                if (!coded) continue;
                char name[32];
                snprintf(name, sizeof name, "%s_scale", names[rule][i]);
                s = tn_optimizer_slot(b.optimizer, slot++);
                assert_slot(&s, b.list[p], name, TN_SLOT_REAL, (count + TN_CODE_BLOCK - 1) / TN_CODE_BLOCK);
            }
        }
        assert_int_equal(tn_optimizer_slot_count(b.optimizer), slot);
        bench_release(&b);
    }
}

static void every_rule__goes_on_from_copied_slots(void **state) {
    (void)state;
    for (int kind = 0; kind < TN_OPTIMIZER_COUNT; kind++) {
        bench straight, copied;
        bench_init(&straight, (tn_optimizer_kind)kind);
        bench_run(&straight);
        bench_init(&copied, (tn_optimizer_kind)kind);
        for (int p = 0; p < N_PARAMS; p++)
            memcpy(copied.params[p].tensor.real, straight.params[p].tensor.real,
                   (size_t)tn_param_count(copied.list[p]) * sizeof(tn_real));
        for (int i = 0; i < tn_optimizer_slot_count(copied.optimizer); i++) {
            tn_slot to = tn_optimizer_slot(copied.optimizer, i), from = tn_optimizer_slot(straight.optimizer, i);
            memcpy(to.values, from.values, tn_slot_bytes(&to));
        }
        tn_optimizer_set_updates(copied.optimizer, tn_optimizer_updates(straight.optimizer));
        bench_run(&straight);
        bench_run(&copied);
        for (int p = 0; p < N_PARAMS; p++)
            assert_memory_equal(straight.params[p].tensor.real, copied.params[p].tensor.real,
                                (size_t)tn_param_count(copied.list[p]) * sizeof(tn_real));
        bench_release(&straight);
        bench_release(&copied);
    }
}

static void step__leaves_empty_gradients(void **state) {
    (void)state;
    for (int kind = 0; kind < TN_OPTIMIZER_COUNT; kind++) {
        bench b;
        bench_init(&b, (tn_optimizer_kind)kind);
        bench_run(&b);
        for (int p = 0; p < N_PARAMS; p++) {
            assert_true(b.params[p].grad_empty);
            const tn_real *grad = tn_param_grad(b.list[p]);
            for (int64_t i = 0; i < tn_param_count(b.list[p]); i++) assert_true(grad[i] == 0);
        }
        bench_release(&b);
    }
}

/* What a gradient's memory holds while it is empty counts for nothing. */
static void empty_gradients__move_like_zeros(void **state) {
    (void)state;
    for (int kind = 0; kind < TN_OPTIMIZER_COUNT; kind++) {
        bench empty, zeros;
        tn_clip clip;
        bench_init(&empty, (tn_optimizer_kind)kind);
        bench_init(&zeros, (tn_optimizer_kind)kind);
        fill_gradients(&empty, 0);
        tn_optimizer_zero_grads(empty.optimizer);
        for (int p = 0; p < N_PARAMS; p++) (void)tn_param_grad(zeros.list[p]);
        tn_optimizer_step(empty.optimizer, &rates);
        tn_optimizer_step(zeros.optimizer, &rates);
        for (int p = 0; p < N_PARAMS; p++)
            assert_memory_equal(empty.params[p].tensor.real, zeros.params[p].tensor.real,
                                (size_t)tn_param_count(empty.list[p]) * sizeof(tn_real));
        fill_gradients(&empty, 1);
        tn_optimizer_zero_grads(empty.optimizer);
        assert_ok(tn_clip_init(&clip, empty.arena, &empty.blocks));
        assert_true(tn_clip_norm(&clip) == 0);
        bench_release(&empty);
        bench_release(&zeros);
    }
}

/* The sums of |w| that a step leaves give the scale and states that a pass over the weights gives. */
static void every_rule__leaves_the_sums_of_its_weights(void **state) {
    (void)state;
    for (int kind = 0; kind < TN_OPTIMIZER_COUNT; kind++) {
        bench b;
        bench_init(&b, (tn_optimizer_kind)kind);
        bench_run(&b);
        for (int p = 0; p < N_PARAMS; p++) {
            tn_param *param = b.list[p];
            int8_t states[LARGEST], expected[LARGEST];
            size_t count = (size_t)tn_param_count(param);
            if (param->quantizer == TN_QUANT_NONE) continue;
            assert_true(param->sums_known);
            tn_param_refresh(param, 1);
            assert_false(param->sums_known);
            tn_real scale, first = param->scale;
            memcpy(states, param->states, count);
            tn_param_quantize(param->quantizer, param->rows, param->cols, param->tensor.real, expected, &scale);
            assert_true(first == scale);
            assert_memory_equal(states, expected, count);
        }
        bench_release(&b);
    }
}

static void parameters__are_refreshed_together_as_alone(void **state) {
    (void)state;
    enum { MANY = 3 };
    bench alone, together;
    assert_ok(tn_par_set_threads(1));
    bench_init(&alone, TN_OPTIMIZER_adamw);
    for (int p = 0; p < N_PARAMS; p++) tn_param_refresh(alone.list[p], 1);
    assert_ok(tn_par_set_threads(MANY));
    bench_init(&together, TN_OPTIMIZER_adamw);
    tn_params_refresh(together.list, N_PARAMS, 1);
    for (int p = 0; p < N_PARAMS; p++) {
        const tn_param *a = alone.list[p], *b = together.list[p];
        assert_true(a->scale == b->scale);
        if (a->quantizer == TN_QUANT_NONE) continue;
        assert_memory_equal(a->states, b->states, (size_t)tn_param_count(a));
        assert_memory_equal(a->packed, b->packed, tn_pack_ternary_bytes(TN_PACKING_PAIRS, a->rows, a->cols));
    }
    bench_release(&alone);
    bench_release(&together);
}

static void decay__reaches_only_parameters_that_decay(void **state) {
    (void)state;
    bench b;
    bench_init(&b, TN_OPTIMIZER_adamw);
    tn_optimizer_step(b.optimizer, &rates); /* no gradient: what moves is decay */
    for (int p = 0; p < N_PARAMS; p++) {
        double before = random_value((uint32_t)p, 3), after = (double)b.params[p].tensor.real[3];
        if (shapes[p].decays)
            assert_true(fabs(after - before * (1 - 0.02 * 0.1)) < 1e-6);
        else
            assert_true(after == before);
    }
    bench_release(&b);
}

static void parameter_without_gradient__is_refused(void **state) {
    (void)state;
    bench b;
    bench_init(&b, TN_OPTIMIZER_sgd);
    tn_optimizer *other;
    b.params[2].tensor.grad = NULL;
    assert_int_equal(tn_optimizer_create(&other, b.arena, &b.blocks, &settings), TN_E_NOGRAD);
    bench_release(&b);
}

static void zero_gradient__does_not_divide_by_zero(void **state) {
    (void)state;
    bench b;
    bench_init(&b, TN_OPTIMIZER_muon);
    tn_optimizer_step(b.optimizer, &rates);
    assert_true(tn_optimizer_params_finite(b.optimizer));
    b.params[4].tensor.real[LARGEST - 1] = (tn_real)NAN;
    assert_false(tn_optimizer_params_finite(b.optimizer));
    bench_release(&b);
}

/* ---- clipping ---- */

static void norm__is_that_of_all_gradients_together(void **state) {
    (void)state;
    bench b;
    tn_clip clip;
    bench_init(&b, TN_OPTIMIZER_sgd);
    assert_ok(tn_clip_init(&clip, b.arena, &b.blocks));
    fill_gradients(&b, 0);
    double squares = 0;
    for (int p = 0; p < N_PARAMS; p++)
        for (int64_t i = 0; i < tn_param_count(b.list[p]); i++) squares += pow((double)b.params[p].tensor.grad[i], 2);
    assert_ok(tn_par_set_threads(1));
    double one = tn_clip_norm(&clip);
    assert_ok(tn_par_set_threads(4));
    assert_true(tn_clip_norm(&clip) == one);
    assert_true(fabs(one - sqrt(squares)) < 1e-9 * one); /* sums in double; only their order differs */
    b.params[1].tensor.grad[5] = (tn_real)INFINITY;
    assert_false(isfinite(tn_clip_norm(&clip)));
    b.params[1].tensor.grad[5] = (tn_real)NAN;
    assert_false(isfinite(tn_clip_norm(&clip)));
    bench_release(&b);
}

static void scale__brings_the_norm_to_its_limit(void **state) {
    (void)state;
    assert_true(tn_clip_scale(4, 1) == 0.25);
    assert_true(tn_clip_scale(0.5, 1) == 1);
    assert_true(tn_clip_scale(1, 1) == 1);
    assert_true(tn_clip_scale(1e9, 0) == 1); /* 0 = no limit */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule__follows_its_formula),
        cmocka_unit_test(muon__is_right_in_bf16_too),
        cmocka_unit_test(every_rule__gives_the_same_bits_for_any_threads),
        cmocka_unit_test(every_rule__keeps_the_slots_of_its_row),
        cmocka_unit_test(every_rule__goes_on_from_copied_slots),
        cmocka_unit_test(step__leaves_empty_gradients),
        cmocka_unit_test(empty_gradients__move_like_zeros),
        cmocka_unit_test(every_rule__leaves_the_sums_of_its_weights),
        cmocka_unit_test(parameters__are_refreshed_together_as_alone),
        cmocka_unit_test(decay__reaches_only_parameters_that_decay),
        cmocka_unit_test(parameter_without_gradient__is_refused),
        cmocka_unit_test(zero_gradient__does_not_divide_by_zero),
        cmocka_unit_test(norm__is_that_of_all_gradients_together),
        cmocka_unit_test(scale__brings_the_norm_to_its_limit),
    };
    if (tn_kernels_init(NULL)) return 1;
    return cmocka_run_group_tests_name("optim", tests, NULL, NULL);
}
