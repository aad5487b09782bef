/* SPDX-License-Identifier: MIT
 * Fine-tuning by preferences and by a teacher, through the trainer: what is learnt, resumed, planned and refused. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "models/export.h"
#include "models/hf_export.h"
#include "tests/trainer_rig.h"
#include "train/plan.h"
#include "train/trainer_priv.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PAIRS = 60, SETS = 2048 };

static const char *const methods[] = {"method=full", "method=norms", "method=lora lora.rank=4",
                                      "method=lora_merged lora.rank=4"};

static void fits(int len) { assert_in_range(len, 1, SETS - 1); }

/* Run "base" of the place, and pairs.jsonl: of two words of the stories, one is always chosen. */
static void put_pairs(const tn_place *p, const char *name, int first, int count) {
    char path[TN_TEST_PATH + 32];
    tn_buf rows = {0};
    for (int i = first; i < first + count; i++)
        assert_ok(tn_buf_printf(&rows,
                                "{\"prompt\": \"%c%c%.*s\", \"chosen\": \" the%.*s\", \"rejected\": \" an%.*s\"}\n",
                                "abcdefghi"[i % 9], "lmnoprstu"[i / 9 % 9], i % 4, "ent", i % 2, "y", i % 3, "ds"));
    snprintf(path, sizeof path, "%s/%s", p->dir, name);
    assert_ok(tn_file_write(path, rows.data, rows.len));
    tn_buf_release(&rows);
}

static int set_up(void **state) {
    tn_place_set_up(state);
    tn_place_add_run(*state, "base", "model.context=32");
    put_pairs(*state, "pairs.jsonl", 0, PAIRS);
    return 0;
}

static const char *dpo(const tn_place *p, const char *more) {
    static char sets[SETS];
    fits(snprintf(sets, sizeof sets,
                  "objective=dpo data.train=%s/pairs.jsonl data.validation_fraction=0.2 train.learning_rate=3e-3 "
                  "train.eval_batches=0 dpo.beta=0.5 %s",
                  p->dir, more));
    return sets;
}

/* A teacher that knows the text better than the base does. */
static void make_teacher(const tn_place *p) {
    tn_place_add_run(p, "teacher", "model.context=32 model.d_model=48 train.max_steps=60 train.seed=5");
}

static const char *distill(const tn_place *p, const char *more) {
    static char sets[SETS];
    fits(snprintf(sets, sizeof sets,
                  "objective=distill distill.teacher=%s/teacher distill.temperature=1 data.validation_fraction=0.1 %s",
                  p->dir, more));
    return sets;
}

/* NAN where the row does not have it. */
static double value(const json_t *rows, size_t row, const char *key) {
    const json_t *found = json_object_get(json_array_get(rows, row), key);
    return found ? json_number_value(found) : (double)NAN;
}

/* ---- preferences ---- */

static void dpo__comes_to_prefer_what_was_chosen(void **state) {
    static const char *const rates[] = {"3e-3", "2e-2", "3e-3", "1e-2"}; /* gains have less to move, states flip late */
    for (size_t m = 0; m < TN_COUNT(methods); m++) {
        tn_run r;
        char more[SETS];
        fits(snprintf(more, sizeof more, "%s train.eval_at_start=true train.max_steps=20 train.learning_rate=%s",
                      methods[m], rates[m]));
        tn_finetune_once(&r, *state, methods[m], dpo(*state, more));
        json_t *rows = tn_run_read_rows(&r);
        const size_t last = json_array_size(rows) - 1;
        print_message("  %s: held-out loss %.4f, then %.4f; right %.2f\n", methods[m], value(rows, 0, "val_loss"),
                      value(rows, last, "val_loss"), value(rows, last, "val_rewards_accuracies"));
        assert_true(fabs(value(rows, 0, "val_loss") / log(2) - 1) < 1e-8); /* a row has nine digits */
        assert_true(value(rows, 0, "val_rewards_accuracies") == 0 && value(rows, 0, "val_rewards_margins") == 0);
        assert_true(value(rows, last, "val_loss") < 0.6 && value(rows, last, "val_rewards_accuracies") > 0.9);
        assert_true(value(rows, last, "train_loss") < 0.65 && value(rows, last, "rewards_accuracies") > 0.8);
        const double margin = value(rows, last, "rewards_chosen") - value(rows, last, "rewards_rejected");
        assert_true(margin > 0.1 && fabs(margin / value(rows, last, "rewards_margins") - 1) < 1e-6);
        assert_true(isnan(value(rows, last, "val_bits_per_byte")) && isnan(value(rows, last, "kl")));
        assert_int_equal(tn_tape_backward_arithmetic(r.trainer->engine.tape),
                         m == 0 ? TN_BACKWARD_F32 : TN_BACKWARD_INT16); /* full trains the head */
        assert_true(r.last.val.accuracy == r.summary.val_accuracy && r.summary.val_accuracy > 0.9);
        assert_true(r.summary.best_loss <= r.summary.val_loss && r.summary.best_step > 0);
        json_decref(rows);
        tn_run_release(&r);
    }
}

