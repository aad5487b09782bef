/* SPDX-License-Identifier: MIT */
#include "core/fs.h"
#include "core/par.h"
#include "infer/batch_rows.h"
#include "kernels/kernels.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <string.h>

typedef struct fixture {
    char dir[TN_TEST_PATH], out[TN_TEST_PATH + 16], state[TN_TEST_PATH + 32];
    tn_arena *arena;
    tn_loaded loaded;
    tn_request defaults;
} fixture;

static int set_up(void **state) {
    static fixture f;
    char checkpoint[TN_TEST_PATH + 16];
    f = (fixture){.defaults = {.sampler = tn_sampler_defaults(), .max_tokens = 6, .seed = -1}};
    assert_ok(tn_kernels_init(NULL));
    assert_ok(tn_par_set_threads(2));
    tn_test_dir_make(f.dir);
    snprintf(checkpoint, sizeof checkpoint, "%s/step.h5", f.dir);
    snprintf(f.out, sizeof f.out, "%s/out.jsonl", f.dir);
    snprintf(f.state, sizeof f.state, "%s.state", f.out);
    tn_test_tiny_checkpoint(checkpoint, TN_TOKENIZER_CHAR, NULL);
    f.arena = tn_arena_create("test");
    assert_ok(tn_model_file_load(checkpoint, f.arena, TN_MODEL_RUN, &f.loaded));
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tn_loaded_release(&f->loaded);
    tn_arena_free(f->arena);
    tn_test_dir_remove(f->dir);
    assert_ok(tn_par_set_threads(0));
    return 0;
}

typedef struct setting {
    const char *text;  /* of the input */
    const char *model; /* NULL = "m" */
    int slots, steps;  /* 0 = 8; 0 = all */
    int64_t seed;
    tn_answer_start start;
} setting;

static bool count_down(void *context) { return (*(int *)context)-- <= 1; }

static tn_status answer(fixture *f, setting s, tn_batch_report *report) {
    json_t *settings = tn_request_settings(&f->defaults);
    const tn_answer_origin origin = {.input = s.text,
                                     .input_len = strlen(s.text),
                                     .model = s.model ? s.model : "m",
                                     .settings = settings,
                                     .seed = s.seed,
                                     .new_seed = 77};
    tn_batch *batch;
    tn_answer_file *file;
    tn_batch_report none;
    int steps = s.steps;
    tn_status status = tn_answer_file_open(&file, f->out, &origin, s.start);
    json_decref(settings);
    if (status) return status;
    assert_ok(tn_batch_create(&batch, &f->loaded, (tn_batch_options){.slots = s.slots}));
    const tn_batch_rows rows = {.loaded = &f->loaded,
                                .batch = batch,
                                .answers = file,
                                .text = s.text,
                                .len = strlen(s.text),
                                .defaults = &f->defaults,
                                .stop = steps ? count_down : NULL,
                                .context = &steps};
    status = tn_batch_rows_answer(&rows, report ? report : &none);
    tn_batch_free(batch);
    tn_answer_file_close(file);
    return status;
}

static int compare_lines(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum { MOST_LINES = 64 };

/* The lines of the output, sorted; `text` holds them. */
static int read_lines(const fixture *f, tn_buf *text, const char *lines[MOST_LINES]) {
    int n = 0;
    assert_ok(tn_file_read(f->out, 1 << 20, text));
    for (char *at = text->data; at && *at;) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        *end = '\0';
        lines[n++] = at;
        at = end + 1;
    }
    qsort(lines, (size_t)n, sizeof *lines, compare_lines);
    return n;
}

static void assert_same_answers(const fixture *f, const tn_buf *expected) {
    tn_buf text = {0}, copy = {0};
    const char *lines[MOST_LINES], *others[MOST_LINES];
    int n = read_lines(f, &text, lines), m = 0;
    assert_ok(tn_buf_append(&copy, expected->data, expected->len));
    for (char *at = copy.data; *at; at = strchr(at, '\0') + 1) {
        char *end = strchr(at, '\n');
        *end = '\0';
        others[m++] = at;
    }
    qsort(others, (size_t)m, sizeof *others, compare_lines);
    assert_int_equal(n, m);
    for (int i = 0; i < n; i++) assert_string_equal(lines[i], others[i]);
    tn_buf_release(&text);
    tn_buf_release(&copy);
}

