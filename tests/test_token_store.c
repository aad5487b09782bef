/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "data/token_store.h"
#include "formats/checksum.h"
#include "formats/hdf5_file.h"
#include "tests/damage.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NAME = TN_TEST_PATH + 32 };

typedef struct fixture {
    char dir[TN_TEST_PATH];
    char text[MAX_NAME], rows[MAX_NAME], store[MAX_NAME];
} fixture;

static const char story[] = "the fox saw the hen and the hen saw the fox";
static const char rows[] = "{\"text\": \"the fox\"}\n{\"text\": \"the hen saw\"}\n{\"text\": \"fox\"}\n";

static int set_up(void **state) {
    static fixture f;
    tn_test_dir_make(f.dir);
    snprintf(f.text, sizeof f.text, "%s/story.txt", f.dir);
    snprintf(f.rows, sizeof f.rows, "%s/rows.jsonl", f.dir);
    snprintf(f.store, sizeof f.store, "%s/tokens.h5", f.dir);
    assert_ok(tn_file_write(f.text, story, strlen(story)));
    assert_ok(tn_file_write(f.rows, rows, strlen(rows)));
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    tn_test_dir_remove(((fixture *)*state)->dir);
    return 0;
}

static tn_tokenizer *train_on(tn_tokenizer_kind kind, const char *text) {
    tn_tokenizer_options options = {.kind = kind, .split = TN_SPLIT_GPT2, .vocab_size = 265};
    tn_tokenizer_trainer *trainer;
    tn_tokenizer *tokenizer;
    assert_ok(tn_tokenizer_trainer_create(&trainer, &options));
    assert_ok(tn_tokenizer_trainer_add(trainer, text, strlen(text)));
    assert_ok(tn_tokenizer_trainer_finish(trainer, &tokenizer));
    return tokenizer;
}

static tn_tokenizer *train(tn_tokenizer_kind kind) { return train_on(kind, story); }

/* The text of tokens [first, first+count), end-of-text tokens shown as "<|endoftext|>". */
static tn_buf text_of(const tn_store *store, int64_t first, int64_t count) {
    tn_buf out = {0};
    for (int64_t i = first; i < first + count; i++) {
        int32_t id;
        tn_store_get(store, i, 1, &id);
        assert_ok(tn_tokenizer_decode(tn_store_tokenizer(store), id, true, &out));
    }
    return out;
}

static void assert_document(const tn_store *store, int64_t i, const char *expected) {
    int64_t first = tn_store_doc_offset(store, i);
    tn_buf text = text_of(store, first, tn_store_doc_offset(store, i + 1) - first);
    assert_string_equal(tn_buf_text(&text), expected);
    tn_buf_release(&text);
}

static void store__one_document_of_characters_is_running_text(void **state) {
    fixture *f = *state;
    const char *path = f->text;
    tn_tokenizer *t = train(TN_TOKENIZER_CHAR);
    tn_store_report report;
    tn_store *store;
    assert_ok(tn_store_build(f->store, &path, 1, t, &report));
    assert_true(tn_store_is_store(f->store));
    assert_false(tn_store_is_store(f->text));
    assert_ok(tn_store_open(&store, f->store));
    assert_int_equal(report.files, 1);
    assert_int_equal(report.documents, 1);
    assert_int_equal(report.tokens, strlen(story));
    assert_int_equal(report.bytes, strlen(story));
    assert_int_equal(tn_store_n_tokens(store), strlen(story));
    assert_int_equal(tn_store_vocab_size(store), tn_tokenizer_size(t));
    assert_string_equal(tn_store_name(store), f->store);
    assert_document(store, 0, story);
    tn_store_free(store);
    tn_tokenizer_free(t);
}

static void store__documents_end_with_eos(void **state) {
    fixture *f = *state;
    const char *paths[] = {f->rows, f->text};
    for (int kind = TN_TOKENIZER_CHAR; kind <= TN_TOKENIZER_BPE; kind++) {
        tn_tokenizer *t = train((tn_tokenizer_kind)kind);
        tn_store_report report;
        tn_store *store;
        assert_ok(tn_store_build(f->store, paths, 2, t, &report));
        assert_ok(tn_store_open(&store, f->store));
        assert_int_equal(report.files, 2);
        assert_int_equal(tn_store_n_documents(store), 4);
        assert_int_equal(tn_store_n_bytes(store), 7 + 11 + 3 + strlen(story));
        assert_document(store, 0, "the fox<|endoftext|>");
        assert_document(store, 1, "the hen saw<|endoftext|>");
        assert_document(store, 2, "fox<|endoftext|>");
        assert_int_equal(tn_store_doc_offset(store, 4), tn_store_n_tokens(store));
        tn_store_free(store);
        tn_tokenizer_free(t);
    }
}