/* Pairs of a file of their own are behind those of training. */
static void dpo__measures_pairs_of_another_file(void **state) {
    const tn_place *p = *state;
    tn_run r;
    char more[SETS];
    put_pairs(p, "held-out.jsonl", PAIRS, 7);
    fits(snprintf(more, sizeof more, "method=norms train.eval_at_start=true train.max_steps=1 data.validation=%s/%s",
                  p->dir, "held-out.jsonl"));
    tn_finetune_once(&r, p, "r", dpo(p, more));
    assert_int_equal(r.trainer->course.answers, 2 * (PAIRS + 7));
    for (int64_t i = 0; i < r.trainer->course.answers; i++) assert_true(r.trainer->engine.references[i] < -1);
    json_t *rows = tn_run_read_rows(&r);
    assert_true(fabs(value(rows, 0, "val_loss") / log(2) - 1) < 1e-8);
    json_decref(rows);
    tn_run_release(&r);
}

/* ---- a teacher ---- */

static void distill__comes_nearer_to_its_teacher(void **state) {
    make_teacher(*state);
    for (size_t m = 0; m < TN_COUNT(methods); m++) {
        tn_run r;
        char more[SETS];
        fits(snprintf(more, sizeof more, "%s train.eval_at_start=true train.max_steps=40", methods[m]));
        tn_finetune_once(&r, *state, methods[m], distill(*state, more));
        json_t *rows = tn_run_read_rows(&r);
        const size_t last = json_array_size(rows) - 1;
        print_message("  %s: held-out divergence %.4f, then %.4f\n", methods[m], value(rows, 0, "val_kl"),
                      value(rows, last, "val_kl"));
        assert_true(value(rows, last, "val_kl") < (m == 0 ? 0.5 : 0.97) * value(rows, 0, "val_kl"));
        assert_true(value(rows, last, "kl") > 0 && value(rows, last, "train_loss") > value(rows, last, "kl"));
        assert_true(isnan(value(rows, last, "rewards_margins")));
        assert_true(r.last.val.divergence == r.summary.val_kl);
        json_decref(rows);
        tn_run_release(&r);
    }
}

/* A run folder, and the files that were exported from it: the same teacher, to the bit. */
static void teacher__may_be_a_file_of_any_kind(void **state) {
    static const char *const files[] = {"teacher", "teacher.gguf", "hf"};
    const tn_place *p = *state;
    tn_run r[TN_COUNT(files)];
    char source[TN_RUN_PATH], file[TN_RUN_PATH], sets[SETS];
    tn_export_report report;
    make_teacher(p);
    assert_ok(tn_path_join(source, sizeof source, p->dir, files[0]));
    assert_ok(tn_path_join(file, sizeof file, p->dir, files[1]));
    assert_ok(tn_export(source, file, (tn_export_options){.type = TN_EXPORT_F32}, &report));
    assert_ok(tn_path_join(file, sizeof file, p->dir, files[2]));
    assert_ok(tn_export_hf(source, file, (tn_hf_export_options){0}, &report));
    for (size_t i = 0; i < TN_COUNT(files); i++) {
        char name[32];
        snprintf(name, sizeof name, "run%zu", i);
        fits(snprintf(sets, sizeof sets, "%s distill.teacher=%s/%s", distill(p, "method=norms"), p->dir, files[i]));
        tn_finetune_once(&r[i], p, name, sets);
        assert_string_equal(r[0].trainer->teacher.id, r[i].trainer->teacher.id);
        assert_true(r[0].summary.val_kl == r[i].summary.val_kl);
    }
    for (size_t i = 0; i < TN_COUNT(files); i++) tn_run_release(&r[i]);
}

/* ---- the trainer's promises ---- */

/* Each objective in each method, as settings. */
static const char *variant(const tn_place *p, size_t i) {
    const char *method = methods[i % TN_COUNT(methods)];
    return i < TN_COUNT(methods) ? dpo(p, method) : distill(p, method);
}

