/* SPDX-License-Identifier: MIT
 * Runs that start from the model of another run. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/trainer_rig.h"
#include "train/plan.h"
#include "train/trainer_priv.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const methods[] = {"method=full", "method=norms", "method=lora lora.rank=4",
                                      "method=lora_merged lora.rank=4"};

/* Of whatever a parameter has: states and scale, or values. */
static bool same_bits(const tn_param *a, const tn_param *b) {
    if (a->quantizer == TN_QUANT_NONE) return tn_same_values(a, b);
    int8_t room[64 * 64], other[64 * 64];
    const size_t count = (size_t)tn_param_count(a);
    assert_true(count <= sizeof room);
    return a->scale == b->scale &&
           memcmp(tn_param_states(a, 0, a->rows, room), tn_param_states(b, 0, b->rows, other), count) == 0;
}

/* ---- where it begins ---- */

static void finetune__begins_with_the_model_of_its_base(void **state) {
    const tn_place *p = *state;
    for (size_t m = 0; m < TN_COUNT(methods); m++) {
        tn_arena *arena = tn_arena_create("test");
        tn_loaded base;
        tn_run r;
        int n, n_base;
        tn_place_load_base(p, arena, TN_MODEL_EVAL, &base);
        tn_run_init_finetune(&r, p, methods[m], "base", methods[m]);
        assert_ok(tn_run_open(&r, false));
        tn_param **params = tn_model_params(tn_trainer_model(r.trainer), &n);
        tn_param **expected = tn_model_params(base.model, &n_base);
        assert_int_equal(n, n_base);
        for (int i = 0; i < n; i++) {
            assert_string_equal(params[i]->name, expected[i]->name);
            assert_true(same_bits(params[i], expected[i]));
            if (params[i]->tensor.real) assert_true(tn_same_values(params[i], expected[i]));
        }
        assert_int_equal(r.config.model.d_model, 32);
        assert_int_equal(r.config.model.context, 16);
        tn_loaded_release(&base);
        tn_run_release(&r);
        tn_arena_free(arena);
    }
}

static void finetune__begins_with_the_loss_of_its_base(void **state) {
    tn_run base;
    tn_run_once(&base, *state, "again", "");
    for (size_t m = 0; m < TN_COUNT(methods); m++) {
        tn_run r;
        char sets[200];
        snprintf(sets, sizeof sets, "%s train.eval_at_start=true data.validation_fraction=0.1 train.batch_size=4",
                 methods[m]);
        tn_finetune_once(&r, *state, methods[m], sets);
        json_t *rows = tn_run_read_rows(&r);
        double first = json_real_value(json_object_get(json_array_get(rows, 0), "val_loss"));
        json_decref(rows);
        assert_true(fabs(first - base.summary.best_loss) < 1e-8); /* a row has nine digits */
        assert_true(r.summary.best_loss < first);
        tn_run_release(&r);
    }
    tn_run_release(&base);
}

/* ---- what it trains ---- */

static void norms__moves_gains_and_nothing_else(void **state) {
    const tn_place *p = *state;
    tn_arena *arena = tn_arena_create("test");
    tn_loaded base;
    tn_run r;
    int n;
    tn_place_load_base(p, arena, TN_MODEL_EVAL, &base);
    tn_finetune_once(&r, p, "norms", "method=norms");
    tn_param **params = tn_model_params(tn_trainer_model(r.trainer), &n);
    for (int i = 0; i < n; i++) {
        const tn_param *before = tn_model_find(base.model, params[i]->name);
        bool gain = strstr(params[i]->name, "norm") != NULL;
        assert_true((params[i]->tensor.grad != NULL) == gain);
        assert_true(same_bits(params[i], before) != gain);
        if (params[i]->quantizer != TN_QUANT_NONE) assert_null(params[i]->tensor.real);
    }
    tn_loaded_release(&base);
    tn_run_release(&r);
    tn_arena_free(arena);
}

