/* SPDX-License-Identifier: MIT
 * Adapters beside a model: what they add, the gradient that goes through a frozen base, and what they leave alone. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "tests/adapter_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

static const char everything[] = "all-linear, embed_tokens";

static size_t logit_bytes(const tn_adapter_rig *r) {
    return sizeof(tn_real) * TN_RIG_BATCH * TN_RIG_TIME * (size_t)r->config.vocab_size;
}

/* ---- what is added ---- */

static void adapter__of_zeros_changes_no_bit(void **state) {
    (void)state;
    tn_adapter_rig r;
    tn_adapter_rig_init(&r, &tn_network_small);
    const tn_real *alone = tn_adapter_rig_logits(&r, r.base);
    const double loss = tn_adapter_rig_loss(&r, r.base, TN_TAPE_FORWARD, NULL, 0, TN_RIG_BATCH);
    for (int input = TN_ADAPTER_RAW; input <= TN_ADAPTER_QUANTIZED; input++) {
        tn_adapter *adapter = tn_adapter_rig_make(&r, everything, (tn_adapter_input)input, 0, 0);
        tn_adapter_init(adapter, 9); /* the embedding's B is not 0, its A is */
        assert_ok(tn_model_attach(r.base, adapter, 1));
        assert_memory_equal(tn_adapter_rig_logits(&r, r.base), alone, logit_bytes(&r));
        assert_true(tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, NULL, 0, TN_RIG_BATCH) == loss);
        tn_model_detach(r.base, adapter);
    }
    tn_adapter_rig_release(&r);
}

/* W + s c B A' in place of W, for every pair. */
static void merge(tn_model *model, const tn_adapter *adapter, double scale) {
    for (int i = 0; i < adapter->n_pairs; i++) {
        const tn_adapter_pair *pair = &adapter->pairs[i];
        tn_param *w = tn_model_find(model, pair->target);
        for (int row = 0; row < w->rows; row++)
            for (int col = 0; col < w->cols; col++) {
                double sum = 0;
                for (int j = 0; j < pair->rank; j++)
                    sum += (double)pair->b.tensor.real[row * pair->rank + j] *
                           (double)pair->a.tensor.real[col * pair->rank + j];
                w->tensor.real[row * w->cols + col] += (tn_real)(scale * (double)pair->c * sum);
            }
    }
    tn_model_refresh(model, 1);
}

static void adapter__of_a_float_model_is_the_sum_of_matrices(void **state) {
    (void)state;
    tn_model_config config = tn_network_small;
    config.quantization = TN_QUANTIZATION_NONE;
    config.tie_embeddings = false;
    for (int sub_norms = 0; sub_norms < 2; sub_norms++) {
        tn_adapter_rig r;
        config.sub_norms = sub_norms;
        tn_adapter_rig_init(&r, &config);
        tn_adapter *adapter = tn_adapter_rig_make(&r, "all-linear lm_head", TN_ADAPTER_RAW, 0, 0.05);
        assert_int_equal(adapter->n_pairs, 2 * 7 + 1);
        assert_ok(tn_model_attach(r.base, adapter, 0.5));
        const tn_real *beside = tn_adapter_rig_logits(&r, r.base), *alone = tn_adapter_rig_logits(&r, r.latent);
        merge(r.latent, adapter, 0.5);
        const tn_real *merged = tn_adapter_rig_logits(&r, r.latent);
        double worst = 0, moved = 0;
        for (size_t i = 0; i < logit_bytes(&r) / sizeof *merged; i++) {
            worst = fmax(worst, fabs((double)(beside[i] - merged[i])));
            moved = fmax(moved, fabs((double)(alone[i] - merged[i])));
        }
        print_message("  logits moved by %.2f, off by %.1e\n", moved, worst);
        assert_true(moved > 0.1 && worst < 1e-5 * moved * (double)r.config.d_model);
        tn_adapter_rig_release(&r);
    }
}

