/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "data/rows.h"
#include "formats/json_text.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

/* ---- what was read, written down ---- */

static tn_status note_said(tn_buf *out, const tn_said *said) {
    if (!said->messages) return tn_buf_printf(out, " %zu|%.*s", said->answer, (int)said->len, said->text);
    TN_TRY(tn_buf_printf(out, " %zu|", said->answer));
    return tn_json_text_put(said->messages, out);
}

/* "LINE kind answer|text or messages ...;" for each row. */
static tn_status note(void *context, const tn_row *row) {
    tn_buf *out = context;
    TN_TRY(tn_buf_printf(out, "%lld %s", (long long)row->line, tn_row_kind_names[row->kind]));
    for (int i = 0; i < row->n_said; i++) TN_TRY(note_said(out, &row->said[i]));
    for (size_t i = 0; i < row->n_ids; i++) TN_TRY(tn_buf_printf(out, " %d%s", row->ids[i], row->wanted[i] ? "!" : ""));
    if (row->kind == TN_ROW_KTO) TN_TRY(tn_buf_printf(out, " label %d", row->label));
    if (row->tools) {
        TN_TRY(tn_buf_puts(out, " tools "));
        TN_TRY(tn_json_text_put(row->tools, out));
    }
    return tn_buf_putc(out, ';');
}

static const char *put(tn_test_files *f, const char *name, const char *text) {
    snprintf(f->path, sizeof f->path, "%s/%s", f->dir, name);
    assert_ok(tn_file_write(f->path, text, strlen(text)));
    return f->path;
}

static tn_status read_into(tn_buf *out, const char *path, const tn_row_options *options, tn_file_report *total) {
    tn_data_report report = {0};
    tn_status status = tn_read_rows(&path, 1, options, &report, note, out);
    if (total) *total = tn_data_report_total(&report);
    tn_data_report_release(&report);
    return status;
}

static void assert_rows(void **state, const tn_row_options *options, const char *text, const char *expected) {
    tn_buf out = {0};
    assert_ok(read_into(&out, put(*state, "a.jsonl", text), options, NULL));
    assert_string_equal(tn_buf_text(&out), expected);
    tn_buf_release(&out);
}

static void assert_refused(void **state, const tn_row_options *options, const char *text, const char *sentence) {
    tn_buf out = {0};
    tn_status status = read_into(&out, put(*state, "a.jsonl", text), options, NULL);
    if (!status) fail_msg("%s was taken for %s", text, tn_buf_text(&out));
    if (!strstr(tn_error_message(), sentence)) fail_msg("%s: \"%s\" lacks \"%s\"", text, tn_error_message(), sentence);
    tn_buf_release(&out);
}

static const tn_row_options plain = {0};

/* ---- kinds ---- */

#define USER(text)      "{\"role\":\"user\",\"content\":\"" text "\"}"
#define ASSISTANT(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"

