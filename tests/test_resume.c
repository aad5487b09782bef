/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/trainer_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- resuming ---- */

static void resumed_run__equals_a_straight_one(void **state) {
    static const char *const variants[] = {"train.optimizer=adamw",
                                           "train.optimizer=sgd train.learning_rate=1e-1",
                                           "train.optimizer=lion train.learning_rate=1e-3",
                                           "train.optimizer=muon train.max_grad_norm=0",
                                           "train.optimizer=adamw8bit model.d_model=64",
                                           "model.dropout=0.1 train.grad_accumulation=2",
                                           "train.quant_warmup_tokens=900 train.schedule=cosine",
                                           "model.quantization=none train.patience=5"};
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        tn_run straight, parts;
        char a[32], b[32];
        snprintf(a, sizeof a, "straight%zu", i);
        snprintf(b, sizeof b, "parts%zu", i);
        tn_run_once(&straight, *state, a, variants[i]);
        tn_run_in_two_parts(&parts, *state, b, variants[i], 9 + (int64_t)i);
        tn_assert_same_weights(&straight, &parts);
        tn_assert_same_slots(&straight, &parts);
        tn_assert_same_rows(&straight, &parts);
        assert_int_equal(straight.summary.best_step, parts.summary.best_step);
        assert_true(straight.summary.best_loss == parts.summary.best_loss);
        tn_run_release(&straight);
        tn_run_release(&parts);
    }
}

static void checkpoint_activations__may_change_when_a_run_goes_on(void **state) {
    tn_run straight, parts;
    const char *common = "model.n_layer=3 model.dropout=0.1";
    char changed[128];
    tn_run_once(&straight, *state, "straight", common);
    tn_run_init(&parts, *state, "parts", common);
    parts.stop_at = 10;
    tn_run_go(&parts, false);
    tn_run_release(&parts);
    snprintf(changed, sizeof changed, "%s train.checkpoint_activations=block", common);
    tn_run_init(&parts, *state, "parts", changed);
    tn_run_go(&parts, true);
    tn_assert_same_weights(&straight, &parts);
    tn_assert_same_slots(&straight, &parts);
    tn_assert_same_rows(&straight, &parts);
    tn_run_release(&straight);
    tn_run_release(&parts);
}

static void folder_without_checkpoint__begins_again(void **state) {
    tn_run straight, killed, again;
    char path[TN_RUN_PATH];
    tn_run_once(&straight, *state, "straight", "");
    tn_run_init(&killed, *state, "killed", "");
    assert_ok(tn_run_open(&killed, false)); /* has written config.yaml and nothing else */
    tn_run_release(&killed);
    tn_run_init(&again, *state, "killed", "");
    assert_ok(tn_path_join(path, sizeof path, again.dir, "metrics.jsonl"));
    assert_ok(tn_file_append(path, "{\"step\": 4, \"tr", 15)); /* a row that was cut off */
    tn_run_go(&again, true);
    tn_assert_same_weights(&straight, &again);
    tn_assert_same_rows(&straight, &again);
    tn_run_release(&straight);
    tn_run_release(&again);
}

static void damaged_checkpoint__is_passed_over(void **state) {
    tn_run straight, again;
    char path[TN_RUN_PATH];
    tn_run_once(&straight, *state, "a", "");
    assert_ok(tn_path_join(path, sizeof path, straight.dir, "checkpoints/step-00000024.h5"));
    tn_buf text = {0};
    assert_ok(tn_file_read(path, 1 << 24, &text));
    for (size_t i = text.len / 2; i < text.len / 2 + 4096; i++) text.data[i] ^= 1; /* wider than any padding */
    assert_ok(tn_file_write(path, text.data, text.len));
    tn_buf_release(&text);
    tn_trainer_free(straight.trainer);
    straight.trainer = NULL;

    tn_run_init(&again, *state, "a", "");
    assert_ok(tn_run_open(&again, true));
    assert_int_equal(tn_optimizer_updates(tn_trainer_optimizer(again.trainer)), 16); /* the one before */
    tn_assert_mark(&again, "latest", "step-00000016.h5\n");
    assert_ok(tn_trainer_run(again.trainer, &again.summary));
    assert_true(again.summary.val_loss == straight.summary.val_loss);
    tn_assert_mark(&again, "latest", "step-00000024.h5\n");
    tn_run_release(&straight);
    tn_run_release(&again);
}

