/* SPDX-License-Identifier: MIT
 * The real model and the real optimizer against golden.h5, which PyTorch wrote in double (golden/make_golden.py). */
#include "core/par.h"
#include "formats/hdf5_file.h"
#include "kernels/kernels.h"
#include "layers/model.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
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

static struct {
    tn_arena *arena;
    tn_h5 *file;
    tn_model *model;
    tn_tape *tape;
    int32_t *tokens, *targets;
    int batch, time, vocab, steps;
    double z_loss, divisor;
} g;

static int attribute(const char *name) {
    int64_t value;
    assert_ok(tn_h5_get_int(g.file, name, &value));
    return (int)value;
}

static double real_attribute(const char *name) {
    double value;
    assert_ok(tn_h5_get_real(g.file, name, &value));
    return value;
}

static void *read_values(const char *path, tn_h5_type type, int64_t count) {
    void *values = tn_arena_array(g.arena, (size_t)count, tn_h5_type_size(type), "test");
    assert_non_null(values);
    assert_ok(tn_h5_read(g.file, path, type, count, values));
    return values;
}

/* "grad/blk.0.attn_q.weight" */
static void *read_of(const char *group, const tn_param *p, tn_h5_type type, int64_t count) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", group, p->name);
    return read_values(path, type, count);
}

static tn_param **params(int *count) { return tn_model_params(g.model, count); }

static void load_initial_values(void) {
    int count;
    tn_param **list = params(&count);
    for (int i = 0; i < count; i++) {
        const float *values = read_of("init", list[i], TN_H5_F32, tn_param_count(list[i]));
        for (int64_t j = 0; j < tn_param_count(list[i]); j++) {
            list[i]->tensor.real[j] = (tn_real)values[j];
            list[i]->tensor.grad[j] = 0;
        }
    }
    tn_model_refresh(g.model, 1);
}

static int open_golden(void **state) {
    (void)state;
    g.arena = tn_arena_create("test");
    g.tape = tn_tape_create();
    if (!g.arena || !g.tape || tn_h5_open(&g.file, "tests/golden/golden.h5", "tern-golden")) {
        print_error("%s\n", tn_error_message());
        return -1;
    }
    g.batch = attribute("batch"), g.time = attribute("time"), g.steps = attribute("steps");
    g.vocab = attribute("vocab_size"), g.z_loss = real_attribute("z_loss");
    tn_model_config config = {.vocab_size = g.vocab,
                              .d_model = attribute("d_model"),
                              .n_layer = attribute("n_layer"),
                              .n_head = attribute("n_head"),
                              .n_kv_head = attribute("n_kv_head"),
                              .d_ff = attribute("d_ff"),
                              .context = g.time,
                              .tie_embeddings = true,
                              .sub_norms = true,
                              .rope_factor = 1,
                              .norm_eps = real_attribute("norm_eps"),
                              .rope_theta = real_attribute("rope_theta")};
    assert_ok(tn_model_config_complete(&config));
    assert_ok(tn_model_create(&g.model, g.arena, &config, TN_MODEL_TRAIN));
    int64_t n = g.batch * g.time;
    g.tokens = read_values("tokens", TN_H5_I32, n);
    g.targets = read_values("targets", TN_H5_I32, n);
    for (int64_t i = 0; i < n; i++) g.divisor += g.targets[i] >= 0;
    return 0;
}

static int close_golden(void **state) {
    (void)state;
    tn_h5_close(g.file);
    tn_tape_free(g.tape);
    tn_arena_free(g.arena);
    return 0;
}

static tn_tensor *start(tn_tape_mode mode, const int32_t *ids) {
    if (ids == g.tokens) tn_tape_begin(g.tape, mode, NULL);
    return tn_tape_ids(g.tape, 2, (const int[]){g.batch, g.time}, ids);
}

/* The loss; its gradients are added to the parameters'. */
static double run(void) {
    double sum;
    tn_loss_options options = {.divisor = g.divisor, .z_loss = (tn_real)g.z_loss, .sum = &sum};
    tn_tensor *tokens = start(TN_TAPE_RECORD, g.tokens), *targets = start(TN_TAPE_RECORD, g.targets);
    tn_tensor *loss = tn_model_loss(g.model, g.tape, tokens, targets, NULL, options);
    assert_ok(tn_tape_backward(g.tape, loss));
    return (double)loss->real[0];
}