static void rows__of_each_kind_are_known_by_their_keys(void **state) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"{\"text\": \"one\"}", "1 text 0|one;"},
        {"{\"input_ids\": [5, 6, 7], \"id\": 1}", "1 tokens 5! 6! 7!;"},
        {"{\"input_ids\": [5, 6, 7, 0], \"attention_mask\": [1, 1, 1, 0], \"labels\": [-100, 6, 7, -100]}",
         "1 tokens 5 6! 7!;"},
        {"{\"prompt\": \"a \", \"completion\": \"b\"}", "1 completion 2|a b;"},
        {"{\"prompt\": [" USER("a") "], \"completion\": [" ASSISTANT("b") "]}",
         "1 completion 1|[" USER("a") "," ASSISTANT("b") "];"},
        {"{\"prompt\": \"a\", \"completion\": [" ASSISTANT("b") "]}",
         "1 completion 1|[" USER("a") "," ASSISTANT("b") "];"},
        {"{\"prompt\": \"a \", \"completion\": \"b\", \"label\": true}", "1 kto 2|a b label 1;"},
        {"{\"prompt\": \"a \", \"completion\": \"b\", \"label\": 0}", "1 kto 2|a b label 0;"},
        {"{\"messages\": [" USER("a") ", " ASSISTANT("b") "], \"tools\": [{\"x\": 1}]}",
         "1 chat 0|[" USER("a") "," ASSISTANT("b") "] tools [{\"x\":1}];"},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}]}",
         "1 sharegpt 0|[{\"from\":\"human\",\"value\":\"a\",\"role\":\"user\",\"content\":\"a\"},"
         "{\"from\":\"gpt\",\"value\":\"b\",\"role\":\"assistant\",\"content\":\"b\"}];"},
        {"{\"instruction\": \"a\", \"input\": \"\", \"output\": \"b\"}",
         "1 alpaca 0|[" USER("a") "," ASSISTANT("b") "];"},
        {"{\"instruction\": \"a\", \"input\": \"x\", \"output\": \"b\", \"system\": \"s\"}",
         "1 alpaca 0|[{\"role\":\"system\",\"content\":\"s\"}," USER("a\\n\\nx") "," ASSISTANT("b") "];"},
        {"{\"input\": \"a\", \"output\": \"b\"}", "1 io 0|[" USER("a") "," ASSISTANT("b") "];"},
        {"{\"prompt\": \"a \", \"chosen\": \"b\", \"rejected\": \"c\"}", "1 preference 2|a b 2|a c;"},
        {"{\"chosen\": \"say yes\", \"rejected\": \"say no\"}", "1 preference 3|say yes 3|say no;"},
        {"{\"chosen\": \"a\\u00e9\", \"rejected\": \"a\\u00e8\"}", "1 preference 1|a\xC3\xA9 1|a\xC3\xA8;"},
        {"{\"prompt\": \"\", \"chosen\": \"b\", \"rejected\": \"c\"}", "1 preference 0|b 0|c;"},
        {"{\"system\": \"s\", \"conversations\": [{\"from\": \"human\", \"value\": \"a\"}]}",
         "1 sharegpt 0|[{\"role\":\"system\",\"content\":\"s\"},"
         "{\"from\":\"human\",\"value\":\"a\",\"role\":\"user\",\"content\":\"a\"}];"},
        {"{\"chosen\": [" USER("a") ", " ASSISTANT("b") "], \"rejected\": [" USER("a") ", " ASSISTANT("c") "]}",
         "1 preference 1|[" USER("a") "," ASSISTANT("b") "] 1|[" USER("a") "," ASSISTANT("c") "];"},
        {"{\"prompt\": \"a\", \"chosen\": [" USER("a") ", " ASSISTANT("b") "], \"rejected\": [" USER(
             "a") ", " ASSISTANT("c") "]}",
         "1 preference 1|[" USER("a") "," ASSISTANT("b") "] 1|[" USER("a") "," ASSISTANT("c") "];"},
        {"{\"prompt\": \"a\", \"chosen\": [" ASSISTANT("b") "], \"rejected\": [" ASSISTANT("c") "]}",
         "1 preference 1|[" USER("a") "," ASSISTANT("b") "] 1|[" USER("a") "," ASSISTANT("c") "];"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) assert_rows(state, &plain, cases[i].text, cases[i].expected);
}

static void messages__may_have_parts_weights_and_calls(void **state) {
    assert_rows(
        state, &plain,
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\", \"weight\": 0}]}, "
        "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [1], \"train\": false}]}",
        "1 chat 0|[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"weight\":0}]},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[1],\"train\":false}];");
}

