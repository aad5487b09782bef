/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/trainer_rig.h"
#include "train/plan.h"
#include "train/trainer_priv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- recompute and the arithmetic of backward ---- */

static void checkpoint_activations__changes_no_bit(void **state) {
    static const char *const variants[] = {"block", "1", "2", "3", "512"};
    const char *sets = "model.n_layer=3 model.dropout=0.1 train.grad_accumulation=2 train.checkpoint_activations=%s";
    char one[200];
    tn_run straight;
    snprintf(one, sizeof one, sets, "none");
    tn_run_once(&straight, *state, "none", one);
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        tn_run again;
        snprintf(one, sizeof one, sets, variants[i]);
        tn_run_once(&again, *state, variants[i], one);
        tn_assert_same_weights(&straight, &again);
        tn_assert_same_rows(&straight, &again);
        tn_run_release(&again);
    }
    tn_run_release(&straight);
}

static void checkpoint_activations__is_none_block_or_a_number(void **state) {
    static const struct {
        const char *text;
        int blocks; /* -1 = refused */
    } cases[] = {{"none", 0}, {"block", 1}, {"3", 3},   {"every 4", 4}, {"512", 512}, {"0", -1},
                 {"513", -1}, {"", -1},     {"on", -1}, {"every", -1},  {"2 3", -1},  {"-1", -1}};
    (void)state;
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        int blocks;
        tn_status status = tn_train_recompute(&(tn_train_config){.checkpoint_activations = cases[i].text}, &blocks);
        assert_int_equal(status, cases[i].blocks < 0 ? TN_E_CONFIG : TN_OK);
        if (status)
            assert_non_null(strstr(tn_error_message(), "expected none, block or a number of blocks"));
        else
            assert_int_equal(blocks, cases[i].blocks);
    }
}

/* auto is int16; the kinds differ in rounding, so the losses agree and the bits need not. */
static void backward__picks_the_arithmetic(void **state) {
    static const char *const kinds[] = {"auto", "int16", "f32", "bf16"};
    tn_run runs[TN_COUNT(kinds)];
    for (size_t i = 0; i < TN_COUNT(kinds); i++) {
        char one[64];
        snprintf(one, sizeof one, "train.backward=%s", kinds[i]);
        tn_run_once(&runs[i], *state, kinds[i], one);
        assert_true(fabs(runs[i].summary.train_loss - runs[0].summary.train_loss) < 0.05);
    }
    tn_assert_same_weights(&runs[0], &runs[1]);
    tn_param *a = tn_model_find(tn_trainer_model(runs[1].trainer), "blk.0.attn_q.weight");
    tn_param *b = tn_model_find(tn_trainer_model(runs[2].trainer), "blk.0.attn_q.weight");
    assert_memory_not_equal(a->tensor.real, b->tensor.real, (size_t)tn_param_count(a) * sizeof(tn_real));
    for (size_t i = 0; i < TN_COUNT(kinds); i++) tn_run_release(&runs[i]);
}

/* ---- plans ---- */

static void plan__knows_steps_and_limits(void **state) {
    tn_run r;
    tn_plan plan;
    tn_run_init(&r, *state, "a", "");
    assert_ok(tn_plan_make(&plan, &r.config, NULL, 0));
    assert_int_equal(plan.steps, 24);
    assert_int_equal(plan.tokens, 24 * 64);
    assert_true(plan.seconds > 0 && plan.tokens_per_second > 0);
    assert_int_equal(plan.parameters.total, plan.parameters.ternary + plan.parameters.table + plan.parameters.gain);
    assert_ok(tn_plan_check_ram(&plan, 0));
    assert_ok(tn_plan_check_ram(&plan, plan.memory.total));
    assert_int_equal(tn_plan_check_ram(&plan, plan.memory.total - 1), TN_E_RANGE);
    assert_false(tn_path_exists(r.dir)); /* a plan leaves nothing behind */
    tn_run_release(&r);
}

/* Of the head, which nobody asks for logits here. */
static int64_t never_touched(const tn_run *r, const char *name) {
    const bool counts = !name || strcmp(name, "packed floats") == 0;
    return counts ? tn_param_packed_bytes(tn_model_head(r->trainer->engine.model)) : 0;
}

/* Bytes under `name` at its peak, NULL = under any, in all arenas of the run. */
static int64_t taken(const tn_run *r, const char *name) {
    const tn_engine *e = &r->trainer->engine;
    const tn_arena *arenas[] = {e->arena, tn_tape_step(e->tape), tn_tape_scratch(e->tape), tn_tape_gradients(e->tape)};
    int64_t bytes = -never_touched(r, name);
    for (size_t i = 0; i < TN_COUNT(arenas); i++) {
        int count;
        const tn_arena_tag *tags = tn_arena_tags(arenas[i], &count);
        for (int j = 0; j < count; j++)
            if (!name || strcmp(tags[j].name, name) == 0) bytes += (int64_t)tags[j].peak;
    }
    return bytes;
}