static void other_settings__are_refused_by_name(void **state) {
    static const struct {
        const char *set, *expected;
    } changes[] = {
        {"model.d_model=48", "model.d_model: 32, but this run has model.d_model: 48"},
        {"model.activation=silu", "model.activation: relu2, but this run has model.activation: silu"},
        {"train.optimizer=lion", "train.optimizer: adamw, but this run has train.optimizer: lion"},
        {"data.validation_fraction=0.2",
         "data.validation_fraction: 0.1, but this run has data.validation_fraction: 0.2"},
        {"train.seed=1", "train.seed: 42, but this run has train.seed: 1"},
        {"data.tokenizer=bpe", "data.tokenizer: char, but this run has data.tokenizer: bpe"},
        {"data.vocab_size=300", "data.vocab_size: 4096, but this run has data.vocab_size: 300"},
        {"data.split=llama3", "data.split: gpt2, but this run has data.split: llama3"},
    };
    tn_run other;
    tn_place_add_run(*state, "a", "train.max_steps=8");
    for (size_t i = 0; i < TN_COUNT(changes); i++) {
        tn_run_init(&other, *state, "a", changes[i].set);
        assert_int_equal(tn_run_open(&other, true), TN_E_MISMATCH);
        assert_non_null(strstr(tn_error_message(), changes[i].expected));
        tn_run_release(&other);
    }
}

static void other_tokenizer__is_refused_before_the_first_checkpoint(void **state) {
    tn_run r, other;
    tn_run_init(&r, *state, "a", "");
    assert_ok(tn_run_open(&r, false));
    tn_run_release(&r);
    tn_run_init(&other, *state, "a", "data.tokenizer=bpe");
    assert_int_equal(tn_run_open(&other, true), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "config.yaml: was trained with data.tokenizer: char"));
    tn_run_release(&other);
}

/* The folder that the process works in, for as long as a test needs it. */
static void go_to(const char *dir) { assert_int_equal(chdir(dir), 0); }

static void relative_paths__are_kept_whole(void **state) {
    const tn_place *p = *state;
    char home[TN_RUN_PATH], path[TN_RUN_PATH];
    tn_run r, again;
    tn_buf text = {0};
    assert_non_null(getcwd(home, sizeof home));
    go_to(p->dir);
    tn_run_init(&r, p, "a", "data.train=stories.txt data.validation=./stories.txt train.max_steps=8");
    tn_run_go(&r, false);
    tn_run_release(&r);
    go_to(home);
    tn_run_init(&again, p, "a", "");
    assert_ok(tn_path_join(path, sizeof path, again.dir, "config.yaml"));
    assert_ok(tn_config_load_file(&again.config.config, path));
    assert_ok(tn_config_set(&again.config.config, "train.max_steps=9"));
    tn_run_go(&again, true);
    assert_int_equal(again.summary.step, 9);
    assert_ok(tn_file_read(path, 1 << 20, &text));
    assert_non_null(realpath(p->text, path));
    assert_string_equal(again.config.data.train.items[0], path);
    assert_string_equal(again.config.data.validation.items[0], path);
    assert_non_null(strstr(tn_buf_text(&text), path));
    tn_buf_release(&text);
    tn_run_release(&again);
}