static void weight__and_train_say_what_is_learnt(void **state) {
    static const struct {
        const char *message;
        bool learnt;
    } cases[] = {{"{}", true},
                 {"{\"weight\": 1}", true},
                 {"{\"weight\": 0}", false},
                 {"{\"train\": true}", true},
                 {"{\"train\": false}", false},
                 {"{\"train\": false, \"weight\": 1}", false},
                 {"{\"weight\": null}", true}};
    (void)state;
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        json_t *message = json_loads(cases[i].message, 0, NULL);
        if (tn_message_is_learnt(message) != cases[i].learnt) fail_msg("%s", cases[i].message);
        json_decref(message);
    }
}

static void files__of_text_are_rows_too(void **state) {
    tn_buf out = {0};
    assert_ok(read_into(&out, put(*state, "a.txt", "one\ntwo"), &plain, NULL));
    assert_string_equal(out.data, "0 text 0|one\ntwo;");
    tn_buf_release(&out);
}

static void files__may_be_gzipped_and_end_lines_with_crlf(void **state) {
    tn_test_files *f = *state;
    static const char text[] = "\xEF\xBB\xBF{\"text\": \"one\"}\r\n\r\n{\"text\": \"two\"}\r\n";
    tn_buf out = {0};
    snprintf(f->path, sizeof f->path, "%s/a.jsonl.gz", f->dir);
    gzFile file = gzopen(f->path, "wb");
    assert_int_equal(gzwrite(file, text, sizeof text - 1), sizeof text - 1);
    assert_int_equal(gzclose(file), Z_OK);
    assert_ok(read_into(&out, f->path, &plain, NULL));
    assert_string_equal(out.data, "1 text 0|one;3 text 0|two;");
    tn_buf_release(&out);
}

/* As datasets of one file often come: laid out over lines, or on one. */
static void list__in_json_is_rows(void **state) {
    static const char text[] = "\n[ {\n  \"text\": \"o]n}e,\\\"\"\n},\n\n{\"text\": \"two\"}, {\"text\": \"\"}]\n ",
                      expected[] = "2 text 0|o]n}e,\";6 text 0|two;";
    tn_buf out = {0};
    assert_rows(state, &plain, text, expected);
    assert_ok(read_into(&out, put(*state, "a.json", text), &plain, NULL));
    assert_string_equal(out.data, expected);
    tn_buf_reset(&out);
    assert_ok(read_into(&out, put(*state, "a.json", "{\"text\": \"a\"}\n{\"text\": \"b\"}"), &plain, NULL));
    assert_string_equal(out.data, "1 text 0|a;2 text 0|b;");
    tn_buf_release(&out);
    static const struct {
        const char *text, *sentence;
    } wrong[] = {{"[{\"text\": \"a\"},\n{\"text\": 3}]", "a.jsonl:2: \"text\" is the number 3"},
                 {"[{\"text\": \"a\"},\n{\"text\": 3", "a.jsonl:2: column 10: the row ends within its JSON"},
                 {"[{\"text\": \"a\"},\n", "a.jsonl:2: the list does not end, expected ] behind its last row"},
                 {"[{\"text\": \"a\"}\n}", "a.jsonl:2: the list ends with }, expected ]"},
                 {"[{\"text\": \"a\"}]\n{\"text\": \"b\"}", "a.jsonl:2: more follows behind the list"},
                 {"[]", "a.jsonl: has no rows"}};
    for (size_t i = 0; i < TN_COUNT(wrong); i++) assert_refused(state, &plain, wrong[i].text, wrong[i].sentence);
    tn_file_report total;
    assert_ok(read_into(&out, put(*state, "a.json", "[{\"text\": 1},\n{\"text\": \"b\"}, 3]"),
                        &(tn_row_options){.skips_bad = true}, &total));
    assert_string_equal(out.data, "2 text 0|b;");
    assert_int_equal(total.dropped[TN_DROP_BAD], 2);
    tn_buf_release(&out);
}