/* PEFT: lora_embedding_A [:, id] goes through lora_embedding_B. */
static void adapter__of_an_embedding_adds_to_its_rows(void **state) {
    (void)state;
    tn_model_config config = tn_network_small;
    config.tie_embeddings = false; /* else W + B A' would change the head too */
    tn_adapter_rig r;
    tn_adapter_rig_init(&r, &config);
    tn_adapter *adapter = tn_adapter_rig_make(&r, "embed_tokens", TN_ADAPTER_RAW, 0, 0.3);
    tn_adapter_pair *pair = &adapter->pairs[0];
    tn_param *table = tn_model_find(r.latent, "token_embd.weight");
    const tn_rng rng = tn_rng_make(8, TN_PURPOSE_TEST, 0);
    for (int64_t i = 0; i < tn_param_count(&pair->a); i++)
        pair->a.tensor.real[i] = (tn_real)tn_rng_normal(&rng, (uint64_t)i);
    assert_ok(tn_model_attach(r.base, adapter, 1));
    const tn_real *found = tn_adapter_rig_logits(&r, r.base);
    for (int v = 0; v < table->rows; v++)
        for (int j = 0; j < table->cols; j++) {
            tn_real *at = &table->tensor.real[v * table->cols + j];
            for (int i = 0; i < pair->rank; i++)
                *at += pair->c * pair->a.tensor.real[v * pair->rank + i] * pair->b.tensor.real[j * pair->rank + i];
        }
    const tn_real *expected = tn_adapter_rig_logits(&r, r.latent);
    double worst = 0;
    for (size_t i = 0; i < logit_bytes(&r) / sizeof *found; i++)
        worst = fmax(worst, fabs((double)(found[i] - expected[i])));
    assert_true(worst < 0.05); /* a code may fall to the other side of a tie; without the adapter it is 1 and more */
    tn_adapter_rig_release(&r);
}

static void adapter__scales_and_order_are_those_of_attaching(void **state) {
    (void)state;
    tn_adapter_rig r;
    tn_adapter_rig_init(&r, &tn_network_small);
    const tn_real *alone = tn_adapter_rig_logits(&r, r.base);
    tn_adapter *a = tn_adapter_rig_make(&r, everything, TN_ADAPTER_RAW, 0, 0.1),
               *b = tn_adapter_rig_make(&r, "q_proj,down_proj", TN_ADAPTER_QUANTIZED, 0, 0.2);
    assert_ok(tn_model_attach(r.base, a, 1));
    const tn_real *one = tn_adapter_rig_logits(&r, r.base);
    assert_memory_not_equal(one, alone, logit_bytes(&r));
    assert_ok(tn_model_attach(r.base, b, 0.5));
    const tn_real *both = tn_adapter_rig_logits(&r, r.base);
    assert_memory_not_equal(both, one, logit_bytes(&r));
    assert_ptr_equal(tn_model_adapters(r.base), a);
    assert_ptr_equal(a->next, b);
    assert_ok(tn_model_attach(r.base, b, 0)); /* there, and runs nothing */
    assert_memory_equal(tn_adapter_rig_logits(&r, r.base), one, logit_bytes(&r));
    assert_ok(tn_model_attach(r.base, b, 0.5));
    assert_memory_equal(tn_adapter_rig_logits(&r, r.base), both, logit_bytes(&r));
    tn_model_detach(r.base, b);
    assert_memory_equal(tn_adapter_rig_logits(&r, r.base), one, logit_bytes(&r));
    tn_model_detach(r.base, a);
    tn_model_detach(r.base, a);
    assert_null(tn_model_adapters(r.base));
    assert_memory_equal(tn_adapter_rig_logits(&r, r.base), alone, logit_bytes(&r));
    assert_ok(tn_model_attach(r.latent, a, 1)); /* and may go elsewhere */
    assert_int_equal(tn_model_attach(r.base, a, 1), TN_E_ARG);
    tn_adapter_rig_release(&r);
}