static const char questions[] = "{\"id\": \"a\", \"prompt\": \"Once upon\"}\n"
                                "\n"
                                "{\"prompt\": \"The cat\", \"max_tokens\": 9, \"temperature\": 2}\n"
                                "{\"id\": 12, \"prompt\": \"\", \"stop\": \"a\", \"max_tokens\": 30}\r\n"
                                "{\"id\": \"z\", \"prompt\": \"She had 3\", \"seed\": 5, \"temperature\": 0}\n"
                                "{\"prompt\": \"The end; then\", \"max_tokens\": 0}\n"
                                "{\"id\": \"last\", \"prompt\": \"apples\", \"max_tokens\": 40, \"temperature\": 1.5}";

static json_t *find_answer(const fixture *f, int64_t index) {
    tn_buf text = {0};
    const char *lines[MOST_LINES];
    json_t *found = NULL;
    int n = read_lines(f, &text, lines);
    for (int i = 0; i < n; i++) {
        json_t *row = json_loads(lines[i], 0, NULL);
        assert_non_null(row);
        if (!found && json_integer_value(json_object_get(row, "index")) == index)
            found = row;
        else
            json_decref(row);
    }
    tn_buf_release(&text);
    return found;
}

static const char *text_of(const json_t *row, const char *key) {
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "(none)";
}

static tn_status append_piece(void *context, const char *text, size_t len) { return tn_buf_append(context, text, len); }

/* What a session of its own writes: the answer that `tern run` gives. */
static void generate(const fixture *f, const char *prompt, int max_tokens, tn_sampler_options options, tn_buf *out) {
    tn_session *session;
    tn_sampler *sampler;
    tn_ids ids = {0};
    tn_generated done;
    const tn_generate_options generate = {.max_tokens = max_tokens, .piece = append_piece, .context = out};
    assert_ok(tn_session_create(&session, &f->loaded, (tn_session_options){0}));
    assert_ok(tn_sampler_create(&sampler, tn_model_get_config(f->loaded.model)->vocab_size, &options));
    assert_ok(tn_prompt_encode(f->loaded.tokenizer, prompt, strlen(prompt), &ids));
    assert_ok(tn_session_feed(session, ids.list, (int)ids.count));
    assert_ok(tn_generate(session, sampler, &generate, &done));
    tn_ids_release(&ids);
    tn_sampler_free(sampler);
    tn_session_free(session);
}

static void rows__are_answered_as_a_single_run_answers(void **state) {
    fixture *f = *state;
    static const struct {
        int index, max_tokens;
        const char *prompt;
        double temperature;
    } cases[] = {{0, 6, "Once upon", 0.8}, {1, 9, "The cat", 2}, {3, 6, "She had 3", 0}, {5, 40, "apples", 1.5}};
    assert_ok(answer(f, (setting){.text = questions, .seed = -1}, NULL));
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_buf text = {0};
        json_t *row = find_answer(f, cases[i].index);
        assert_non_null(row);
        tn_sampler_options options = tn_sampler_defaults();
        options.temperature = cases[i].temperature;
        options.seed = (uint64_t)json_integer_value(json_object_get(row, "seed"));
        generate(f, cases[i].prompt, cases[i].max_tokens, options, &text);
        assert_string_equal(text_of(row, "status"), "success");
        assert_string_equal(text_of(row, "response"), tn_buf_text(&text));
        json_decref(row);
        tn_buf_release(&text);
    }
    json_t *named = find_answer(f, 2), *numbered = find_answer(f, 1), *given = find_answer(f, 3);
    assert_int_equal(json_integer_value(json_object_get(named, "request_id")), 12);
    assert_string_equal(text_of(numbered, "request_id"), "req_1");
    assert_int_equal(json_integer_value(json_object_get(given, "seed")), 5);
    assert_int_equal(json_integer_value(json_object_get(given, "prompt_tokens")), 9);
    json_decref(named);
    json_decref(numbered);
    json_decref(given);
}