static void checkpoint__of_a_frozen_base_holds_what_is_trained(void **state) {
    tn_run full, norms;
    char path[TN_RUN_PATH];
    tn_finetune_once(&full, *state, "full", "method=full");
    tn_finetune_once(&norms, *state, "norms", "method=norms");
    tn_ckpt *file;
    assert_ok(tn_ckpt_open(&file, full.summary.checkpoint));
    assert_true(tn_ckpt_has_param(file, "blk.0.attn_q.weight") && tn_ckpt_has_param(file, "output_norm.weight"));
    tn_ckpt_close(file);
    assert_ok(tn_ckpt_open(&file, norms.summary.checkpoint));
    assert_false(tn_ckpt_has_param(file, "blk.0.attn_q.weight") || tn_ckpt_has_param(file, "token_embd.weight"));
    assert_true(tn_ckpt_has_param(file, "output_norm.weight"));
    assert_true(tn_ckpt_has_slot(file, "m", "blk.1.ffn_norm.weight"));
    tn_buf text = {0};
    assert_ok(tn_ckpt_get_text(file, TN_CKPT_CONFIG, &text));
    assert_ok(tn_path_join(path, sizeof path, ((tn_place *)*state)->dir, "base"));
    assert_non_null(strstr(tn_buf_text(&text), path));
    tn_buf_reset(&text);
    assert_ok(tn_ckpt_get_text(file, TN_CKPT_STATE, &text));
    assert_non_null(strstr(tn_buf_text(&text), norms.trainer->base.id));
    tn_buf_release(&text);
    tn_ckpt_close(file);
    tn_run_release(&full);
    tn_run_release(&norms);
}

/* Lion moves every weight by its rate, up or down. */
static void relative_rates__are_shares_of_the_mean_size_of_a_matrix(void **state) {
    const tn_place *p = *state;
    tn_arena *arena = tn_arena_create("test");
    tn_loaded base;
    tn_place_load_base(p, arena, TN_MODEL_EVAL, &base);
    for (int relative = 0; relative <= 1; relative++) {
        tn_run r;
        char sets[200];
        snprintf(sets, sizeof sets, "method=full train.optimizer=lion train.schedule=constant train.max_steps=1 %s=%d",
                 "relative_learning_rate", relative);
        tn_finetune_once(&r, p, relative ? "relative" : "absolute", sets);
        for (int i = 0; i < r.trainer->engine.trained.count; i++) {
            const tn_param *after = r.trainer->engine.trained.list[i];
            const tn_param *before = tn_model_find(base.model, after->name);
            double rate = relative && before->quantizer != TN_QUANT_NONE ? 1e-2 * (double)before->scale : 1e-2;
            for (int64_t j = 0; j < tn_param_count(after); j++) {
                double moved = fabs((double)(after->tensor.real[j] - before->tensor.real[j]));
                assert_true(moved == 0 || fabs(moved - rate) < 1e-6); /* sums round to a half ulp of weights below 8 */
            }
        }
        tn_run_release(&r);
    }
    tn_loaded_release(&base);
    tn_arena_free(arena);
}

/* ---- the trainer's promises ---- */

static void resumed_finetune__equals_a_straight_one(void **state) {
    static const char *const variants[] = {"method=full",
                                           "method=full train.optimizer=muon model.dropout=0.1",
                                           "method=norms",
                                           "method=norms train.checkpoint_activations=block",
                                           "method=lora",
                                           "method=lora lora.rank=4 lora.plus_ratio=16 lora.input=quantized",
                                           "method=lora lora.modules_to_save=norms train.checkpoint_activations=block",
                                           "method=lora_merged lora.rank=4 train.learning_rate=0.1",
                                           "method=lora_merged lora.rank=4 lora.modules_to_save=embed_tokens"};
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        tn_run straight, parts;
        char a[32], b[32];
        snprintf(a, sizeof a, "straight%zu", i);
        snprintf(b, sizeof b, "parts%zu", i);
        tn_finetune_once(&straight, *state, a, variants[i]);
        tn_finetune_in_two_parts(&parts, *state, b, variants[i], 3 + (int64_t)i % 8);
        tn_assert_same_trained(&straight, &parts);
        tn_assert_same_slots(&straight, &parts);
        tn_assert_same_rows(&straight, &parts);
        tn_run_release(&straight);
        tn_run_release(&parts);
    }
}

static void plan__is_what_finetuning_takes(void **state) {
    for (size_t m = 0; m < TN_COUNT(methods); m++) {
        tn_run r;
        tn_plan plan = {0};
        char name[16];
        snprintf(name, sizeof name, "r%zu", m);
        tn_finetune_once(&r, *state, name, methods[m]);
        assert_ok(tn_plan_count_memory(&plan, &r.config, &r.trainer->course));
        tn_memory_table taken = {0};
        tn_engine_count_memory(&r.trainer->engine, &taken);
        for (int i = 0; i < taken.count; i++) {
            int64_t planned = -1;
            for (int j = 0; j < plan.memory.count; j++)
                if (strcmp(plan.memory.rows[j].name, taken.rows[i].name) == 0) planned = plan.memory.rows[j].bytes;
            /* Texts of the state are a few bytes; the head is not packed for logits that nobody asks for. */
            if (strcmp(taken.rows[i].name, "config") == 0 || strcmp(taken.rows[i].name, "packed floats") == 0) continue;
            if (planned != taken.rows[i].bytes)
                fail_msg("%s: planned %lld bytes of %s, took %lld", methods[m], (long long)planned, taken.rows[i].name,
                         (long long)taken.rows[i].bytes);
        }
        static const int64_t gains = 2 * (3 * 32 + 64) + 32, pairs = 2 * 4 * (4 * (32 + 32) + 3 * (32 + 64));
        const int64_t all = tn_model_config_counts(&r.config.model).total;
        assert_int_equal(plan.trained, m == 0 ? all : m == 1 ? gains : pairs);
        tn_run_release(&r);
    }
}

