/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "data/tokenizer_file.h"
#include "data/tokenizer_gguf.h"
#include "tests/damage.h"
#include "tests/testing.h"
#include "tests/tokenizer_rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char story[] =
    "The fox saw a hen, and the hen saw the fox.\n\xE4\xB8\x96\xE7\x95\x8C na\xC3\xAFve caf\xC3\xA9 "
    "\xF0\x9F\x98\x80\xF0\x9F\x98\x81 \xE4\xB8\x97\xCC\x88";

static tn_tokenizer *train(tn_tokenizer_kind kind, tn_split split) {
    static const char *const specials[] = {"<|eot_id|>"};
    tn_tokenizer_options options = {kind, split, 290, specials, 1};
    tn_tokenizer_trainer *trainer;
    tn_tokenizer *tokenizer;
    assert_ok(tn_tokenizer_trainer_create(&trainer, &options));
    assert_ok(tn_tokenizer_trainer_add(trainer, story, strlen(story)));
    assert_ok(tn_tokenizer_trainer_finish(trainer, &tokenizer));
    return tokenizer;
}

static void save(const tn_test_files *f, const tn_tokenizer *tokenizer) {
    tn_gguf_writer *writer;
    assert_ok(tn_gguf_create(&writer, f->path));
    assert_ok(tn_tokenizer_put_gguf(tokenizer, writer));
    assert_ok(tn_gguf_commit(writer));
}

static tn_status load(const char *path, tn_tokenizer **tokenizer) {
    tn_gguf *file;
    *tokenizer = NULL;
    TN_TRY(tn_gguf_open(&file, path));
    tn_status status = tn_tokenizer_from_gguf(tokenizer, file);
    tn_gguf_close(file);
    return status;
}

static void assert_file_round_trip(const tn_test_files *f, const tn_tokenizer *t) {
    tn_tokenizer *back;
    save(f, t);
    assert_ok(load(f->path, &back));
    tn_test_same_tokenizer(t, back);
    tn_tokenizer_free(back);
}

static void gguf__trained_tokenizers_come_back(void **state) {
    const tn_test_files *f = *state;
    for (int i = 0; i <= TN_N_SPLITS; i++) {
        tn_tokenizer *t =
            i == TN_N_SPLITS ? train(TN_TOKENIZER_CHAR, TN_SPLIT_GPT2) : train(TN_TOKENIZER_BPE, (tn_split)i);
        assert_file_round_trip(f, t);
        tn_tokenizer_free(t);
    }
}

static void gguf__foreign_tokenizers_come_back(void **state) {
    const tn_test_files *f = *state;
    static const char *const shared[] = {"data/tokenizers/ggml-vocab-gpt-2.gguf",
                                         "data/tokenizers/ggml-vocab-llama-spm.gguf",
                                         "data/tokenizers/llama3.tiktoken"};
    for (size_t i = 0; i < TN_COUNT(shared); i++) {
        char path[TN_TEST_PATH];
        tn_tokenizer *t;
        if (!tn_test_shared(path, shared[i])) skip();
        assert_ok(tn_tokenizer_load(&t, path));
        assert_file_round_trip(f, t);
        tn_test_json_round_trip(t);
        tn_test_round_trips(t);
        tn_tokenizer_free(t);
    }
}

/* "ab" by one pair, "abc" by both of its pairs, with a prefix that GGUF cannot name. */
static void gguf__merges_of_sentencepiece_become_scores(void **state) {
    const tn_test_files *f = *state;
    static const char *texts[] = {"<unk>", "a", "b", "c", " ", "ab", "bc", "abc"};
    static const uint32_t lens[] = {5, 1, 1, 1, 1, 2, 2, 3};
    static const int32_t types[] = {2, 1, 1, 1, 1, 1, 1, 1};
    static const int32_t all[][2] = {{2, 3}, {1, 2}, {5, 3}, {1, 6}}, some[][2] = {{2, 3}, {1, 2}, {5, 3}},
                         mixed[][2] = {{2, 3}, {5, 3}, {1, 2}, {1, 6}};
    tn_vocabulary v = {.kind = TN_TOKENIZER_SPM,
                       .prefix = TN_PREFIX_BARE_START,
                       .nfc = true,
                       .n_tokens = 8,
                       .texts = texts,
                       .lens = lens,
                       .types = types,
                       .n_merges = 4,
                       .merges = all,
                       .bos = -1,
                       .eos = -1,
                       .eot = -1,
                       .pad = -1,
                       .chat_template = ""};
    tn_tokenizer *t;
    tn_gguf *file;
    tn_gguf_writer *w;
    double score;
    assert_ok(tn_tokenizer_from_vocabulary(&t, &v));
    assert_file_round_trip(f, t);
    assert_ok(tn_gguf_open(&file, f->path));
    assert_ok(tn_gguf_array_real(file, "tokenizer.ggml.scores", 5, &score));
    assert_float_equal(score, -1, 0);
    assert_ok(tn_gguf_array_real(file, "tokenizer.ggml.scores", 7, &score));
    assert_float_equal(score, -2, 0);
    tn_gguf_close(file);
    tn_tokenizer_free(t);
    for (int i = 0; i < 2; i++) {
        v.merges = i ? mixed : some;
        v.n_merges = i ? 4 : 3;
        assert_ok(tn_tokenizer_from_vocabulary(&t, &v));
        assert_ok(tn_gguf_create(&w, f->path));
        assert_int_equal(tn_tokenizer_put_gguf(t, w), TN_E_UNSUPPORTED);
        tn_gguf_discard(w);
        tn_tokenizer_free(t);
    }
}

