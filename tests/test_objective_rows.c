/* SPDX-License-Identifier: MIT
 * Objectives on the rows of a store. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/example_rig.h"
#include "tests/network_rig.h"
#include "tests/testing.h"
#include "train/objective_rows.h"

#include <math.h>
#include <string.h>

enum { T = 40, COUNT = 60, ROWS = 7, PREFERENCES = 2 * COUNT };

typedef struct setup {
    tn_arena *arena;
    tn_tape *tape;
    tn_tokenizer *tokenizer;
    tn_model *model;
    tn_store *store;
    tn_objective objective;
} setup;

static tn_store *store_of(void **state, const tn_tokenizer *tokenizer, bool preferences) {
    tn_buf rows = {0};
    for (int i = 0; i < COUNT; i++)
        if (preferences)
            assert_ok(tn_buf_printf(&rows, "{\"prompt\": \"%.*s\", \"chosen\": \"%.*sc\", \"rejected\": \"%.*sr\"}\n",
                                    1 + i % 5, "abcde", i % 7, "ghijklm", i % 3, "opq"));
        else
            assert_ok(tn_buf_printf(&rows, "{\"prompt\": \"%.*s\", \"completion\": \"%.*sc\"}\n", 1 + i % 5, "abcde",
                                    i % 7, "ghijklm"));
    const char *path = tn_put_rows(*state, rows.data);
    tn_data_report report = {0};
    tn_store *store;
    assert_ok(tn_store_build_examples_memory(&store, &path, 1, tokenizer, &(tn_example_options){0}, &report));
    tn_data_report_release(&report);
    tn_buf_release(&rows);
    return store;
}

static void init(setup *s, void **state) {
    assert_non_null(s->arena = tn_arena_create("test"));
    assert_non_null(s->tape = tn_tape_create());
    s->tokenizer = tn_example_tokenizer(false, "");
    s->store = store_of(state, s->tokenizer, true);
    tn_model_config config = tn_network_small;
    config.vocab_size = tn_store_vocab_size(s->store);
    config.n_layer = 1;
    config.n_head = config.n_kv_head = 2;
    config.context = T;
    config.init_std = 0.3;
    s->model = tn_network_make(s->arena, &config, TN_MODEL_TRAIN, 1);
    const tn_objective_settings settings = {.kind = TN_OBJECTIVE_DPO, .beta = 0.5};
    assert_ok(tn_objective_init(&s->objective, s->arena, &settings, ROWS * T));
    tn_tape_set_backward(s->tape, TN_BACKWARD_INT16);
}

static void release(setup *s) {
    tn_store_free(s->store);
    tn_tokenizer_free(s->tokenizer);
    tn_tape_free(s->tape);
    tn_arena_free(s->arena);
}

static tn_row_packing *pack(const tn_store *store, int how, tn_batches *b, bool mask) {
    const tn_row_packing_options options = {.how = how, .context = T};
    tn_row_packing_report report;
    tn_row_packing *p;
    const int64_t n = tn_store_n_documents(store);
    assert_ok(tn_row_packing_create(&p, store, 0, n, &options, &report));
    assert_int_equal(report.documents, n);
    tn_batches_init_documents(b, p, 0, n, 1, true, mask);
    return p;
}

static double *references_of(setup *s, int how) {
    tn_batches b;
    double *references = tn_arena_array(s->arena, PREFERENCES, sizeof *references, "test");
    for (int i = 0; i < PREFERENCES; i++) references[i] = (double)NAN;
    tn_row_packing *p = pack(s->store, how, &b, true);
    assert_ok(tn_objective_refer_rows(references, &s->objective, s->model, s->tape, &b, ROWS));
    tn_row_packing_free(p);
    return references;
}

/* Every pair of the store once, where its documents are. */
static void pairs__are_all_in_the_rows_of_an_epoch(void **state) {
    setup s;
    init(&s, state);
    tn_batches b;
    tn_pair pairs[T / 2];
    int seen[PREFERENCES] = {0};
    double references[PREFERENCES];
    for (int i = 0; i < PREFERENCES; i++) references[i] = -i;
    tn_row_packing *p = pack(s.store, TN_PACKING_BFD, &b, true);
    assert_true(tn_row_packing_rows(p) < COUNT / 2);
    for (int64_t row = 0; row < tn_row_packing_rows(p); row++) {
        int n = 0, at = 3 * T;
        tn_pairs_of_row(pairs, &n, tn_batches_row(&b, row), 3 * T, references);
        assert_true(n > 0);
        for (int i = 0; i < n; i++) {
            const tn_answer *answers[2] = {&pairs[i].chosen, &pairs[i].rejected};
            for (int k = 0; k < 2; k++) {
                const int64_t d = answers[k]->document;
                assert_int_equal(answers[k]->begin, at);
                assert_int_equal(answers[k]->end - at,
                                 tn_store_doc_offset(s.store, d + 1) - tn_store_doc_offset(s.store, d) - 1);
                assert_int_equal(d % 2, k);
                assert_true(answers[k]->reference == -(double)d);
                seen[d]++;
                at = (int)answers[k]->end;
            }
        }
        assert_true(at <= 4 * T);
    }
    for (int i = 0; i < PREFERENCES; i++) assert_int_equal(seen[i], 1);
    tn_row_packing_free(p);
    release(&s);
}