/* ---- what is refused ---- */

static void another_base__is_refused_by_its_fingerprint(void **state) {
    tn_run r;
    tn_place_add_run(*state, "other", "train.seed=7");
    tn_finetune_once(&r, *state, "a", "method=norms");
    tn_run_release(&r);
    tn_run_init_finetune(&r, *state, "a", "other", "method=norms");
    assert_int_equal(tn_run_open(&r, true), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "other is not the base that the run began with (fingerprint "));
    tn_run_release(&r);
}

static void settings__that_cannot_be_are_refused_by_name(void **state) {
    static const struct {
        const char *base, *set, *expected;
    } cases[] = {
        {"base", "method=full model.d_model=48", "the configuration has model.d_model: 48, but the base "},
        {"base", "method=full model.quantization=none", "has model.quantization: bitnet; leave it out"},
        {"none", "method=full", "no such file or directory (model.base)"},
        {"base", "method=full model.base=", "model.base is missing: the model to start from"},
        {"base", "method=full data.tokenizer=/some/tokenizer.json",
         "but the base brings its own tokenizer; leave it out"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_run r;
        tn_run_init_finetune(&r, *state, "a", cases[i].base, cases[i].set);
        assert_true(tn_run_open(&r, false) != TN_OK);
        if (!strstr(tn_error_message(), cases[i].expected)) fail_msg("%s: %s", cases[i].set, tn_error_message());
        assert_false(tn_path_exists(r.dir));
        tn_run_release(&r);
    }
}

static void resumed_run__keeps_its_method(void **state) {
    static const char *const changes[][2] = {{"method=norms", "method: full, but this run has method: norms"},
                                             {"relative_learning_rate=false",
                                              "relative_learning_rate: true, but this run has relative_learning_rate: "
                                              "false"}};
    tn_run r;
    tn_finetune_once(&r, *state, "a", "method=full");
    tn_run_release(&r);
    for (size_t i = 0; i < TN_COUNT(changes); i++) {
        char sets[128];
        snprintf(sets, sizeof sets, "method=full %s", changes[i][0]);
        tn_run_init_finetune(&r, *state, "a", "base", sets);
        assert_int_equal(tn_run_open(&r, true), TN_E_MISMATCH);
        assert_non_null(strstr(tn_error_message(), changes[i][1]));
        tn_run_release(&r);
    }
}

static void batch_tokens__sets_the_accumulation_that_nobody_gave(void **state) {
    const tn_place *p = *state;
    for (int given = 0; given <= 1; given++) {
        tn_arena *arena = tn_arena_create("test");
        tn_run_config config;
        tn_course course;
        tn_loaded base;
        tn_place_load_base(p, arena, TN_MODEL_EVAL, &base);
        assert_ok(tn_run_config_init_finetune(&config, arena));
        assert_ok(tn_config_set(&config.config, "train.batch_tokens=64"));
        if (given) assert_ok(tn_config_set(&config.config, "train.grad_accumulation=8"));
        assert_ok(tn_run_config_take_model(&config, base.path, &base.config));
        assert_ok(tn_run_config_complete(&config, base.tokenizer));
        const tn_status status = tn_train_course(&course, &config.train, 16, (tn_epoch){.rows = 100});
        assert_int_equal(status, given ? TN_E_CONFIG : TN_OK);
        if (!given) assert_int_equal(course.accumulation, 2);
        tn_loaded_release(&base);
        tn_arena_free(arena);
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, tn_place_set_up_base, tn_place_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(finetune__begins_with_the_model_of_its_base),
        CASE(finetune__begins_with_the_loss_of_its_base),
        CASE(norms__moves_gains_and_nothing_else),
        CASE(checkpoint__of_a_frozen_base_holds_what_is_trained),
        CASE(relative_rates__are_shares_of_the_mean_size_of_a_matrix),
        CASE(resumed_finetune__equals_a_straight_one),
        CASE(plan__is_what_finetuning_takes),
        CASE(another_base__is_refused_by_its_fingerprint),
        CASE(settings__that_cannot_be_are_refused_by_name),
        CASE(resumed_run__keeps_its_method),
        CASE(batch_tokens__sets_the_accumulation_that_nobody_gave),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("finetune", tests, NULL, NULL);
}