/* ---- what another runtime finds in the file of a character tokenizer ---- */

enum { MAX_SYMBOLS = 256 };

typedef struct symbol {
    const char *text;
    size_t len;
} symbol;

static int64_t find_text(const tn_gguf *file, const char *key, const char *text, size_t len) {
    tn_gguf_text entry;
    int64_t count;
    assert_ok(tn_gguf_array(file, key, NULL, &count));
    for (int64_t i = 0; i < count; i++) {
        assert_ok(tn_gguf_array_text(file, key, i, &entry));
        if (entry.len == len && memcmp(entry.data, text, len) == 0) return i;
    }
    return -1;
}

static int64_t rank_of(const tn_gguf *file, symbol left, symbol right) {
    char text[64];
    int len = snprintf(text, sizeof text, "%.*s %.*s", (int)left.len, left.text, (int)right.len, right.text);
    return find_text(file, "tokenizer.ggml.merges", text, (size_t)len);
}

/* Merging by text over the characters of a spelled piece, knowing nothing but the two lists in the file. */
static size_t merge_spelled(const tn_gguf *file, const char *spelled, symbol *symbols) {
    size_t n = 0;
    for (size_t at = 0, len = strlen(spelled); at < len; at += symbols[n++].len) {
        assert_true(n < MAX_SYMBOLS);
        symbols[n] =
            (symbol){spelled + at, (unsigned char)spelled[at] < 0x80 ? 1 : 2}; /* the alphabet ends at U+0143 */
    }
    for (;;) {
        int64_t best_rank = -1;
        size_t best = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            int64_t rank = rank_of(file, symbols[i], symbols[i + 1]);
            if (rank >= 0 && (best_rank < 0 || rank < best_rank)) best_rank = rank, best = i;
        }
        if (best_rank < 0) return n;
        symbols[best].len += symbols[best + 1].len;
        memmove(symbols + best + 1, symbols + best + 2, (n - best - 2) * sizeof *symbols);
        n--;
    }
}

static void gguf__characters_are_found_by_merging_bytes(void **state) {
    const tn_test_files *f = *state;
    tn_tokenizer *t = train(TN_TOKENIZER_CHAR, TN_SPLIT_GPT2);
    /* "世 naïvé😀" in GPT-2's alphabet, byte by byte */
    const char text[] = "\xE4\xB8\x96 na\xC3\xAFv\xC3\xA9\xF0\x9F\x98\x80\xE4\xB8\x97";
    const char spelled[] =
        "\xC3\xA4\xC2\xB8\xC4\xB8\xC4\xA0na\xC3\x83\xC2\xAFv\xC3\x83\xC2\xA9\xC3\xB0\xC5\x81\xC4\xBA\xC4\xA2"
        "\xC3\xA4\xC2\xB8\xC4\xB9";
    symbol symbols[MAX_SYMBOLS];
    tn_ids ids = {0};
    tn_gguf *file;
    save(f, t);
    assert_ok(tn_gguf_open(&file, f->path));
    assert_ok(tn_tokenizer_encode(t, text, strlen(text), false, &ids));
    size_t n = merge_spelled(file, spelled, symbols);
    assert_int_equal(n, ids.count);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(find_text(file, "tokenizer.ggml.tokens", symbols[i].text, symbols[i].len), ids.list[i]);
    tn_gguf_close(file);
    tn_ids_release(&ids);
    tn_tokenizer_free(t);
}

/* ---- files of others ---- */

