/* SPDX-License-Identifier: MIT
 * Claims about the whole model: its gradient, its float twin, where its loss starts, and that it can learn. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "layers/model.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "tests/network_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

typedef struct network {
    tn_arena *arena;
    tn_tape *tape;
    tn_model *model;
    tn_param **params;
    int n_params;
    int batch, time;
    int32_t *tokens, *targets;
} network;

/* With gains for queries and keys. */
static tn_model_config small_with_qk_norm(void) {
    tn_model_config config = tn_network_small;
    config.qk_norm = true;
    return config;
}

static void init(network *n, tn_model_config config, int batch, int time) {
    *n = (network){.batch = batch, .time = time};
    assert_non_null(n->arena = tn_arena_create("test"));
    assert_non_null(n->tape = tn_tape_create());
    n->model = tn_network_make(n->arena, &config, TN_MODEL_TRAIN, 1);
    n->params = tn_model_params(n->model, &n->n_params);
    size_t count = (size_t)(batch * time);
    n->tokens = tn_arena_array(n->arena, count, sizeof *n->tokens, "test");
    n->targets = tn_arena_array(n->arena, count, sizeof *n->targets, "test");
    assert_true(n->tokens && n->targets);
    tn_rng rng = tn_rng_make(3, TN_PURPOSE_TEST, 0);
    for (size_t i = 0; i < count; i++) {
        n->tokens[i] = (int32_t)tn_rng_below(&rng, 2 * i, (uint64_t)config.vocab_size);
        n->targets[i] = (int32_t)tn_rng_below(&rng, 2 * i + 1, (uint64_t)config.vocab_size);
    }
}

static void release(network *n) {
    tn_tape_free(n->tape);
    tn_arena_free(n->arena);
}

/* The mean loss, in double; `loss` receives the tape's. */
static double forward(network *n, tn_tape_mode mode, const tn_rng *rng, tn_tensor **loss) {
    const int dims[] = {n->batch, n->time};
    double sum = 0;
    tn_loss_options options = {.divisor = n->batch * n->time, .sum = &sum};
    tn_tape_begin(n->tape, mode, rng);
    tn_tensor *ids = tn_tape_ids(n->tape, 2, dims, n->tokens), *targets = tn_tape_ids(n->tape, 2, dims, n->targets);
    *loss = tn_model_loss(n->model, n->tape, ids, targets, NULL, options);
    assert_ok(tn_tape_status(n->tape));
    return sum / options.divisor;
}

static double loss_of(network *n) {
    tn_tensor *loss;
    return forward(n, TN_TAPE_FORWARD, NULL, &loss);
}

/* Also adds the gradients. */
static double learn_from(network *n, const tn_rng *rng) {
    tn_tensor *loss;
    double mean = forward(n, TN_TAPE_RECORD, rng, &loss);
    assert_ok(tn_tape_backward(n->tape, loss));
    return mean;
}

/* ---- the gradient: differences need double precision, so these belong to the f64 build ---- */

#ifdef TN_F64
static double direction(int param, int64_t i) {
    tn_rng rng = tn_rng_make(4, TN_PURPOSE_TEST, (uint32_t)param);
    return 2 * tn_rng_uniform(&rng, (uint64_t)i) - 1;
}

static void move(network *n, int param, double step) {
    for (int64_t i = 0; i < tn_param_count(n->params[param]); i++)
        n->params[param]->tensor.real[i] += step * direction(param, i);
    tn_model_refresh(n->model, n->params[param]->lambda);
}

static double difference(network *n, int param, const tn_rng *rng, double step) {
    tn_tensor *loss;
    move(n, param, step);
    double above = forward(n, TN_TAPE_RECORD, rng, &loss);
    move(n, param, -2 * step);
    double below = forward(n, TN_TAPE_RECORD, rng, &loss);
    move(n, param, step);
    return (above - below) / (2 * step);
}

/* The slope of the loss along a direction in one parameter, with frozen residuals. Sums of integers are often exactly 0
 * and then sit on the kink of relu^2, where central differences err in proportion to the step: two steps remove that.
 */
static double slope(network *n, int param, const tn_rng *rng) {
    const double step = 2e-6; /* small against a latent of 0.1; rounding leaves 1e-15 / 1e-6 */
    tn_tape_residuals(n->tape, TN_RESIDUAL_REPLAY);
    return 2 * difference(n, param, rng, step / 2) - difference(n, param, rng, step);
}

