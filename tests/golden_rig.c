/* SPDX-License-Identifier: MIT */
#include "tests/golden_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The file keeps logits and gradients in float, losses in double. In double only that storage differs; in float two
 * layers of rounding lie between, and ten steps of AdamW, which divides by small gradients, on top. */
#ifdef TN_F64
static const double value_tolerance = 1e-7, loss_tolerance = 1e-9;
#else
static const double value_tolerance = 1e-5, loss_tolerance = 1e-5;
#endif

int tn_golden_int(tn_h5 *file, const char *name) {
    int64_t value;
    assert_ok(tn_h5_get_int(file, name, &value));
    return (int)value;
}

double tn_golden_real(tn_h5 *file, const char *name) {
    double value;
    assert_ok(tn_h5_get_real(file, name, &value));
    return value;
}

void *tn_golden_read(const tn_golden *g, tn_h5 *file, const char *path, tn_h5_type type, int64_t count) {
    void *values = tn_arena_array(g->arena, (size_t)count, tn_h5_type_size(type), "test");
    assert_non_null(values);
    assert_ok(tn_h5_read(file, path, type, count, values));
    return values;
}

void *tn_golden_read_of(const tn_golden *g, tn_h5 *file, const char *group, const tn_param *p, tn_h5_type type,
                        int64_t count) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", group, p->name);
    return tn_golden_read(g, file, path, type, count);
}

static void make_model(tn_golden *g) {
    tn_h5 *f = g->file;
    tn_model_config config = {.vocab_size = g->vocab,
                              .d_model = tn_golden_int(f, "d_model"),
                              .n_layer = tn_golden_int(f, "n_layer"),
                              .n_head = tn_golden_int(f, "n_head"),
                              .n_kv_head = tn_golden_int(f, "n_kv_head"),
                              .d_ff = tn_golden_int(f, "d_ff"),
                              .context = g->time,
                              .tie_embeddings = true,
                              .sub_norms = true,
                              .rope_factor = 1,
                              .norm_eps = tn_golden_real(f, "norm_eps"),
                              .rope_theta = tn_golden_real(f, "rope_theta")};
    assert_ok(tn_model_config_complete(&config));
    assert_ok(tn_model_create(&g->model, g->arena, &config, TN_MODEL_TRAIN));
    g->params = tn_model_params(g->model, &g->n_params);
}

int tn_golden_open(tn_golden *g) {
    *g = (tn_golden){.arena = tn_arena_create("test"), .tape = tn_tape_create()};
    if (!g->arena || !g->tape || tn_h5_open(&g->file, "tests/golden/golden.h5", "tern-golden")) {
        print_error("%s\n", tn_error_message());
        return -1;
    }
    g->batch = tn_golden_int(g->file, "batch");
    g->time = tn_golden_int(g->file, "time");
    g->vocab = tn_golden_int(g->file, "vocab_size");
    make_model(g);
    const int64_t n = g->batch * g->time;
    g->tokens = tn_golden_read(g, g->file, "tokens", TN_H5_I32, n);
    g->targets = tn_golden_read(g, g->file, "targets", TN_H5_I32, n);
    for (int64_t i = 0; i < n; i++) g->divisor += g->targets[i] >= 0;
    return 0;
}

void tn_golden_close(tn_golden *g) {
    tn_h5_close(g->file);
    tn_tape_free(g->tape);
    tn_arena_free(g->arena);
}

void tn_golden_load(tn_golden *g) {
    for (int i = 0; i < g->n_params; i++) {
        tn_param *p = g->params[i];
        const float *values = tn_golden_read_of(g, g->file, "init", p, TN_H5_F32, tn_param_count(p));
        for (int64_t j = 0; j < tn_param_count(p); j++) {
            p->tensor.real[j] = (tn_real)values[j];
            p->tensor.grad[j] = 0;
        }
    }
    tn_model_refresh(g->model, 1);
}

void tn_golden_assert_agree(const char *name, const tn_real *found, const float *expected, int64_t count) {
    double largest = 0, worst = 0, norm = 0, distance = 0;
    for (int64_t i = 0; i < count; i++) {
        double e = (double)expected[i], d = (double)found[i] - e;
        largest = fmax(largest, fabs(e));
        worst = fmax(worst, fabs(d));
        norm += e * e;
        distance += d * d;
    }
    print_message("  %-26s off by %.1e of the largest, %.1e in norm, tolerance %.0e\n", name, worst / largest,
                  sqrt(distance / norm), value_tolerance);
    assert_true(largest > 0 && worst <= value_tolerance * largest && sqrt(distance / norm) <= value_tolerance);
}

void tn_golden_assert_gradients(const tn_golden *g, tn_h5 *file, const char *group) {
    assert_int_equal(g->n_params, 24);
    for (int i = 0; i < g->n_params; i++) {
        const tn_param *p = g->params[i];
        const int64_t count = tn_param_count(p);
        tn_golden_assert_agree(p->name, p->tensor.grad, tn_golden_read_of(g, file, group, p, TN_H5_F32, count), count);
    }
}

void tn_golden_assert_loss(const char *what, double found, double expected) {
    print_message("  %-24s off by %.1e, tolerance %.0e\n", what, fabs(found / expected - 1), loss_tolerance);
    if (!(fabs(found - expected) <= loss_tolerance * fabs(expected)))
        fail_msg("%s is %.9f, expected %.9f", what, found, expected);
}