static void rows__answers_depend_on_nothing_but_themselves(void **state) {
    fixture *f = *state;
    tn_buf first = {0};
    assert_ok(answer(f, (setting){.text = questions, .seed = 3}, NULL));
    assert_ok(tn_file_read(f->out, 1 << 20, &first));
    static const int slots[] = {1, 2, 3, 16};
    for (size_t i = 0; i < TN_COUNT(slots); i++) {
        assert_ok(tn_par_set_threads(1 + (int)i % 2));
        tn_model_refresh(f->loaded.model, 1);
        assert_ok(
            answer(f, (setting){.text = questions, .seed = 3, .slots = slots[i], .start = TN_ANSWERS_RESTART}, NULL));
        assert_same_answers(f, &first);
    }
    /* a row with an id has the same answer in another file, at another place */
    json_t *before = find_answer(f, 5);
    assert_ok(tn_file_remove(f->out));
    assert_ok(
        answer(f,
               (setting){.text = "{\"max_tokens\": 40, \"temperature\": 1.5, \"id\": \"last\", \"prompt\": \"apples\"}",
                         .seed = 3},
               NULL));
    json_t *after = find_answer(f, 0);
    assert_string_equal(text_of(before, "response"), text_of(after, "response"));
    json_decref(before);
    json_decref(after);
    tn_buf_release(&first);
}

static void rows__stopped_anywhere_goes_on_to_the_same_answers(void **state) {
    fixture *f = *state;
    tn_buf whole = {0};
    assert_ok(answer(f, (setting){.text = questions, .seed = -1, .slots = 2}, NULL));
    assert_ok(tn_file_read(f->out, 1 << 20, &whole));
    for (int steps = 1; steps < 40; steps += 7) {
        tn_batch_report report;
        tn_status status =
            answer(f, (setting){.text = questions, .seed = 77, .slots = 2, .steps = steps, .start = TN_ANSWERS_RESTART},
                   &report);
        assert_true(status == TN_E_STOPPED || !status);
        int64_t kept = report.answered + report.failed;
        tn_buf part = {0};
        assert_ok(tn_file_read(f->out, 1 << 20, &part));
        assert_ok(tn_file_append(f->out, "{\"request_id\": \"a\", \"ind", 24)); /* a line half written */
        tn_buf_release(&part);
        assert_ok(answer(f, (setting){.text = questions, .seed = -1}, &report));
        assert_int_equal(report.kept, kept);
        assert_int_equal(report.rows, 6);
        assert_int_equal(report.answered, 6 - kept);
        assert_same_answers(f, &whole);
        assert_ok(answer(f, (setting){.text = questions, .seed = -1}, &report));
        assert_int_equal(report.answered, 0);
        assert_same_answers(f, &whole);
    }
    tn_buf_release(&whole);
}

static void rows__bad_ones_fail_alone(void **state) {
    fixture *f = *state;
    static const char text[] =
        "{\"prompt\": \"Once\"\n"
        "[1]\n"
        "{\"id\": [1], \"prompt\": \"a\"}\n"
        "{\"id\": \"x\"}\n"
        "{\"id\": 3, \"prompt\": \"a\", \"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n"
        "{\"prompt\": \"a\", \"top_p\": 2}\n"
        "{\"prompt\": \"a\", \"prompt\": \"b\"}\n"
        "{\"prompt\": \"Once upon a time there was a girl named Zo. She had\"}\n"
        "{\"prompt\": \"\\ud83d\\ude80\"}\n"
        "{\"prompt\": \"\xff\"}\n"
        "{\"prompt\": \"The cat\", \"max_tokens\": 3, \"ignore_eos\": true}\n";
    static const char *const sentences[] = {"line 1: column ",
                                            "line 2: is a list, expected an object",
                                            "line 3: \"id\" is a list, expected a text or a whole number",
                                            "line 4: has no \"prompt\" and no \"messages\"",
                                            "line 5: has both \"prompt\" and \"messages\", expected one of them",
                                            "line 6: \"top_p\" is 2, expected 0 to 1",
                                            "line 7: column ",
                                            "line 8: the prompt has 51 tokens, the context holds 48",
                                            "line 9: ",
                                            "line 10: column "};
    tn_batch_report report;
    assert_ok(answer(f, (setting){.text = text, .seed = 0, .slots = 2}, &report));
    assert_int_equal(report.failed, 10);
    assert_int_equal(report.answered, 1);
    for (int i = 0; i < 11; i++) {
        json_t *row = find_answer(f, i);
        assert_non_null(row);
        if (i < 10) {
            assert_string_equal(text_of(row, "status"), "error");
            if (strncmp(text_of(row, "error"), sentences[i], strlen(sentences[i])) != 0)
                fail_msg("%s: expected %s", text_of(row, "error"), sentences[i]);
        } else {
            assert_string_equal(text_of(row, "status"), "success");
            assert_int_equal(json_integer_value(json_object_get(row, "tokens")), 3);
        }
        json_decref(row);
    }
}