static void compare_line(const tn_tokenizer *t, const char *text, size_t len, char *expected, int line) {
    tn_ids ids = {0};
    size_t n = 0;
    assert_ok(tn_tokenizer_encode(t, text, len, false, &ids));
    char *rest;
    for (char *at = expected;; at = rest, n++) {
        long id = strtol(at, &rest, 10);
        if (rest == at) break;
        if (n >= ids.count || ids.list[n] != id) fail_msg("text %d: token %zu is not %ld", line, n, id);
    }
    assert_int_equal(n, ids.count);
    tn_ids_release(&ids);
}

static void assert_published_ids(const char *name, int eos, int texts) {
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char path[TN_TEST_PATH], beside[TN_TEST_PATH + 8];
    if (!tn_test_shared(path, name)) skip();
    tn_buf in = {0}, out = {0};
    snprintf(beside, sizeof beside, "%s.inp", path);
    assert_ok(tn_file_read(beside, 1 << 20, &in));
    snprintf(beside, sizeof beside, "%s.out", path);
    assert_ok(tn_file_read(beside, 1 << 20, &out));
    tn_tokenizer *t;
    assert_ok(load(path, &t));
    assert_int_equal(tn_tokenizer_eos(t), eos);
    int line = 0;
    char *text = in.data, *expected = out.data;
    for (char *end; (end = strstr(text, separator)); text = end + strlen(separator), line++) {
        char *newline = strchr(expected, '\n');
        assert_non_null(newline);
        *newline = '\0';
        compare_line(t, text, (size_t)(end - text), expected, line);
        expected = newline + 1;
    }
    assert_int_equal(line, texts);
    tn_buf_release(&in);
    tn_buf_release(&out);
    tn_tokenizer_free(t);
}

static void gguf__gpt2_gives_the_published_ids(void **state) {
    (void)state;
    assert_published_ids("data/tokenizers/ggml-vocab-gpt-2.gguf", 50256, 46);
}

static void gguf__llama_spm_gives_the_published_ids(void **state) {
    (void)state;
    assert_published_ids("data/tokenizers/ggml-vocab-llama-spm.gguf", 2, 46);
}

static void put(tn_gguf_writer *w, const char *key, const char *text) {
    assert_ok(tn_gguf_put_text(w, key, text, strlen(text)));
}

static void put_list(tn_gguf_writer *w, const char *key, const char *const *list, int64_t n) {
    assert_ok(tn_gguf_put_array(w, key, TN_GGUF_STRING, n));
    for (int64_t i = 0; i < n; i++) assert_ok(tn_gguf_put_element_text(w, list[i], strlen(list[i])));
}

static void put_numbered(tn_gguf_writer *w, int n) {
    assert_ok(tn_gguf_put_array(w, "tokenizer.ggml.tokens", TN_GGUF_STRING, n));
    for (int i = 0; i < n; i++) {
        char text[32];
        int len = i == n - 1 ? snprintf(text, sizeof text, "<|eot_id|>") : snprintf(text, sizeof text, "t%d", i);
        assert_ok(tn_gguf_put_element_text(w, text, (size_t)len));
    }
    assert_ok(tn_gguf_put_array(w, "tokenizer.ggml.token_type", TN_GGUF_I32, n));
    for (int i = 0; i < n; i++) assert_ok(tn_gguf_put_element_i32(w, i == n - 1 ? TN_TOKEN_CONTROL : TN_TOKEN_NORMAL));
}

static void put_floats(tn_gguf_writer *w, const char *key, const float *list, int64_t n) {
    assert_ok(tn_gguf_put_array(w, key, TN_GGUF_F32, n));
    for (int64_t i = 0; i < n; i++) assert_ok(tn_gguf_put_element_f32(w, list[i]));
}

static void put_ints(tn_gguf_writer *w, const char *key, const int32_t *list, int64_t n) {
    assert_ok(tn_gguf_put_array(w, key, TN_GGUF_I32, n));
    for (int64_t i = 0; i < n; i++) assert_ok(tn_gguf_put_element_i32(w, list[i]));
}

static const char *const spm_tokens[] = {"<unk>",
                                         "<s>",
                                         "</s>",
                                         "<0x0A>",
                                         "\xE2\x96\x81",
                                         "a",
                                         "\xE2\x96\x81"
                                         "a"};