static void check_slopes(tn_model_config config, double lambda, const tn_rng *rng) {
    network n;
    assert_ok(tn_par_set_threads(1)); /* too small to share */
    init(&n, config, 2, 12);
    if (lambda < 1) assert_ok(tn_model_allow_mixing(n.model));
    tn_model_refresh(n.model, lambda);
    tn_tape_residuals(n.tape, TN_RESIDUAL_KEEP);
    tn_network_forget(n.model);
    learn_from(&n, rng);
    double expected[64], worst = 0;
    assert_true(n.n_params <= 64);
    for (int p = 0; p < n.n_params; p++) {
        expected[p] = 0;
        for (int64_t i = 0; i < tn_param_count(n.params[p]); i++)
            expected[p] += n.params[p]->tensor.grad[i] * direction(p, i);
    }
    /* Relative to slopes of size 1; some come out near 0 by chance. */
    for (int p = 0; p < n.n_params; p++) {
        double error = fabs(slope(&n, p, rng) - expected[p]) / (fabs(expected[p]) + 0.01);
        worst = fmax(worst, error);
        if (!(error < 1e-6)) fail_msg("%s: slope off by %g", n.params[p]->name, error);
    }
    print_message("  lambda %.1f: slopes of %d parameters off by at most %.1e, tolerance 1e-06\n", lambda, n.n_params,
                  worst);
    assert_ok(tn_par_set_threads(2));
    release(&n);
}

static void network__gradient_is_the_slope_under_frozen_residuals(void **state) {
    (void)state;
    const tn_model_config small = small_with_qk_norm();
    tn_model_config untied = small, silu = small, dropped = small, llama = small;
    untied.tie_embeddings = false;
    silu.activation = TN_ACTIVATION_SILU;
    dropped.dropout = 0.2;
    llama.sub_norms = llama.qk_norm = false;
    llama.activation = TN_ACTIVATION_SILU;
    llama.rope_scaling = TN_ROPE_LINEAR;
    llama.rope_factor = 4;
    tn_rng rng = tn_rng_make(5, TN_PURPOSE_DROPOUT, 0);
    check_slopes(small, 1, NULL);
    check_slopes(small, 0.5, NULL);
    check_slopes(untied, 1, NULL);
    check_slopes(silu, 1, NULL);
    check_slopes(dropped, 1, &rng);
    check_slopes(llama, 1, NULL);
    check_slopes(llama, 0.5, NULL);
}

static void network__float_twin_has_the_plain_slope(void **state) {
    (void)state;
    tn_model_config config = small_with_qk_norm();
    config.quantization = TN_QUANTIZATION_NONE;
    check_slopes(config, 1, NULL);
    config.sub_norms = false;
    check_slopes(config, 1, NULL);
}
#endif

/* ---- identities ---- */

static void network__lambda_zero_is_the_float_twin(void **state) {
    (void)state;
    network ternary, twin;
    tn_model_config config = small_with_qk_norm();
    init(&ternary, config, 2, 16);
    config.quantization = TN_QUANTIZATION_NONE;
    init(&twin, config, 2, 16);
    assert_ok(tn_model_allow_mixing(ternary.model));
    tn_model_refresh(ternary.model, 0);
    double a = learn_from(&ternary, NULL), b = learn_from(&twin, NULL);
    assert_true(a == b);
    tn_network_assert_same_gradients(ternary.model, twin.model);
    release(&ternary);
    release(&twin);
}

static void network__loss_and_gradient_do_not_depend_on_threads(void **state) {
    (void)state;
    network one, three;
    tn_model_config config = small_with_qk_norm();
    config.dropout = 0.1;
    tn_rng rng = tn_rng_make(5, TN_PURPOSE_DROPOUT, 0);
    init(&one, config, 3, 32);
    init(&three, config, 3, 32);
    assert_ok(tn_par_set_threads(1));
    double a = learn_from(&one, &rng);
    assert_ok(tn_par_set_threads(3));
    double b = learn_from(&three, &rng);
    assert_ok(tn_par_set_threads(2));
    assert_true(a == b);
    tn_network_assert_same_gradients(one.model, three.model);
    release(&one);
    release(&three);
}

