/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "data/text_reader.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static const char *place(tn_test_files *f, const char *name) {
    snprintf(f->path, sizeof f->path, "%s/%s", f->dir, name);
    return f->path;
}

static const char *put(tn_test_files *f, const char *name, const char *text, size_t len) {
    assert_ok(tn_file_write(place(f, name), text, len));
    return f->path;
}

static const char *put_gzip(tn_test_files *f, const char *name, const char *text, size_t len) {
    gzFile file = gzopen(place(f, name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)len), len);
    assert_int_equal(gzclose(file), Z_OK);
    return f->path;
}

/* "source:text|" for each document. */
static tn_status note(void *context, const char *text, size_t len, int source, const char *name) {
    assert_non_null(name);
    TN_TRY(tn_buf_printf(context, "%d:", source));
    TN_TRY(tn_buf_append(context, text, len));
    return tn_buf_putc(context, '|');
}

static void assert_documents(const char *path, const char *expected) {
    tn_buf out = {0};
    assert_ok(tn_read_documents(&path, 1, note, &out));
    assert_string_equal(tn_buf_text(&out), expected);
    tn_buf_release(&out);
}

static void assert_refused(const char *path, tn_status status, const char *part) {
    tn_buf out = {0};
    assert_int_equal(tn_read_documents(&path, 1, note, &out), status);
    if (!strstr(tn_error_message(), part)) fail_msg("\"%s\" lacks \"%s\"", tn_error_message(), part);
    tn_buf_release(&out);
}

static void txt__is_one_document_as_it_stands(void **state) {
    assert_documents(put(*state, "a.txt", "one\r\n\ntwo\n", 10), "0:one\r\n\ntwo\n|");
    assert_documents(put(*state, "bom.txt", "\xEF\xBB\xBFone", 6), "0:one|");
    assert_documents(put(*state, "x", "\xC3\xA9", 2), "0:\xC3\xA9|");
}

static void gzip__is_told_by_content(void **state) {
    assert_documents(put_gzip(*state, "a.txt", "packed", 6), "0:packed|");
    assert_documents(put_gzip(*state, "b.txt.gz", "packed", 6), "0:packed|");
    assert_documents(put(*state, "c.txt.gz", "plain", 5), "0:plain|");
    const char rows[] = "{\"text\": \"one\"}\n{\"text\": \"two\"}";
    assert_documents(put_gzip(*state, "d.jsonl.gz", rows, sizeof rows - 1), "0:one|0:two|");
}

static void gzip__cut_off_is_refused(void **state) {
    tn_test_files *f = *state;
    char noise[20000];
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)('a' + i * i % 23);
    tn_buf whole = {0};
    assert_ok(tn_file_read(put_gzip(f, "a.gz", noise, sizeof noise), 1 << 20, &whole));
    assert_refused(put(f, "b.gz", whole.data, whole.len - 5), TN_E_CORRUPT, "b.gz: gzip data is damaged or cut off");
    whole.data[whole.len / 2] = (char)~whole.data[whole.len / 2];
    assert_refused(put(f, "c.gz", whole.data, whole.len), TN_E_CORRUPT, "gzip data is damaged or cut off");
    tn_buf_release(&whole);
}

static void jsonl__is_one_document_a_row(void **state) {
    const char rows[] =
        "\xEF\xBB\xBF{\"text\": \"one\", \"id\": 7}\r\n\n  \t\r\n{\"text\": \"t\\u00e9\\n\"}\n{\"text\": \"\"}\n"
        "{\"text\": \"last\"}";
    assert_documents(put(*state, "a.jsonl", rows, sizeof rows - 1), "0:one|0:t\xC3\xA9\n|0:last|");
    assert_documents(put(*state, "a.ndjson", rows, sizeof rows - 1), "0:one|0:t\xC3\xA9\n|0:last|");
}

