/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/trainer_rig.h"
#include "train/fit.h"
#include "train/process.h"
#include "train/trainer_priv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Large enough that each choice differs from the next by megabytes, which the process itself does not do meanwhile. */
static const char shape[] = "model.d_model=64 model.n_layer=8 model.d_ff=256 model.context=64 train.max_steps=3 "
                            "train.batch_size=16 train.eval_steps=0 train.eval_batches=1 train.learning_rate=1e-3 ";
static const int64_t SLACK = 1 << 20;

/* The settings in question, of a run or of its stored configuration. */
typedef struct choice {
    const char *recompute;
    int batch, passes, evaluated;
} choice;

static void assert_choice(const tn_run_config *config, choice expected) {
    const tn_train_config *c = &config->train;
    assert_string_equal(c->checkpoint_activations, expected.recompute);
    assert_int_equal(c->batch_size, expected.batch);
    assert_int_equal(c->grad_accumulation, expected.passes);
    assert_int_equal(c->batch_tokens, 0);
    assert_int_equal(c->eval_batches, expected.evaluated);
}

static void init(tn_run *r, void **state, const char *name, const char *more) {
    char sets[500];
    snprintf(sets, sizeof sets, "%s%s", shape, more);
    tn_run_init(r, *state, name, sets);
}

/* What the run takes with these settings. */
static int64_t planned(void **state, const char *more) {
    tn_run r;
    tn_plan plan;
    init(&r, state, "plan", more);
    if (!tn_process_reset_peak()) skip(); /* other tests' peak would count */
    assert_ok(tn_plan_make(&plan, &r.config, NULL, 1)); /* what does not fit is counted but not measured */
    tn_run_release(&r);
    return plan.memory_total;
}

static void open_with(tn_run *r, void **state, const char *name, const char *more, int64_t max_ram) {
    init(r, state, name, more);
    r->max_ram = max_ram;
    if (!tn_process_reset_peak()) skip(); /* other tests' peak would count */
    assert_ok(tn_run_open(r, false));
}

/* What a resumed run will read. */
static void assert_stored(const tn_run *r, choice expected) {
    char path[TN_RUN_PATH];
    tn_run_config stored;
    assert_ok(tn_path_join(path, sizeof path, r->dir, "config.yaml"));
    assert_ok(tn_run_config_init(&stored, r->arena));
    assert_ok(tn_config_load_file(&stored.config, path));
    assert_choice(&stored, expected);
}

static void run_that_fits__stays_as_it_is(void **state) {
    tn_run r;
    tn_buf heard = {0};
    int64_t whole = planned(state, "");
    tn_hear(&heard);
    open_with(&r, state, "a", "", whole + SLACK);
    tn_hear(NULL);
    assert_choice(&r.config, (choice){"none", 16, 1, 1});
    assert_null(strstr(tn_buf_text(&heard), "--max-ram"));
    tn_buf_release(&heard);
    tn_run_release(&r);
}

static void recompute__is_the_first_choice(void **state) {
    tn_run r;
    tn_buf heard = {0};
    int64_t whole = planned(state, ""), again = planned(state, "train.checkpoint_activations=block");
    assert_true(whole - again > 4 * SLACK);
    tn_hear(&heard);
    open_with(&r, state, "a", "", again + SLACK);
    tn_hear(NULL);
    assert_choice(&r.config, (choice){"block", 16, 1, 1});
    assert_stored(&r, (choice){"block", 16, 1, 1});
    assert_non_null(strstr(tn_buf_text(&heard), "MiB: train.checkpoint_activations block; the run takes "));
    tn_buf_release(&heard);
    tn_run_release(&r);
}

static void smaller_batches__come_next(void **state) {
    tn_run r;
    int64_t again = planned(state, "train.checkpoint_activations=block train.batch_size=4 train.grad_accumulation=4");
    open_with(&r, state, "a", "", again + SLACK / 4);
    assert_choice(&r.config, (choice){"block", 4, 4, 4});
    assert_stored(&r, (choice){"block", 4, 4, 4});
    assert_int_equal(r.trainer->course.rows_per_step, 16);
    assert_int_equal(r.trainer->course.tokens_per_step, 16 * 64);
    tn_run_release(&r);
}

static void divisors__serve_batches_that_are_no_power_of_two(void **state) {
    tn_run r;
    const char *sets = "train.batch_size=15 train.batch_tokens=1900 train.checkpoint_activations=block"; /* 2 passes */
    int64_t fifth = planned(state, "train.batch_size=3 train.grad_accumulation=10 train.checkpoint_activations=block");
    open_with(&r, state, "a", sets, fifth + SLACK / 4);
    assert_choice(&r.config, (choice){"block", 3, 10, 5});
    assert_int_equal(r.trainer->course.rows_per_step, 30);
    tn_run_release(&r);
}

static void run_that_cannot_fit__is_refused(void **state) {
    tn_run r;
    init(&r, state, "a", "");
    r.max_ram = 1 << 20;
    assert_int_equal(tn_run_open(&r, false), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "more than the 1.0 MiB of --max-ram"));
    assert_non_null(strstr(tn_error_message(), "train.checkpoint_activations block, train.batch_size 1 with "
                                               "train.grad_accumulation 16)"));
    assert_choice(&r.config, (choice){"none", 16, 1, 1}); /* nothing was chosen */
    assert_false(tn_path_exists(r.dir));
    tn_run_release(&r);
}

/* The same windows in the same order: only the order of sums differs. */
static void chosen_settings__learn_the_same(void **state) {
    tn_run whole, parts;
    const char *sets = "train.backward=f32 data.validation_fraction=0.3";
    init(&whole, state, "whole", sets);
    tn_run_go(&whole, false);
    open_with(&parts, state, "parts", sets, planned(state, "train.checkpoint_activations=block train.batch_size=2 "
                                                           "train.grad_accumulation=8") + SLACK / 8);
    assert_int_equal(parts.config.train.batch_size, 2);
    assert_ok(tn_trainer_run(parts.trainer, &parts.summary));
    assert_int_equal(parts.trainer->state.cursor, whole.trainer->state.cursor);
    assert_int_equal(parts.trainer->evaluation.targets, whole.trainer->evaluation.targets);
    assert_true(fabs(parts.summary.train_loss - whole.summary.train_loss) < 1e-4); /* rounding */
    assert_true(fabs(parts.summary.val_loss - whole.summary.val_loss) < 1e-3);
    tn_run_release(&whole);
    tn_run_release(&parts);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_place_set_up, tn_place_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(run_that_fits__stays_as_it_is),
        TEST(recompute__is_the_first_choice),
        TEST(smaller_batches__come_next),
        TEST(divisors__serve_batches_that_are_no_power_of_two),
        TEST(run_that_cannot_fit__is_refused),
        TEST(chosen_settings__learn_the_same),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    tn_heap_return_large(); /* as the program has it: what a run has freed does not count for the next one */
    return cmocka_run_group_tests_name("fit", tests, NULL, NULL);
}
