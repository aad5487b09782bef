/* SPDX-License-Identifier: MIT
 * Stores of documents: masks, preferences, labels, kinds. */
#include "core/arena.h"
#include "core/fs.h"
#include "data/token_store.h"
#include "formats/checksum.h"
#include "formats/hdf5_file.h"
#include "tests/damage.h"
#include "tests/example_rig.h"

#include <stdio.h>
#include <string.h>

static const char talks[] = CHAT(U("hello") ", " A("yes")) CHAT(U("say no") ", " A("no"));

static const char *store_path(const tn_test_files *f) {
    static char path[TN_TEST_PATH + 32];
    snprintf(path, sizeof path, "%s/tokens.h5", f->dir);
    return path;
}

/* ---- a store, written down: learnt tokens in brackets, documents between bars ---- */

static tn_buf written(const tn_store *s) {
    const uint8_t *mask = tn_store_mask(s);
    tn_buf out = {0};
    bool within = false;
    for (int64_t d = 0; d < tn_store_n_documents(s); d++) {
        int64_t first = tn_store_doc_offset(s, d), end = tn_store_doc_offset(s, d + 1);
        for (int64_t i = first; i <= end; i++) {
            bool learnt = i > first && i < end && (!mask || mask[i]);
            if (learnt != within) assert_ok(tn_buf_putc(&out, learnt ? '[' : ']'));
            within = learnt;
            int32_t id;
            if (i == end) continue;
            tn_store_get(s, i, 1, &id);
            assert_ok(tn_tokenizer_decode(tn_store_tokenizer(s), id, true, &out));
        }
        assert_ok(tn_buf_putc(&out, '|'));
    }
    return out;
}

static void assert_store(const tn_store *s, const char *expected) {
    tn_buf out = written(s);
    assert_string_equal(tn_buf_text(&out), expected);
    tn_buf_release(&out);
}

static tn_store *in_memory(void **state, const char *rows, const tn_tokenizer *t, tn_example_options options) {
    const char *path = tn_put_rows(*state, rows);
    tn_data_report report = {0};
    tn_store *store;
    assert_ok(tn_store_build_examples_memory(&store, &path, 1, t, &options, &report));
    assert_int_equal(tn_data_report_total(&report).tokens, tn_store_n_tokens(store));
    assert_int_equal(tn_data_report_total(&report).documents, tn_store_n_documents(store));
    tn_data_report_release(&report);
    return store;
}

static tn_store *in_file(void **state, const char *rows, const tn_tokenizer *t, tn_example_options options) {
    const char *path = tn_put_rows(*state, rows);
    tn_data_report report = {0};
    tn_store *store;
    assert_ok(tn_store_build_examples(store_path(*state), &path, 1, t, &options, &report));
    tn_data_report_release(&report);
    assert_ok(tn_store_open(&store, store_path(*state)));
    return store;
}

/* ---- claims ---- */

static void store__of_chats_has_a_mask_and_their_template(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    for (int file = 0; file < 2; file++) {
        tn_store *s = (file ? in_file : in_memory)(state, talks, t, (tn_example_options){.chat_template = "zephyr"});
        assert_store(
            s, "<|user|>\nhello</s>\n<|assistant|>\n[yes</s>]\n|<|user|>\nsay no</s>\n<|assistant|>\n[no</s>]\n|");
        assert_int_equal(tn_store_kind(s), TN_ROW_CHAT);
        assert_string_equal(tn_store_kind_name(s), "chat");
        assert_non_null(strstr(tn_tokenizer_vocabulary(tn_store_tokenizer(s))->chat_template, "'<|assistant|>\\n'"));
        assert_null(tn_store_prompt_tokens(s));
        tn_store_free(s);
    }
    tn_tokenizer_free(t);
}

static void store__in_memory_is_the_same_as_in_a_file(void **state) {
    enum { ROWS = 120000 }; /* more than a block of mask, and of tokens */
    tn_buf rows = {0};
    tn_tokenizer *t = tn_example_tokenizer(true, "");
    for (int i = 0; i < ROWS; i++)
        assert_ok(tn_buf_printf(&rows, "{\"prompt\": \"say no %d\", \"completion\": \" yes %d\"}\n", i, i % 7));
    tn_store *a = in_memory(state, rows.data, t, (tn_example_options){0});
    tn_store *b = in_file(state, rows.data, t, (tn_example_options){0});
    assert_true(tn_store_n_tokens(a) > 1 << 20);
    assert_true(tn_store_fingerprint(a) == tn_store_fingerprint(b));
    assert_memory_equal(tn_store_mask(a), tn_store_mask(b), (size_t)tn_store_n_tokens(a));
    assert_int_equal(tn_store_n_bytes(a), tn_store_n_bytes(b));
    tn_store_free(a);
    tn_store_free(b);
    tn_tokenizer_free(t);
    tn_buf_release(&rows);
}

