/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "models/model_file.h"
#include "kernels/kernels.h"
#include "tests/trainer_rig.h"
#include "train/evaluate.h"
#include "train/metrics.h"
#include "train/trainer_priv.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- learning ---- */

static void loss__falls(void **state) {
    tn_run r;
    tn_run_once(&r, *state, "a", "train.max_steps=120 train.eval_steps=0 train.eval_at_start=true train.save_steps=0");
    json_t *rows = tn_run_read_rows(&r);
    double first = json_number_value(json_object_get(json_array_get(rows, 0), "val_loss"));
    int vocab = tn_tokenizer_size(tn_trainer_tokenizer(r.trainer));
    assert_true(fabs(first - log(vocab)) < 0.1); /* untrained: every character is as likely */
    assert_true(r.summary.val_loss < first - 0.9);
    assert_int_equal(r.summary.end, TN_END_STEPS);
    assert_int_equal(r.summary.best_step, 120);
    json_decref(rows);
    tn_run_release(&r);
}

static void weights__are_the_same_bits_for_any_threads(void **state) {
    tn_run one, three;
    assert_ok(tn_par_set_threads(1));
    tn_run_once(&one, *state, "one", "");
    assert_ok(tn_par_set_threads(3));
    tn_run_once(&three, *state, "three", "");
    tn_assert_same_weights(&one, &three);
    tn_assert_same_slots(&one, &three);
    tn_assert_same_rows(&one, &three);
    tn_run_release(&one);
    tn_run_release(&three);
}

static void accumulation__equals_one_large_batch(void **state) {
    tn_run large, split;
    const double tolerance = 1e-4; /* of weights near 1 after a step at rate 1; only the order of sums differs */
    tn_run_once(&large, *state, "large",
                "train.max_steps=1 train.batch_size=8 train.optimizer=sgd train.learning_rate=1");
    tn_run_once(
        &split, *state, "split",
        "train.max_steps=1 train.batch_size=2 train.grad_accumulation=4 train.optimizer=sgd train.learning_rate=1");
    assert_true(fabs(large.summary.train_loss - split.summary.train_loss) < tolerance);
    int n, m;
    tn_param **x = tn_model_params(tn_trainer_model(large.trainer), &n);
    tn_param **y = tn_model_params(tn_trainer_model(split.trainer), &m);
    for (int i = 0; i < n; i++)
        for (int64_t j = 0; j < tn_param_count(x[i]); j++)
            assert_true(fabs((double)(x[i]->tensor.real[j] - y[i]->tensor.real[j])) < tolerance);
    tn_run_release(&large);
    tn_run_release(&split);
}

static void evaluation__of_a_blank_model_is_the_logarithm_of_the_vocabulary(void **state) {
    tn_run r;
    tn_run_init(&r, *state, "a", "train.eval_at_start=true");
    assert_ok(tn_run_open(&r, false));
    int n;
    tn_model *model = tn_trainer_model(r.trainer);
    tn_param **params = tn_model_params(model, &n);
    memset(params[0]->tensor.real, 0, (size_t)tn_param_count(params[0]) * sizeof(tn_real)); /* the table: logits 0 */
    tn_model_refresh(model, 1);

    tn_store *store;
    tn_store_report report;
    tn_batches batches;
    tn_evaluation e;
    const tn_tokenizer *tokenizer = tn_trainer_tokenizer(r.trainer);
    const char *path = ((tn_place *)*state)->text;
    tn_tape *tape = tn_tape_create();
    assert_ok(tn_store_build_memory(&store, &path, 1, tokenizer, &report));
    assert_ok(tn_batches_init(&batches, store, 0, tn_store_n_tokens(store), 16, 0, false));
    assert_ok(tn_evaluate(&e, model, tape, &batches, tokenizer, 3, 0));
    double expected = log(tn_tokenizer_size(tokenizer));
    assert_true(fabs(e.loss - expected) < 1e-5);
    assert_true(fabs(e.perplexity - exp(e.loss)) < 1e-9);
    assert_true(fabs(e.bits_per_byte - e.loss / log(2)) < 1e-9); /* ASCII: a character is a byte */
    assert_int_equal(e.targets, report.tokens - 1);
    assert_int_equal(e.bytes, report.bytes - 1);
    tn_store_free(store);
    tn_tape_free(tape);
    tn_run_release(&r);
}