/* ---- the file ---- */

static void file__of_another_origin_is_refused(void **state) {
    fixture *f = *state;
    static const char other[] = "{\"prompt\": \"other\"}\n";
    assert_ok(answer(f, (setting){.text = questions, .seed = 4}, NULL));
    tn_buf before = {0}, after = {0};
    assert_ok(tn_file_read(f->out, 1 << 20, &before));
    assert_int_equal(answer(f, (setting){.text = other, .seed = 4}, NULL), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "belong to another input"));
    assert_int_equal(answer(f, (setting){.text = questions, .model = "n", .seed = 4}, NULL), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "belong to another model"));
    assert_int_equal(answer(f, (setting){.text = questions, .seed = 5}, NULL), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "was begun with seed 4, not 5"));
    f->defaults.sampler.top_k = 3;
    assert_int_equal(answer(f, (setting){.text = questions, .seed = 4}, NULL), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "was begun with \"top_k\" = 40, not 3"));
    assert_ok(tn_file_read(f->out, 1 << 20, &after));
    assert_string_equal(tn_buf_text(&before), tn_buf_text(&after));
    assert_ok(answer(f, (setting){.text = questions, .seed = 5, .start = TN_ANSWERS_RESTART}, NULL));
    tn_buf_release(&before);
    tn_buf_release(&after);
}

static void file__takes_rows_that_were_added_to_the_input(void **state) {
    fixture *f = *state;
    static const char both[] = "{\"prompt\": \"a\"}\n{\"prompt\": \"c\"}\n";
    tn_batch_report report;
    assert_ok(answer(f, (setting){.text = "{\"prompt\": \"a\"}\n", .seed = 4}, NULL));
    assert_ok(answer(f, (setting){.text = both, .seed = 4}, &report));
    assert_int_equal(report.kept, 1);
    assert_int_equal(report.answered, 1);
    assert_int_equal(answer(f, (setting){.text = "{\"prompt\": \"a\"}\n", .seed = 4}, NULL), TN_E_MISMATCH);
}

static void file__that_is_no_output_of_ours_is_never_dropped(void **state) {
    fixture *f = *state;
    static const char precious[] = "precious\n";
    assert_ok(tn_file_write(f->out, precious, strlen(precious)));
    for (int i = 0; i < 2; i++) {
        tn_buf text = {0};
        tn_answer_start start = i ? TN_ANSWERS_RESTART : TN_ANSWERS_GO_ON;
        assert_int_equal(answer(f, (setting){.text = questions, .start = start}, NULL), TN_E_MISMATCH);
        assert_ok(tn_file_read(f->out, 100, &text));
        assert_string_equal(text.data, precious);
        tn_buf_release(&text);
    }
}