static void resumed_objective__equals_a_straight_one(void **state) {
    make_teacher(*state);
    for (size_t i = 0; i < 2 * TN_COUNT(methods); i++) {
        tn_run straight, parts;
        tn_buf heard = {0};
        char a[32], b[32];
        snprintf(a, sizeof a, "straight%zu", i);
        snprintf(b, sizeof b, "parts%zu", i);
        tn_finetune_once(&straight, *state, a, variant(*state, i));
        tn_hear(&heard);
        tn_finetune_in_two_parts(&parts, *state, b, variant(*state, i), 5 + (int64_t)(i % 5));
        tn_hear(NULL);
        tn_assert_same_trained(&straight, &parts);
        const double *references = straight.trainer->engine.references;
        if (references) {
            assert_memory_equal(references, parts.trainer->engine.references, 2 * PAIRS * sizeof *references);
            const char *said = strstr(tn_buf_text(&heard), "what the base makes of");
            assert_non_null(said);
            assert_null(strstr(said + 1, "what the base makes of")); /* once, not when it goes on */
        }
        tn_assert_same_slots(&straight, &parts);
        tn_assert_same_rows(&straight, &parts);
        tn_buf_release(&heard);
        tn_run_release(&straight);
        tn_run_release(&parts);
    }
}

/* Another order of the sums over tokens, and nothing else. */
static void accumulated_objective__is_that_of_rows_at_once(void **state) {
    make_teacher(*state);
    for (size_t i = 0; i < 2 * TN_COUNT(methods); i++) {
        double loss[2], norm[2];
        for (int k = 0; k < 2; k++) {
            tn_run r;
            char name[32], sets[SETS];
            snprintf(name, sizeof name, "run%zu-%d", i, k);
            fits(snprintf(sets, sizeof sets, "%s lora.dropout=0 train.max_steps=1 train.batch_size=%d %s=%d",
                          variant(*state, i), k ? 1 : 8, "train.grad_accumulation", k ? 8 : 1));
            tn_finetune_once(&r, *state, name, sets);
            loss[k] = r.summary.train_loss;
            norm[k] = r.last.grad_norm;
            tn_run_release(&r);
        }
        print_message("  variant %zu: loss off by %.1e, norm of the gradient by %.1e\n", i, fabs(loss[0] / loss[1] - 1),
                      fabs(norm[0] / norm[1] - 1));
        assert_true(norm[0] > 0 && fabs(loss[0] / loss[1] - 1) < 1e-6 && fabs(norm[0] / norm[1] - 1) < 1e-5);
    }
}

static void plan__is_what_an_objective_takes(void **state) {
    make_teacher(*state);
    for (size_t i = 0; i < 2 * TN_COUNT(methods); i++) {
        tn_run r;
        tn_plan plan = {0};
        tn_memory_table taken = {0};
        char name[16];
        int64_t special = 0;
        snprintf(name, sizeof name, "r%zu", i);
        tn_finetune_once(&r, *state, name, variant(*state, i));
        assert_ok(tn_plan_count_memory(&plan, &r.config, &r.trainer->course));
        tn_engine_count_memory(&r.trainer->engine, &taken);
        for (int k = 0; k < taken.count; k++) {
            const tn_memory_row *row = &taken.rows[k];
            int64_t planned = -1;
            for (int j = 0; j < plan.memory.count; j++)
                if (strcmp(plan.memory.rows[j].name, row->name) == 0) planned = plan.memory.rows[j].bytes;
            if (strcmp(row->name, i < TN_COUNT(methods) ? "references" : "teacher") == 0) special = row->bytes;
            /* Texts of the state are a few bytes; the head is not packed for logits that nobody asks for. */
            if (strcmp(row->name, "config") == 0 || strcmp(row->name, "packed floats") == 0) continue;
            if (planned != row->bytes)
                fail_msg("variant %zu: planned %lld bytes of %s, took %lld", i, (long long)planned, row->name,
                         (long long)row->bytes);
        }
        assert_true(special >= (i < TN_COUNT(methods) ? 2 * PAIRS * 8 : 10000));
        tn_run_release(&r);
    }
}

/* ---- what is refused, and what is said ---- */

/* An adapter beside a teacher makes another one of it. */
static void another_teacher__is_refused_by_its_fingerprint(void **state) {
    static const char *const others[] = {"other", "adapted"};
    const tn_place *p = *state;
    tn_run other, r;
    char sets[SETS];
    make_teacher(p);
    tn_place_add_run(p, "other", "model.context=32 train.seed=7");
    tn_run_init_finetune(&other, p, "adapted", "teacher", "method=lora lora.rank=4");
    tn_run_go(&other, false);
    tn_run_release(&other);
    tn_finetune_once(&r, p, "a", distill(p, "method=norms"));
    tn_run_release(&r);
    for (size_t i = 0; i < TN_COUNT(others); i++) {
        fits(snprintf(sets, sizeof sets, "%s distill.teacher=%s/%s", distill(p, "method=norms"), p->dir, others[i]));
        tn_run_init_finetune(&r, p, "a", "base", sets);
        assert_int_equal(tn_run_open(&r, true), TN_E_MISMATCH);
        assert_non_null(strstr(tn_error_message(), others[i]));
        assert_non_null(strstr(tn_error_message(), " is not the teacher that the run began with (fingerprint "));
        tn_run_release(&r);
    }
}