/* Token by token behind a cache, and several sequences in one pass. */
static void adapter__generates_with_the_bits_of_a_whole_pass(void **state) {
    (void)state;
    tn_adapter_rig r;
    tn_cache caches[TN_RIG_BATCH];
    tn_stretch stretches[TN_RIG_BATCH];
    tn_adapter_rig_init(&r, &tn_network_small);
    assert_ok(tn_model_attach(r.base, tn_adapter_rig_make(&r, everything, TN_ADAPTER_RAW, 0.3, 0.1), 1));
    const tn_real *whole = tn_adapter_rig_logits(&r, r.base);
    const size_t row = sizeof *whole * (size_t)r.config.vocab_size;
    for (int i = 0; i < TN_RIG_BATCH; i++)
        assert_ok(tn_cache_init(&caches[i], r.arena, &r.config, TN_KV_F32, TN_RIG_TIME));
    for (int t = 0; t < TN_RIG_TIME; t++) {
        int32_t ids[TN_RIG_BATCH];
        for (int i = 0; i < TN_RIG_BATCH; i++) {
            ids[i] = r.tokens[i * TN_RIG_TIME + t];
            stretches[i] = (tn_stretch){&caches[i], 1};
        }
        tn_tape_begin(r.tape, TN_TAPE_FORWARD, NULL);
        tn_tensor *in = tn_tape_ids(r.tape, 2, (const int[]){1, TN_RIG_BATCH}, ids);
        tn_tensor *hidden = tn_model_hidden_batch(r.base, r.tape, in, stretches, TN_RIG_BATCH);
        const tn_tensor *logits = tn_model_logits(r.base, r.tape, hidden);
        assert_ok(tn_tape_status(r.tape));
        for (int i = 0; i < TN_RIG_BATCH; i++)
            assert_memory_equal(logits->real + i * r.config.vocab_size,
                                whole + (i * TN_RIG_TIME + t) * r.config.vocab_size, row);
    }
    tn_adapter_rig_release(&r);
}

/* ---- gradients ---- */

/* All gradients of a pass over the whole batch. */
static tn_real *gradients(tn_adapter_rig *r, tn_model *model, const tn_rng *rng, int64_t *count) {
    tn_adapter_rig_loss(r, model, TN_TAPE_RECORD, rng, 0, TN_RIG_BATCH);
    return tn_adapter_rig_gradients(r, model, count);
}

/* A head that is trained counts in integers, one that is not in f32. */
static void freeze_head(tn_model *model) {
    tn_param *head = tn_model_head(model);
    head->tensor.needs_grad = false;
    head->tensor.grad = NULL;
}

/* Over latents, whose own gradients come first, and over what is packed. */
static void adapter__has_the_same_gradient_over_frozen_weights(void **state) {
    (void)state;
    for (int arithmetic = TN_BACKWARD_F32; arithmetic <= TN_BACKWARD_INT16; arithmetic++)
        for (int input = TN_ADAPTER_RAW; input <= TN_ADAPTER_QUANTIZED; input++) {
            tn_adapter_rig r;
            int64_t all, own;
            tn_adapter_rig_init(&r, &tn_network_small);
            freeze_head(r.latent);
            tn_tape_set_backward(r.tape, (tn_backward)arithmetic);
            tn_adapter *adapter = tn_adapter_rig_make(&r, everything, (tn_adapter_input)input, 0, 0.1);
            assert_ok(tn_model_attach(r.latent, adapter, 1));
            const tn_real *expected = gradients(&r, r.latent, NULL, &all);
            tn_model_detach(r.latent, adapter);
            assert_ok(tn_model_attach(r.base, adapter, 1));
            const tn_real *found = gradients(&r, r.base, NULL, &own);
            assert_true(own < all);
            assert_memory_equal(found, expected + all - own, sizeof *found * (size_t)own);
            tn_adapter_rig_release(&r);
        }
}

/* Method norms: the gains of a frozen base. */
static void adapter__gains_over_frozen_weights_are_trained(void **state) {
    (void)state;
    tn_adapter_rig r;
    int64_t count;
    tn_adapter_rig_init(&r, &tn_network_small);
    freeze_head(r.latent);
    tn_tape_set_backward(r.tape, TN_BACKWARD_INT16);
    assert_int_equal(tn_model_trained(r.base, NULL), 0);
    assert_ok(tn_model_train_gains(r.base));
    assert_int_equal(tn_model_trained(r.base, NULL), 2 * 4 + 1);
    tn_adapter_rig_loss(&r, r.latent, TN_TAPE_RECORD, NULL, 0, TN_RIG_BATCH);
    tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, NULL, 0, TN_RIG_BATCH);
    tn_param *trained[16];
    const int n = tn_model_trained(r.base, trained);
    for (int i = 0; i < n; i++) {
        const tn_param *other = tn_model_find(r.latent, trained[i]->name);
        count = tn_param_count(other);
        assert_memory_equal(trained[i]->tensor.grad, other->tensor.grad, sizeof(tn_real) * (size_t)count);
    }
    tn_adapter_rig_release(&r);
}