static void references__do_not_depend_on_packing(void **state) {
    setup s;
    init(&s, state);
    const double *apart = references_of(&s, TN_PACKING_OFF), *packed = references_of(&s, TN_PACKING_BFD);
    for (int i = 0; i < PREFERENCES; i++) assert_true(isfinite(apart[i]) && apart[i] < 0 && apart[i] == packed[i]);
    release(&s);
}

static tn_objective_tally evaluate(setup *s, int how, const double *references, int64_t most, int64_t *counted) {
    tn_batches b;
    tn_objective_tally tally;
    tn_row_packing *p = pack(s->store, how, &b, true);
    assert_ok(tn_objective_evaluate(&tally, counted, &s->objective, s->model, s->tape, &b, references, ROWS, most));
    tn_row_packing_free(p);
    return tally;
}

static void evaluation__of_the_reference_is_log_two(void **state) {
    setup s;
    int64_t counted;
    init(&s, state);
    const double *references = references_of(&s, TN_PACKING_BFD);
    for (int how = TN_PACKING_OFF; how <= TN_PACKING_BFD; how++) {
        const tn_objective_tally t = evaluate(&s, how, references, 0, &counted);
        assert_int_equal(counted, COUNT);
        assert_int_equal(t.pairs.pairs, COUNT);
        assert_true(fabs(t.loss / COUNT / log(2) - 1) < 1e-12 && t.pairs.margin == 0 && t.pairs.right == 0);
    }
    const tn_objective_tally some = evaluate(&s, TN_PACKING_OFF, references, 2, &counted);
    assert_int_equal(counted, 2 * ROWS);
    assert_true(fabs(some.loss / (2 * ROWS) / log(2) - 1) < 1e-12);
    release(&s);
}

static void evaluation__of_another_model_is_the_same_in_any_rows(void **state) {
    setup s;
    int64_t counted;
    init(&s, state);
    const double *references = references_of(&s, TN_PACKING_BFD);
    tn_model_init(s.model, 2);
    tn_model_refresh(s.model, 1);
    const tn_objective_tally a = evaluate(&s, TN_PACKING_OFF, references, 0, &counted),
                             b = evaluate(&s, TN_PACKING_BFD, references, 0, &counted);
    assert_true(fabs(a.pairs.margin) > 1 && fabs(a.loss / COUNT - log(2)) > 0.01);
    assert_true(fabs(a.loss / b.loss - 1) < 1e-12); /* the order of a sum in double */
    assert_int_equal(a.pairs.right, b.pairs.right);
    release(&s);
}

static void assert_refused(tn_objective_kind objective, const tn_batches *b, const char *sentence) {
    assert_int_equal(tn_objective_check_rows(objective, b), TN_E_CONFIG);
    if (!strstr(tn_error_message(), sentence)) fail_msg("\"%s\" has no \"%s\"", tn_error_message(), sentence);
}

static void rows__must_be_of_the_kind_that_an_objective_learns_from(void **state) {
    setup s;
    tn_batches preferences, blind, completions;
    init(&s, state);
    tn_store *other = store_of(state, s.tokenizer, false);
    tn_row_packing *packings[3] = {pack(s.store, TN_PACKING_BFD, &preferences, true),
                                   pack(s.store, TN_PACKING_BFD, &blind, false),
                                   pack(other, TN_PACKING_BFD, &completions, true)};
    assert_ok(tn_objective_check_rows(TN_OBJECTIVE_DPO, &preferences));
    assert_ok(tn_objective_check_rows(TN_OBJECTIVE_SFT, &completions));
    assert_refused(TN_OBJECTIVE_DPO, &blind, "data.document_mask is false");
    assert_refused(TN_OBJECTIVE_DPO, &completions,
                   "has rows of kind completion; dpo learns from rows with prompt, chosen");
    assert_refused(TN_OBJECTIVE_SFT, &preferences, "has rows of kind preference, which compare answers");
    for (int i = 0; i < 3; i++) tn_row_packing_free(packings[i]);
    tn_store_free(other);
    release(&s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(pairs__are_all_in_the_rows_of_an_epoch),
        TEST(references__do_not_depend_on_packing),
        TEST(evaluation__of_the_reference_is_log_two),
        TEST(evaluation__of_another_model_is_the_same_in_any_rows),
        TEST(rows__must_be_of_the_kind_that_an_objective_learns_from),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("objective_rows", tests, NULL, NULL);
}