static void network__recording_does_not_change_the_loss(void **state) {
    (void)state;
    network n;
    init(&n, small_with_qk_norm(), 2, 16);
    double recorded = learn_from(&n, NULL);
    assert_true(loss_of(&n) == recorded);
    release(&n);
}

/* A hidden state of d numbers of unit size that knows nothing of E gives logits of variance d sigma^2, whose
 * log-sum-exp is ln V + d sigma^2 / 2 and whose mean is 0. With a tied head a token's own row is in its hidden state,
 * but targets are drawn apart from tokens. */
static void network__loss_starts_where_it_must(void **state) {
    (void)state;
    network n;
    tn_model_config config = small_with_qk_norm();
    config.vocab_size = 512;
    config.d_model = 64;
    config.d_ff = 96;
    config.init_std = 0.02;
    init(&n, config, 8, 32);
    double expected = log(512) + 64 * 0.02 * 0.02 / 2, found = loss_of(&n);
    print_message("  loss %.4f, expected %.4f within 0.1\n", found, expected);
    assert_true(fabs(found - expected) < 0.1);
    release(&n);
}

/* ---- learning ---- */

static double overfit(network *n, int steps, double learning_rate) {
    tn_param_blocks blocks;
    tn_optimizer *optimizer;
    tn_clip clip;
    const tn_optimizer_settings settings = {.kind = TN_OPTIMIZER_adamw, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};
    assert_ok(tn_param_blocks_init(&blocks, n->arena, n->params, n->n_params));
    assert_ok(tn_optimizer_create(&optimizer, n->arena, &blocks, &settings));
    assert_ok(tn_clip_init(&clip, n->arena, &blocks));
    for (int step = 0; step < steps; step++) {
        learn_from(n, NULL);
        double rate = learning_rate * (1 - (double)step / steps);
        tn_optimizer_rates rates = {
            .learning_rate = rate, .table_learning_rate = rate, .grad_scale = tn_clip_scale(tn_clip_norm(&clip), 1)};
        tn_optimizer_step(optimizer, &rates);
        tn_model_refresh(n->model, 1);
    }
    return loss_of(n);
}

static void network__overfits_one_batch(void **state) {
    (void)state;
    assert_ok(tn_par_set_threads(1)); /* too small to share */
    for (int quantization = TN_QUANTIZATION_BITNET; quantization <= TN_QUANTIZATION_NONE; quantization++) {
        network n;
        tn_model_config config = small_with_qk_norm();
        config.quantization = quantization;
        init(&n, config, 2, 16);
        double first = loss_of(&n), last = overfit(&n, 100, 1e-2);
        print_message("  %s: loss %.3f, after 100 steps %.5f, expected below 0.02\n",
                      quantization == TN_QUANTIZATION_NONE ? "float" : "ternary", first, last);
        assert_true(first > 3 && last < 0.02);
        release(&n);
    }
    assert_ok(tn_par_set_threads(2));
}

static void network__running_blocks_again_changes_no_bit(void **state) {
    (void)state;
    tn_model_config config = small_with_qk_norm();
    config.n_layer = 5;
    config.dropout = 0.1;
    tn_rng rng = tn_rng_make(1, TN_PURPOSE_DROPOUT, 0);
    network kept;
    init(&kept, config, 3, 32);
    double loss = learn_from(&kept, &rng);
    size_t bytes = tn_arena_peak(tn_tape_step(kept.tape));
    for (int blocks = 1; blocks <= 5; blocks += 2) {
        network again;
        init(&again, config, 3, 32);
        tn_model_recompute(again.model, blocks);
        assert_true(learn_from(&again, &rng) == loss);
        tn_network_assert_same_gradients(again.model, kept.model);
        if (blocks == 1) assert_true(tn_arena_peak(tn_tape_step(again.tape)) < bytes / 2);
        release(&again);
    }
    release(&kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef TN_F64
        cmocka_unit_test(network__gradient_is_the_slope_under_frozen_residuals),
        cmocka_unit_test(network__float_twin_has_the_plain_slope),
#endif
        cmocka_unit_test(network__lambda_zero_is_the_float_twin),
        cmocka_unit_test(network__loss_and_gradient_do_not_depend_on_threads),
        cmocka_unit_test(network__running_blocks_again_changes_no_bit),
        cmocka_unit_test(network__recording_does_not_change_the_loss),
        cmocka_unit_test(network__loss_starts_where_it_must),
        cmocka_unit_test(network__overfits_one_batch),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