static void lost_checkpoints__are_named(void **state) {
    tn_run straight, again;
    tn_buf heard = {0};
    tn_run_once(&straight, *state, "a", "");
    static const char *const names[] = {"step-00000008.h5", "step-00000016.h5", "step-00000024.h5"};
    for (size_t i = 0; i < TN_COUNT(names); i++) {
        char path[TN_RUN_PATH];
        snprintf(path, sizeof path, "%.3000s/checkpoints/%s", straight.dir, names[i]);
        assert_ok(tn_file_remove(path));
    }
    tn_trainer_free(straight.trainer);
    straight.trainer = NULL;
    tn_run_init(&again, *state, "a", "");
    tn_hear(&heard);
    assert_ok(tn_run_open(&again, true));
    tn_hear(NULL);
    assert_non_null(strstr(tn_buf_text(&heard), "begins again at step 0; its metrics, up to step 24, are dropped"));
    assert_ok(tn_trainer_run(again.trainer, &again.summary));
    assert_true(again.summary.val_loss == straight.summary.val_loss);
    tn_buf_release(&heard);
    tn_run_release(&straight);
    tn_run_release(&again);
}

static void other_data__are_refused(void **state) {
    tn_place *p = *state;
    tn_run other;
    tn_place_add_run(p, "a", "train.max_steps=8");
    tn_place_write_stories(p->text, 59);
    tn_run_init(&other, p, "a", "");
    assert_int_equal(tn_run_open(&other, true), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "the training data are not those the run began with"));
    tn_run_release(&other);
}

static void longer_run__goes_on_from_a_finished_one(void **state) {
    tn_run more;
    tn_place_add_run(*state, "a", "train.max_steps=8");
    tn_run_init(&more, *state, "a", "train.max_steps=8");
    tn_run_go(&more, true); /* nothing is left to do */
    assert_int_equal(more.summary.step, 8);
    tn_run_release(&more);
    tn_run_init(&more, *state, "a", "train.max_steps=12");
    tn_run_go(&more, true);
    assert_int_equal(more.summary.step, 12);
    tn_run_release(&more);
}

/* ---- the folder ---- */

static void used_folder__is_refused_without_resume(void **state) {
    tn_run other;
    tn_place_add_run(*state, "a", "train.max_steps=1");
    tn_run_init(&other, *state, "a", "");
    assert_int_equal(tn_run_open(&other, false), TN_E_ARG);
    assert_non_null(strstr(tn_error_message(), "is not empty; go on with its run by --resume"));
    tn_run_release(&other);
    tn_run_init(&other, *state, "absent", "");
    assert_int_equal(tn_run_open(&other, true), TN_E_MISSING);
    tn_run_release(&other);
}

static void new_folder__may_have_the_shortest_of_names(void **state) {
    char before[TN_TEST_PATH];
    assert_non_null(getcwd(before, sizeof before));
    go_to(((tn_place *)*state)->dir);
    assert_ok(tn_run_dir_check("r"));
    assert_ok(tn_run_dir_check("r/s"));
    go_to(before);
}

static void folder_in_use__is_refused(void **state) {
    tn_run r, second;
    tn_run_init(&r, *state, "a", "");
    assert_ok(tn_run_open(&r, false));
    tn_run_init(&second, *state, "a", "");
    assert_int_equal(tn_run_open(&second, true), TN_E_BUSY); /* flock is per open file, so this process counts as two */
    assert_non_null(strstr(tn_error_message(), "another process is training in this folder"));
    tn_run_release(&second);
    tn_run_release(&r);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_place_set_up, tn_place_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(resumed_run__equals_a_straight_one),
        TEST(checkpoint_activations__may_change_when_a_run_goes_on),
        TEST(folder_without_checkpoint__begins_again),
        TEST(damaged_checkpoint__is_passed_over),
        TEST(other_settings__are_refused_by_name),
        TEST(other_tokenizer__is_refused_before_the_first_checkpoint),
        TEST(other_data__are_refused),
        TEST(relative_paths__are_kept_whole),
        TEST(lost_checkpoints__are_named),
        TEST(longer_run__goes_on_from_a_finished_one),
        TEST(used_folder__is_refused_without_resume),
        TEST(new_folder__may_have_the_shortest_of_names),
        TEST(folder_in_use__is_refused),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("resume", tests, NULL, NULL);
}