static void fields__may_have_other_names(void **state) {
    static const char *const fields[] = {"messages=dialog", "role=speaker", "content=says"};
    const tn_row_options named = {.fields = fields, .n_fields = 3};
    assert_rows(state, &named, "{\"dialog\": [{\"speaker\": \"user\", \"says\": \"a\"}]}",
                "1 chat 0|[{\"speaker\":\"user\",\"says\":\"a\",\"role\":\"user\",\"content\":\"a\"}];");
    assert_refused(state, &named, "{\"dialog\": [{\"speaker\": 3, \"says\": \"a\"}]}",
                   "a.jsonl:1: \"dialog[0].speaker\" is the number 3, expected a string");
    static const struct {
        const char *field, *sentence;
    } wrong[] = {{"mesages=x", "no row has a \"mesages\"; did you mean messages?"},
                 {"messages", "expected our name and theirs: messages=dialog"},
                 {"text=", "expected our name and theirs"}};
    for (size_t i = 0; i < TN_COUNT(wrong); i++)
        assert_refused(state, &(tn_row_options){.fields = &wrong[i].field, .n_fields = 1}, "{\"text\": \"a\"}",
                       wrong[i].sentence);
}

/* ---- which kind ---- */

static void kind__of_a_file_is_that_of_its_first_row(void **state) {
    static const char two[] = "{\"text\": \"a\"}\n\n{\"input\": \"a\", \"output\": \"b\"}\n";
    assert_refused(state, &plain, two,
                   "a.jsonl:3: row is of kind io, but those before it are of kind text (data.kind mixed allows both)");
    assert_rows(state, &(tn_row_options){.kind = TN_ROWS_MIXED}, two,
                "1 text 0|a;3 io 0|[" USER("a") "," ASSISTANT("b") "];");
}

static void kind__that_could_be_two_must_be_said(void **state) {
    static const char both[] = "{\"text\": \"x\", \"instruction\": \"a\", \"output\": \"b\"}";
    assert_refused(state, &plain, both,
                   "a.jsonl:1: row has both \"instruction\" with \"output\" and \"text\", expected one kind of data "
                   "(data.kind alpaca or text settles it)");
    assert_refused(state, &plain, "{\"prompt\": \"a\", \"completion\": \"b\", \"messages\": []}", "row has both");
    assert_rows(state, &(tn_row_options){.kind = TN_ROWS_OF + TN_ROW_TEXT}, both, "1 text 0|x;");
    assert_refused(state, &(tn_row_options){.kind = TN_ROWS_OF + TN_ROW_CHAT}, both,
                   "row has keys \"text\", \"instruction\", \"output\", expected \"messages\"");
    assert_rows(state, &plain, "{\"instruction\": \"a\", \"input\": \"\", \"output\": \"b\"}",
                "1 alpaca 0|[" USER("a") "," ASSISTANT("b") "];"); /* alpaca has the keys of io too */
}

/* ---- bad rows ---- */

