/* SPDX-License-Identifier: MIT
 * Adapters inside the quantiser: the states that they come to, their gradient, and that what was trained is a ternary
 * model like any other. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "optim/optimizer.h"
#include "tests/adapter_rig.h"
#include "tests/graph.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

static size_t logit_bytes(const tn_adapter_rig *r) {
    return sizeof(tn_real) * TN_RIG_BATCH * TN_RIG_TIME * (size_t)r->config.vocab_size;
}

/* Merged, of all matrices, with B of size `b`. */
static tn_adapter *make_merged(tn_adapter_rig *r, double b) {
    tn_adapter *adapter = tn_adapter_rig_make(r, "all-linear", TN_ADAPTER_RAW, 0, b);
    adapter->options.merged = true;
    return adapter;
}

/* ---- states ---- */

static int8_t *states_of(tn_adapter_rig *r, const tn_param *w) {
    int8_t *room = tn_arena_array(r->arena, (size_t)tn_param_count(w), 1, "test");
    assert_non_null(room);
    const int8_t *states = tn_param_states(w, 0, w->rows, room);
    return memcpy(room, states, (size_t)tn_param_count(w));
}

/* T' from T by the formula; what lies nearer to a tie than f32 can tell may fall either way. */
static int64_t check_states(tn_adapter_rig *r, const tn_adapter_pair *pair, double scale) {
    const tn_param *before = tn_model_find(r->latent, pair->target), *w = tn_model_find(r->base, pair->target);
    const int8_t *found = states_of(r, w);
    int64_t flipped = 0;
    double largest = 0;
    for (int row = 0; row < w->rows; row++)
        for (int col = 0; col < w->cols; col++) {
            const int8_t t = before->states[row * w->cols + col], now = found[row * w->cols + col];
            double move = 0;
            for (int j = 0; j < pair->rank; j++)
                move += (double)pair->b.tensor.real[row * pair->rank + j] *
                        (double)pair->a.tensor.real[col * pair->rank + j];
            move *= scale * (double)pair->c;
            largest = fmax(largest, fabs(move));
            flipped += now != t;
            const double sum = t + move, expected = fmin(fmax(rint(sum), -1), 1);
            if (fabs(fabs(sum) - 0.5) > 1e-5 && now != expected)
                fail_msg("%s[%d,%d]: %d + %.6f gave %d", pair->target, row, col, t, move, now);
        }
    assert_true(fabs(largest - pair->merge.largest) < 1e-5);
    assert_int_equal(flipped, pair->merge.flipped);
    return flipped;
}

static void merged__states_are_rounded_sums(void **state) {
    (void)state;
    for (int packing = TN_PACKING_PAIRS; packing <= TN_PACKING_TRIPLES; packing++)
        for (int threads = 1; threads <= 3; threads += 2) {
            tn_adapter_rig r;
            int64_t flipped = 0, states = 0;
            tn_model_config config = tn_network_small;
            config.d_ff = 150; /* more than two blocks of rows, and a tail */
            tn_kernels_use_packing((tn_packing)packing);
            tn_adapter_rig_init(&r, &config);
            tn_adapter *adapter = make_merged(&r, 2.5);
            assert_ok(tn_par_set_threads(threads));
            assert_ok(tn_model_attach(r.base, adapter, 0.5));
            tn_model_refresh(r.base, 1);
            for (int i = 0; i < adapter->n_pairs; i++) {
                flipped += check_states(&r, &adapter->pairs[i], 0.5);
                states += (int64_t)adapter->pairs[i].a.rows * adapter->pairs[i].b.rows;
            }
            const tn_adapter_flips flips = tn_adapter_count_flips(adapter);
            assert_true(flips.flipped == flipped && flips.states == states && flips.largest > 0.5);
            print_message("  %.1f %% of %lld states flip\n", 100 * (double)flipped / (double)states, (long long)states);
            assert_true(flipped > states / 20 && flipped < states / 2);
            tn_adapter_rig_release(&r);
        }
    tn_kernels_use_packing(TN_PACKING_PAIRS);
    assert_ok(tn_par_set_threads(2));
}

