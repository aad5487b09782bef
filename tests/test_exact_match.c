/* SPDX-License-Identifier: MIT
 * Exact match of questions, against what sessions answer one at a time. */
#include "core/fs.h"
#include "infer/exact_match.h"
#include "tests/session_rig.h"

#include <stdio.h>
#include <string.h>

enum { QUESTIONS = 6, MOST = 12 };

static const char *const prompts[QUESTIONS] = {"Once upon", "The cat", "She had 3", "The end; then", "apples", "girl"};

/* What the model says to a prompt, alone and greedily. */
static void answer(const tn_test_model *f, const char *prompt, tn_test_text *out, tn_generated *generated) {
    const tn_generate_options how = {.max_tokens = MOST, .piece = tn_test_collect, .context = out};
    tn_sampler_options options = tn_sampler_defaults();
    tn_session *session = tn_test_session(&f->loaded, 0, 0);
    tn_sampler *sampler;
    tn_ids ids = {0};
    options.temperature = 0;
    assert_ok(tn_sampler_create(&sampler, tn_test_vocab(&f->loaded), &options));
    assert_ok(tn_prompt_encode(f->loaded.tokenizer, prompt, strlen(prompt), &ids));
    assert_ok(tn_session_feed(session, ids.list, (int)ids.count));
    assert_ok(tn_generate(session, sampler, &how, generated));
    tn_ids_release(&ids);
    tn_sampler_free(sampler);
    tn_session_free(session);
}

/* Rows whose answers are the model's, white space added, but for the first `wrong`, which say more. */
static int64_t put_questions(const tn_test_model *f, const char *path, int wrong) {
    tn_buf rows = {0};
    int64_t ended = 0;
    for (int i = 0; i < QUESTIONS; i++) {
        tn_test_text text = {.whole = true};
        tn_generated generated;
        answer(f, prompts[i], &text, &generated);
        const char *words = tn_buf_text(&text.text);
        size_t len = text.text.len;
        tn_question_trim(&words, &len);
        assert_true(len > 0);
        ended += generated.reason == TN_STOP_EOS;
        json_t *row = json_pack("{s:s, s:o}", "prompt", prompts[i], "completion",
                                json_sprintf(" %.*s%s\n", (int)len, words, i < wrong ? "x" : ""));
        char line[512];
        size_t n = json_dumpb(row, line, sizeof line, 0);
        assert_in_range(n, 1, sizeof line);
        json_decref(row);
        assert_ok(tn_buf_append(&rows, line, n));
        assert_ok(tn_buf_putc(&rows, '\n'));
        tn_buf_release(&text.text);
    }
    assert_ok(tn_file_write(path, tn_buf_text(&rows), rows.len));
    tn_buf_release(&rows);
    return ended;
}

static tn_status count(const tn_test_model *f, const char *path, tn_exact_match_options options, tn_exact_match *out) {
    const tn_example_options examples = {0};
    options.examples = &examples;
    if (!options.max_tokens) options.max_tokens = MOST;
    return tn_exact_match_count(out, &f->loaded, &path, 1, &options);
}

static void answers__that_are_the_models_match_and_others_do_not(void **state) {
    const tn_test_model *f = *state;
    char path[TN_TEST_PATH + 16];
    snprintf(path, sizeof path, "%s/q.jsonl", f->dir);
    for (int wrong = 0; wrong <= QUESTIONS; wrong += 3) {
        int64_t ended = put_questions(f, path, wrong);
        for (int slots = 1; slots <= 8; slots += 7) {
            tn_exact_match m;
            assert_ok(count(f, path, (tn_exact_match_options){.batch.slots = slots}, &m));
            assert_int_equal(m.count, QUESTIONS);
            assert_int_equal(m.matched, QUESTIONS - wrong);
            assert_int_equal(m.answered, ended);
        }
    }
}

static void question__that_does_not_fit_is_a_bad_row(void **state) {
    const tn_test_model *f = *state;
    char path[TN_TEST_PATH + 16];
    tn_exact_match m;
    snprintf(path, sizeof path, "%s/q.jsonl", f->dir);
    put_questions(f, path, 0);
    assert_int_equal(count(f, path, (tn_exact_match_options){.batch.context = 8}, &m), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "q.jsonl:1: the prompt has 9 tokens, the context holds 8"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers__that_are_the_models_match_and_others_do_not),
        cmocka_unit_test(question__that_does_not_fit_is_a_bad_row),
    };
    return cmocka_run_group_tests(tests, tn_test_model_set_up, tn_test_model_tear_down);
}