static const struct {
    const char *text, *sentence;
} bad[] = {
    {"{\"text\": \"a\"", "column 12: the row ends within its JSON, expected one object a line"},
    {"{\"text\": \"a\"},", "column 14: more follows the row, expected one object a line"},
    {"[1]", "row is the number 1, expected a JSON object"}, /* the row of a list */
    {"7", "row is the number 7, expected a JSON object"},
    {"{\"text\": NaN}", "column 12: a number is NaN or infinite, which JSON does not have"},
    {"{\"input_ids\": [1, Infinity]}", "column 26: a number is NaN or infinite"},
    {"{\"text\": -Infinity}", "column 10: a number is NaN or infinite"},
    {"{\"text\": Nancy}", "column 14: invalid token near 'Nancy'"},
    {"{\"text\": 1e999}", "column 14: real number overflow near '1e999'"},
    {"{\"text\": \"\\ud83d\"}", "invalid Unicode"},
    {"{\"text\": \"a\\u0000b\"}", "has the character \\u0000"},
    {"{\"text\": \"a\", \"text\": \"b\"}", "duplicate"},
    {"{\"text\": \"\xE9\"}", "the row: byte 10 (0xe9) is not valid UTF-8"},
    {"{\"text\": {}}", "\"text\" is an object, expected a string"},
    {"{}", "row has keys (none), expected \"input_ids\", \"chosen\" with \"rejected\", \"prompt\" with \"completion\""},
    {"{\"prompt\": \"a\"}", "row has a \"prompt\" alone, which is for generation; expected a \"completion\" to learn"},
    {"{\"prompt\": \"a\", \"completions\": [], \"labels\": []}", "step by step, which is not supported"},
    {"{\"prompt\": 1, \"completion\": \"b\"}", "\"prompt\" is the number 1, expected a string or a list of messages"},
    {"{\"prompt\": \"a\", \"completion\": []}", "\"completion\" is an empty list, expected messages"},
    {"{\"prompt\": \"a\", \"completion\": \"b\", \"label\": 2}", "\"label\" is the number 2, expected true or false"},
    {"{\"input_ids\": []}", "\"input_ids\" has no tokens"},
    {"{\"input_ids\": \"a\"}", "\"input_ids\" is a string, expected a list of whole numbers"},
    {"{\"input_ids\": [1, 2.5]}", "\"input_ids[1]\" is the number 2.5, expected a whole number"},
    {"{\"input_ids\": [1, -2]}", "\"input_ids[1]\" is -2, expected a token id"},
    {"{\"input_ids\": [1, 99999999999]}", "\"input_ids[1]\" is 99999999999, expected a token id"},
    {"{\"input_ids\": [1, 2], \"labels\": [1]}", "\"labels\" has 1 numbers, expected 2, one for each of \"input_ids\""},
    {"{\"input_ids\": [1, 2], \"labels\": [1, 3]}", "\"labels[1]\" is 3, expected the token 2 or -100"},
    {"{\"input_ids\": [1], \"attention_mask\": [2]}", "\"attention_mask[0]\" is 2, expected 0 or 1"},
    {"{\"input_ids\": [1], \"attention_mask\": [0]}", "\"input_ids\" has no tokens that are not masked"},
    {"{\"messages\": \"a\"}", "\"messages\" is a string, expected a list of messages"},
    {"{\"messages\": []}", "\"messages\" is an empty list, expected messages"},
    {"{\"messages\": [3]}", "\"messages[0]\" is the number 3, expected an object"},
    {"{\"messages\": [{\"content\": \"a\"}]}", "\"messages[0].role\" is missing, expected a string"},
    {"{\"messages\": [{\"from\": \"human\", \"value\": \"a\"}]}",
     "\"messages[0].role\" is missing beside \"from\", expected a string (data.fields role=from, content=value)"},
    {"{\"conversations\": [{\"role\": \"user\", \"content\": \"a\"}]}",
     "\"conversations[0].from\" is missing beside \"role\", expected a string (data.fields from=role, value=content)"},
    {"{\"system\": \"s\", \"conversations\": [{\"from\": \"system\", \"value\": \"a\"}]}",
     "\"system\" stands beside a conversation that begins with one of its own"},
    {"{\"question\": \"a\", \"answer\": \"b\"}", "row has keys \"question\", \"answer\", expected \"input_ids\", "},
    {"{\"question\": \"x\", \"chosen\": \"a\", \"rejected\": \"b\"}",
     "\"chosen\" and \"rejected\" begin with nothing in common, expected a \"prompt\" (data.fields prompt=...)"},
    {"{\"chosen\": [" ASSISTANT("b") "], \"rejected\": [" ASSISTANT("c") "]}",
     "\"chosen\" and \"rejected\" begin with nothing in common"},
    {"{\"messages\": [{\"role\": \"bot\", \"content\": \"a\"}]}",
     "\"messages[0].role\" is \"bot\", expected system, user, assistant or tool"},
    {"{\"messages\": [{\"role\": \"user\"}]}",
     "\"messages[0].content\" is missing, expected a string or a list of text parts"},
    {"{\"messages\": [{\"role\": \"user\", \"content\": [1]}]}",
     "\"messages[0].content[0]\" is the number 1, expected a text part"},
    {"{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}]}",
     "\"messages[0].content[0].type\" is \"image\", expected \"text\""},
    {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"weight\": 0.5}]}",
     "\"messages[0].weight\" is the number 0.5, expected 0 or 1"},
    {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"train\": 1}]}",
     "\"messages[0].train\" is the number 1, expected true or false"},
    {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": {}}",
     "\"tools\" is an object, expected a list"},
    {"{\"conversations\": [{\"from\": \"bing\", \"value\": \"a\"}]}", "\"conversations[0].from\" is \"bing\""},
    {"{\"instruction\": \"a\", \"output\": 3}", "\"output\" is the number 3, expected a string"},
    {"{\"input\": null, \"output\": \"b\"}", "\"input\" is null, expected a string"},
    {"{\"chosen\": \"a\", \"rejected\": \"a\"}", "\"chosen\" and \"rejected\" are the same, expected two answers"},
    {"{\"chosen\": \"a\", \"rejected\": []}", "\"rejected\" is a list, expected a string like \"chosen\""},
    {"{\"chosen\": [" USER("a") "], \"rejected\": [" USER("a") ", " ASSISTANT("b") "]}",
     "\"chosen\" has no message behind what both begin with, expected an answer"},
    {"{\"prompt\": \"x\", \"chosen\": [" USER("a") ", " ASSISTANT("b") "], \"rejected\": [" USER("a") ", " ASSISTANT(
         "c") "]}",
     "\"prompt\" is none of the messages that \"chosen\" and \"rejected\" begin with"},
};

