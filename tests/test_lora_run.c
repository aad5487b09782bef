/* SPDX-License-Identifier: MIT
 * Runs that train an adapter, beside a frozen base or merged into it: what each setting does, what stays as it was. */
#include "core/par.h"
#include "formats/checksum.h"
#include "kernels/kernels.h"
#include "layers/adapter.h"
#include "tests/trainer_rig.h"
#include "train/trainer_priv.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- what stays ---- */

static uint64_t sum_of(const tn_param *p) {
    int8_t room[64 * 64];
    const size_t count = (size_t)tn_param_count(p);
    if (p->tensor.real) return tn_checksum64(p->tensor.real, count * sizeof(tn_real));
    assert_true(p->quantizer != TN_QUANT_NONE && count <= sizeof room);
    return tn_checksum64(tn_param_states(p, 0, p->rows, room), count);
}

static void base__is_the_same_after_training(void **state) {
    static const struct {
        const char *sets;
        int besides; /* parameters of the model that are trained */
    } cases[] = {
        {"method=lora", 0},
        {"method=lora lora.target_modules=embed_tokens lora.modules_to_save=norms", 9},
        {"method=lora lora.modules_to_save=embed_tokens", 1},
        {"method=lora_merged train.learning_rate=0.2", 0},
    };
    tn_arena *arena = tn_arena_create("test");
    tn_loaded base;
    tn_place_load_base(*state, arena, TN_MODEL_EXPORT, &base);
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_run r;
        char name[16], id[TN_FINGERPRINT];
        int n, moved = 0;
        snprintf(name, sizeof name, "r%zu", i);
        tn_finetune_once(&r, *state, name, cases[i].sets);
        tn_model *model = tn_trainer_model(r.trainer);
        tn_model_detach(model, tn_model_adapters(model));
        assert_ok(tn_model_fingerprint(model, id));
        assert_string_equal(id, r.trainer->base.id);
        tn_param **params = tn_model_params(model, &n);
        for (int j = 0; j < n; j++) {
            const tn_param *before = tn_model_find(base.model, params[j]->name);
            const bool same = sum_of(params[j]) == sum_of(before) && params[j]->scale == before->scale;
            assert_true(same || params[j]->tensor.grad);
            moved += !same;
        }
        assert_int_equal(moved, cases[i].besides);
        tn_run_release(&r);
    }
    tn_loaded_release(&base);
    tn_arena_free(arena);
}

/* ---- stopped and resumed ---- */

static void any_method_and_optimizer__resumes_with_the_same_bits(void **state) {
    static const char *const methods[] = {"full", "norms", "lora", "lora_merged"};
    static const char *const optimizers[] = {"adamw", "sgd", "lion", "muon", "adamw8bit"};
    for (size_t i = 0; i < TN_COUNT(methods) * TN_COUNT(optimizers); i++) {
        tn_run straight, parts;
        char sets[128], a[32], b[32];
        snprintf(a, sizeof a, "straight%zu", i);
        snprintf(b, sizeof b, "parts%zu", i);
        snprintf(sets, sizeof sets, "method=%s train.optimizer=%s train.max_steps=7", methods[i / 5],
                 optimizers[i % 5]);
        tn_finetune_once(&straight, *state, a, sets);
        tn_finetune_in_two_parts(&parts, *state, b, sets, 3);
        tn_assert_same_trained(&straight, &parts);
        tn_assert_same_slots(&straight, &parts);
        tn_assert_same_rows(&straight, &parts);
        tn_run_release(&straight);
        tn_run_release(&parts);
    }
}

