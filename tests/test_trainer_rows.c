/* SPDX-License-Identifier: MIT
 * Training on rows: packed is unpacked, runs resume in the middle of an epoch, and what cannot be trained on is
 * refused. */
#include "core/fs.h"
#include "core/par.h"
#include "data/stories.h"
#include "kernels/kernels.h"
#include "tests/trainer_rig.h"
#include "train/evaluate.h"
#include "train/trainer_priv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { QUESTIONS = 80 };

/* Stories with a question, and the answer. Returns the setting that names the file. */
static const char *put_questions(const tn_place *p) {
    static char setting[TN_TEST_PATH + 64];
    char path[TN_TEST_PATH + 32];
    tn_buf rows = {0};
    for (uint64_t i = 0; i < QUESTIONS; i++) assert_ok(tn_story_write_question(1, i, &rows));
    snprintf(path, sizeof path, "%s/questions.jsonl", p->dir);
    assert_ok(tn_file_write(path, rows.data, rows.len));
    tn_buf_release(&rows);
    snprintf(setting, sizeof setting, "data.train=%s", path);
    return setting;
}

/* A run on questions with more settings. */
static void open_run(tn_run *r, const tn_place *p, const char *name, const char *sets) {
    char all[1024];
    snprintf(all, sizeof all, "%s model.context=640 train.batch_size=2 train.eval_batches=0 %s", put_questions(p),
             sets);
    tn_run_init(r, p, name, all);
}

static double loss_of(tn_run *r) {
    tn_evaluation e;
    assert_ok(tn_evaluate(&e, tn_trainer_model(r->trainer), r->trainer->engine.tape, &r->trainer->data.train,
                          tn_trainer_tokenizer(r->trainer), 2, 0));
    return e.loss;
}

static void rows__packed_or_apart_have_the_same_loss(void **state) {
    static const char *const packings[] = {"off", "bfd", "auto"};
    double losses[TN_COUNT(packings) + 1];
    int64_t rows[TN_COUNT(packings)];
    for (size_t i = 0; i <= TN_COUNT(packings); i++) {
        tn_run r;
        char name[32], sets[200];
        snprintf(name, sizeof name, "run%zu", i);
        snprintf(sets, sizeof sets, "model.context=1280 data.packing=%s%s",
                 i < TN_COUNT(packings) ? packings[i] : "bfd",
                 i < TN_COUNT(packings) ? "" : " data.document_mask=false");
        open_run(&r, *state, name, sets);
        assert_ok(tn_run_open(&r, false));
        tn_model_refresh(tn_trainer_model(r.trainer), 1);
        losses[i] = loss_of(&r);
        if (i < TN_COUNT(packings)) rows[i] = tn_batches_per_epoch(&r.trainer->data.train);
        tn_run_release(&r);
    }
    print_message("  loss off by %.1e in %lld rows instead of %lld; without a mask by %.1e\n",
                  fabs(losses[1] / losses[0] - 1), (long long)rows[1], (long long)rows[0],
                  fabs(losses[3] / losses[0] - 1));
    assert_true(fabs(losses[1] / losses[0] - 1) < 1e-12); /* the order of a sum in double */
    assert_true(losses[2] == losses[1]);
    assert_true(fabs(losses[3] / losses[0] - 1) > 1e-6);
    assert_int_equal(rows[0], QUESTIONS * 9 / 10);
    assert_true(rows[1] < rows[0] * 9 / 10);
}

/* ---- document by document ---- */

enum { LONG = 1280, WIDTH = 32 };

/* One row as an evaluation sees it, and what the network makes of it. */
typedef struct row_view {
    int32_t tokens[LONG], targets[LONG], first[LONG];
    tn_real hidden[LONG * WIDTH];
} row_view;

static void look(tn_run *r, int64_t row, row_view *v) {
    tn_batch batch = {.tokens = v->tokens, .targets = v->targets, .first = v->first};
    tn_batches_cover(&r->trainer->data.train, row, 1, &batch);
}