static void store__one_bpe_document_ends_with_eos(void **state) {
    fixture *f = *state;
    const char *path = f->text;
    tn_tokenizer *t = train(TN_TOKENIZER_BPE);
    tn_store *store;
    assert_ok(tn_store_build_memory(&store, &path, 1, t, &(tn_store_report){0}));
    int32_t last;
    tn_store_get(store, tn_store_n_tokens(store) - 1, 1, &last);
    assert_int_equal(last, tn_tokenizer_eos(t));
    tn_store_free(store);
    tn_tokenizer_free(t);
}

static void store__in_memory_is_the_same_as_in_a_file(void **state) {
    fixture *f = *state;
    enum { REPEAT = 60000 }; /* some MiB of tokens: several blocks */
    tn_buf text = {0};
    for (int i = 0; i < REPEAT; i++) assert_ok(tn_buf_printf(&text, "%s %d\n", story, i));
    assert_ok(tn_file_write(f->text, text.data, text.len));
    const char *path = f->text;
    tn_tokenizer *t = train_on(TN_TOKENIZER_CHAR, "the fox saw the hen and the hen saw the fox 0123456789\n");
    tn_store_report report;
    tn_store *a, *b;
    assert_ok(tn_store_build(f->store, &path, 1, t, &report));
    assert_ok(tn_store_open(&a, f->store));
    assert_ok(tn_store_build_memory(&b, &path, 1, t, &report));
    assert_true(tn_store_fingerprint(a) == tn_store_fingerprint(b));
    assert_int_equal(tn_store_n_tokens(a), text.len);
    assert_int_equal(tn_store_n_tokens(b), text.len);
    int64_t n = tn_store_n_tokens(a), half = n / 2;
    int32_t *x = tn_heap_zalloc((size_t)n, sizeof *x), *y = tn_heap_zalloc((size_t)n, sizeof *y);
    tn_store_get(a, 0, n, x);
    tn_store_get(b, 0, half, y);
    tn_store_get(b, half, n - half, y + half);
    assert_memory_equal(x, y, (size_t)n * sizeof *x);
    tn_buf back = text_of(a, n - 100, 100);
    assert_string_equal(back.data, text.data + text.len - 100);
    tn_heap_free(x);
    tn_heap_free(y);
    tn_buf_release(&back);
    tn_buf_release(&text);
    tn_store_free(a);
    tn_store_free(b);
    tn_tokenizer_free(t);
}

static void store__counts_ids(void **state) {
    fixture *f = *state;
    const char *path = f->text;
    tn_tokenizer *t = train(TN_TOKENIZER_CHAR);
    int64_t counts[64], total = 0;
    tn_store *store;
    assert_ok(tn_store_build_memory(&store, &path, 1, t, &(tn_store_report){0}));
    tn_store_count(store, 4, 10, counts); /* "fox saw th" */
    assert_int_equal(counts[tn_tokenizer_find(t, " ", 1)], 2);
    assert_int_equal(counts[tn_tokenizer_find(t, "x", 1)], 1);
    assert_int_equal(counts[tn_tokenizer_find(t, "d", 1)], 0);
    for (int id = 0; id < tn_store_vocab_size(store); id++) total += counts[id];
    assert_int_equal(total, 10);
    tn_store_free(store);
    tn_tokenizer_free(t);
}

static void store__fingerprint_follows_tokens_and_tokenizer(void **state) {
    fixture *f = *state;
    const char *text = f->text, *other = f->rows;
    tn_tokenizer *t = train_on(TN_TOKENIZER_CHAR, story),
                 *u = train_on(TN_TOKENIZER_CHAR, "the fox saw the hen and the hen z");
    tn_store *same[2], *tokens, *tokenizer;
    tn_store_report report;
    assert_ok(tn_store_build_memory(&same[0], &text, 1, t, &report));
    assert_ok(tn_store_build_memory(&same[1], &text, 1, t, &report));
    assert_ok(tn_store_build_memory(&tokens, &other, 1, t, &report));
    assert_ok(tn_store_build_memory(&tokenizer, &text, 1, u, &report));
    assert_true(tn_store_fingerprint(same[0]) == tn_store_fingerprint(same[1]));
    assert_true(tn_store_fingerprint(same[0]) != tn_store_fingerprint(tokens));
    assert_true(tn_store_fingerprint(same[0]) != tn_store_fingerprint(tokenizer));
    for (int i = 0; i < 2; i++) tn_store_free(same[i]);
    tn_store_free(tokens);
    tn_store_free(tokenizer);
    tn_tokenizer_free(t);
    tn_tokenizer_free(u);
}