/* Sums over tokens go on where the pass before ended: the rows of a step have one order, however passes cut them. */
static void accumulated_rows__give_the_bits_of_rows_at_once(void **state) {
    static const char *const variants[] = {"method=lora", "method=lora lora.input=quantized lora.rank=4",
                                           "method=lora train.checkpoint_activations=block train.backward=f32",
                                           "method=lora_merged train.learning_rate=0.05"};
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        tn_run whole, parts;
        char sets[256], a[32], b[32];
        snprintf(a, sizeof a, "whole%zu", i);
        snprintf(b, sizeof b, "parts%zu", i);
        snprintf(sets, sizeof sets, "%s lora.dropout=0 train.batch_size=8 train.grad_accumulation=1", variants[i]);
        tn_finetune_once(&whole, *state, a, sets);
        snprintf(sets, sizeof sets, "%s lora.dropout=0 train.batch_size=1 train.grad_accumulation=8", variants[i]);
        tn_finetune_once(&parts, *state, b, sets);
        tn_assert_same_trained(&whole, &parts);
        tn_assert_same_slots(&whole, &parts);
        tn_run_release(&whole);
        tn_run_release(&parts);
    }
}

static void best_checkpoint__is_that_of_the_best_evaluation_and_three_are_kept(void **state) {
    tn_run r;
    char best[64];
    tn_finetune_once(&r, *state, "a", "method=lora train.eval_steps=1 train.save_steps=1 train.learning_rate=0.05");
    json_t *rows = tn_run_read_rows(&r), *row;
    double lowest = INFINITY;
    int64_t step = -1, kept = 0;
    size_t i;
    json_array_foreach(rows, i, row) {
        const double loss = json_real_value(json_object_get(row, "val_loss"));
        if (!(loss < lowest)) continue;
        lowest = loss;
        step = json_integer_value(json_object_get(row, "step"));
    }
    json_decref(rows);
    assert_int_equal(r.summary.best_step, step);
    snprintf(best, sizeof best, "step-%08lld.h5\n", (long long)step);
    tn_assert_mark(&r, "best", best);
    tn_assert_mark(&r, "latest", "step-00000012.h5\n");
    for (int64_t s = 1; s <= 12; s++) {
        const bool has = tn_run_has_checkpoint(&r, s);
        assert_true(has == (s > 9 || s == step));
        kept += has;
    }
    assert_true(kept >= 3);
    tn_run_release(&r);
}

static void run_that_diverges__stops_and_keeps_what_was_good(void **state) {
    static const char *const methods[] = {"method=lora lora.alpha=1e6 lora.plus_ratio=1e6",
                                          "method=lora lora.modules_to_save=embed_tokens lora.alpha=1e6"};
    for (size_t i = 0; i < TN_COUNT(methods); i++) {
        tn_run r;
        tn_loaded loaded;
        char sets[320], name[16];
        tn_arena *arena = tn_arena_create("test");
        snprintf(name, sizeof name, "r%zu", i);
        snprintf(sets, sizeof sets,
                 "%s train.optimizer=sgd train.learning_rate=100 train.max_grad_norm=0 train.guard_patience=3 "
                 "train.save_steps=1 train.max_steps=200 train.momentum=0.99",
                 methods[i]);
        tn_run_init_finetune(&r, *state, name, "base", sets);
        assert_ok(tn_run_open(&r, false));
        assert_int_equal(tn_trainer_run(r.trainer, &r.summary), TN_E_NAN);
        assert_non_null(strstr(tn_error_message(), "after 3 steps without an update"));
        if (r.trainer->saved_step >= 0) {
            assert_ok(tn_model_file_load(r.dir, arena, TN_MODEL_RUN, &loaded));
            tn_loaded_release(&loaded);
        }
        tn_run_release(&r);
        tn_arena_free(arena);
    }
}

/* ---- settings ---- */

static void each_setting__has_an_effect(void **state) {
    static const char *const others[] = {"lora.dropout=0.3",
                                         "lora.alpha=5",
                                         "lora.rslora=true",
                                         "lora.plus_ratio=16",
                                         "lora.input=quantized",
                                         "method=lora_merged",
                                         "lora.rank=5",
                                         "model.dropout=0.2",
                                         "lora.modules_to_save=norms",
                                         "lora.target_modules=[q_proj,v_proj]"};
    tn_run plain;
    tn_finetune_once(&plain, *state, "plain", "method=lora lora.rank=4 lora.dropout=0");
    for (size_t i = 0; i < TN_COUNT(others); i++) {
        tn_run r;
        char sets[128];
        snprintf(sets, sizeof sets, "method=lora lora.rank=4 lora.dropout=0 %s", others[i]);
        tn_finetune_once(&r, *state, others[i], sets);
        if (r.summary.train_loss == plain.summary.train_loss) fail_msg("%s changes nothing", others[i]);
        tn_run_release(&r);
    }
    tn_run_release(&plain);
}

