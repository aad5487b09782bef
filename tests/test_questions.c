/* SPDX-License-Identifier: MIT
 * Rows to questions: what a model is given, and what it should answer. */
#include "data/questions.h"
#include "tests/example_rig.h"

#include <string.h>

/* "what is asked[the answer]|" of every question. */
static tn_status note(void *context, const tn_question *q) {
    tn_notes *n = context;
    for (size_t i = 0; i < q->n_ids; i++) TN_TRY(tn_tokenizer_decode(n->tokenizer, q->ids[i], true, &n->text));
    return tn_buf_printf(&n->text, "[%.*s]|", (int)q->len, q->answer);
}

static tn_status read(tn_notes *n, void **state, tn_example_options options, const char *rows) {
    const char *path = tn_put_rows(*state, rows);
    return tn_read_questions(&path, 1, n->tokenizer, &options, note, n);
}

static void assert_questions(void **state, const tn_tokenizer *t, tn_example_options options, const char *rows,
                             const char *expected) {
    tn_notes n = {.tokenizer = t};
    assert_ok(read(&n, state, options, rows));
    assert_string_equal(tn_buf_text(&n.text), expected);
    tn_buf_release(&n.text);
}

static void row__of_every_kind_with_an_answer_is_a_question(void **state) {
    static const struct {
        const char *rows, *expected;
    } cases[] = {
        {CHAT(U("hello") ", " A("yes")), "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n[yes]|"},
        {CHAT(U("hello") ", " A("yes") ", " U("say no") ", " A("no")), /* the last answer, after the first one */
         "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n"
         "<|im_start|>user\nsay no<|im_end|>\n<|im_start|>assistant\n[no]|"},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}]}",
         "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[b]|"},
        {"{\"instruction\": \"say\", \"input\": \"yes\", \"output\": \"yes\"}",
         "<|im_start|>user\nsay\n\nyes<|im_end|>\n<|im_start|>assistant\n[yes]|"},
        {"{\"input\": \"say\", \"output\": \" yes\\n\"}",
         "<|im_start|>user\nsay<|im_end|>\n<|im_start|>assistant\n[yes]|"},
        {"{\"prompt\": \"say\", \"completion\": \" yes no\\n\"}", "say[yes no]|"},
        {"{\"prompt\": [" U("say") "], \"completion\": [" A("yes") "]}",
         "<|im_start|>user\nsay<|im_end|>\n<|im_start|>assistant\n[yes]|"},
        {"{\"prompt\": \"say\", \"chosen\": \" yes\", \"rejected\": \" no\"}", "say[yes]|"},
        {"{\"prompt\": \"say\", \"completion\": \" yes\", \"label\": true}", "say[yes]|"},
        {CHAT(U("hello") ", {\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"yes\"}, "
                         "{\"type\": \"text\", \"text\": \" no\"}]}"),
         "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n[yes no]|"},
    };
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        assert_questions(state, t, (tn_example_options){.chat_template = "chatml"}, cases[i].rows, cases[i].expected);
    tn_tokenizer_free(t);
}

/* Where training shows a BOS, so does the question. */
static void question__begins_as_training_shows_it(void **state) {
    static const char completion[] = "{\"prompt\": \"say\", \"completion\": \" yes\"}\n";
    static const char own[] = "{\"prompt\": \"<s>say\", \"completion\": \" yes\"}\n";
    tn_tokenizer *t = tn_example_tokenizer(true, "");
    assert_questions(state, t, (tn_example_options){0}, completion, "<s>say[yes]|");
    assert_questions(state, t, (tn_example_options){0}, own, "<s>say[yes]|");
    assert_questions(state, t, (tn_example_options){.chat_template = "zephyr"}, CHAT(U("hello") ", " A("yes")),
                     "<s><|user|>\nhello</s>\n<|assistant|>\n[yes]|");
    tn_tokenizer_free(t);
}

static void row__without_an_answer_is_refused(void **state) {
    static const struct {
        const char *rows, *sentence;
    } cases[] = {
        {"{\"text\": \"hello\"}", "a.jsonl:1: is of kind text, which has no answer to compare with"},
        {"{\"input_ids\": [1, 2]}", "a.jsonl:1: is of kind tokens, which has no answer to compare with"},
        {CHAT(A("yes") ", " U("hello")), "a.jsonl:1: the last message is of the role user, so there is no answer"},
        {CHAT(A("yes")), "a.jsonl:1: the answer is the only message, so nothing is asked"},
        {CHAT(U("hello") ", " A(" \\n")), "a.jsonl:1: has an empty answer"},
        {"{\"prompt\": \"\", \"completion\": \"yes\"}", "a.jsonl:1: comes to no tokens to be answered"},
        {"{\"prompt\": \"say\", \"completion\": \" yes\", \"label\": false}",
         "a.jsonl:1: has a completion that is not wanted"},
    };
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_notes n = {.tokenizer = t};
        if (!read(&n, state, (tn_example_options){0}, cases[i].rows)) fail_msg("%s was taken", cases[i].rows);
        if (!strstr(tn_error_message(), cases[i].sentence))
            fail_msg("\"%s\" lacks \"%s\"", tn_error_message(), cases[i].sentence);
        tn_buf_release(&n.text);
    }
    tn_tokenizer_free(t);
}

static void row__that_is_bad_can_be_left_out(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    static const char rows[] = CHAT(U("hello")) CHAT(U("say") ", " A("yes")) "{\n" CHAT(U("say") ", " A("no"));
    tn_example_options options = {.rows.skips_bad = true, .chat_template = "none"};
    assert_questions(state, t, options, rows, "say[yes]|say[no]|");
    options.max_samples = 1;
    assert_questions(state, t, options, rows, "say[yes]|");
    tn_tokenizer_free(t);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(row__of_every_kind_with_an_answer_is_a_question),
        TEST(question__begins_as_training_shows_it),
        TEST(row__without_an_answer_is_refused),
        TEST(row__that_is_bad_can_be_left_out),
    };
    return cmocka_run_group_tests_name("questions", tests, NULL, NULL);
}