static void bad_row__is_one_sentence_with_file_and_line(void **state) {
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        char text[600];
        snprintf(text, sizeof text, "\n%s\n{\"text\": \"fine\"}\n", bad[i].text);
        assert_refused(state, &plain, text, bad[i].sentence);
        assert_non_null(strstr(tn_error_message(), "/a.jsonl:2: "));
        assert_null(strchr(tn_error_message(), '\n'));
    }
}

static void bad_rows__are_left_out_and_counted(void **state) {
    tn_buf text = {0}, out = {0};
    tn_file_report total;
    for (size_t i = 0; i < TN_COUNT(bad); i++)
        assert_ok(tn_buf_printf(&text, "%s\n{\"text\": \"%zu\"}\n", bad[i].text, i));
    assert_ok(tn_buf_puts(&text, "{\"text\": \"\"}\n{\"text\": \"last\"}"));
    assert_ok(read_into(&out, put(*state, "a.jsonl", text.data), &(tn_row_options){.skips_bad = true}, &total));
    assert_int_equal(total.rows, 2 * TN_COUNT(bad) + 2);
    assert_int_equal(total.dropped[TN_DROP_BAD], TN_COUNT(bad));
    assert_int_equal(total.dropped[TN_DROP_EMPTY], 1);
    assert_non_null(strstr(out.data, "2 text 0|0;4 text 0|1;"));
    assert_non_null(strstr(out.data, "|last;"));
    tn_buf_reset(&out);
    assert_int_equal(read_into(&out, put(*state, "a.jsonl", "{}\n[]\n"), &(tn_row_options){.skips_bad = true}, NULL),
                     TN_E_EMPTY);
    assert_non_null(strstr(tn_error_message(), "a.jsonl: has no rows that can be used"));
    tn_buf_release(&text);
    tn_buf_release(&out);
}

/* What a visitor finds wrong with a row is a bad row; what is wrong with the world is not. */
static tn_status complain(void *context, const tn_row *row) {
    const tn_status *status = context;
    if (row->line != 2) return TN_OK;
    return tn_fail_at(*status, __FILE__, __LINE__, "no good");
}

