/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/trainer_rig.h"
#include "train/fit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* So large that neighbouring choices are more than MARGIN apart, far more than the test itself takes meanwhile; it is
 * only planned. */
static const char large[] = "model.d_model=1024 model.n_head=16 model.n_layer=12 model.d_ff=4096 model.context=512 "
                            "model.vocab_size=4096 train.batch_size=16 train.eval_batches=3 ";
static const int64_t MARGIN = 32 << 20;

typedef struct fitted {
    tn_run run; /* its configuration alone */
    tn_plan plan;
    tn_course course;
    tn_buf heard;
} fitted;

static void fit(fitted *f, void **state, const char *more, int64_t max_ram) {
    char sets[500];
    *f = (fitted){0};
    snprintf(sets, sizeof sets, "%s%s", large, more);
    tn_run_init(&f->run, *state, "a", sets);
    tn_run_config *config = &f->run.config;
    assert_ok(tn_model_config_complete(&config->model));
    assert_ok(tn_train_course(&f->course, &config->train, config->model.context, (tn_epoch){.rows = 100}));
    tn_hear(&f->heard);
    assert_ok(tn_fit(&f->plan, config, &f->course, (tn_epoch){.rows = 100}, max_ram));
    tn_hear(NULL);
}

static void release(fitted *f) {
    tn_buf_release(&f->heard);
    tn_run_release(&f->run);
}

static int64_t planned(void **state, const char *more) {
    fitted f;
    fit(&f, state, more, 0);
    release(&f);
    return f.plan.memory.total;
}

static void assert_settings(const fitted *f, const char *recompute, int batch, int passes, int evaluated) {
    const tn_train_config *c = &f->run.config.train;
    assert_string_equal(c->checkpoint_activations, recompute);
    assert_int_equal(c->batch_size, batch);
    assert_int_equal(c->grad_accumulation, passes);
    assert_int_equal(c->batch_tokens, 0);
    assert_int_equal(c->eval_batches, evaluated);
    assert_int_equal(f->course.accumulation, passes);
    assert_int_equal(f->course.rows_per_step, batch * passes);
    assert_int_equal(f->course.tokens_per_step, batch * passes * 512);
}

static void run_that_fits__stays_as_it_is(void **state) {
    fitted f;
    fit(&f, state, "", planned(state, "") + MARGIN);
    assert_settings(&f, "none", 16, 1, 3);
    assert_string_equal(f.plan.chosen, "");
    assert_null(strstr(tn_buf_text(&f.heard), "--max-ram"));
    release(&f);
}

static void recompute__is_the_first_choice(void **state) {
    fitted f;
    int64_t whole = planned(state, ""), again = planned(state, "train.checkpoint_activations=block");
    assert_true(whole - again > 2 * MARGIN);
    fit(&f, state, "", again + MARGIN);
    assert_settings(&f, "block", 16, 1, 3);
    assert_string_equal(f.plan.chosen, "train.checkpoint_activations block");
    assert_non_null(strstr(tn_buf_text(&f.heard), "MiB: train.checkpoint_activations block; the run takes "));
    assert_true(f.plan.memory.total <= again + MARGIN);
    release(&f);
}

static void smaller_batches__come_next(void **state) {
    fitted f;
    int64_t fourth = planned(state, "train.batch_size=4 train.grad_accumulation=4 train.checkpoint_activations=block");
    fit(&f, state, "", fourth + MARGIN);
    assert_settings(&f, "block", 4, 4, 12);
    release(&f);
    /* Where recompute is asked for it stays. */
    fit(&f, state, "train.checkpoint_activations=block", fourth + MARGIN);
    assert_settings(&f, "block", 4, 4, 12);
    assert_string_equal(f.plan.chosen, "train.batch_size 4 with train.grad_accumulation 4");
    release(&f);
}

static void divisors__serve_batches_that_are_no_power_of_two(void **state) {
    fitted f;
    int64_t fifth = planned(state, "train.batch_size=3 train.grad_accumulation=10 train.checkpoint_activations=block");
    fit(&f, state, "train.batch_size=15 train.batch_tokens=8000 train.checkpoint_activations=block", fifth + MARGIN);
    assert_settings(&f, "block", 3, 10, 15);
    release(&f);
}

static void run_that_cannot_fit__is_refused_with_the_least(void **state) {
    fitted f;
    fit(&f, state, "", 1 << 20);
    assert_settings(&f, "none", 16, 1, 3); /* nothing was chosen */
    assert_true(f.plan.least < f.plan.memory.total);
    assert_int_equal(tn_plan_check_ram(&f.plan, 1 << 20), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "more than the 1.0 MiB of --max-ram"));
    assert_non_null(strstr(tn_error_message(), "train.checkpoint_activations block, train.batch_size 1 with "
                                               "train.grad_accumulation 16)"));
    release(&f);
}

static void trainer__refuses_what_cannot_fit(void **state) {
    tn_run r;
    tn_run_init(&r, *state, "a", "");
    r.max_ram = 1 << 20;
    assert_int_equal(tn_run_open(&r, false), TN_E_RANGE);
    assert_false(tn_path_exists(r.dir));
    tn_run_release(&r);
}

/* The same windows in the same order: only the order of sums differs. */
static void chosen_settings__learn_the_same(void **state) {
    tn_run whole, parts;
    tn_run_once(&whole, *state, "whole", "train.backward=f32 train.max_steps=8 train.batch_size=8");
    tn_run_once(&parts, *state, "parts",
                "train.backward=f32 train.max_steps=8 train.batch_size=2 train.grad_accumulation=4 "
                "train.eval_batches=16 train.checkpoint_activations=block");
    assert_int_equal(whole.summary.tokens, parts.summary.tokens);
    assert_true(fabs(parts.summary.train_loss - whole.summary.train_loss) < 1e-3); /* states flip after rounding */
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
        TEST(run_that_cannot_fit__is_refused_with_the_least),
        TEST(trainer__refuses_what_cannot_fit),
        TEST(chosen_settings__learn_the_same),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("fit", tests, NULL, NULL);
}