static bool is_of_engine(const char *name) {
    return strcmp(name, "program and data") != 0 && strcmp(name, "reading the data, before") != 0;
}

static int64_t planned_activations(void **state, const char *sets) {
    tn_run r;
    tn_plan plan = {0};
    tn_course course;
    tn_run_init(&r, *state, "a", sets);
    assert_ok(tn_config_set(&r.config.config, "model.vocab_size=64"));
    assert_ok(tn_model_config_complete(&r.config.model));
    assert_ok(tn_train_course(&course, &r.config.train, r.config.model.context, (tn_epoch){.rows = 100}));
    assert_ok(tn_plan_count_memory(&plan, &r.config, &course));
    int64_t bytes = -1;
    for (int i = 0; i < plan.memory.count; i++)
        if (strcmp(plan.memory.rows[i].name, "activations") == 0) bytes = plan.memory.rows[i].bytes;
    tn_run_release(&r);
    return bytes;
}

static void activations__of_blocks_that_run_again_are_their_inputs_and_one_block(void **state) {
    /* Evaluations keep the inside of one block too, so they do not set the peak. */
    int64_t few = planned_activations(state, "model.n_layer=4"), many = planned_activations(state, "model.n_layer=12");
    int64_t less = planned_activations(state, "model.n_layer=4 train.checkpoint_activations=block");
    int64_t more = planned_activations(state, "model.n_layer=12 train.checkpoint_activations=block");
    const int64_t input = 4 * 16 * 32 * (int64_t)sizeof(tn_real); /* batch, context, width */
    assert_int_equal(more - less, 8 * input);
    assert_true(few - less > 2 * (many - few) / 8);
    /* All blocks at a time save nothing and cost the copy of the result. */
    int64_t whole = planned_activations(state, "model.n_layer=12 train.checkpoint_activations=12");
    assert_int_equal(whole - many, input);
}

/* Documents, more than one. */
static void use_rows(tn_run *r, const tn_place *p) {
    static const char row[] = "{\"text\": \"once upon a time\"}\n";
    char set[TN_TEST_PATH + 64];
    tn_buf rows = {0};
    for (int i = 0; i < 40; i++) assert_ok(tn_buf_puts(&rows, row));
    snprintf(set, sizeof set, "data.train=%s/rows.jsonl", p->dir);
    assert_ok(tn_file_write(strchr(set, '=') + 1, rows.data, rows.len));
    assert_ok(tn_config_set(&r->config.config, set));
    tn_buf_release(&rows);
}

static void plan__is_what_steps_and_evaluations_take(void **state) {
    static const char *const variants[] = {"train.grad_accumulation=2",
                                           "train.optimizer=muon model.activation=silu",
                                           "train.quant_warmup_tokens=64 model.dropout=0.1", /* one step of each kind */
                                           "model.quantization=none train.optimizer=sgd",
                                           "train.checkpoint_activations=block train.backward=f32",
                                           "train.quant_warmup_tokens=64 model.n_layer=3 "
                                           "train.checkpoint_activations=2",
                                           "data.packing=wrapped"};
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        tn_run r;
        tn_plan plan = {0};
        char name[16];
        snprintf(name, sizeof name, "r%zu", i);
        tn_run_init(&r, *state, name, variants[i]);
        if (strstr(variants[i], "packing")) use_rows(&r, *state);
        assert_ok(tn_config_set(&r.config.config, "train.max_steps=2"));
        assert_ok(tn_config_set(&r.config.config, "train.eval_steps=1"));
        tn_run_go(&r, false);
        assert_ok(tn_plan_count_memory(&plan, &r.config, &r.trainer->course));
        int64_t planned = 0;
        for (int j = 0; j < plan.memory.count; j++) {
            if (!is_of_engine(plan.memory.rows[j].name)) continue;
            if (plan.memory.rows[j].bytes != taken(&r, plan.memory.rows[j].name))
                fail_msg("%s: planned %lld bytes of %s, took %lld", variants[i], (long long)plan.memory.rows[j].bytes,
                         plan.memory.rows[j].name, (long long)taken(&r, plan.memory.rows[j].name));
            planned += plan.memory.rows[j].bytes;
        }
        /* Nothing was taken under a name that the plan lacks, but for the few texts of the run's state. */
        assert_true(taken(&r, "config") < 1024);
        assert_int_equal(planned, taken(&r, NULL) - taken(&r, "config"));
        tn_run_release(&r);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_place_set_up, tn_place_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(checkpoint_activations__changes_no_bit),
        TEST(checkpoint_activations__is_none_block_or_a_number),
        TEST(backward__picks_the_arithmetic),
        TEST(plan__knows_steps_and_limits),
        TEST(activations__of_blocks_that_run_again_are_their_inputs_and_one_block),
        TEST(plan__is_what_steps_and_evaluations_take),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