static size_t files_in(const char *dir) {
    tn_names names = {0};
    assert_ok(tn_dir_list(dir, &names));
    size_t n = names.count;
    tn_names_release(&names);
    return n;
}

static void build__failure_leaves_no_file(void **state) {
    fixture *f = *state;
    const char *path = f->text;
    tn_tokenizer *t = train_on(TN_TOKENIZER_CHAR, "the fox");
    tn_store *store;
    size_t before = files_in(f->dir);
    assert_int_equal(tn_store_build(f->store, &path, 1, t, &(tn_store_report){0}), TN_E_TEXT);
    assert_non_null(strstr(tn_error_message(), "story.txt: character \"s\" (U+0073)"));
    assert_int_equal(files_in(f->dir), before);
    assert_int_equal(tn_store_build_memory(&store, &path, 1, t, &(tn_store_report){0}), TN_E_TEXT);
    assert_null(store);
    assert_int_equal(tn_store_build(f->dir, &path, 1, t, &(tn_store_report){0}), TN_E_IO);
    tn_tokenizer_free(t);
}

static void build__leaves_nothing_but_the_store(void **state) {
    fixture *f = *state;
    const char *path = f->text;
    tn_tokenizer *t = train(TN_TOKENIZER_CHAR);
    size_t before = files_in(f->dir);
    assert_ok(tn_store_build(f->store, &path, 1, t, &(tn_store_report){0}));
    assert_int_equal(files_in(f->dir), before + 1);
    tn_tokenizer_free(t);
}

static tn_status build_and_open(const fixture *f, const tn_tokenizer *t) {
    const char *path = f->rows;
    tn_store *store;
    TN_TRY(tn_store_build_memory(&store, &path, 1, t, &(tn_store_report){0}));
    tn_store_free(store);
    TN_TRY(tn_store_build(f->store, &path, 1, t, &(tn_store_report){0}));
    TN_TRY(tn_store_open(&store, f->store));
    tn_store_free(store);
    return TN_OK;
}

static void store__any_allocation_may_fail_and_nothing_leaks(void **state) {
    fixture *f = *state;
    tn_tokenizer *t = train(TN_TOKENIZER_CHAR);
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_memory_fail_at(n);
        status = build_and_open(f, t);
        tn_memory_fail_at(0);
        assert_int_equal(tn_memory_alive(), alive);
    }
    tn_tokenizer_free(t);
}

/* ---- stores that lie ---- */

enum { N = 4 };

/* What a store of four tokens in two documents says; one field of it is made wrong. */
typedef struct claims {
    int64_t version, vocab_size, n_tokens;
    const char *kind, *hash;
    uint16_t tokens[N];
    uint64_t offsets[3], sum_error;
} claims;

static void write_claims(const char *path, const claims *x, const tn_tokenizer *t) {
    static const int64_t n = N, n_offsets = 3, n_sums = 1;
    tn_h5 *file;
    tn_buf json = {0};
    uint64_t sum = tn_checksum64(x->tokens, sizeof x->tokens) + x->sum_error;
    assert_ok(tn_tokenizer_to_json(t, &json));
    assert_ok(tn_h5_create(&file, path));
    assert_ok(tn_h5_set_text(file, "format", "tern-tokens"));
    assert_ok(tn_h5_set_int(file, "format_version", x->version));
    assert_ok(tn_h5_set_text(file, "kind", x->kind));
    assert_ok(tn_h5_set_int(file, "n_tokens", x->n_tokens));
    assert_ok(tn_h5_set_int(file, "n_docs", x->n_tokens ? 2 : 0));
    assert_ok(tn_h5_set_int(file, "n_bytes", N));
    assert_ok(tn_h5_set_int(file, "vocab_size", x->vocab_size));
    assert_ok(tn_h5_set_text(file, "tokenizer_hash", x->hash));
    assert_ok(tn_h5_write_text(file, "tokenizer_json", json.data, json.len));
    assert_ok(tn_h5_write(file, "tokens", TN_H5_U16, 1, &n, x->tokens));
    assert_ok(tn_h5_write(file, "doc_offsets", TN_H5_U64, 1, &n_offsets, x->offsets));
    assert_ok(tn_h5_write(file, "checksums", TN_H5_U64, 1, &n_sums, &sum));
    assert_ok(tn_h5_commit(file));
    tn_buf_release(&json);
}