/* Below a half everywhere: nothing happens, to the bit. */
static void merged__of_small_moves_changes_no_bit(void **state) {
    (void)state;
    tn_adapter_rig r;
    tn_adapter_rig_init(&r, &tn_network_small);
    const tn_real *alone = tn_adapter_rig_logits(&r, r.base);
    tn_adapter *adapter = make_merged(&r, 0.05);
    assert_ok(tn_model_attach(r.base, adapter, 1));
    assert_memory_equal(tn_adapter_rig_logits(&r, r.base), alone, logit_bytes(&r));
    const tn_adapter_flips flips = tn_adapter_count_flips(adapter);
    assert_true(flips.flipped == 0 && flips.largest > 0.01 && flips.largest < 0.5);
    tn_adapter_rig_release(&r);
}

/* What runs with the adapter is a model of the states T', which knows nothing of it; and T comes back. */
static void merged__is_a_model_of_other_states(void **state) {
    (void)state;
    tn_adapter_rig r;
    tn_model *other;
    int n;
    tn_adapter_rig_init(&r, &tn_network_small);
    const tn_real *alone = tn_adapter_rig_logits(&r, r.base);
    tn_adapter *adapter = make_merged(&r, 1.5);
    assert_ok(tn_model_attach(r.base, adapter, 1));
    const tn_real *merged = tn_adapter_rig_logits(&r, r.base); /* derived by the pass */
    assert_memory_not_equal(merged, alone, logit_bytes(&r));
    assert_ok(tn_model_create(&other, r.arena, &r.config, TN_MODEL_EXPORT));
    tn_param **from = tn_model_params(r.base, &n), **to = tn_model_params(other, &n);
    for (int i = 0; i < n; i++) {
        if (from[i]->quantizer != TN_QUANT_NONE) {
            tn_param_put_states(to[i], 0, to[i]->rows, states_of(&r, from[i]));
            to[i]->scale = from[i]->scale;
            continue;
        }
        if (!to[i]->tensor.real) assert_ok(tn_param_take_value(to[i], r.arena));
        memcpy(to[i]->tensor.real, from[i]->tensor.real, sizeof(tn_real) * (size_t)tn_param_count(from[i]));
    }
    tn_model_refresh(other, 1);
    assert_memory_equal(tn_adapter_rig_logits(&r, other), merged, logit_bytes(&r));
    assert_ok(tn_model_attach(r.base, adapter, 0)); /* a scale of 0 merges nothing */
    assert_memory_equal(tn_adapter_rig_logits(&r, r.base), alone, logit_bytes(&r));
    assert_ok(tn_model_attach(r.base, adapter, 1));
    assert_memory_equal(tn_adapter_rig_logits(&r, r.base), merged, logit_bytes(&r));
    tn_model_detach(r.base, adapter);
    assert_memory_equal(tn_adapter_rig_logits(&r, r.base), alone, logit_bytes(&r));
    /* A model that keeps its states beside the panels has those of T' there, and then those of T. */
    const tn_param *w = tn_model_find(other, "blk.1.ffn_up.weight");
    const int8_t *before =
        memcpy(tn_arena_array(r.arena, (size_t)tn_param_count(w), 1, "test"), w->states, (size_t)tn_param_count(w));
    assert_ok(tn_model_attach(other, adapter, 1));
    tn_model_refresh(other, 1);
    assert_memory_equal(states_of(&r, w), w->states, (size_t)tn_param_count(w));
    assert_memory_not_equal(before, w->states, (size_t)tn_param_count(w));
    tn_model_detach(other, adapter);
    assert_memory_equal(before, w->states, (size_t)tn_param_count(w));
    tn_adapter_rig_release(&r);
}

/* ---- gradients ---- */