static void visitor__may_find_a_row_bad(void **state) {
    static const char text[] = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n{\"text\": \"c\"}\n";
    const char *path = put(*state, "a.jsonl", text);
    for (int skips = 0; skips < 2; skips++) {
        tn_data_report report = {0};
        tn_row_options options = {.skips_bad = skips};
        tn_status status = TN_E_MISMATCH;
        assert_int_equal(tn_read_rows(&path, 1, &options, &report, complain, &status), skips ? TN_OK : TN_E_MISMATCH);
        assert_non_null(strstr(tn_error_message(), "a.jsonl:2: no good"));
        status = TN_E_IO;
        assert_int_equal(tn_read_rows(&path, 1, &options, &report, complain, &status), TN_E_IO);
        assert_string_equal(tn_error_message(), "no good");
        tn_data_report_release(&report);
    }
}

static tn_status read_all(const char *path) {
    tn_buf out = {0};
    tn_status status = read_into(&out, path, &(tn_row_options){.kind = TN_ROWS_MIXED}, NULL);
    tn_buf_release(&out);
    return status;
}

static void rows__any_allocation_may_fail_and_nothing_leaks(void **state) {
    const char *path = put(*state, "a.jsonl",
                           "{\"chosen\": \"say yes\", \"rejected\": \"say no\"}\n{\"input_ids\": [1, 2]}\n"
                           "{\"messages\": [" USER("a") "]}\n{\"instruction\": \"a\", \"output\": \"b\"}\n");
    assert_ok(read_all(path));
    int64_t alive = tn_memory_alive();
    for (uint64_t n = 1;; n++) {
        tn_memory_fail_at(n);
        tn_status status = read_all(path);
        tn_memory_fail_at(0);
        assert_int_equal(tn_memory_alive(), alive);
        if (!status) break;
        assert_int_equal(status, TN_E_NOMEM);
        assert_true(n < 1000);
    }
}

/* Bytes that are no text stop within a line of 16 MiB; below, a line is a bad row like any other. */
static void lines__of_no_text_end_early(void **state) {
    enum { LONG = 40 << 20 };
    tn_test_files *f = *state;
    tn_buf noise = {0};
    assert_ok(tn_buf_reserve(&noise, LONG));
    memset(noise.data, 0xFF, LONG);
    snprintf(f->path, sizeof f->path, "%s/a.jsonl", f->dir);
    assert_ok(tn_file_write(f->path, noise.data, LONG));
    tn_buf out = {0};
    assert_int_equal(read_into(&out, f->path, &(tn_row_options){.skips_bad = true}, NULL), TN_E_TEXT);
    assert_non_null(strstr(tn_error_message(), "a.jsonl: byte 0 (0xff)"));
    memcpy(noise.data + LONG - 32, "\n{\"text\": \"late\"}\n", 18);
    assert_ok(tn_file_write(f->path, noise.data + LONG - (1 << 20), 1 << 20));
    tn_file_report total;
    assert_ok(read_into(&out, f->path, &(tn_row_options){.skips_bad = true}, &total));
    assert_string_equal(out.data, "2 text 0|late;");
    assert_int_equal(total.dropped[TN_DROP_BAD], 2);
    tn_buf_release(&noise);
    tn_buf_release(&out);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(rows__of_each_kind_are_known_by_their_keys),
        TEST(messages__may_have_parts_weights_and_calls),
        TEST(weight__and_train_say_what_is_learnt),
        TEST(files__of_text_are_rows_too),
        TEST(files__may_be_gzipped_and_end_lines_with_crlf),
        TEST(list__in_json_is_rows),
        TEST(fields__may_have_other_names),
        TEST(kind__of_a_file_is_that_of_its_first_row),
        TEST(kind__that_could_be_two_must_be_said),
        TEST(bad_row__is_one_sentence_with_file_and_line),
        TEST(bad_rows__are_left_out_and_counted),
        TEST(visitor__may_find_a_row_bad),
        TEST(rows__any_allocation_may_fail_and_nothing_leaks),
        TEST(lines__of_no_text_end_early),
    };
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