static void adapter__gradients_do_not_depend_on_threads_or_recompute(void **state) {
    (void)state;
    tn_adapter_rig r;
    int64_t count;
    const tn_rng rng = tn_rng_make(5, TN_PURPOSE_DROPOUT, 0);
    tn_adapter_rig_init(&r, &tn_network_small);
    assert_ok(tn_model_attach(r.base, tn_adapter_rig_make(&r, everything, TN_ADAPTER_RAW, 0.2, 0.1), 1));
    assert_ok(tn_par_set_threads(1));
    const tn_real *expected = gradients(&r, r.base, &rng, &count);
    for (int threads = 1; threads <= 3; threads++)
        for (int blocks = 0; blocks <= 2; blocks++) {
            assert_ok(tn_par_set_threads(threads));
            tn_model_recompute(r.base, blocks);
            assert_memory_equal(gradients(&r, r.base, &rng, &count), expected, sizeof *expected * (size_t)count);
        }
    assert_ok(tn_par_set_threads(2));
    tn_adapter_rig_release(&r);
}

/* One chain over tokens: a step cut into micro-batches has the bits of one batch. */
static void adapter__micro_batches_add_up_to_the_bits_of_one(void **state) {
    (void)state;
    tn_adapter_rig r;
    int64_t count;
    tn_adapter_rig_init(&r, &tn_network_small);
    tn_tape_set_backward(r.tape, TN_BACKWARD_INT16);
    assert_ok(tn_model_attach(r.base, tn_adapter_rig_make(&r, "all-linear", TN_ADAPTER_RAW, 0, 0.1), 1));
    const tn_real *expected = gradients(&r, r.base, NULL, &count);
    for (int row = 0; row < TN_RIG_BATCH; row++) tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, NULL, row, 1);
    assert_memory_equal(tn_adapter_rig_gradients(&r, r.base, &count), expected, sizeof *expected * (size_t)count);
    tn_adapter_rig_release(&r);
}

static void adapter__drops_in_passes_that_train_alone(void **state) {
    (void)state;
    tn_adapter_rig r;
    const tn_rng rng = tn_rng_make(5, TN_PURPOSE_DROPOUT, 0), other = tn_rng_make(5, TN_PURPOSE_DROPOUT, 1);
    tn_adapter_rig_init(&r, &tn_network_small);
    assert_ok(tn_model_attach(r.base, tn_adapter_rig_make(&r, "all-linear", TN_ADAPTER_RAW, 0.5, 0.1), 1));
    const double plain = tn_adapter_rig_loss(&r, r.base, TN_TAPE_FORWARD, &rng, 0, TN_RIG_BATCH),
                 dropped = tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, &rng, 0, TN_RIG_BATCH);
    assert_true(tn_adapter_rig_loss(&r, r.base, TN_TAPE_FORWARD, NULL, 0, TN_RIG_BATCH) == plain);
    assert_true(tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, &rng, 0, TN_RIG_BATCH) == dropped);
    assert_true(dropped != plain);
    assert_true(tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, &other, 0, TN_RIG_BATCH) != dropped);
    tn_adapter_rig_release(&r);
}

#ifdef TN_F64
static double direction(int param, int64_t i) {
    const tn_rng rng = tn_rng_make(4, TN_PURPOSE_TEST, (uint32_t)param);
    return 2 * tn_rng_uniform(&rng, (uint64_t)i) - 1;
}

static double difference(tn_adapter_rig *r, tn_param *param, int number, const tn_rng *rng, double step) {
    double loss[2];
    for (int side = 0; side < 2; side++) {
        const double by = side ? -2 * step : step;
        for (int64_t i = 0; i < tn_param_count(param); i++) param->tensor.real[i] += by * direction(number, i);
        loss[side] = tn_adapter_rig_loss(r, r->base, TN_TAPE_RECORD, rng, 0, TN_RIG_BATCH);
    }
    for (int64_t i = 0; i < tn_param_count(param); i++) param->tensor.real[i] += step * direction(number, i);
    return (loss[0] - loss[1]) / (2 * step);
}