static void gguf__spm_defaults_are_those_of_its_converters(void **state) {
    const tn_test_files *f = *state;
    static const float scores[7] = {0, 0, 0, 0, -2, -3, -1};
    tn_gguf_writer *w;
    tn_tokenizer *t;
    assert_ok(tn_gguf_create(&w, f->path));
    put(w, "tokenizer.ggml.model", "llama");
    put_list(w, "tokenizer.ggml.tokens", spm_tokens, 7);
    put_floats(w, "tokenizer.ggml.scores", scores, 7);
    assert_ok(tn_gguf_commit(w));
    assert_ok(load(f->path, &t));
    const tn_vocabulary *v = tn_tokenizer_vocabulary(t);
    assert_int_equal(v->unk, 0);
    assert_int_equal(v->bos, 1);
    assert_int_equal(v->eos, 2);
    assert_true(v->add_bos);
    assert_int_equal(v->prefix, TN_PREFIX_PARTS);
    assert_int_equal(v->types[0], TN_TOKEN_UNKNOWN);
    assert_int_equal(v->types[1], TN_TOKEN_CONTROL);
    assert_int_equal(v->types[3], TN_TOKEN_BYTE);
    ASSERT_IDS(t, "a\n</s>a a", true, 6, 3, 2, 6, 6);
    tn_tokenizer_free(t);
}

static void gguf__spm_without_scores_or_with_bad_ones_is_refused(void **state) {
    const tn_test_files *f = *state;
    static const float scores[7] = {0, 0, 0, 0, NAN, 0, 0};
    static const int32_t types[7] = {2, 3, 3, 6, 6, 1, 1}; /* the space is no byte token */
    for (int i = 0; i < 4; i++) {
        tn_gguf_writer *w;
        tn_tokenizer *t;
        assert_ok(tn_gguf_create(&w, f->path));
        put(w, "tokenizer.ggml.model", "llama");
        put_list(w, "tokenizer.ggml.tokens", spm_tokens, 7);
        if (i > 0) put_floats(w, "tokenizer.ggml.scores", scores, i == 1 ? 6 : 7);
        if (i == 3) put_ints(w, "tokenizer.ggml.token_type", types, 7);
        assert_ok(tn_gguf_commit(w));
        assert_int_equal(load(f->path, &t), i == 0 ? TN_E_MISSING : TN_E_CORRUPT);
        assert_non_null(strstr(tn_error_message(), i < 2    ? "tokenizer.ggml.scores"
                                                   : i == 2 ? "score of token 4"
                                                            : "<0x00>"));
        assert_null(t);
    }
}

static void gguf__published_bitnet_file_is_repaired(void **state) {
    const tn_test_files *f = *state;
    enum { N = 128256 };
    tn_gguf_writer *w;
    assert_ok(tn_gguf_create(&w, f->path));
    put(w, "general.architecture", "bitnet-b1.58");
    put(w, "tokenizer.ggml.model", "gpt2");
    put_numbered(w, N);
    put_list(w, "tokenizer.ggml.merges", NULL, 0);
    put(w, "tokenizer.chat_template", "{{ '\\n\\nBITNETAssistant: ' + eos_token }}");
    assert_ok(tn_gguf_commit(w));
    tn_tokenizer *t;
    assert_ok(load(f->path, &t));
    const tn_vocabulary *v = tn_tokenizer_vocabulary(t);
    assert_int_equal(v->split, TN_SPLIT_LLAMA3);
    assert_true(v->ignore_merges && v->add_bos);
    assert_int_equal(v->eot, N - 1);
    assert_null(strstr(v->chat_template, "BITNETAssistant"));
    assert_non_null(
        strstr(v->chat_template, "message['role'] | capitalize + ': '+ message['content'] | trim + '<|eot_id|>'"));
    tn_tokenizer_free(t);
}

typedef struct variant {
    const char *model, *pre;
    const char *merge;
    tn_status status;
} variant;