static void fingerprint__follows_mask_and_kind(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    tn_store *a = in_memory(state, talks, t, (tn_example_options){.chat_template = "chatml"});
    tn_store *b =
        in_memory(state, talks, t, (tn_example_options){.chat_template = "chatml", .train_on_eos = TN_EOS_LAST});
    tn_store *c =
        in_memory(state, talks, t, (tn_example_options){.chat_template = "chatml", .train_on_eos = TN_EOS_NONE});
    tn_store *d = in_memory(state, talks, t, (tn_example_options){.chat_template = "chatml", .loss_on = TN_LOSS_ALL});
    assert_true(tn_store_fingerprint(a) == tn_store_fingerprint(b)); /* one turn each: the same mask */
    assert_true(tn_store_fingerprint(a) != tn_store_fingerprint(c));
    assert_true(tn_store_fingerprint(a) != tn_store_fingerprint(d));
    assert_null(tn_store_mask(d));
    tn_store *text = in_memory(state, "{\"text\": \"no yes\"}", t, (tn_example_options){0});
    tn_store *prompt = in_memory(state, "{\"prompt\": \"\", \"completion\": \"no yes\"}", t, (tn_example_options){0});
    assert_int_equal(tn_store_n_tokens(text), tn_store_n_tokens(prompt));
    assert_true(tn_store_fingerprint(text) != tn_store_fingerprint(prompt));
    tn_store *const all[] = {a, b, c, d, text, prompt};
    for (size_t i = 0; i < TN_COUNT(all); i++) tn_store_free(all[i]);
    tn_tokenizer_free(t);
}

static void mask__begins_where_it_is_first_needed(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    tn_buf rows = {0}, expected = {0};
    for (int i = 0; i < 300; i++) assert_ok(tn_buf_puts(&rows, "a"));
    assert_ok(tn_buf_printf(&expected, "a[%.*s</s>]|n[o</s>]|say[ yes</s>]|", 299, rows.data));
    tn_buf text = {0};
    assert_ok(tn_buf_printf(
        &text, "{\"text\": \"%s\"}\n{\"text\": \"no\"}\n{\"prompt\": \"say\", \"completion\": \" yes\"}", rows.data));
    const tn_example_options kinds[] = {{.rows.kind = TN_ROWS_MIXED},
                                        {.rows.kind = TN_ROWS_MIXED, .running_text = true}};
    for (size_t i = 0; i < TN_COUNT(kinds); i++) {
        tn_store *a = in_memory(state, text.data, t, kinds[i]), *b = in_file(state, text.data, t, kinds[i]);
        assert_store(a, expected.data);
        assert_store(b, expected.data);
        assert_string_equal(tn_store_kind_name(b), "mixed");
        tn_store_free(a);
        tn_store_free(b);
    }
    tn_buf_release(&rows);
    tn_buf_release(&text);
    tn_buf_release(&expected);
    tn_tokenizer_free(t);
}

static void text__whose_ends_are_not_learnt_has_a_mask(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    const tn_example_options options = {.running_text = true, .train_on_eos = TN_EOS_NONE};
    tn_store *s = in_memory(state, "{\"text\": \"no\"}\n{\"text\": \"say no\"}\n", t, options);
    assert_store(s, "n[o]</s>|say[ no]</s>|");
    tn_store_free(s);
    tn_tokenizer_free(t);
}