static void objectives__that_cannot_be_are_refused_in_a_sentence(void **state) {
    const tn_place *p = *state;
    static const struct {
        bool distills;
        const char *more, *expected;
    } cases[] = {
        {false, "method=norms objective=sft", "pairs.jsonl has rows of kind preference, which compare answers"},
        {false, "method=norms objective=distill distill.teacher=PLACE/base",
         "pairs.jsonl has rows of kind preference, which compare answers"},
        {false, "method=norms data.train=PLACE/letters.txt data.max_length=8",
         "letters.txt has rows of kind text; dpo learns from rows with prompt, chosen and rejected"},
        {false, "method=norms data.validation=PLACE/answers.jsonl",
         "answers.jsonl has rows of kind completion; dpo learns from"},
        {false, "method=norms data.document_mask=false", "data.document_mask is false, but to dpo each answer"},
        {false, "method=norms data.packing=wrapped", "preference"},
        {false, "method=full train.z_loss=1e-4", "train.z_loss is 0.0001, but the loss of dpo has no such term"},
        {true, "method=norms distill.teacher=", "distill.teacher is missing: the model whose distribution is learnt"},
        {true, "method=norms distill.teacher=PLACE/none", "cannot open: no such file or directory (distill.teacher)"},
        {true, "method=norms distill.teacher=PLACE/letters.txt", "nor a GGUF file"},
        {true, "method=norms distill.teacher=PLACE/letters", "has 4 ids, the base "},
        {true, "method=norms distill.teacher=PLACE/short",
         "has a context of 16 tokens, but the rows of this run have 32; set data.max_length 16"},
    };
    char path[TN_TEST_PATH + 32], letters[SETS];
    static const char text[] = "abababab bababa abababab bababa abababab bababa abababab bababa abababab bababa";
    static const char answers[] = "{\"prompt\": \"ab\", \"completion\": \" the\"}\n";
    snprintf(path, sizeof path, "%s/letters.txt", p->dir);
    assert_ok(tn_file_write(path, text, sizeof text - 1));
    fits(snprintf(letters, sizeof letters,
                  "data.train=%s model.context=32 train.max_steps=1 data.validation_fraction=0", path));
    snprintf(path, sizeof path, "%s/answers.jsonl", p->dir);
    assert_ok(tn_file_write(path, answers, sizeof answers - 1));
    tn_place_add_run(p, "letters", letters);
    tn_place_add_run(p, "short", "train.max_steps=1");
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_run r;
        char more[SETS] = "";
        const char *from = cases[i].more;
        for (const char *at; (at = strstr(from, "PLACE")); from = at + strlen("PLACE"))
            snprintf(more + strlen(more), sizeof more - strlen(more), "%.*s%s", (int)(at - from), from, p->dir);
        snprintf(more + strlen(more), sizeof more - strlen(more), "%s", from);
        tn_run_init_finetune(&r, p, "a", "base", cases[i].distills ? distill(p, more) : dpo(p, more));
        if (tn_run_open(&r, false) == TN_OK) fail_msg("%s: is taken", cases[i].more);
        if (!strstr(tn_error_message(), cases[i].expected)) fail_msg("%s: %s", cases[i].more, tn_error_message());
        assert_false(tn_path_exists(r.dir));
        tn_run_release(&r);
    }
}

static void dropout__is_nothing_to_dpo_unless_it_is_set(void **state) {
    static const char *const sets[] = {"method=lora lora.rank=4", "method=lora lora.rank=4 lora.dropout=0.2"};
    for (int i = 0; i < 2; i++) {
        tn_run r;
        tn_buf heard = {0};
        tn_hear(&heard);
        tn_run_init_finetune(&r, *state, "a", "base", dpo(*state, sets[i]));
        assert_ok(tn_run_open(&r, false));
        tn_hear(NULL);
        assert_true(r.config.finetune.lora.dropout == (i ? 0.2 : 0));
        assert_true((strstr(tn_buf_text(&heard), "lora.dropout is 0.2, but what the base makes") != NULL) == (i == 1));
        tn_buf_release(&heard);
        tn_run_release(&r);
        tn_test_dir_remove(r.dir);
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tn_place_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(dpo__comes_to_prefer_what_was_chosen),
        CASE(dpo__measures_pairs_of_another_file),
        CASE(distill__comes_nearer_to_its_teacher),
        CASE(teacher__may_be_a_file_of_any_kind),
        CASE(resumed_objective__equals_a_straight_one),
        CASE(accumulated_objective__is_that_of_rows_at_once),
        CASE(plan__is_what_an_objective_takes),
        CASE(another_teacher__is_refused_by_its_fingerprint),
        CASE(objectives__that_cannot_be_are_refused_in_a_sentence),
        CASE(dropout__is_nothing_to_dpo_unless_it_is_set),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("finetune_objectives", tests, NULL, NULL);
}