static double loss_of(tn_run *r, tn_model *model) {
    tn_evaluation e;
    tn_tape *tape = tn_tape_create();
    assert_ok(tn_evaluate(&e, model, tape, &r->trainer->data.validation, tn_trainer_tokenizer(r->trainer), 4, 4));
    tn_tape_free(tape);
    return e.loss;
}

static void evaluation__during_quantisation_warm_up_is_of_the_model_that_is_exported(void **state) {
    tn_run r;
    tn_loaded loaded;
    tn_buf heard = {0};
    tn_hear(&heard);
    tn_run_once(&r, *state, "a", "train.quant_warmup_tokens=3000 train.sample_steps=4");
    tn_hear(NULL);
    assert_non_null(strstr(tn_buf_text(&heard), "train.quant_warmup_tokens 3000 is not less than the 1536 tokens"));
    assert_ok(tn_model_file_load(r.summary.checkpoint, r.arena, TN_MODEL_RUN, &loaded));
    assert_true(loss_of(&r, loaded.model) == r.summary.val_loss);
    assert_true(loss_of(&r, tn_trainer_model(r.trainer)) != r.summary.val_loss); /* it is still half a float model */
    assert_int_equal(r.samples, 6);
    tn_loaded_release(&loaded);
    tn_buf_release(&heard);
    tn_run_release(&r);
}

/* ---- the folder ---- */

static void save_total_limit__keeps_the_newest_and_the_best(void **state) {
    tn_run r;
    /* Learning stops paying when the rate is far too high: the best evaluation is an early one. */
    tn_run_once(&r, *state, "a",
                "train.max_steps=20 train.eval_steps=2 train.save_steps=2 train.save_total_limit=2 "
                "train.eval_at_start=true train.learning_rate=20 train.schedule=constant");
    assert_int_equal(r.summary.best_step, 0);
    for (int64_t step = 0; step <= 20; step++)
        assert_int_equal(tn_run_has_checkpoint(&r, step), step == 0 || step == 18 || step == 20);
    tn_assert_mark(&r, "best", "step-00000000.h5\n");
    tn_assert_mark(&r, "latest", "step-00000020.h5\n");
    tn_run_release(&r);
}

static void metrics__have_a_row_for_every_logged_step(void **state) {
    static const char *const every_row[] = {"step",          "epoch",        "tokens",    "train_loss",
                                            "learning_rate", "weight_decay", "grad_norm", "tokens_per_second",
                                            "step_seconds",  "rss_bytes",    "skipped",   "time"};
    static const char *const evaluated[] = {"val_loss", "val_bits_per_byte", "zero_share", "flip_share", "layers"};
    tn_run r;
    tn_run_once(&r, *state, "a", "train.sample_steps=6 train.sample_prompt=One");
    json_t *rows = tn_run_read_rows(&r);
    assert_int_equal(json_array_size(rows), 6);
    for (size_t i = 0; i < 6; i++) {
        json_t *row = json_array_get(rows, i);
        assert_int_equal(json_integer_value(json_object_get(row, "step")), 4 * (i + 1));
        assert_int_equal(json_integer_value(json_object_get(row, "tokens")), 4 * (i + 1) * 4 * 16);
        for (size_t j = 0; j < TN_COUNT(every_row); j++) assert_non_null(json_object_get(row, every_row[j]));
        for (size_t j = 0; j < TN_COUNT(evaluated); j++)
            assert_int_equal(json_object_get(row, evaluated[j]) != NULL, i % 2 == 1); /* eval_steps 8, log_steps 4 */
    }
    json_t *layers = json_object_get(json_array_get(rows, 1), "layers");
    assert_int_equal(json_object_size(layers), 14); /* 7 ternary matrices in each of 2 blocks */
    json_t *down = json_object_get(layers, "blk.1.ffn_down.weight");
    static const char *const of_layer[] = {"zero_share", "flip_share", "scale", "saturation"};
    for (size_t j = 0; j < TN_COUNT(of_layer); j++) assert_non_null(json_object_get(down, of_layer[j]));
    double zeros = json_number_value(json_object_get(json_array_get(rows, 1), "zero_share"));
    assert_true(zeros > 0.2 && zeros < 0.45); /* .31 at Gaussian weights (docs/math.md) */
    assert_int_equal(r.samples, 4);
    json_decref(rows);
    tn_run_release(&r);
}