static void preferences__are_pairs_with_their_prompt(void **state) {
    static const char rows[] = "{\"prompt\": \"say\", \"chosen\": \" yes\", \"rejected\": \" no\"}\n"
                               "{\"prompt\": \"\", \"chosen\": \"a\", \"rejected\": \"b\"}\n";
    tn_tokenizer *t = tn_example_tokenizer(true, "");
    for (int file = 0; file < 2; file++) {
        tn_store *s = (file ? in_file : in_memory)(state, rows, t, (tn_example_options){0});
        static const uint32_t prompts[] = {2, 2, 1, 1};
        assert_store(s, "<s>say[ yes</s>]|<s>say[ no</s>]|<s>[a</s>]|<s>[b</s>]|");
        assert_memory_equal(tn_store_prompt_tokens(s), prompts, sizeof prompts);
        tn_store_free(s);
    }
    tn_tokenizer_free(t);
}

static void labels__stand_beside_documents(void **state) {
    static const char rows[] = "{\"prompt\": \"a\", \"completion\": \"b\", \"label\": true}\n"
                               "{\"prompt\": \"a\", \"completion\": \"c\", \"label\": false}\n";
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    for (int file = 0; file < 2; file++) {
        tn_store *s = (file ? in_file : in_memory)(state, rows, t, (tn_example_options){0});
        assert_int_equal(tn_store_labels(s)[0], 1);
        assert_int_equal(tn_store_labels(s)[1], 0);
        assert_int_equal(tn_store_kind(s), TN_ROW_KTO);
        tn_store_free(s);
    }
    tn_tokenizer_free(t);
}

static void kinds__that_go_with_no_others_are_refused(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    const char *path =
        tn_put_rows(*state, "{\"text\": \"a\"}\n{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n");
    const tn_example_options options = {.rows.kind = TN_ROWS_MIXED};
    tn_data_report report = {0};
    tn_store *s;
    assert_int_equal(tn_store_build_examples_memory(&s, &path, 1, t, &options, &report), TN_E_MISMATCH);
    assert_non_null(
        strstr(tn_error_message(), "a.jsonl:2: row is of kind preference, which goes with no rows of another kind"));
    tn_data_report_release(&report);
    path = tn_put_rows(*state, CHAT(U("a") ", {\"role\": \"assistant\", \"content\": \"b\", \"weight\": 0}"));
    assert_int_equal(tn_store_build_examples_memory(&s, &path, 1, t, &options, &report), TN_E_EMPTY);
    assert_non_null(strstr(tn_error_message(), "a.jsonl: no row gives anything to learn"));
    tn_data_report_release(&report);
    tn_tokenizer_free(t);
}

/* ---- stores that lie ---- */

typedef enum lie {
    NONE,
    MASK_VALUE,
    MASK_SUM,
    MASK_LENGTH,
    SUMS_OF_TOKENS_ALONE,
    NO_PROMPTS,
    PROMPTS_OF_CHATS,
    LONG_PROMPT,
    UNEQUAL_PROMPTS,
    ODD_DOCUMENTS,
    N_LIES
} lie;

enum { N = 6 };

/* A store of preferences, two documents of three tokens, but for one thing. */
static void write_lie(const char *path, lie what, const tn_tokenizer *t) {
    const uint16_t tokens[N] = {0, 1, 2, 0, 1, 3};
    const uint8_t mask[N] = {0, 0, what == MASK_VALUE ? 2 : 1, 0, 0, 1};
    const uint64_t offsets[] = {0, 3, what == ODD_DOCUMENTS ? 5 : N, N};
    const uint32_t prompts[] = {what == LONG_PROMPT ? 4 : 2,
                                what == UNEQUAL_PROMPTS ? 1
                                : what == LONG_PROMPT   ? 4
                                                        : 2,
                                1};
    const uint64_t sums[] = {tn_checksum64(tokens, sizeof tokens),
                             tn_checksum64(mask, sizeof mask) + (what == MASK_SUM)};
    const int64_t n = N, n_mask = N - (what == MASK_LENGTH), n_docs = 2 + (what == ODD_DOCUMENTS),
                  n_offsets = n_docs + 1, n_sums = 2 - (what == SUMS_OF_TOKENS_ALONE);
    tn_h5 *file;
    tn_buf json = {0};
    char hash[17];
    tn_tokenizer_hash(t, hash);
    assert_ok(tn_tokenizer_to_json(t, &json));
    assert_ok(tn_h5_create(&file, path));
    assert_ok(tn_h5_set_text(file, "format", "tern-tokens"));
    assert_ok(tn_h5_set_int(file, "format_version", 1));
    assert_ok(tn_h5_set_text(file, "kind", what == PROMPTS_OF_CHATS ? "chat" : "preference"));
    assert_ok(tn_h5_set_int(file, "n_tokens", N));
    assert_ok(tn_h5_set_int(file, "n_docs", n_docs));
    assert_ok(tn_h5_set_int(file, "n_bytes", N));
    assert_ok(tn_h5_set_int(file, "vocab_size", tn_tokenizer_size(t)));
    assert_ok(tn_h5_set_text(file, "tokenizer_hash", hash));
    assert_ok(tn_h5_write_text(file, "tokenizer_json", json.data, json.len));
    assert_ok(tn_h5_write(file, "tokens", TN_H5_U16, 1, &n, tokens));
    assert_ok(tn_h5_write(file, "loss_mask", TN_H5_U8, 1, &n_mask, mask));
    assert_ok(tn_h5_write(file, "doc_offsets", TN_H5_U64, 1, &n_offsets, offsets));
    assert_ok(tn_h5_write(file, "checksums", TN_H5_U64, 1, &n_sums, sums));
    if (what != NO_PROMPTS) assert_ok(tn_h5_write(file, "prompt_len", TN_H5_U32, 1, &n_docs, prompts));
    assert_ok(tn_h5_commit(file));
    tn_buf_release(&json);
}

