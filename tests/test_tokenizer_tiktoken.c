/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "data/tokenizer_file.h"
#include "data/tokenizer_tiktoken.h"
#include "tests/testing.h"
#include "tests/tokenizer_rig.h"

#include <stdio.h>
#include <string.h>

static tn_status parse(tn_tokenizer **t, const char *text) {
    return tn_tokenizer_from_tiktoken(t, "x.tiktoken", (const unsigned char *)text, strlen(text));
}

/* a 0, b 1, c 2, "bc" 3, "ab" 4, "abc" 5, "abca" 6 (no two tokens make it but "abc" and "a") */
#define SMALL "YQ== 0\nYg== 1\nYw== 2\nYmM= 3\nYWI= 4\nYWJj 5\nYWJjYQ== 6\n"

static void tiktoken__merges_follow_from_ranks(void **state) {
    (void)state;
    static const int32_t expected[][2] = {{1, 2}, {0, 1}, {0, 3}, {4, 2}, {5, 0}};
    tn_tokenizer *t;
    assert_ok(parse(&t, SMALL));
    const tn_vocabulary *v = tn_tokenizer_vocabulary(t);
    assert_int_equal(v->n_tokens, 7);
    assert_int_equal(v->n_merges, TN_COUNT(expected));
    assert_memory_equal(v->merges, expected, sizeof expected);
    ASSERT_IDS(t, "ab", false, 4);
    ASSERT_IDS(t, "abcb", false, 5, 1); /* "bc" before "ab", then "a" and "bc" */
    ASSERT_IDS(t, "abcab", false, 5, 4);
    ASSERT_IDS(t, "abcaa", false, 6, 0);
    assert_int_equal(tn_tokenizer_eos(t), -1);
    tn_test_json_round_trip(t);
    tn_tokenizer_free(t);
}

static void tiktoken__lines_may_come_in_any_order_and_end_in_any_way(void **state) {
    (void)state;
    tn_tokenizer *t, *other;
    assert_ok(parse(&t, SMALL));
    assert_ok(parse(&other, "YWI= 4\r\nYg== 1\r\nYWJj 5\r\n\r\nYQ== 0\r\nYWJjYQ== 6\r\nYw== 2\r\nYmM= 3"));
    tn_test_same_tokenizer(t, other);
    tn_tokenizer_free(t);
    tn_tokenizer_free(other);
}

static void tiktoken__what_is_wrong_is_named_with_its_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "x.tiktoken: has no tokens"},
        {"\n\n", "has no tokens"},
        {"YQ== 0\nYg==\n", "line 2: is not \"base64 rank\""},
        {"YQ== 0\n 1\n", "line 2: is not"},
        {"YQ==  0\n", "line 1: is not"},
        {"YQ== 0 \n", "line 1: is not"},
        {"YQ== -1\n", "line 1: is not"},
        {"YQ== 9999999999\n", "line 1: is not"},
        {"YQ== 0\nYg== 2\n", "line 2: rank 2, expected 0..1"},
        {"YQ== 0\nYg== 0\n", "line 2: rank 0 is there twice"},
        {"YQ== 0\nYQ== 1\n", "line 2: the same token as rank 0"},
        {"YQ= 0\n", "line 1: \"YQ=\" is not 1 to 1024 bytes"},
        {"Y=Q= 0\n", "in base64"},
        {"==== 0\n", "in base64"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_tokenizer *t;
        assert_int_equal(parse(&t, cases[i].text), TN_E_CORRUPT);
        assert_null(t);
        if (!strstr(tn_error_message(), cases[i].part))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, tn_error_message(), cases[i].part);
    }
}

/* Ids of tiktoken 0.14; names and numbers of Llama 3, and the count of merges in published files of this vocabulary. */
static void tiktoken__llama3_is_as_published(void **state) {
    (void)state;
    char path[TN_TEST_PATH];
    if (!tn_test_shared(path, "data/tokenizers/llama3.tiktoken")) skip();
    tn_tokenizer *t;
    assert_ok(tn_tokenizer_load(&t, path));
    const tn_vocabulary *v = tn_tokenizer_vocabulary(t);
    assert_int_equal(v->n_tokens, 128256);
    assert_int_equal(v->n_merges, 280147);
    assert_int_equal(v->split, TN_SPLIT_LLAMA3);
    assert_int_equal(v->bos, 128000);
    assert_int_equal(v->eos, 128001);
    assert_int_equal(v->eot, 128009);
    assert_true(v->add_bos);
    assert_true(tn_tokenizer_is_stop(t, 128009));
    assert_non_null(strstr(v->chat_template, "capitalize"));
    ASSERT_IDS(t, "Hello world, it's 12345!", false, 9906, 1917, 11, 433, 596, 220, 4513, 1774, 0);
    ASSERT_IDS(t, "  na\xC3\xAFve caf\xC3\xA9 \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80\n\n", false, 220, 95980, 588,
               53050, 118195, 53901, 91416, 271);
    ASSERT_IDS(t, "WE'LL  don't\t\tx", false, 12739, 6, 4178, 220, 1541, 956, 197, 10436);
    ASSERT_IDS(t, "<|begin_of_text|><|reserved_special_token_3|><|start_header_id|><|end_header_id|>", true, 128000,
               128005, 128006, 128007);
    ASSERT_IDS(t, "<|reserved_special_token_4|><|eot_id|><|reserved_special_token_250|>", true, 128008, 128009, 128255);
    tn_test_round_trips(t);
    tn_tokenizer_free(t);
}