/* Slopes of all that is trained over a frozen base, with frozen residuals; two steps as in test_network.c. */
static void check_slopes(const tn_model_config *config, tn_adapter_input input, const tn_rng *rng) {
    tn_adapter_rig r;
    tn_param *trained[64];
    double expected[64] = {0}, worst = 0;
    const double step = 2e-6;
    tn_adapter_rig_init(&r, config);
    assert_ok(tn_model_attach(r.base, tn_adapter_rig_make(&r, everything, input, rng ? 0.2 : 0, 0.1), 0.7));
    assert_ok(tn_model_train_gains(r.base));
    const int n = tn_model_trained(r.base, trained);
    assert_true(n <= 64);
    tn_tape_residuals(r.tape, TN_RESIDUAL_KEEP);
    tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, rng, 0, TN_RIG_BATCH);
    for (int p = 0; p < n; p++)
        for (int64_t i = 0; i < tn_param_count(trained[p]); i++)
            expected[p] += trained[p]->tensor.grad[i] * direction(p, i);
    tn_tape_residuals(r.tape, TN_RESIDUAL_REPLAY);
    for (int p = 0; p < n; p++) {
        const double found =
            2 * difference(&r, trained[p], p, rng, step / 2) - difference(&r, trained[p], p, rng, step);
        const double error = fabs(found - expected[p]) / (fabs(expected[p]) + 0.01);
        worst = fmax(worst, error);
        if (!(error < 1e-6)) fail_msg("%s: slope off by %g", trained[p]->name, error);
    }
    print_message("  slopes of %d parameters off by at most %.1e, tolerance 1e-06\n", n, worst);
    tn_adapter_rig_release(&r);
}

static void adapter__gradient_is_the_slope_over_a_frozen_base(void **state) {
    (void)state;
    tn_model_config llama = tn_network_small, twin = tn_network_small;
    const tn_rng rng = tn_rng_make(5, TN_PURPOSE_DROPOUT, 0);
    llama.sub_norms = llama.tie_embeddings = false;
    llama.activation = TN_ACTIVATION_SILU;
    twin.quantization = TN_QUANTIZATION_NONE;
    assert_ok(tn_par_set_threads(1)); /* too small to share */
    check_slopes(&tn_network_small, TN_ADAPTER_RAW, NULL);
    check_slopes(&tn_network_small, TN_ADAPTER_QUANTIZED, NULL);
    check_slopes(&tn_network_small, TN_ADAPTER_RAW, &rng);
    check_slopes(&tn_network_small, TN_ADAPTER_QUANTIZED, &rng);
    check_slopes(&llama, TN_ADAPTER_RAW, NULL);
    check_slopes(&twin, TN_ADAPTER_RAW, NULL);
    assert_ok(tn_par_set_threads(2));
}
#endif

/* ---- learning ---- */

/* FNV-1a of all that a frozen base holds. */
static uint64_t sum_of_base(tn_model *model) {
    int n;
    uint64_t hash = 14695981039346656037u;
    tn_param **params = tn_model_params(model, &n);
    for (int i = 0; i < n; i++) {
        int8_t room[48 * 48];
        const tn_param *p = params[i];
        const bool states = p->quantizer != TN_QUANT_NONE;
        const size_t bytes = (size_t)tn_param_count(p) * (states ? 1 : sizeof(tn_real));
        const unsigned char *at =
            states ? (const void *)tn_param_states(p, 0, p->rows, room) : (const void *)p->tensor.real;
        for (size_t j = 0; j < bytes; j++) hash = (hash ^ at[j]) * 1099511628211u;
    }
    return hash;
}