static void csv__has_the_scalars_of_the_objects(void **state) {
    tn_run r;
    char path[TN_RUN_PATH];
    tn_buf text = {0};
    tn_run_once(&r, *state, "a", "");
    json_t *rows = tn_run_read_rows(&r);
    assert_ok(tn_path_join(path, sizeof path, r.dir, "metrics.csv"));
    assert_ok(tn_file_read(path, 1 << 20, &text));
    const char *names[] = {
#define METRIC(name, kind) #name,
#include "train/metrics.def"
#undef METRIC
    };
    char *line = strchr(text.data, '\n') + 1;
    for (size_t i = 0; i < json_array_size(rows); i++, line = strchr(line, '\n') + 1) {
        char *cell = line;
        for (size_t j = 0; j < TN_COUNT(names); j++) {
            json_t *value = json_object_get(json_array_get(rows, i), names[j]);
            if (value) assert_true(strtod(cell, &cell) == json_number_value(value));
            assert_int_equal(*cell++, j + 1 < TN_COUNT(names) ? ',' : '\n');
        }
    }
    assert_int_equal(*line, '\0');
    json_decref(rows);
    tn_buf_release(&text);
    tn_run_release(&r);
}

static void sample_prompt__is_checked_before_the_first_step(void **state) {
    static const struct {
        const char *sets;
        tn_status status;
        const char *expected;
    } prompts[] = {
        {"train.sample_prompt=\xe2\x82\xac", TN_E_TEXT, "train.sample_prompt: "}, /* no story has this character */
        {"train.sample_prompt=OnceOnceOnceOnce", TN_E_CONFIG, "train.sample_prompt has 16 tokens, but must be shorter"},
    };
    for (size_t i = 0; i < TN_COUNT(prompts); i++) {
        tn_run r;
        tn_run_init(&r, *state, i ? "b" : "a", prompts[i].sets);
        assert_ok(tn_config_set(&r.config.config, "train.sample_steps=6"));
        assert_int_equal(tn_run_open(&r, false), prompts[i].status);
        assert_non_null(strstr(tn_error_message(), prompts[i].expected));
        assert_ok(tn_config_set(&r.config.config, "train.sample_steps=0"));
        assert_ok(tn_run_open(&r, false)); /* nobody asks for samples */
        tn_run_release(&r);
    }
}

static void failing_sample__does_not_end_the_run(void **state) {
    tn_run r;
    tn_buf heard = {0};
    tn_run_init(&r, *state, "a", "train.sample_steps=12");
    r.fails_samples = true;
    tn_hear(&heard);
    tn_run_go(&r, false);
    tn_hear(NULL);
    assert_int_equal(r.summary.step, 24);
    assert_int_equal(r.samples, 2);
    assert_non_null(strstr(tn_buf_text(&heard), "no sample at step 12: nothing to say\n"));
    tn_buf_release(&heard);
    tn_run_release(&r);
}

/* ---- limits and guards ---- */

static void patience__ends_a_run_that_no_longer_improves(void **state) {
    tn_run r;
    tn_run_once(&r, *state, "a", "train.max_steps=100 train.eval_steps=2 train.patience=3 train.learning_rate=1e-30");
    assert_int_equal(r.summary.end, TN_END_PATIENCE);
    assert_int_equal(r.summary.step, 8); /* the first evaluation is the best, three more equal it */
    assert_int_equal(r.summary.best_step, 2);
    tn_run_release(&r);
}