/* dW of a latent of the same states in units of states, a dW, contracted with A and with B. */
static void merged__gradient_is_that_of_a_latent_in_low_rank(void **state) {
    (void)state;
    enum { N = 9, M = 7, K = 33, R = 3 };
    const double c = 1.5, a_scale = 0.37;
    tn_graph g;
    tn_graph_init(&g);
    const tn_real *x = tn_graph_normal(&g, N * K, 0), *dy = tn_graph_normal(&g, N * M, 1);
    tn_param *latent = tn_graph_latent(&g, M, K, tn_graph_normal(&g, M * K, 2), 1);
    tn_param *a = tn_graph_param(&g, K, R, tn_graph_normal(&g, K * R, 3), true),
             *b = tn_graph_param(&g, M, R, tn_graph_normal(&g, M * R, 4), true);
    tn_tensor *leaf = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, true), *codes = tn_act_quant(g.tape, leaf, 1);
    tn_tensor *y = tn_bitlinear(g.tape, codes, latent);
    tn_tensor *p = tn_lora_down(g.tape, tn_tape_constant(g.tape, codes), a, (tn_lora_reading){.raw = false});
    const tn_real *alone =
        memcpy(tn_arena_array(g.arena, N * M, sizeof(tn_real), "test"), y->real, N * M * sizeof(tn_real));
    y = tn_lora_within(g.tape, y, p, b, (tn_real)(c * a_scale));
    assert_memory_equal(y->real, alone, N * M * sizeof(tn_real));
    assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, y, dy)));
    const tn_real *dw = latent->tensor.grad;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < R; j++) {
            double sum = 0, size = 0;
            for (int o = 0; o < M; o++) {
                sum += (double)dw[o * K + i] * (double)b->tensor.real[o * R + j];
                size += fabs((double)dw[o * K + i] * (double)b->tensor.real[o * R + j]);
            }
            assert_true(fabs((double)a->tensor.grad[i * R + j] - c * a_scale * sum) <= 1e-5 * size);
        }
    for (int o = 0; o < M; o++)
        for (int j = 0; j < R; j++) {
            double sum = 0, size = 0;
            for (int i = 0; i < K; i++) {
                sum += (double)dw[o * K + i] * (double)a->tensor.real[i * R + j];
                size += fabs((double)dw[o * K + i] * (double)a->tensor.real[i * R + j]);
            }
            assert_true(fabs((double)b->tensor.grad[o * R + j] - c * a_scale * sum) <= 1e-5 * size);
        }
    /* Nothing of x goes through P: only T' leads there. */
    tn_graph_begin(&g);
    tn_tensor *other = tn_tape_real(g.tape, 2, (const int[]){N, K}, x, true);
    y = tn_bitlinear(g.tape, tn_act_quant(g.tape, other, 1), latent);
    assert_ok(tn_tape_backward(g.tape, tn_graph_dot(&g, y, dy)));
    assert_memory_equal(other->grad, leaf->grad, N * K * sizeof(tn_real));
    tn_graph_release(&g);
}

static void merged__gradients_do_not_depend_on_threads_or_recompute(void **state) {
    (void)state;
    tn_adapter_rig r;
    int64_t count;
    tn_adapter_rig_init(&r, &tn_network_small);
    assert_ok(tn_model_attach(r.base, make_merged(&r, 1.5), 1));
    assert_ok(tn_par_set_threads(1));
    tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, NULL, 0, TN_RIG_BATCH);
    const tn_real *expected = tn_adapter_rig_gradients(&r, r.base, &count);
    for (int threads = 1; threads <= 3; threads++)
        for (int blocks = 0; blocks <= 2; blocks++) {
            assert_ok(tn_par_set_threads(threads));
            tn_model_recompute(r.base, blocks);
            tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, NULL, 0, TN_RIG_BATCH);
            const tn_real *found = tn_adapter_rig_gradients(&r, r.base, &count);
            assert_memory_equal(found, expected, sizeof *found * (size_t)count);
        }
    assert_ok(tn_par_set_threads(2));
    tn_adapter_rig_release(&r);
}

/* ---- learning ---- */