/* alpha / sqrt 4 = 2 alpha / 4 */
static void rslora__is_another_alpha(void **state) {
    tn_run a, b;
    tn_finetune_once(&a, *state, "a", "method=lora lora.rank=4 lora.rslora=true lora.alpha=8");
    tn_finetune_once(&b, *state, "b", "method=lora lora.rank=4 lora.alpha=16");
    tn_assert_same_trained(&a, &b);
    tn_run_release(&a);
    tn_run_release(&b);
}

/* Lion moves every weight by its rate; in the first step A has no gradient, because B is zero. */
static void lora_plus__is_the_rate_of_b(void **state) {
    for (int ratio = 1; ratio <= 16; ratio *= 16) {
        tn_run r;
        char sets[160];
        snprintf(sets, sizeof sets,
                 "method=lora train.optimizer=lion train.schedule=constant train.max_steps=1 lora.plus_ratio=%d",
                 ratio);
        tn_finetune_once(&r, *state, ratio == 1 ? "one" : "sixteen", sets);
        const tn_adapter *adapter = tn_model_adapters(tn_trainer_model(r.trainer));
        int64_t moved = 0;
        for (int i = 0; i < adapter->n_pairs; i++) {
            const tn_param *b = &adapter->pairs[i].b;
            for (int64_t j = 0; j < tn_param_count(b); j++) {
                const double size = fabs((double)b->tensor.real[j]);
                assert_true(size == 0 || fabs(size - 1e-2 * ratio) < 1e-7);
                moved += size > 0;
            }
        }
        assert_true(moved > 1000);
        tn_run_release(&r);
    }
}

static void target__has_two_names(void **state) {
    tn_run a, b;
    tn_finetune_once(&a, *state, "a", "method=lora lora.target_modules=[q_proj,down_proj,embed_tokens]");
    tn_finetune_once(&b, *state, "b", "method=lora lora.target_modules=[ffn_down,token_embd,attn_q]");
    assert_int_equal(a.trainer->engine.trained.count, 2 * 5);
    tn_assert_same_trained(&a, &b);
    tn_run_release(&a);
    tn_run_release(&b);
}

static void share_of_flipped_states__is_that_of_the_weights(void **state) {
    tn_arena *arena = tn_arena_create("test");
    tn_loaded base, tuned;
    tn_run r;
    int n;
    int64_t states = 0, flipped = 0;
    tn_place_load_base(*state, arena, TN_MODEL_EXPORT, &base);
    tn_finetune_once(&r, *state, "a",
                     "method=lora_merged train.learning_rate=0.2 lora.target_modules=[q_proj,up_proj]");
    assert_ok(tn_model_file_load(r.summary.checkpoint, arena, TN_MODEL_EXPORT, &tuned));
    tn_param **params = tn_model_params(tuned.model, &n);
    for (int i = 0; i < n; i++) {
        if (params[i]->quantizer == TN_QUANT_NONE) continue;
        const int8_t *before = tn_model_find(base.model, params[i]->name)->states;
        const bool target = strstr(params[i]->name, "attn_q") || strstr(params[i]->name, "ffn_up");
        for (int64_t j = 0; j < tn_param_count(params[i]); j++) {
            states += target;
            flipped += params[i]->states[j] != before[j];
        }
    }
    assert_true(flipped > 0);
    assert_true(r.summary.flipped_share == (double)flipped / (double)states);
    json_t *rows = tn_run_read_rows(&r);
    const json_t *last = json_array_get(rows, json_array_size(rows) - 1);
    assert_true(fabs(json_real_value(json_object_get(last, "flipped_share")) - r.summary.flipped_share) < 1e-8);
    json_decref(rows);
    tn_run_release(&r);
    tn_loaded_release(&base);
    tn_loaded_release(&tuned);
    tn_arena_free(arena);
}