static void gguf__what_tern_does_not_know_is_refused(void **state) {
    const tn_test_files *f = *state;
    static const char *const tokens[] = {"a", "b", "ab"};
    static const variant variants[] = {
        {"gpt2", "gpt-2", "a b", TN_OK},
        {"gpt2", "llama3", "a b", TN_OK},
        {"gpt2", NULL, "a b", TN_OK}, /* read as "default" */
        {"gpt2", "smollm", "a b", TN_OK},
        {"gpt2", "kimi-k2", "a b", TN_E_UNSUPPORTED},
        {"bert", "gpt-2", "a b", TN_E_UNSUPPORTED},
        {"gpt2", "gpt-2", "ab", TN_E_CORRUPT},
        {"gpt2", "gpt-2", "a c", TN_E_CORRUPT},
        {"gpt2", "gpt-2", "b a", TN_E_CORRUPT},
        {"gpt2", "gpt-2", NULL, TN_E_MISSING},
    };
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        const variant *x = &variants[i];
        tn_gguf_writer *w;
        tn_tokenizer *t;
        assert_ok(tn_gguf_create(&w, f->path));
        put(w, "tokenizer.ggml.model", x->model);
        if (x->pre) put(w, "tokenizer.ggml.pre", x->pre);
        put_list(w, "tokenizer.ggml.tokens", tokens, 3);
        if (x->merge) put_list(w, "tokenizer.ggml.merges", &x->merge, 1);
        assert_ok(tn_gguf_commit(w));
        assert_int_equal(load(f->path, &t), x->status);
        assert_int_equal(t != NULL, x->status == TN_OK);
        if (t && !x->pre) assert_int_equal(tn_tokenizer_vocabulary(t)->split, TN_SPLIT_DEFAULT);
        tn_tokenizer_free(t);
    }
}

static void gguf__a_name_that_would_change_ids_is_not_written(void **state) {
    const tn_test_files *f = *state;
    static const char *texts[] = {"a", "b", "ab", "aba"};
    static const uint32_t lens[] = {1, 1, 2, 3};
    static const int32_t types[] = {1, 1, 1, 1}, merges[][2] = {{0, 1}, {2, 0}};
    tn_vocabulary v = {.kind = TN_TOKENIZER_BPE,
                       .split = TN_SPLIT_LLAMA3,
                       .n_tokens = 4,
                       .texts = texts,
                       .lens = lens,
                       .types = types,
                       .n_merges = 2,
                       .merges = merges,
                       .bos = -1,
                       .eos = -1,
                       .eot = -1,
                       .unk = -1,
                       .pad = -1,
                       .chat_template = ""};
    tn_tokenizer *reachable, *unreachable;
    tn_gguf_writer *w;
    assert_ok(tn_tokenizer_from_vocabulary(&reachable, &v)); /* "llama-bpe" implies ignore_merges: no difference here */
    v.n_merges = 1;
    assert_ok(tn_tokenizer_from_vocabulary(&unreachable, &v)); /* here "aba" would become one token */
    save(f, reachable);
    assert_ok(tn_gguf_create(&w, f->path));
    assert_int_equal(tn_tokenizer_put_gguf(unreachable, w), TN_E_UNSUPPORTED);
    tn_gguf_discard(w);
    tn_tokenizer_free(reachable);
    tn_tokenizer_free(unreachable);
}

static void load_damaged(void *context, const char *path, size_t at) {
    tn_tokenizer *t;
    (void)at;
    *(int *)context += load(path, &t) == TN_OK;
    tn_tokenizer_free(t);
}

static void gguf__damage_is_survived(void **state) {
    const tn_test_files *f = *state;
    tn_tokenizer *t = train(TN_TOKENIZER_BPE, TN_SPLIT_GPT2);
    int64_t alive = tn_memory_alive();
    int loaded = 0;
    tn_gguf_writer *w;
    assert_ok(tn_gguf_create(&w, f->path));
    tn_gguf_without_checksum(w); /* so that damage gets past the reader of the container */
    assert_ok(tn_tokenizer_put_gguf(t, w));
    assert_ok(tn_gguf_commit(w));
    tn_test_flip_each(f->path, 1, load_damaged, &loaded);
    assert_true(loaded > 0); /* a letter of a token may change unseen */
    loaded = 0;
    tn_test_cut_each(f->path, 29, load_damaged, &loaded);
    assert_true(loaded <= 2); /* without the padding at the end nothing is missing */
    assert_int_equal(tn_memory_alive(), alive);
    tn_tokenizer_free(t);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(gguf__trained_tokenizers_come_back),
        TEST(gguf__foreign_tokenizers_come_back),
        TEST(gguf__merges_of_sentencepiece_become_scores),
        TEST(gguf__spm_without_scores_or_with_bad_ones_is_refused),
        TEST(gguf__spm_defaults_are_those_of_its_converters),
        TEST(gguf__characters_are_found_by_merging_bytes),
        TEST(gguf__gpt2_gives_the_published_ids),
        TEST(gguf__llama_spm_gives_the_published_ids),
        TEST(gguf__published_bitnet_file_is_repaired),
        TEST(gguf__what_tern_does_not_know_is_refused),
        TEST(gguf__a_name_that_would_change_ids_is_not_written),
        TEST(gguf__damage_is_survived),
    };
    return cmocka_run_group_tests_name("tokenizer_gguf", tests, NULL, NULL);
}