static void jsonl__bad_rows_are_named_with_their_line(void **state) {
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{\"text\": \"a\"}\n\n{\"text\": \"b\"\n", "a.jsonl:3:"},
        {"{\"text\": \"a\"}\n[1]\n", "a.jsonl:2: row is a list, expected a JSON object"},
        {"{\"prompt\": \"a\", \"completion\": \"b\"}\n", "a.jsonl:1: row is of kind completion, expected a \"text\""},
        {"{}\n", "row has keys (none), expected \"input_ids\", \"chosen\" with \"rejected\", "},
        {"{\"text\": 5}\n", "a.jsonl:1: \"text\" is the number 5, expected a string"},
        {"{\"text\": \"a\"} {\"text\": \"b\"}\n", "a.jsonl:1:"},
        {"{\"text\": \"a\\u0000b\"}\n", ": has the character \\u0000, which no text may have"},
        {"{\"text\": \"a\", \"text\": \"b\"}\n", "a.jsonl:1:"},
        {"{\"text\": \"a\", \"messages\": []}\n", "a.jsonl:1: row has both \"messages\" and \"text\""},
        {"{\"text\": \"\\ud800\"}\n", "a.jsonl:1:"},
        {"{\"text\": NaN}\n", "a.jsonl:1:"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        assert_refused(put(*state, "a.jsonl", cases[i].text, strlen(cases[i].text)), TN_E_CORRUPT, cases[i].part);
}

static void jsonl__rows_may_be_longer_than_a_block(void **state) {
    enum { LONG = 3 << 20 };
    tn_buf text = {0}, expected = {0};
    for (int row = 0; row < 3; row++) {
        assert_ok(tn_buf_puts(&text, "{\"text\": \""));
        assert_ok(tn_buf_puts(&expected, "0:"));
        for (int i = 0; i < LONG / 8 + row; i++) {
            assert_ok(tn_buf_puts(&text, "12345 78"));
            assert_ok(tn_buf_puts(&expected, "12345 78"));
        }
        assert_ok(tn_buf_puts(&text, "\"}\n"));
        assert_ok(tn_buf_puts(&expected, "|"));
    }
    assert_documents(put(*state, "a.jsonl", text.data, text.len), expected.data);
    tn_buf_release(&text);
    tn_buf_release(&expected);
}

static void text__that_is_not_utf8_is_refused_with_its_place(void **state) {
    assert_refused(put(*state, "a.txt", "abc\xFFxyz", 7), TN_E_TEXT, "a.txt: byte 3 (0xff)");
    assert_refused(put(*state, "b.txt", "\xEF\xBB\xBFzz\xC3", 6), TN_E_TEXT, "byte 5");
    assert_refused(put(*state, "c.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\xE9\"}\n", 29), TN_E_TEXT,
                   "c.jsonl:2: the row: byte 10 (0xe9)");
    assert_refused(put(*state, "d.txt", "ab\0c", 4), TN_E_TEXT, "byte 2 is NUL");
    assert_refused(put(*state, "e.txt",
                       "\xFF\xFE"
                       "a\0",
                       4),
                   TN_E_TEXT, "UTF-16");
}

static void files__that_cannot_be_text_are_refused(void **state) {
    tn_test_files *f = *state;
    assert_refused(put(f, "empty.txt", "", 0), TN_E_EMPTY, "empty.txt: is empty");
    assert_refused(put(f, "bom.txt", "\xEF\xBB\xBF", 3), TN_E_EMPTY, "is empty");
    assert_refused(put(f, "blank.jsonl", "\n\n", 2), TN_E_EMPTY, "has no rows");
    assert_refused(put(f, "a.zst", "\x28\xB5\x2F\xFD....", 8), TN_E_UNSUPPORTED, "zstd");
    assert_refused(place(f, "missing.txt"), TN_E_MISSING, "missing.txt");
    assert_int_equal(tn_read_documents(NULL, 0, note, NULL), TN_E_EMPTY);
}

static void folders__are_read_in_order_of_names(void **state) {
    tn_test_files *f = *state;
    const char *dir = f->dir;
    assert_refused(dir, TN_E_EMPTY, "holds no files");
    assert_ok(tn_dir_make(place(f, "b/c")));
    put(f, "b/c/2.txt", "two", 3);
    put(f, "b/1.txt", "one", 3);
    put(f, "a.jsonl", "{\"text\": \"zero\"}\n{\"text\": \"more\"}\n", 34);
    put(f, "z.txt", "three", 5);
    put(f, ".hidden", "\0", 1);
    assert_documents(dir, "0:zero|0:more|1:one|2:two|3:three|");
    char first[TN_TEST_PATH + 32];
    snprintf(first, sizeof first, "%s", place(f, "z.txt"));
    const char *paths[] = {first, place(f, "b")};
    tn_buf out = {0};
    assert_ok(tn_read_documents(paths, 2, note, &out));
    assert_string_equal(out.data, "0:three|1:one|2:two|");
    tn_buf_release(&out);
}

static void files__that_may_never_end_are_refused(void **state) {
    tn_test_files *f = *state;
    assert_refused("/dev/zero", TN_E_IO, "/dev/zero: is a device, expected a file or a folder");
    assert_int_equal(mkfifo(place(f, "pipe"), 0600), 0);
    assert_refused(f->path, TN_E_IO, "pipe: is a pipe, expected a file or a folder");
    put(f, "a.txt", "one", 3);
    assert_documents(f->dir, "0:one|");
}

static void text__is_whole_across_blocks(void **state) {
    enum { LONG = (1 << 20) + 7 };
    static char text[LONG + 1];
    for (int i = 0; i + 3 <= LONG; i += 3) memcpy(text + i, "\xE2\x82\xAC", 3); /* 2^20 is no multiple of 3 */
    tn_buf expected = {0};
    size_t len = strlen(text);
    assert_ok(tn_buf_printf(&expected, "0:%s|", text));
    assert_documents(put(*state, "a.txt", text, len), expected.data);
    assert_refused(put(*state, "b.txt", text, len - 1), TN_E_TEXT, "b.txt: byte");
    text[len - 1] = 'x';
    assert_refused(put(*state, "c.txt", text, len), TN_E_TEXT, "c.txt: byte");
    tn_buf_release(&expected);
}

static tn_status refuse(void *context, const char *text, size_t len, int source, const char *name) {
    (void)text, (void)len, (void)source, (void)name;
    ++*(int *)context;
    return TN_E_STOPPED;
}

static void visit__stops_the_reading(void **state) {
    const char *path = put(*state, "a.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n", 32);
    int calls = 0;
    assert_int_equal(tn_read_documents(&path, 1, refuse, &calls), TN_E_STOPPED);
    assert_int_equal(calls, 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(txt__is_one_document_as_it_stands),
        TEST(gzip__is_told_by_content),
        TEST(gzip__cut_off_is_refused),
        TEST(jsonl__is_one_document_a_row),
        TEST(jsonl__bad_rows_are_named_with_their_line),
        TEST(jsonl__rows_may_be_longer_than_a_block),
        TEST(text__that_is_not_utf8_is_refused_with_its_place),
        TEST(files__that_cannot_be_text_are_refused),
        TEST(folders__are_read_in_order_of_names),
        TEST(files__that_may_never_end_are_refused),
        TEST(text__is_whole_across_blocks),
        TEST(visit__stops_the_reading),
    };
    return cmocka_run_group_tests_name("text_reader", tests, NULL, NULL);
}