static void compute(tn_run *r, row_view *v) {
    tn_tape *tape = r->trainer->engine.tape;
    tn_tape_begin(tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *x = tn_model_hidden_documents(tn_trainer_model(r->trainer), tape,
                                             tn_tape_ids(tape, 2, (const int[]){1, LONG}, v->tokens), v->first);
    assert_ok(tn_tape_status(tape));
    memcpy(v->hidden, x->real, sizeof v->hidden);
}

/* Where the document ends that begins at `begin`, and whether anything of it is learnt (of padding, nothing is). */
static int end_of_document(const row_view *v, int begin, bool *learnt) {
    int end = begin;
    for (*learnt = false; end < LONG && v->first[end] == begin; end++) *learnt = *learnt || v->targets[end] >= 0;
    return end;
}

/* The document, alone in its row: the same targets and the same bits. */
static void assert_same_alone(tn_run *apart, const row_view *packed, int begin, int end) {
    static row_view alone;
    size_t count = (size_t)(end - begin);
    for (int64_t row = 0; row < tn_batches_per_epoch(&apart->trainer->data.train); row++) {
        bool learnt;
        look(apart, row, &alone);
        if (end_of_document(&alone, 0, &learnt) != end - begin ||
            memcmp(alone.tokens, packed->tokens + begin, count * sizeof *alone.tokens) != 0)
            continue;
        compute(apart, &alone);
        assert_memory_equal(alone.targets, packed->targets + begin, count * sizeof *alone.targets);
        assert_memory_equal(alone.hidden, packed->hidden + begin * WIDTH, count * WIDTH * sizeof *alone.hidden);
        return;
    }
    fail_msg("the document at %d stands in no row of its own", begin);
}

static void rows__packed_give_each_document_the_bits_it_has_alone(void **state) {
    static row_view v;
    tn_run apart, packed;
    int documents = 0;
    open_run(&apart, *state, "apart", "model.context=1280 data.packing=off");
    open_run(&packed, *state, "packed", "model.context=1280 data.packing=bfd");
    assert_ok(tn_run_open(&apart, false));
    assert_ok(tn_run_open(&packed, false));
    tn_model_refresh(tn_trainer_model(apart.trainer), 1);
    tn_model_refresh(tn_trainer_model(packed.trainer), 1);
    for (int64_t row = 0; row < tn_batches_per_epoch(&packed.trainer->data.train); row++) {
        look(&packed, row, &v);
        compute(&packed, &v);
        for (int begin = 0, end; begin < LONG; begin = end) {
            bool learnt;
            end = end_of_document(&v, begin, &learnt);
            assert_true(end > begin);
            if (learnt) assert_same_alone(&apart, &v, begin, end);
            documents += learnt;
        }
    }
    assert_int_equal(documents, QUESTIONS * 9 / 10);
    tn_run_release(&apart);
    tn_run_release(&packed);
}

/* Pieces of one row do not stand on both sides of what is held out. */
static void rows__in_pieces_are_held_out_as_a_whole(void **state) {
    static const char *const sets[] = {"data.overflow=split", "data.packing=bfd_split",
                                       "data.overflow=split data.max_length=100"};
    for (size_t i = 0; i < TN_COUNT(sets); i++) {
        tn_run r;
        char all[200], name[16];
        snprintf(name, sizeof name, "run%zu", i);
        snprintf(all, sizeof all, "model.context=128 data.loss_on=all %s", sets[i]);
        open_run(&r, *state, name, all);
        assert_ok(tn_run_open(&r, false));
        const tn_train_data *d = &r.trainer->data;
        int64_t held = tn_store_doc_offset(d->store, QUESTIONS * 9 / 10);
        assert_int_equal(tn_store_n_documents(d->store), QUESTIONS);
        assert_int_equal(d->train.count, held);
        tn_evaluation e;
        tn_model_refresh(tn_trainer_model(r.trainer), 1);
        assert_ok(
            tn_evaluate(&e, tn_trainer_model(r.trainer), r.trainer->engine.tape, &d->validation, d->tokenizer, 3, 0));
        assert_int_equal(e.targets, tn_store_n_tokens(d->store) - held - QUESTIONS / 10); /* all but first tokens */
        tn_run_release(&r);
    }
}

static void rows__are_split_by_documents_and_answers_alone_count(void **state) {
    tn_run r;
    open_run(&r, *state, "run", "data.validation_fraction=0.25");
    assert_ok(tn_run_open(&r, false));
    const tn_train_data *d = &r.trainer->data;
    int64_t held = tn_store_doc_offset(d->store, QUESTIONS * 3 / 4);
    assert_int_equal(d->train.first, 0);
    assert_int_equal(d->train.count, held);
    assert_int_equal(d->validation.first, held);
    assert_int_equal(d->validation.count, tn_store_n_tokens(d->store) - held);
    int64_t learnt = 0;
    for (int64_t i = 0; i < held; i++) learnt += tn_store_mask(d->store)[i];
    tn_evaluation e;
    assert_ok(tn_evaluate(&e, tn_trainer_model(r.trainer), r.trainer->engine.tape, &d->train, d->tokenizer, 3, 0));
    assert_int_equal(e.targets, learnt);
    assert_in_range(learnt, held / 50, held / 5);
    tn_run_release(&r);
}

static void rows__resume_where_they_stopped(void **state) {
    static const char *const packings[] = {"off", "bfd", "bfd_split", "wrapped"};
    static const int contexts[] = {640, 640, 160, 160};
    for (size_t i = 0; i < TN_COUNT(packings); i++) {
        tn_run whole, parts;
        char sets[400], one[32], two[32];
        snprintf(sets, sizeof sets,
                 "%s model.context=%d train.max_steps=12 train.eval_steps=6 train.eval_batches=2 "
                 "train.save_steps=4 data.packing=%s",
                 put_questions(*state), contexts[i], packings[i]);
        snprintf(one, sizeof one, "whole%zu", i);
        snprintf(two, sizeof two, "parts%zu", i);
        tn_run_once(&whole, *state, one, sets);
        tn_run_in_two_parts(&parts, *state, two, sets, 7);
        assert_int_equal(parts.summary.step, 12);
        assert_true(isfinite(whole.summary.val_loss) && whole.summary.val_loss == parts.summary.val_loss);
        tn_assert_same_weights(&whole, &parts);
        tn_assert_same_slots(&whole, &parts);
        tn_assert_same_rows(&whole, &parts);
        tn_run_release(&whole);
        tn_run_release(&parts);
    }
}

/* All steps of accumulation under one divisor: cutting a batch in passes changes the order of sums alone. */
static void rows__accumulated_are_rows_at_once(void **state) {
    double losses[2];
    for (int i = 0; i < 2; i++) {
        tn_run r;
        char name[16];
        snprintf(name, sizeof name, "run%d", i);
        open_run(&r, *state, name,
                 i ? "train.max_steps=1 train.batch_size=1 train.grad_accumulation=4"
                   : "train.max_steps=1 train.batch_size=4");
        tn_run_go(&r, false);
        losses[i] = r.summary.train_loss;
        tn_run_release(&r);
    }
    assert_true(fabs(losses[1] / losses[0] - 1) < 1e-12);
}

static void rows__that_compare_answers_are_refused(void **state) {
    tn_place *p = *state;
    tn_run r;
    char sets[TN_TEST_PATH + 64];
    static const char row[] = "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n";
    snprintf(sets, sizeof sets, "%s/pairs.jsonl", p->dir);
    assert_ok(tn_file_write(sets, row, strlen(row)));
    snprintf(sets, sizeof sets, "data.train=%s/pairs.jsonl data.validation_fraction=0", p->dir);
    tn_run_init(&r, p, "run", sets);
    assert_int_equal(tn_run_open(&r, false), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "pairs.jsonl has rows of kind preference, which compare answers"));
    tn_run_release(&r);
}

