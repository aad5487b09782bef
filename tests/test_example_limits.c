/* SPDX-License-Identifier: MIT
 * Documents that are too long, that were there before, and what is counted. */
#include "core/arena.h"
#include "tests/example_rig.h"

#include <string.h>

static void overflow__cuts_splits_drops_or_fails(void **state) {
    static const char rows[] =
        "{\"prompt\": \"ab\", \"completion\": \"cdefghi\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n"
        "{\"prompt\": \"abcdef\", \"completion\": \"g\"}\n";
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    tn_example_options options = {.max_length = 4};
    tn_file_report r = tn_assert_documents(state, t, options, rows, "ab[cd]|a[b</s>]|");
    assert_int_equal(r.rows, 3);
    assert_int_equal(r.kept, 2);
    assert_int_equal(r.cut, 2);
    assert_int_equal(r.dropped[TN_DROP_NO_TARGET], 1); /* the cut took all of the completion */
    assert_int_equal(r.zero_target, 1);
    options.overflow = TN_OVERFLOW_SPLIT; /* every learnt token is learnt once */
    r = tn_assert_documents(state, t, options, rows,
                            "ab[cd]|d[efg]|g[hi</s>]|a[b</s>]|d"
                            "ef[g]|g[</s>]|");
    assert_int_equal(r.kept, 3);
    assert_int_equal(r.cut, 2);
    assert_int_equal(r.documents, 6);
    assert_int_equal(r.zero_target, 1);
    options.overflow = TN_OVERFLOW_DROP;
    r = tn_assert_documents(state, t, options, rows, "a[b</s>]|");
    assert_int_equal(r.dropped[TN_DROP_LONG], 2);
    options.overflow = TN_OVERFLOW_ERROR;
    tn_assert_bad_rows(state, t, options, rows, "a.jsonl:1: comes to 10 tokens, more than the 4 of data.max_length");
    options.rows.skips_bad = true;
    r = tn_assert_documents(state, t, options, rows, "a[b</s>]|");
    assert_int_equal(r.dropped[TN_DROP_BAD], 2);
    options = (tn_example_options){.max_length = 4, .overflow = TN_OVERFLOW_SPLIT};
    tn_assert_bad_rows(state, t, options, "{\"prompt\": \"abc\", \"chosen\": \"def\", \"rejected\": \"g\"}",
                       "which cannot be split");
    tn_assert_bad_rows(state, t, (tn_example_options){.max_length = 1}, rows, "data.max_length is 1");
    tn_tokenizer_free(t);
}

static void pieces__cover_every_token_but_the_first(void **state) {
    (void)state;
    for (int64_t limit = 2; limit < 12; limit++)
        for (int64_t count = 1; count < 60; count++) {
            int64_t n = tn_overflow_pieces(TN_OVERFLOW_SPLIT, count, limit), last = (n - 1) * (limit - 1);
            assert_in_range(count - last, n > 1 ? 2 : 1, limit); /* tokens of the last piece */
        }
    assert_int_equal(tn_overflow_pieces(TN_OVERFLOW_CUT, 100, 10), 1);
    assert_int_equal(tn_overflow_pieces(TN_OVERFLOW_DROP, 100, 10), 0);
    assert_int_equal(tn_overflow_pieces(TN_OVERFLOW_DROP, 100, 0), 1);
}

static void report__counts_what_became_of_rows(void **state) {
    static const char rows[] =
        "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n"
        "{\"prompt\": \"a\"}\n{\"prompt\": \"abc\", \"completion\": \"hello\"}\n";
    tn_tokenizer *t = tn_example_tokenizer(true, "");
    tn_example_options options = {.rows.skips_bad = true};
    tn_file_report r = tn_assert_documents(state, t, options, rows, "<s>a[b</s>]|<s>a[b</s>]|<s>abc[hello</s>]|");
    assert_int_equal(r.rows, 4);
    assert_int_equal(r.kept, 3);
    assert_int_equal(r.duplicates, 1);
    assert_int_equal(r.dropped[TN_DROP_BAD], 1);
    assert_int_equal(r.tokens, 4 + 4 + r.longest);
    assert_int_equal(r.targets, 2 + 2 + r.longest - 4);
    assert_int_equal(r.turn_ends, 3);
    assert_int_equal(r.longest_line, 4);
    assert_int_equal(r.bytes, 2 + 2 + 8);
    options.dedup = true;
    r = tn_assert_documents(state, t, options, rows, "<s>a[b</s>]|<s>abc[hello</s>]|");
    assert_int_equal(r.dropped[TN_DROP_DUPLICATE], 1);
    options.max_samples = 1;
    r = tn_assert_documents(state, t, options, rows, "<s>a[b</s>]|");
    assert_int_equal(r.rows, 1);
    tn_tokenizer_free(t);
}

static void duplicates__are_found_among_many(void **state) {
    enum { N = 5000 };
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    tn_buf rows = {0};
    for (int i = 0; i < 2 * N; i++)
        assert_ok(tn_buf_printf(&rows, "{\"prompt\": \"%d\", \"completion\": \"b\"}\n", i * 7 % N));
    tn_notes n = {.tokenizer = t};
    tn_file_report r;
    assert_ok(tn_note_examples(&n, tn_put_rows(*state, rows.data), &(tn_example_options){.dedup = true}, &r));
    assert_int_equal(r.kept, N);
    assert_int_equal(r.dropped[TN_DROP_DUPLICATE], N);
    tn_buf_release(&rows);
    tn_buf_release(&n.text);
    tn_tokenizer_free(t);
}

static tn_status read_all(const tn_tokenizer *t, const char *path) {
    tn_notes n = {.tokenizer = t};
    tn_status status = tn_note_examples(&n, path, &(tn_example_options){.rows.kind = TN_ROWS_MIXED}, NULL);
    tn_buf_release(&n.text);
    return status;
}

static void examples__any_allocation_may_fail_and_nothing_leaks(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(true, "{% for m in messages %}{{ m.content }}{% endfor %}");
    const char *path =
        tn_put_rows(*state, CHAT(U("a") ", {\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": "
                                        "\"b\"}]}") "{\"prompt\": \"say\", \"chosen\": \" yes\", \"rejected\": \" "
                                                    "no\"}\n{\"input_ids\": [72, 64]}\n");
    assert_ok(read_all(t, path));
    int64_t alive = tn_memory_alive();
    for (uint64_t i = 1;; i++) {
        tn_memory_fail_at(i);
        tn_status status = read_all(t, path);
        tn_memory_fail_at(0);
        assert_int_equal(tn_memory_alive(), alive);
        if (!status) break;
        assert_int_equal(status, TN_E_NOMEM);
        assert_true(i < 5000);
    }
    tn_tokenizer_free(t);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(overflow__cuts_splits_drops_or_fails),
        TEST(pieces__cover_every_token_but_the_first),
        TEST(report__counts_what_became_of_rows),
        TEST(duplicates__are_found_among_many),
        TEST(examples__any_allocation_may_fail_and_nothing_leaks),
    };
    return cmocka_run_group_tests_name("example_limits", tests, NULL, NULL);
}