static void merged__learns_one_batch_by_flipping_states(void **state) {
    (void)state;
    enum { STEPS = 150 };
    tn_adapter_rig r;
    tn_param *trained[64];
    tn_param_blocks blocks;
    tn_optimizer *optimizer;
    tn_model_config config = tn_network_small;
    const tn_optimizer_settings settings = {.kind = TN_OPTIMIZER_adamw, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};
    config.init_std = 0.5;
    tn_adapter_rig_init(&r, &config);
    tn_tape_set_backward(r.tape, TN_BACKWARD_INT16);
    tn_adapter *adapter = make_merged(&r, 0);
    assert_ok(tn_model_attach(r.base, adapter, 1));
    const int n = tn_model_trained(r.base, trained);
    assert_ok(tn_param_blocks_init(&blocks, r.arena, trained, n));
    assert_ok(tn_optimizer_create(&optimizer, r.arena, &blocks, &settings));
    const double first = tn_adapter_rig_loss(&r, r.base, TN_TAPE_FORWARD, NULL, 0, TN_RIG_BATCH);
    for (int step = 0; step < STEPS; step++) {
        tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, NULL, 0, TN_RIG_BATCH);
        tn_optimizer_step(optimizer,
                          &(tn_optimizer_rates){.learning_rate = 3e-2 * (1 - (double)step / STEPS), .grad_scale = 1});
        tn_model_refresh(r.base, 1);
    }
    const double last = tn_adapter_rig_loss(&r, r.base, TN_TAPE_FORWARD, NULL, 0, TN_RIG_BATCH);
    const tn_adapter_flips flips = tn_adapter_count_flips(adapter);
    print_message("  loss %.3f, after %d steps %.3f, expected below half; %.1f %% of states flipped\n", first, STEPS,
                  last, 100 * (double)flips.flipped / (double)flips.states);
    assert_true(flips.flipped > 0 && last < first / 2);
    tn_adapter_rig_release(&r);
}

static void merged__refuses_what_has_no_frozen_states(void **state) {
    (void)state;
    tn_adapter_rig r;
    tn_adapter *a;
    tn_model_config twin = tn_network_small;
    const tn_adapter_options drops = {.merged = true, .dropout = 0.1};
    tn_adapter_rig_init(&r, &tn_network_small);
    tn_assert_refused(tn_adapter_create(&a, r.arena, &r.config, &drops), TN_E_RANGE, "can drop nothing");
    tn_assert_refused(tn_model_attach(r.latent, make_merged(&r, 0.1), 1), TN_E_UNSUPPORTED, "latents");
    a = tn_adapter_rig_make(&r, "embed_tokens", TN_ADAPTER_RAW, 0, 0.1);
    a->options.merged = true;
    tn_assert_refused(tn_model_attach(r.base, a, 1), TN_E_UNSUPPORTED, "token_embd.weight has no ternary states");
    assert_ok(tn_model_attach(r.base, make_merged(&r, 0.1), 1));
    tn_assert_refused(tn_model_attach(r.base, make_merged(&r, 0.1), 1), TN_E_ARG, "another one is merged");
    assert_ok(tn_model_attach(r.base, tn_adapter_rig_make(&r, "all-linear", TN_ADAPTER_RAW, 0, 0.1), 1)); /* beside */
    tn_adapter_rig_release(&r);
    twin.quantization = TN_QUANTIZATION_NONE;
    tn_adapter_rig_init(&r, &twin);
    tn_assert_refused(tn_model_attach(r.base, make_merged(&r, 0.1), 1), TN_E_UNSUPPORTED, "no ternary states");
    tn_adapter_rig_release(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged__states_are_rounded_sums),
        cmocka_unit_test(merged__of_small_moves_changes_no_bit),
        cmocka_unit_test(merged__is_a_model_of_other_states),
        cmocka_unit_test(merged__gradient_is_that_of_a_latent_in_low_rank),
        cmocka_unit_test(merged__gradients_do_not_depend_on_threads_or_recompute),
        cmocka_unit_test(merged__learns_one_batch_by_flipping_states),
        cmocka_unit_test(merged__refuses_what_has_no_frozen_states),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("adapter_merge", tests, NULL, NULL);
}