typedef enum lie {
    NONE,
    TOKEN,
    CHECKSUM,
    EQUAL_OFFSETS,
    FALLING_OFFSETS,
    FIRST_OFFSET,
    LAST_OFFSET,
    HUGE_OFFSET,
    TOKENS,
    HUGE_TOKENS,
    VOCABULARY,
    HASH,
    EMPTY,
    VERSION,
    KIND,
    N_LIES
} lie;

static claims tell(lie what, const tn_tokenizer *t, const char *hash) {
    claims x = {1, tn_tokenizer_size(t), N, "text", hash, {0, 1, 2, 3}, {0, 2, N}, 0};
    if (what == TOKEN) x.tokens[3] = 5;
    if (what == CHECKSUM) x.sum_error = 1;
    if (what == EQUAL_OFFSETS) x.offsets[1] = 0;
    if (what == FALLING_OFFSETS) x.offsets[1] = 5;
    if (what == FIRST_OFFSET) x.offsets[0] = 1;
    if (what == LAST_OFFSET) x.offsets[2] = 3;
    if (what == HUGE_OFFSET) x.offsets[2] = UINT64_MAX;
    if (what == TOKENS) x.n_tokens = 5;
    if (what == HUGE_TOKENS) x.n_tokens = INT64_MAX;
    if (what == VOCABULARY) x.vocab_size = 4;
    if (what == HASH) x.hash = "0123456789abcdef";
    if (what == EMPTY) x.n_tokens = 0;
    if (what == VERSION) x.version = 2;
    if (what == KIND) x.kind = "sft";
    return x;
}

static void open__lies_are_found_out(void **state) {
    fixture *f = *state;
    tn_tokenizer *t = train_on(TN_TOKENIZER_CHAR, "abcd"); /* ids 0..4 with <|endoftext|> */
    char hash[17];
    tn_tokenizer_hash(t, hash);
    for (int what = NONE; what < N_LIES; what++) {
        tn_store *store;
        claims x = tell((lie)what, t, hash);
        write_claims(f->store, &x, t);
        tn_status expected = what == NONE    ? TN_OK
                             : what < EMPTY  ? TN_E_CORRUPT
                             : what == EMPTY ? TN_E_EMPTY
                                             : TN_E_UNSUPPORTED;
        tn_status status = tn_store_open(&store, f->store);
        if (status != expected) fail_msg("lie %d: %s: %s", what, tn_status_name(status), tn_error_message());
        tn_store_free(store);
    }
    tn_tokenizer_free(t);
}

static void open_damaged(void *context, const char *path, size_t at) {
    const tn_store *whole = context;
    tn_store *store;
    (void)at;
    if (tn_store_open(&store, path)) return;
    assert_true(tn_store_fingerprint(store) == tn_store_fingerprint(whole));
    tn_store_free(store);
}

static void open__damaged_tokens_are_never_handed_out(void **state) {
    fixture *f = *state;
    const char *path = f->rows;
    tn_tokenizer *t = train(TN_TOKENIZER_CHAR);
    tn_store *whole;
    assert_ok(tn_store_build(f->store, &path, 1, t, &(tn_store_report){0}));
    assert_ok(tn_store_build_memory(&whole, &path, 1, t, &(tn_store_report){0}));
    int64_t alive = tn_memory_alive();
    tn_test_flip_each(f->store, 37, open_damaged, whole);
    tn_test_cut_each(f->store, 1511, open_damaged, whole);
    assert_int_equal(tn_memory_alive(), alive);
    tn_store_free(whole);
    tn_tokenizer_free(t);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(store__one_document_of_characters_is_running_text),
        TEST(store__documents_end_with_eos),
        TEST(store__one_bpe_document_ends_with_eos),
        TEST(store__in_memory_is_the_same_as_in_a_file),
        TEST(store__counts_ids),
        TEST(store__fingerprint_follows_tokens_and_tokenizer),
        TEST(build__failure_leaves_no_file),
        TEST(build__leaves_nothing_but_the_store),
        TEST(store__any_allocation_may_fail_and_nothing_leaks),
        TEST(open__lies_are_found_out),
        TEST(open__damaged_tokens_are_never_handed_out),
    };
    return cmocka_run_group_tests_name("token_store", tests, NULL, NULL);
}