static void merged_run_that_flips_nothing__says_so(void **state) {
    static const char *const rates[] = {"1e-5", "0.2"};
    for (size_t i = 0; i < TN_COUNT(rates); i++) {
        tn_run r;
        char sets[128];
        tn_buf log = {0};
        snprintf(sets, sizeof sets, "method=lora_merged train.learning_rate=%s", rates[i]);
        tn_hear(&log);
        tn_finetune_once(&r, *state, rates[i], sets);
        tn_hear(NULL);
        const bool told = strstr(tn_buf_text(&log), "step 12: no ternary state has flipped yet, so the model still is");
        assert_true(told == (r.summary.flipped_share == 0) && told == (i == 0));
        json_t *rows = tn_run_read_rows(&r);
        const json_t *last = json_array_get(rows, json_array_size(rows) - 1);
        const json_t *matrix = json_object_get(json_object_get(last, "layers"), "blk.1.ffn_down.weight");
        const double shift = json_real_value(json_object_get(matrix, "largest_shift"));
        assert_true(shift > 0 && (shift < 0.5) == (i == 0));
        assert_true((json_number_value(json_object_get(matrix, "flipped_share")) > 0) == (i == 1));
        json_decref(rows);
        tn_buf_release(&log);
        tn_run_release(&r);
    }
}

/* ---- what is refused ---- */

static void module__that_cannot_be_trained_is_refused_by_name(void **state) {
    static const char *const cases[][2] = {
        {"lora.target_modules=q_prj", "lora.target_modules: adapter: there is no module \"q_prj\": expected q_proj, "},
        {"lora.target_modules=lm_head", "lora.target_modules: no loss goes through an adapter of lm_head; train it"},
        {"lora.modules_to_save=q_proj", "lora.modules_to_save: \"q_proj\" is not one of norms, embed_tokens, lm_head"},
        {"lora.target_modules=embed_tokens lora.modules_to_save=lm_head",
         "lora.target_modules: token_embd.weight is trained in full (lora.modules_to_save)"},
        {"method=lora_merged lora.target_modules=embed_tokens", "token_embd.weight has no ternary states to be merged"},
        {"lora.alpha=0", "has alpha 0, expected a positive number"},
        {"train.quant_warmup_tokens=64", "has nothing to warm up: method lora trains beside quantised weights"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_run r;
        char sets[160];
        snprintf(sets, sizeof sets, "method=lora %s", cases[i][0]);
        tn_run_init_finetune(&r, *state, "a", "base", sets);
        assert_true(tn_run_open(&r, false) != TN_OK);
        if (!strstr(tn_error_message(), cases[i][1])) fail_msg("%s: %s", sets, tn_error_message());
        assert_false(tn_path_exists(r.dir));
        tn_run_release(&r);
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, tn_place_set_up_base, tn_place_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(base__is_the_same_after_training),
        CASE(any_method_and_optimizer__resumes_with_the_same_bits),
        CASE(accumulated_rows__give_the_bits_of_rows_at_once),
        CASE(best_checkpoint__is_that_of_the_best_evaluation_and_three_are_kept),
        CASE(run_that_diverges__stops_and_keeps_what_was_good),
        CASE(each_setting__has_an_effect),
        CASE(rslora__is_another_alpha),
        CASE(lora_plus__is_the_rate_of_b),
        CASE(target__has_two_names),
        CASE(share_of_flipped_states__is_that_of_the_weights),
        CASE(merged_run_that_flips_nothing__says_so),
        CASE(module__that_cannot_be_trained_is_refused_by_name),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("lora_run", tests, NULL, NULL);
}