static void limits__end_the_run_at_the_first_one(void **state) {
    tn_run r;
    tn_run_once(&r, *state, "tokens", "train.max_tokens=300"); /* 64 a step */
    assert_int_equal(r.summary.step, 5);
    tn_run_release(&r);
    tn_run_once(&r, *state, "batch", "train.max_steps=3 train.batch_tokens=130");
    assert_int_equal(r.summary.tokens, 3 * 3 * 64);
    tn_run_release(&r);
    tn_run_once(&r, *state, "time",
                "train.max_steps=0 train.max_time=0.2s train.schedule=constant train.warmup_steps=0");
    assert_int_equal(r.summary.end, TN_END_TIME);
    tn_run_release(&r);
}

static void contradictory_settings__are_refused(void **state) {
    static const char *const sets[] = {"train.max_steps=0",
                                       "train.max_steps=0 train.max_time=1h",
                                       "train.max_time=0s",
                                       "train.batch_tokens=100 train.grad_accumulation=2",
                                       "train.batch_size=65536 train.grad_accumulation=65536",
                                       "train.warmup_steps=1 train.warmup_ratio=0.1",
                                       "train.patience=1 data.validation_fraction=0",
                                       "train.patience=1 train.eval_steps=0",
                                       "model.quantization=none train.quant_warmup_tokens=10",
                                       "train.learning_rate=0",
                                       "model.vocab_size=5",
                                       "data.tokenizer="};
    for (size_t i = 0; i < TN_COUNT(sets); i++) {
        tn_run r;
        char name[16];
        snprintf(name, sizeof name, "r%zu", i);
        tn_run_init(&r, *state, name, sets[i]);
        assert_int_equal(tn_run_open(&r, false), TN_E_CONFIG);
        tn_run_release(&r);
    }
}

static void muon__is_warned_of_settings_that_hold_it_back(void **state) {
    static const char *const held_back[] = {"stalls under train.max_grad_norm 1;",
                                            "learns less under train.weight_decay 0.1;",
                                            "is slow at train.learning_rate 0.0024;"};
    tn_run r;
    tn_buf heard = {0};
    tn_hear(&heard);
    tn_run_init(&r, *state, "a", "train.optimizer=muon train.learning_rate=2.4e-3");
    assert_ok(tn_run_open(&r, false));
    for (size_t i = 0; i < TN_COUNT(held_back); i++) assert_non_null(strstr(tn_buf_text(&heard), held_back[i]));
    tn_run_release(&r);
    tn_buf_reset(&heard);
    tn_run_init(&r, *state, "b",
                "train.optimizer=muon train.learning_rate=0.02 train.max_grad_norm=0 train.weight_decay=0");
    assert_ok(tn_run_open(&r, false));
    assert_null(strstr(tn_buf_text(&heard), "muon"));
    tn_hear(NULL);
    tn_buf_release(&heard);
    tn_run_release(&r);
}

static void warmup_of_the_whole_run__is_warned_of(void **state) {
    static const struct {
        const char *set;
        bool warns;
    } warmups[] = {{"train.warmup_steps=24", true},
                   {"train.warmup_ratio=1", true},
                   {"train.warmup_steps=23", false},
                   {"train.warmup_steps=0", false}};
    for (size_t i = 0; i < TN_COUNT(warmups); i++) {
        tn_run r;
        tn_buf heard = {0};
        tn_run_init(&r, *state, "a", warmups[i].set);
        tn_hear(&heard);
        assert_int_equal(tn_run_open(&r, i > 0), TN_OK);
        tn_hear(NULL);
        bool warned = strstr(tn_buf_text(&heard), "takes all 24 steps of the run, so the learning rate never");
        assert_int_equal(warned, warmups[i].warns);
        tn_buf_release(&heard);
        tn_run_release(&r);
    }
}

static void short_held_out_data__is_named(void **state) {
    tn_run r;
    tn_run_init(&r, *state, "a", "data.validation_fraction=0.0001");
    assert_int_equal(tn_run_open(&r, false), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "but one row takes 16 and one more"));
    tn_run_release(&r);
}