static void adapter__overfits_one_batch_over_a_frozen_base(void **state) {
    (void)state;
    enum { STEPS = 150 };
    tn_model_config config = tn_network_small;
    config.init_std = 0.5; /* a frozen head of smaller numbers cannot be sure of anything */
    for (int input = TN_ADAPTER_RAW; input <= TN_ADAPTER_QUANTIZED; input++) {
        tn_adapter_rig r;
        tn_param *trained[64];
        tn_param_blocks blocks;
        tn_optimizer *optimizer;
        const tn_optimizer_settings settings = {
            .kind = TN_OPTIMIZER_adamw, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};
        tn_adapter_rig_init(&r, &config);
        tn_tape_set_backward(r.tape, TN_BACKWARD_INT16);
        const uint64_t before = sum_of_base(r.base);
        assert_ok(tn_model_attach(r.base, tn_adapter_rig_make(&r, everything, (tn_adapter_input)input, 0, 0), 1));
        const int n = tn_model_trained(r.base, trained);
        assert_ok(tn_param_blocks_init(&blocks, r.arena, trained, n));
        assert_ok(tn_optimizer_create(&optimizer, r.arena, &blocks, &settings));
        const double first = tn_adapter_rig_loss(&r, r.base, TN_TAPE_FORWARD, NULL, 0, TN_RIG_BATCH);
        for (int step = 0; step < STEPS; step++) {
            tn_adapter_rig_loss(&r, r.base, TN_TAPE_RECORD, NULL, 0, TN_RIG_BATCH);
            tn_optimizer_step(
                optimizer, &(tn_optimizer_rates){.learning_rate = 3e-2 * (1 - (double)step / STEPS), .grad_scale = 1});
            tn_model_refresh(r.base, 1);
        }
        const double last = tn_adapter_rig_loss(&r, r.base, TN_TAPE_FORWARD, NULL, 0, TN_RIG_BATCH);
        print_message("  loss %.3f, after %d steps %.4f, expected below 0.1\n", first, STEPS, last);
        assert_true(first > 3 && last < 0.1);
        assert_true(sum_of_base(r.base) == before);
        tn_adapter_rig_release(&r);
    }
}

/* ---- pairs ---- */

static void adapter__begins_as_peft_does(void **state) {
    (void)state;
    tn_adapter_rig r;
    tn_adapter *a, *b;
    const tn_adapter_options options = {.rslora = true};
    const tn_adapter_module others[] = {{"down_proj", 9, 0}, {"q_proj", 0, 8}};
    tn_adapter_rig_init(&r, &tn_network_small);
    assert_ok(tn_adapter_create(&a, r.arena, &r.config, &options));
    assert_ok(tn_adapter_add_modules(a, "q_proj,down_proj", 4, 2, others, 2));
    assert_int_equal(a->n_pairs, 4);
    const tn_adapter_pair *q = tn_adapter_find(a, "blk.1.attn_q.weight"),
                          *down = tn_adapter_find(a, "blk.1.ffn_down.weight");
    assert_true(q && down && q->rank == 4 && down->rank == 9);
    assert_true(fabs((double)q->c - 8 / sqrt(4)) < 1e-6 && fabs((double)down->c - 2 / sqrt(9)) < 1e-6);
    assert_string_equal(down->a.name, "blk.1.ffn_down.weight.lora_a");
    assert_int_equal(down->a.rows, r.config.d_ff);
    assert_int_equal(down->b.rows, r.config.d_model);
    assert_null(down->a.tensor.grad); /* it is not trained */
    tn_adapter_init(a, 1);
    double largest = 0, sum = 0;
    const double bound = 1 / sqrt(r.config.d_ff);
    for (int64_t i = 0; i < tn_param_count(&down->a); i++) {
        largest = fmax(largest, fabs((double)down->a.tensor.real[i]));
        sum += (double)down->a.tensor.real[i] * (double)down->a.tensor.real[i];
    }
    assert_true(largest <= bound && largest > 0.95 * bound);
    assert_true(fabs(sqrt(3 * sum / (double)tn_param_count(&down->a)) / bound - 1) < 0.1); /* uniform */
    for (int64_t i = 0; i < tn_param_count(&down->b); i++) assert_true(down->b.tensor.real[i] == 0);
    /* A pair's numbers do not depend on the pairs beside it, and do on the seed. */
    assert_ok(tn_adapter_create(&b, r.arena, &r.config, &options));
    assert_ok(tn_adapter_add(b, "blk.1.attn_q.weight", 4, 8));
    tn_adapter_init(b, 1);
    const size_t bytes = sizeof(tn_real) * (size_t)tn_param_count(&q->a);
    assert_memory_equal(b->pairs[0].a.tensor.real, q->a.tensor.real, bytes);
    tn_adapter_init(b, 2);
    assert_memory_not_equal(b->pairs[0].a.tensor.real, q->a.tensor.real, bytes);
    tn_adapter_rig_release(&r);
}