static void open__lies_about_masks_and_pairs_are_found_out(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    for (int what = NONE; what < N_LIES; what++) {
        tn_store *s;
        write_lie(store_path(*state), (lie)what, t);
        tn_status status = tn_store_open(&s, store_path(*state));
        if (status != (what == NONE ? TN_OK : TN_E_CORRUPT))
            fail_msg("lie %d: %s: %s", what, tn_status_name(status), tn_error_message());
        tn_store_free(s);
    }
    tn_tokenizer_free(t);
}

static void open_damaged(void *context, const char *path, size_t at) {
    const tn_store *whole = context;
    tn_store *s;
    (void)at;
    if (tn_store_open(&s, path)) return;
    assert_true(tn_store_fingerprint(s) == tn_store_fingerprint(whole));
    tn_store_free(s);
}

static void open__damaged_masks_are_never_handed_out(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    tn_store *whole = in_memory(state, talks, t, (tn_example_options){.chat_template = "chatml"});
    tn_store_free(in_file(state, talks, t, (tn_example_options){.chat_template = "chatml"}));
    int64_t alive = tn_memory_alive();
    tn_test_flip_each(store_path(*state), 61, open_damaged, whole);
    assert_int_equal(tn_memory_alive(), alive);
    tn_store_free(whole);
    tn_tokenizer_free(t);
}

static tn_status build_and_open(void **state, const tn_tokenizer *t, const char *path) {
    const tn_example_options options = {.chat_template = "chatml"};
    tn_data_report report = {0};
    tn_store *s = NULL;
    tn_status status = tn_store_build_examples_memory(&s, &path, 1, t, &options, &report);
    tn_store_free(s);
    tn_data_report_release(&report);
    if (!status) status = tn_store_build_examples(store_path(*state), &path, 1, t, &options, &report);
    tn_data_report_release(&report);
    if (!status) status = tn_store_open(&s, store_path(*state));
    if (!status) tn_store_free(s);
    return status;
}

static void store__any_allocation_may_fail_and_nothing_leaks(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    const char *path = tn_put_rows(*state, talks);
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_memory_fail_at(n);
        status = build_and_open(state, t, path);
        tn_memory_fail_at(0);
        assert_int_equal(tn_memory_alive(), alive);
        assert_true(n < 5000);
    }
    tn_tokenizer_free(t);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(store__of_chats_has_a_mask_and_their_template),
        TEST(store__in_memory_is_the_same_as_in_a_file),
        TEST(fingerprint__follows_mask_and_kind),
        TEST(mask__begins_where_it_is_first_needed),
        TEST(text__whose_ends_are_not_learnt_has_a_mask),
        TEST(preferences__are_pairs_with_their_prompt),
        TEST(labels__stand_beside_documents),
        TEST(kinds__that_go_with_no_others_are_refused),
        TEST(open__lies_about_masks_and_pairs_are_found_out),
        TEST(open__damaged_masks_are_never_handed_out),
        TEST(store__any_allocation_may_fail_and_nothing_leaks),
    };
    return cmocka_run_group_tests_name("masked_store", tests, NULL, NULL);
}