static void file__damage_is_named(void **state) {
    fixture *f = *state;
    static const struct {
        const char *line, *sentence;
    } cases[] = {{"nonsense\n", ":7: "},
                 {"{\"index\": -1}\n", ":7: has no \"index\" of a row"},
                 {"{\"index\": 10}\n", ":7: has no \"index\" of a row"},
                 {"{\"request_id\": \"a\"}\n", ":7: has no \"index\" of a row"}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        assert_ok(answer(f, (setting){.text = questions, .start = TN_ANSWERS_RESTART}, NULL));
        assert_ok(tn_file_append(f->out, cases[i].line, strlen(cases[i].line)));
        assert_int_equal(answer(f, (setting){.text = questions}, NULL), TN_E_CORRUPT);
        assert_non_null(strstr(tn_error_message(), cases[i].sentence));
    }
    static const char *const states[] = {"", "{", "[]", "{\"version\": 1}",
                                         "{\"version\": 9, \"model\": \"m\", \"seed\": 1}"};
    for (size_t i = 0; i < TN_COUNT(states); i++) {
        assert_ok(tn_file_write(f->state, states[i], strlen(states[i])));
        assert_int_equal(answer(f, (setting){.text = questions}, NULL), TN_E_CORRUPT);
        assert_non_null(strstr(tn_error_message(), ".state"));
    }
}

static void file__serves_one_process(void **state) {
    fixture *f = *state;
    tn_lock lock;
    assert_ok(tn_lock_take(&lock, f->out));
    assert_int_equal(answer(f, (setting){.text = questions}, NULL), TN_E_BUSY);
    tn_lock_release(&lock);
    assert_ok(answer(f, (setting){.text = questions}, NULL));
}

/* The same grammar in a row, another, none, and the first again; on one slot and on many. */
static void rows__may_have_grammars_and_biases_of_their_own(void **state) {
    fixture *f = *state;
    static const char *const expected[] = {"acd", "add", "acd", "12", "", "aaaaaa"};
    tn_ids ids = {0};
    char text[1024];
    assert_ok(tn_tokenizer_encode(f->loaded.tokenizer, "a", 1, false, &ids));
    assert_int_equal(ids.count, 1);
    snprintf(
        text, sizeof text,
        "{\"prompt\": \"The cat\", \"grammar\": \"root ::= \\\"acd\\\"\"}\n"
        "{\"prompt\": \"The cat\", \"grammar\": \"root ::= \\\"add\\\"\"}\n"
        "{\"prompt\": \"The end\", \"grammar\": \"root ::= \\\"acd\\\"\"}\n"
        "{\"prompt\": \"The end\", \"response_format\": {\"type\": \"json_schema\", \"schema\": {\"enum\": [12]}}}\n"
        "{\"prompt\": \"The end\", \"grammar\": \"root ::= (\"}\n"
        "{\"prompt\": \"The cat\", \"logit_bias\": {\"%d\": 1000}}\n",
        ids.list[0]);
    for (int slots = 1; slots <= 8; slots += 7) {
        tn_batch_report report;
        assert_ok(answer(f, (setting){.text = text, .slots = slots, .start = TN_ANSWERS_RESTART}, &report));
        assert_int_equal(report.failed, 1);
        for (size_t i = 0; i < TN_COUNT(expected); i++) {
            json_t *row = find_answer(f, (int64_t)i);
            assert_string_equal(text_of(row, "response"), expected[i]);
            json_decref(row);
        }
    }
    json_t *bad = find_answer(f, 4);
    assert_non_null(strstr(text_of(bad, "error"), "line 5: grammar: line 1"));
    json_decref(bad);
    tn_ids_release(&ids);
}

int main(void) {
#define ROW(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ROW(rows__are_answered_as_a_single_run_answers),
        ROW(rows__answers_depend_on_nothing_but_themselves),
        ROW(rows__stopped_anywhere_goes_on_to_the_same_answers),
        ROW(rows__bad_ones_fail_alone),
        ROW(rows__may_have_grammars_and_biases_of_their_own),
        ROW(file__of_another_origin_is_refused),
        ROW(file__takes_rows_that_were_added_to_the_input),
        ROW(file__that_is_no_output_of_ours_is_never_dropped),
        ROW(file__damage_is_named),
        ROW(file__serves_one_process),
    };
    return cmocka_run_group_tests_name("batch_rows", tests, NULL, NULL);
}