static void broken_weight__skips_steps_then_stops_on_the_last_good_checkpoint(void **state) {
    tn_run r;
    tn_run_init(&r, *state, "a", "train.guard_patience=3 train.max_steps=24");
    r.stop_at = 10;
    tn_run_go(&r, false);
    int n;
    tn_param **params = tn_model_params(tn_trainer_model(r.trainer), &n);
    params[n - 1]->tensor.real[0] = (tn_real)NAN;
    r.stop = 0;
    assert_int_equal(tn_trainer_run(r.trainer, &r.summary), TN_E_NAN);
    assert_non_null(strstr(tn_error_message(), "stopped at step 13 after 3 steps without an update"));
    assert_non_null(strstr(tn_error_message(), "the last good checkpoint is of step 10"));
    assert_int_equal(r.last.skipped, 2); /* the third failure ends the run before it is reported */
    for (int64_t step = 11; step <= 24; step++) assert_false(tn_run_has_checkpoint(&r, step));
    tn_run_release(&r);
    tn_run_init(&r, *state, "a", "");
    tn_run_go(&r, true);
    assert_int_equal(r.summary.step, 24);
    assert_int_equal(r.summary.skipped, 0);
    tn_run_release(&r);
}

static void overflowing_gradient__is_skipped_and_counted(void **state) {
    tn_run r;
    tn_run_init(&r, *state, "a", "train.max_steps=4 train.z_loss=1 train.guard_patience=2");
    assert_ok(tn_run_open(&r, false));
    int n;
    tn_param **params = tn_model_params(tn_trainer_model(r.trainer), &n);
    for (int i = 0; i < params[n - 1]->cols; i++) params[n - 1]->tensor.real[i] = 3e38f;
    assert_int_equal(tn_trainer_run(r.trainer, &r.summary), TN_E_NAN);
    assert_non_null(strstr(tn_error_message(), "there is no good checkpoint"));
    assert_true((double)params[n - 1]->tensor.real[0] > 1e38); /* skipped steps moved nothing */
    tn_run_release(&r);
}

static void lack_of_memory__is_answered_without_a_leak(void **state) {
    tn_run r;
    tn_run_init(&r, *state, "a", "");
    assert_ok(tn_dir_make(r.dir));
    const int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n += 1 + n / 16) {
        tn_memory_fail_at(n);
        status = tn_run_open(&r, true);
        if (!status) break;
        assert_int_equal(status, TN_E_NOMEM);
        assert_null(r.trainer);
        assert_int_equal(tn_memory_alive(), alive);
    }
    tn_memory_fail_at(0);
    tn_run_release(&r);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_place_set_up, tn_place_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(loss__falls),
        TEST(weights__are_the_same_bits_for_any_threads),
        TEST(accumulation__equals_one_large_batch),
        TEST(evaluation__of_a_blank_model_is_the_logarithm_of_the_vocabulary),
        TEST(evaluation__during_quantisation_warm_up_is_of_the_model_that_is_exported),
        TEST(save_total_limit__keeps_the_newest_and_the_best),
        TEST(metrics__have_a_row_for_every_logged_step),
        TEST(csv__has_the_scalars_of_the_objects),
        TEST(sample_prompt__is_checked_before_the_first_step),
        TEST(failing_sample__does_not_end_the_run),
        TEST(patience__ends_a_run_that_no_longer_improves),
        TEST(limits__end_the_run_at_the_first_one),
        TEST(contradictory_settings__are_refused),
        TEST(muon__is_warned_of_settings_that_hold_it_back),
        TEST(warmup_of_the_whole_run__is_warned_of),
        TEST(short_held_out_data__is_named),
        TEST(broken_weight__skips_steps_then_stops_on_the_last_good_checkpoint),
        TEST(overflowing_gradient__is_skipped_and_counted),
        TEST(lack_of_memory__is_answered_without_a_leak),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("trainer", tests, NULL, NULL);
}