static void tiktoken__any_allocation_may_fail_and_nothing_leaks(void **state) {
    (void)state;
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status == TN_E_NOMEM; n++) {
        tn_tokenizer *t;
        tn_memory_fail_at(n);
        status = parse(&t, SMALL);
        tn_memory_fail_at(0);
        tn_tokenizer_free(t);
        assert_int_equal(tn_memory_alive(), alive);
    }
    assert_int_equal(status, TN_OK);
}

/* ---- tn_tokenizer_load: what a file is, is told by its bytes ---- */

static void put(const tn_test_files *f, const char *name, const char *text, size_t len, char path[TN_TEST_PATH + 64]) {
    snprintf(path, TN_TEST_PATH + 64, "%s/%s", f->dir, name);
    assert_ok(tn_file_write(path, text, len));
}

static tn_tokenizer_kind kind_of(const char *path) {
    tn_tokenizer *t;
    assert_ok(tn_tokenizer_load(&t, path));
    tn_tokenizer_kind kind = tn_tokenizer_vocabulary(t)->kind;
    tn_tokenizer_free(t);
    return kind;
}

static void load__content_decides_and_not_the_name(void **state) {
    const tn_test_files *f = *state;
    static const char json[] = "\n {\"model\": {\"type\": \"TernChar\", \"vocab\": {\"a\": 0}}}";
    char path[TN_TEST_PATH + 64];
    tn_buf model = {0};
    tn_tokenizer *t;
    assert_ok(tn_file_read("tests/fuzz/corpus/sentencepiece/spm_collapsing", 1 << 20, &model));
    put(f, "a.json", model.data, model.len, path);
    assert_int_equal(kind_of(path), TN_TOKENIZER_SPM);
    put(f, "b.model", SMALL, strlen(SMALL), path);
    assert_int_equal(kind_of(path), TN_TOKENIZER_BPE);
    put(f, "c.gguf", json, strlen(json), path);
    assert_int_equal(kind_of(path), TN_TOKENIZER_CHAR);
    put(f, "d.txt", "just words", 10, path);
    assert_int_equal(tn_tokenizer_load(&t, path), TN_E_FORMAT);
    assert_non_null(strstr(tn_error_message(), "d.txt: is no tokenizer, expected a tokenizer.json"));
    put(f, "e", "", 0, path);
    assert_int_equal(tn_tokenizer_load(&t, path), TN_E_FORMAT);
    assert_int_equal(tn_tokenizer_load(&t, "/no/such/file"), TN_E_MISSING);
    assert_null(t);
    tn_buf_release(&model);
}

static void load__a_folder_gives_the_best_of_what_it_holds(void **state) {
    const tn_test_files *f = *state;
    static const char json[] = "{\"model\": {\"type\": \"TernChar\", \"vocab\": {\"a\": 0}}}";
    char path[TN_TEST_PATH + 64];
    tn_buf model = {0};
    tn_tokenizer *t;
    assert_int_equal(tn_tokenizer_load(&t, f->dir), TN_E_MISSING);
    assert_non_null(strstr(tn_error_message(), "holds no tokenizer.json"));
    assert_ok(tn_file_read("tests/fuzz/corpus/sentencepiece/spm_collapsing", 1 << 20, &model));
    put(f, "llama.tiktoken", SMALL, strlen(SMALL), path);
    assert_int_equal(kind_of(f->dir), TN_TOKENIZER_BPE);
    put(f, "tokenizer.model", model.data, model.len, path);
    assert_int_equal(kind_of(f->dir), TN_TOKENIZER_SPM);
    put(f, "tokenizer.json", json, strlen(json), path);
    assert_int_equal(kind_of(f->dir), TN_TOKENIZER_CHAR);
    tn_buf_release(&model);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(tiktoken__merges_follow_from_ranks),
        TEST(tiktoken__lines_may_come_in_any_order_and_end_in_any_way),
        TEST(tiktoken__what_is_wrong_is_named_with_its_line),
        TEST(tiktoken__llama3_is_as_published),
        TEST(tiktoken__any_allocation_may_fail_and_nothing_leaks),
        TEST(load__content_decides_and_not_the_name),
        TEST(load__a_folder_gives_the_best_of_what_it_holds),
    };
    return cmocka_run_group_tests_name("tokenizer_tiktoken", tests, NULL, NULL);
}
