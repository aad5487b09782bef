/* SPDX-License-Identifier: MIT
 * The real model and the real optimizer against golden.h5, which PyTorch wrote in double (golden/make_golden.py). */
#include "core/par.h"
#include "kernels/kernels.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "tests/golden_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static tn_golden g;
static int steps;
static double z_loss;

static int open_golden(void **state) {
    (void)state;
    if (tn_golden_open(&g)) return -1;
    steps = tn_golden_int(g.file, "steps");
    z_loss = tn_golden_real(g.file, "z_loss");
    return 0;
}

static int close_golden(void **state) {
    (void)state;
    tn_golden_close(&g);
    return 0;
}

static tn_tensor *start(tn_tape_mode mode, const int32_t *ids) {
    if (ids == g.tokens) tn_tape_begin(g.tape, mode, NULL);
    return tn_tape_ids(g.tape, 2, (const int[]){g.batch, g.time}, ids);
}

/* The loss; its gradients are added to the parameters'. */
static double run(void) {
    double sum;
    tn_loss_options options = {.divisor = g.divisor, .z_loss = (tn_real)z_loss, .sum = &sum};
    tn_tensor *tokens = start(TN_TAPE_RECORD, g.tokens), *targets = start(TN_TAPE_RECORD, g.targets);
    tn_tensor *loss = tn_model_loss(g.model, g.tape, tokens, targets, NULL, options);
    assert_ok(tn_tape_backward(g.tape, loss));
    return (double)loss->real[0];
}

static void golden__states_and_scales_are_the_same(void **state) {
    int ternary = 0;
    (void)state;
    tn_golden_load(&g);
    for (int i = 0; i < g.n_params; i++) {
        const tn_param *p = g.params[i];
        if (p->quantizer == TN_QUANT_NONE) continue;
        const double *scale = tn_golden_read_of(&g, g.file, "scale", p, TN_H5_F64, 1);
        const int64_t count = tn_param_count(p);
        assert_memory_equal(p->states, tn_golden_read_of(&g, g.file, "states", p, TN_H5_I8, count), (size_t)count);
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
    const int8_t *expected = tn_golden_read(&g, g.file, path, TN_H5_I8, count);
    if (memcmp(codes->codes, expected, (size_t)count) != 0) fail_msg("codes of layer %d, %s differ", layer, site);
    s->sites++;
}

static void golden__codes_are_the_same(void **state) {
    (void)state;
    tn_golden_load(&g);
    seen s = {0};
    tn_model_observe(g.model, compare_codes, &s);
    (void)tn_model_hidden(g.model, g.tape, start(TN_TAPE_FORWARD, g.tokens), NULL);
    tn_model_observe(g.model, NULL, NULL);
    assert_ok(tn_tape_status(g.tape));
    assert_int_equal(s.sites, 8);
}

static void golden__logits_agree(void **state) {
    (void)state;
    tn_golden_load(&g);
    tn_tensor *hidden = tn_model_hidden(g.model, g.tape, start(TN_TAPE_FORWARD, g.tokens), NULL);
    const tn_tensor *logits = tn_model_logits(g.model, g.tape, hidden);
    assert_ok(tn_tape_status(g.tape));
    int64_t count = (int64_t)g.batch * g.time * g.vocab;
    assert_int_equal(tn_tensor_count(logits), count);
    tn_golden_assert_agree("logits", logits->real, tn_golden_read(&g, g.file, "logits", TN_H5_F32, count), count);
}

static void golden__gradients_agree(void **state) {
    (void)state;
    tn_golden_load(&g);
    run();
    tn_golden_assert_gradients(&g, g.file, "grad");
}

static void assert_step(const char *what, int step, double found, double expected) {
    char name[48];
    snprintf(name, sizeof name, "step %2d: %s", step, what);
    tn_golden_assert_loss(name, found, expected);
}

static void golden__ten_steps_of_adamw_follow(void **state) {
    (void)state;
    tn_golden_load(&g);
    tn_param_blocks blocks;
    tn_optimizer *optimizer;
    tn_clip clip;
    const tn_optimizer_settings settings = {.kind = TN_OPTIMIZER_adamw, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};
    assert_ok(tn_param_blocks_init(&blocks, g.arena, g.params, g.n_params));
    assert_ok(tn_optimizer_create(&optimizer, g.arena, &blocks, &settings));
    assert_ok(tn_clip_init(&clip, g.arena, &blocks));
    const double *losses = tn_golden_read(&g, g.file, "losses", TN_H5_F64, steps + 1);
    const double *norms = tn_golden_read(&g, g.file, "norms", TN_H5_F64, steps);
    for (int step = 0; step < steps; step++) {
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
    assert_step("loss", steps, run(), losses[steps]);
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