static void rows__held_out_must_be_documents_too(void **state) {
    tn_place *p = *state;
    tn_run r;
    char sets[TN_TEST_PATH + 64];
    snprintf(sets, sizeof sets, "data.validation=%s", p->text);
    open_run(&r, p, "run", sets);
    assert_int_equal(tn_run_open(&r, false), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "questions.jsonl is of documents and "));
    tn_run_release(&r);
    snprintf(sets, sizeof sets, "data.validation=%s data.packing=wrapped", p->text);
    open_run(&r, p, "run", sets);
    assert_ok(tn_run_open(&r, false));
    tn_run_release(&r);
}

static void rows__that_are_held_out_and_learnt_are_warned_of(void **state) {
    tn_run r;
    tn_buf log = {0};
    char sets[TN_TEST_PATH + 64];
    snprintf(sets, sizeof sets, "data.validation=%s", put_questions(*state) + strlen("data.train="));
    for (int both = 0; both < 2; both++) {
        tn_hear(&log);
        open_run(&r, *state, both ? "both" : "apart", both ? sets : "");
        assert_ok(tn_run_open(&r, false));
        tn_hear(NULL);
        const char *warning = strstr(log.data, "80 of the 80 held-out documents stand in the training data too");
        assert_true(both ? warning != NULL : !strstr(log.data, "held-out documents stand"));
        tn_run_release(&r);
    }
    tn_buf_release(&log);
}

static void rows__that_never_end_are_warned_of(void **state) {
    tn_run r;
    tn_buf log = {0};
    tn_hear(&log);
    open_run(&r, *state, "run", "data.train_on_eos=none");
    assert_ok(tn_run_open(&r, false));
    tn_hear(NULL);
    assert_non_null(strstr(log.data, "no token that ends a turn is learnt, so the model will not learn to stop"));
    tn_buf_release(&log);
    tn_run_release(&r);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_place_set_up, tn_place_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(rows__packed_give_each_document_the_bits_it_has_alone),
        TEST(rows__in_pieces_are_held_out_as_a_whole),
        TEST(rows__packed_or_apart_have_the_same_loss),
        TEST(rows__are_split_by_documents_and_answers_alone_count),
        TEST(rows__resume_where_they_stopped),
        TEST(rows__accumulated_are_rows_at_once),
        TEST(rows__that_compare_answers_are_refused),
        TEST(rows__held_out_must_be_documents_too),
        TEST(rows__that_are_held_out_and_learnt_are_warned_of),
        TEST(rows__that_never_end_are_warned_of),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("trainer_rows", tests, NULL, NULL);
}