static void golden__states_and_scales_are_the_same(void **state) {
    int count, ternary = 0;
    (void)state;
    load_initial_values();
    tn_param **list = params(&count);
    for (int i = 0; i < count; i++) {
        const tn_param *p = list[i];
        if (p->quantizer == TN_QUANT_NONE) continue;
        const double *scale = read_of("scale", p, TN_H5_F64, 1);
        assert_memory_equal(p->states, read_of("states", p, TN_H5_I8, tn_param_count(p)), (size_t)tn_param_count(p));
        assert_true(fabs((double)p->scale - *scale) <= 1e-6 * *scale);
        ternary++;
    }
    assert_int_equal(ternary, 14);
}

typedef struct seen {
    int sites;
} seen;

static void compare_codes(void *context, int layer, const char *site, const tn_tensor *codes) {
    seen *s = context;
    char path[64];
    snprintf(path, sizeof path, "codes/%d/%s", layer, site);
    int64_t count = tn_tensor_count(codes);
    const int8_t *expected = read_values(path, TN_H5_I8, count);
    if (memcmp(codes->codes, expected, (size_t)count) != 0) fail_msg("codes of layer %d, %s differ", layer, site);
    s->sites++;
}

static void golden__codes_are_the_same(void **state) {
    (void)state;
    load_initial_values();
    seen s = {0};
    tn_model_observe(g.model, compare_codes, &s);
    (void)tn_model_hidden(g.model, g.tape, start(TN_TAPE_FORWARD, g.tokens), NULL);
    tn_model_observe(g.model, NULL, NULL);
    assert_ok(tn_tape_status(g.tape));
    assert_int_equal(s.sites, 8);
}

/* Each number against the largest of its tensor, and the tensor against its norm. */
static void assert_agree(const char *name, const tn_real *found, const float *expected, int64_t count) {
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

static void golden__logits_agree(void **state) {
    (void)state;
    load_initial_values();
    tn_tensor *hidden = tn_model_hidden(g.model, g.tape, start(TN_TAPE_FORWARD, g.tokens), NULL);
    const tn_tensor *logits = tn_model_logits(g.model, g.tape, hidden);
    assert_ok(tn_tape_status(g.tape));
    int64_t count = (int64_t)g.batch * g.time * g.vocab;
    assert_int_equal(tn_tensor_count(logits), count);
    assert_agree("logits", logits->real, read_values("logits", TN_H5_F32, count), count);
}

static void golden__gradients_agree(void **state) {
    int count;
    (void)state;
    load_initial_values();
    run();
    tn_param **list = params(&count);
    assert_int_equal(count, 24);
    for (int i = 0; i < count; i++)
        assert_agree(list[i]->name, list[i]->tensor.grad, read_of("grad", list[i], TN_H5_F32, tn_param_count(list[i])),
                     tn_param_count(list[i]));
}

static void assert_step(const char *what, int step, double found, double expected) {
    print_message("  step %2d: %-13s off by %.1e, tolerance %.0e\n", step, what, fabs(found / expected - 1),
                  loss_tolerance);
    if (!(fabs(found - expected) <= loss_tolerance * expected))
        fail_msg("%s of step %d is %.9f, expected %.9f", what, step, found, expected);
}

static void golden__ten_steps_of_adamw_follow(void **state) {
    int count;
    (void)state;
    load_initial_values();
    tn_param **list = params(&count);
    tn_param_blocks blocks;
    tn_optimizer *optimizer;
    tn_clip clip;
    const tn_optimizer_settings settings = {.kind = TN_OPTIMIZER_adamw, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};
    assert_ok(tn_param_blocks_init(&blocks, g.arena, list, count));
    assert_ok(tn_optimizer_create(&optimizer, g.arena, &blocks, &settings));
    assert_ok(tn_clip_init(&clip, g.arena, &blocks));
    const double *losses = read_values("losses", TN_H5_F64, g.steps + 1);
    const double *norms = read_values("norms", TN_H5_F64, g.steps);
    for (int step = 0; step < g.steps; step++) {
        assert_step("loss", step, run(), losses[step]);
        double norm = tn_clip_norm(&clip);
        assert_step("gradient norm", step, norm, norms[step]);
        tn_optimizer_rates rates = {.learning_rate = 1e-3,
                                    .table_learning_rate = 1e-3,
                                    .weight_decay = 0.1,
                                    .grad_scale = tn_clip_scale(norm, 1)};
        tn_optimizer_step(optimizer, &rates);
        tn_model_refresh(g.model, 1);
    }
    assert_step("loss", g.steps, run(), losses[g.steps]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden__states_and_scales_are_the_same),
        cmocka_unit_test(golden__codes_are_the_same),
        cmocka_unit_test(golden__logits_agree),
        cmocka_unit_test(golden__gradients_agree),
        cmocka_unit_test(golden__ten_steps_of_adamw_follow),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("golden", tests, open_golden, close_golden);
}