static void adapter__refuses_what_does_not_fit(void **state) {
    (void)state;
    tn_adapter_rig r;
    tn_adapter *a;
    tn_adapter_rig_init(&r, &tn_network_small);
    const tn_adapter_options all = {.dropout = 1}, plain = {0};
    const tn_adapter_module unnamed = {"up_proj", 2, 0};
    tn_assert_refused(tn_adapter_create(&a, r.arena, &r.config, &all), TN_E_RANGE, "dropout 1");
    assert_ok(tn_adapter_create(&a, r.arena, &r.config, &plain));
    tn_assert_refused(tn_adapter_add_modules(a, "q_proj,q_prj", 4, 4, NULL, 0), TN_E_ARG, "\"q_prj\": expected q_proj");
    tn_assert_refused(tn_adapter_add_modules(a, " , ", 4, 4, NULL, 0), TN_E_ARG, "no module");
    tn_assert_refused(tn_adapter_add_modules(a, "q_proj", 4, 4, &unnamed, 1), TN_E_ARG, "up_proj");
    tn_assert_refused(tn_adapter_add(a, "blk.2.attn_q.weight", 4, 4), TN_E_MISSING, "blk.2.attn_q.weight");
    tn_assert_refused(tn_adapter_add(a, "blk.0.attn_norm.weight", 4, 4), TN_E_MISSING, "attn_norm");
    tn_assert_refused(tn_adapter_add(a, "blk.0.attn_q.weight", 0, 4), TN_E_RANGE, "rank 0");
    tn_assert_refused(tn_adapter_add(a, "blk.0.attn_q.weight", 4, 0), TN_E_RANGE, "alpha 0");
    assert_ok(tn_adapter_add(a, "blk.0.attn_q.weight", 4, 4));
    tn_assert_refused(tn_adapter_add(a, "blk.0.attn_q.weight", 4, 4), TN_E_ARG, "two pairs");
    tn_assert_refused(tn_model_attach(r.base, a, (double)NAN), TN_E_RANGE, "nan");
    tn_model_config wide = tn_network_small;
    tn_model *other;
    wide.d_model = 64;
    wide.head_dim = 0;
    assert_ok(tn_model_config_complete(&wide));
    assert_ok(tn_model_create(&other, r.arena, &wide, TN_MODEL_RUN));
    tn_assert_refused(tn_model_attach(other, a, 1), TN_E_MISMATCH,
                      "from 32 to 32 for blk.0.attn_q.weight, which is [64,64]");
    assert_null(tn_model_adapters(other));
    tn_adapter_rig_release(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef TN_F64
        cmocka_unit_test(adapter__gradient_is_the_slope_over_a_frozen_base),
#endif
        cmocka_unit_test(adapter__of_zeros_changes_no_bit),
        cmocka_unit_test(adapter__of_a_float_model_is_the_sum_of_matrices),
        cmocka_unit_test(adapter__of_an_embedding_adds_to_its_rows),
        cmocka_unit_test(adapter__scales_and_order_are_those_of_attaching),
        cmocka_unit_test(adapter__generates_with_the_bits_of_a_whole_pass),
        cmocka_unit_test(adapter__has_the_same_gradient_over_frozen_weights),
        cmocka_unit_test(adapter__gains_over_frozen_weights_are_trained),
        cmocka_unit_test(adapter__gradients_do_not_depend_on_threads_or_recompute),
        cmocka_unit_test(adapter__micro_batches_add_up_to_the_bits_of_one),
        cmocka_unit_test(adapter__drops_in_passes_that_train_alone),
        cmocka_unit_test(adapter__overfits_one_batch_over_a_frozen_base),
        cmocka_unit_test(adapter__begins_as_peft_does),
        cmocka_unit_test(adapter__refuses_what_does_not_fit),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("adapter", tests, NULL, NULL);
}
