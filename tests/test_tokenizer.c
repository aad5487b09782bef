/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/par.h"
#include "core/rng.h"
#include "data/tokenizer.h"
#include "core/utf8.h"
#include "tests/testing.h"
#include "tests/tokenizer_rig.h"

#include <stdio.h>
#include <math.h>
#include <string.h>

/* ---- helpers ---- */

static const char *const no_specials[1] = {NULL};

static tn_tokenizer *train_on(const tn_tokenizer_options *options, const char *const *texts, int n) {
    tn_tokenizer_trainer *trainer;
    tn_tokenizer *tokenizer;
    assert_ok(tn_tokenizer_trainer_create(&trainer, options));
    for (int i = 0; i < n; i++) assert_ok(tn_tokenizer_trainer_add(trainer, texts[i], strlen(texts[i])));
    assert_ok(tn_tokenizer_trainer_finish(trainer, &tokenizer));
    return tokenizer;
}

static tn_tokenizer *train_bpe(const char *text, tn_split split, int vocab_size) {
    tn_tokenizer_options options = {TN_TOKENIZER_BPE, split, vocab_size, no_specials, 0};
    return train_on(&options, &text, 1);
}

static tn_tokenizer *train_char(const char *text) {
    tn_tokenizer_options options = {TN_TOKENIZER_CHAR, TN_SPLIT_GPT2, 0, no_specials, 0};
    return train_on(&options, &text, 1);
}

static tn_ids encode(const tn_tokenizer *tokenizer, const char *text, bool specials) {
    tn_ids ids = {0};
    assert_ok(tn_tokenizer_encode(tokenizer, text, strlen(text), specials, &ids));
    return ids;
}

static const char story[] = "Once upon a time there was a fox. The fox saw a hen, and the hen saw the fox.\n\n"
                            "\"Run!\" said the hen. \"I've 12345 eggs; they're mine.\"\n"
                            "世界 says 世界, naïve café.";

/* ---- characters ---- */

static void char__ids_follow_code_points(void **state) {
    (void)state;
    tn_tokenizer *t = train_char("b\xC3\xA9"
                                 "a\xE4\xB8\x96"
                                 "aab");
    assert_int_equal(tn_tokenizer_size(t), 5);
    ASSERT_IDS(t, "ab\xC3\xA9\xE4\xB8\x96", false, 0, 1, 2, 3);
    assert_int_equal(tn_tokenizer_eos(t), 4);
    assert_int_equal(tn_tokenizer_find(t, "<|endoftext|>", 13), 4);
    assert_true(tn_tokenizer_is_stop(t, 4));
    assert_false(tn_tokenizer_is_stop(t, 0));
    tn_tokenizer_free(t);
}

static void char__unseen_character_is_named(void **state) {
    (void)state;
    tn_tokenizer *t = train_char("abc");
    tn_ids ids = {0};
    assert_ok(tn_ids_append(&ids, 42));
    assert_int_equal(tn_tokenizer_encode(t, "ab\xC3\xA9", 4, false, &ids), TN_E_TEXT);
    assert_non_null(strstr(tn_error_message(), "\"\xC3\xA9\" (U+00E9)"));
    assert_int_equal(ids.count, 1); /* what was there before stays, and only that */
    tn_ids_release(&ids);
    tn_tokenizer_free(t);
}

/* ---- learning merges ---- */

static void assert_merge(const tn_tokenizer *t, int rank, int left, int right) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(t);
    assert_int_equal(v->merges[rank][0], left);
    assert_int_equal(v->merges[rank][1], right);
}

/* Byte ids in GPT-2's order: '!' is 0, so 'a' is 64; the space is 188 + 32. */
static void train__tiny_text_gives_this_vocabulary(void **state) {
    (void)state;
    tn_tokenizer *t = train_bpe("ab ab abc abc abc", TN_SPLIT_GPT2, 300);
    assert_int_equal(tn_tokenizer_size(t), 256 + 3 + 1);
    assert_int_equal(tn_tokenizer_vocabulary(t)->n_merges, 3);
    assert_merge(t, 0, 64, 65);
    assert_merge(t, 1, 220, 256);
    assert_merge(t, 2, 257, 66);
    ASSERT_IDS(t, "abc abc b", false, 256, 66, 258, 220, 65);
    assert_int_equal(tn_tokenizer_eos(t), 259);
    tn_tokenizer_free(t);
}

static void train__ties_go_to_the_smaller_pair(void **state) {
    (void)state;
    tn_tokenizer *t = train_bpe("xy xy zw zw", TN_SPLIT_GPT2, 300); /* x 87, y 88, z 89, w 86: all pairs twice */
    assert_merge(t, 0, 87, 88);
    assert_merge(t, 1, 89, 86);
    assert_merge(t, 2, 220, 257);
    tn_tokenizer_free(t);
}

static void train__overlapping_pairs_are_merged_from_the_left(void **state) {
    (void)state;
    tn_tokenizer *t = train_bpe("aaaaa aaaaa", TN_SPLIT_GPT2, 300);
    assert_merge(t, 0, 64, 64); /* aaaaa = aa aa a */
    assert_merge(t, 1, 256, 64);
    ASSERT_IDS(t, "aaa", false, 257);
    tn_test_round_trip(t, "aaaaa aaaaaaaaaaa", 17, false);
    tn_tokenizer_free(t);
}

static void train__result_does_not_depend_on_the_order_of_documents(void **state) {
    (void)state;
    const char *const forth[] = {"the cat sat", "on the mat", "the end"}, *const back[] = {"the end", "on the mat",
                                                                                           "the cat sat"};
    tn_tokenizer_options options = {TN_TOKENIZER_BPE, TN_SPLIT_LLAMA3, 280, no_specials, 0};
    tn_tokenizer *a = train_on(&options, forth, 3), *b = train_on(&options, back, 3);
    tn_test_same_tokenizer(a, b);
    tn_tokenizer_free(a);
    tn_tokenizer_free(b);
}

static void train__vocabulary_has_the_size_asked_for(void **state) {
    (void)state;
    const char *const specials[] = {"<|eot_id|>", "<|user|>"};
    tn_tokenizer_options options = {TN_TOKENIZER_BPE, TN_SPLIT_GPT2, 270, specials, 2};
    const char *text = story;
    tn_tokenizer *t = train_on(&options, &text, 1);
    assert_int_equal(tn_tokenizer_size(t), 270);
    assert_int_equal(tn_tokenizer_eos(t), 267);
    assert_int_equal(tn_tokenizer_vocabulary(t)->eot, 268);
    assert_true(tn_tokenizer_is_stop(t, 268));
    assert_false(tn_tokenizer_is_stop(t, 269));
    assert_true(tn_tokenizer_is_special(t, 269));
    assert_false(tn_tokenizer_is_special(t, 266));
    tn_tokenizer_free(t);
}

static void train__bad_options_are_refused(void **state) {
    (void)state;
    const char *const twice[] = {"<|a|>", "<|a|>"}, *const taken[] = {"<|endoftext|>"}, *const empty[] = {""};
    const tn_tokenizer_options cases[] = {
        {TN_TOKENIZER_BPE, TN_SPLIT_GPT2, 256, no_specials, 0},
        {TN_TOKENIZER_BPE, TN_SPLIT_GPT2, (1 << 20) + 1, no_specials, 0},
        {TN_TOKENIZER_BPE, TN_SPLIT_GPT2, 300, twice, 2},
        {TN_TOKENIZER_BPE, TN_SPLIT_GPT2, 300, taken, 1},
        {TN_TOKENIZER_BPE, TN_SPLIT_GPT2, 300, empty, 1},
        {TN_TOKENIZER_CHAR, TN_SPLIT_GPT2, 0, twice, 2},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_tokenizer_trainer *trainer;
        tn_status status = tn_tokenizer_trainer_create(&trainer, &cases[i]);
        assert_true(status == TN_E_RANGE || status == TN_E_ARG);
        assert_null(trainer);
    }
}

/* ---- encoding ---- */

/* The definition, word for word: the lowest rank, the leftmost among equals, one merge at a time. */
static size_t merge_by_definition(const tn_vocabulary *v, const tn_tokenizer *t, int32_t *ids, size_t n) {
    for (;;) {
        int best_rank = v->n_merges;
        size_t best = 0;
        for (size_t i = 0; i + 1 < n; i++)
            for (int rank = 0; rank < best_rank; rank++)
                if (v->merges[rank][0] == ids[i] && v->merges[rank][1] == ids[i + 1]) best_rank = rank, best = i;
        if (best_rank == v->n_merges) return n;
        tn_buf bytes = {0};
        assert_ok(tn_tokenizer_decode(t, ids[best], false, &bytes));
        assert_ok(tn_tokenizer_decode(t, ids[best + 1], false, &bytes));
        ids[best] = tn_tokenizer_find(t, bytes.data, bytes.len);
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
        n--;
        tn_buf_release(&bytes);
    }
}

static void bpe__short_and_long_pieces_merge_by_definition(void **state) {
    (void)state;
    enum { MAX_LEN = 220 };
    char text[MAX_LEN + 1], sample[4000];
    tn_rng rng = tn_rng_make(11, TN_PURPOSE_TEST, 0);
    for (int i = 0; i < 3999; i++) sample[i] = i % 23 == 22 ? ' ' : (char)('a' + tn_rng_below(&rng, (uint64_t)i, 3));
    sample[3999] = '\0';
    tn_tokenizer *t = train_bpe(sample, TN_SPLIT_GPT2, 256 + 60 + 1);
    const tn_vocabulary *v = tn_tokenizer_vocabulary(t);
    for (uint64_t k = 0; k < 200; k++) {
        size_t len = 1 + tn_rng_below(&rng, 10000 + k, MAX_LEN), n = len;
        int32_t expected[MAX_LEN];
        for (size_t i = 0; i < len; i++) text[i] = (char)('a' + tn_rng_below(&rng, 20000 + k * MAX_LEN + i, 3));
        text[len] = '\0';
        for (size_t i = 0; i < len; i++) expected[i] = text[i] - '!';
        n = merge_by_definition(v, t, expected, n);
        tn_test_ids(t, text, false, expected, n);
    }
    tn_tokenizer_free(t);
}

static void bpe__a_megabyte_without_a_break_is_quick(void **state) {
    (void)state;
    enum { LEN = 1 << 20 };
    tn_tokenizer *t = train_bpe("aaaaaaaaaaaaaaaa abababababababab", TN_SPLIT_GPT2, 300);
    char *text = tn_heap_resize(NULL, LEN);
    assert_non_null(text);
    memset(text, 'a', LEN);
    tn_test_round_trip(t, text, LEN, false);
    tn_heap_free(text);
    tn_tokenizer_free(t);
}

static void encode__any_bytes_come_back(void **state) {
    (void)state;
    for (int split = TN_SPLIT_GPT2; split < TN_N_SPLITS; split++) {
        tn_tokenizer *t = train_bpe(story, (tn_split)split, 320);
        tn_test_round_trips(t);
        tn_tokenizer_free(t);
    }
}

static void encode__invalid_bytes_are_words_of_their_own(void **state) {
    (void)state;
    tn_tokenizer *t = train_bpe("\xE4\xBD\xA0 \xE4\xBD\xA0 \xE4\xBD\xA0", TN_SPLIT_GPT2, 300); /* 256: BD A0 */
    ASSERT_IDS(t, "a\xBD\xA0", false, 64, 256);
    ASSERT_IDS(t, "a\xE4\xBD\xA0\xA0", false, 64, 257, 254);
    tn_tokenizer_free(t);
}

static void encode__characters_refuse_invalid_utf8_with_its_place(void **state) {
    (void)state;
    tn_tokenizer *t = train_char(story);
    tn_ids ids = {0};
    assert_int_equal(tn_tokenizer_encode(t, "hen\xFFhen", 7, false, &ids), TN_E_TEXT);
    assert_non_null(strstr(tn_error_message(), "byte 3 (0xff)"));
    assert_int_equal(tn_tokenizer_encode(t, "hen\xE4\xB8", 5, false, &ids), TN_E_TEXT);
    tn_ids_release(&ids);
    tn_tokenizer_free(t);
}

static void decode__takes_every_id_and_no_other(void **state) {
    (void)state;
    tn_tokenizer *t = train_bpe(story, TN_SPLIT_GPT2, 300);
    tn_buf out = {0};
    int n = tn_tokenizer_size(t);
    for (int id = 0; id < n; id++) assert_ok(tn_tokenizer_decode(t, id, true, &out));
    assert_int_equal(tn_tokenizer_decode(t, -1, true, &out), TN_E_RANGE);
    assert_int_equal(tn_tokenizer_decode(t, n, true, &out), TN_E_RANGE);
    tn_buf_reset(&out);
    assert_ok(tn_tokenizer_decode(t, n - 1, false, &out));
    assert_int_equal(out.len, 0);
    assert_ok(tn_tokenizer_decode(t, n - 1, true, &out));
    assert_string_equal(out.data, "<|endoftext|>");
    tn_buf_release(&out);
    tn_tokenizer_free(t);
}

/* A hand-made vocabulary: bytes a..f, "ab", "abc" (no merge leads to it), and special tokens that overlap. */
static tn_vocabulary hand_made(void) {
    static const char *texts[] = {"a", "b", "c", "d", "e", "f", "ab", "abc", "<x>", "<x><y>", "<u>", "[PAD11]"};
    static const uint32_t lens[] = {1, 1, 1, 1, 1, 1, 2, 3, 3, 6, 3, 7};
    static const int32_t types[] = {1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 4, 5}, merges[][2] = {{0, 1}};
    return (tn_vocabulary){.kind = TN_TOKENIZER_BPE,
                           .split = TN_SPLIT_GPT2,
                           .n_tokens = 12,
                           .texts = texts,
                           .lens = lens,
                           .types = types,
                           .n_merges = 1,
                           .merges = merges,
                           .bos = 8,
                           .eos = 9,
                           .eot = -1,
                           .unk = -1,
                           .pad = 11,
                           .add_bos = true,
                           .chat_template = "{{ \"\xC3\xA9\" }}\n"};
}

static tn_tokenizer *from(const tn_vocabulary *v) {
    tn_tokenizer *t;
    assert_ok(tn_tokenizer_from_vocabulary(&t, v));
    return t;
}

static void encode__special_texts_are_tokens_only_when_asked(void **state) {
    (void)state;
    const char *const specials[] = {"<|a|>"};
    tn_tokenizer_options options = {TN_TOKENIZER_CHAR, TN_SPLIT_GPT2, 0, specials, 1};
    const char *text = "<|a|>";
    tn_tokenizer *t = train_on(&options, &text, 1); /* characters < > a | are 0..3 */
    ASSERT_IDS(t, "a<|a|>a", true, 2, 5, 2);
    ASSERT_IDS(t, "a<|a|>a", false, 2, 0, 3, 2, 3, 1, 2);
    tn_tokenizer_free(t);
}

static void encode__longest_special_token_wins_and_user_tokens_always_count(void **state) {
    (void)state;
    tn_vocabulary v = hand_made();
    tn_tokenizer *t = from(&v);
    ASSERT_IDS(t, "ab<x><y>c<x>d<u>", true, 6, 9, 2, 8, 3, 10);
    ASSERT_IDS(t, "a<u>b<u>", false, 0, 10, 1, 10);
    tn_ids ids = {0};
    assert_int_equal(tn_tokenizer_encode(t, "<x>", 3, false, &ids), TN_E_TEXT); /* no token for the byte '<' */
    tn_ids_release(&ids);
    tn_tokenizer_free(t);
}

static void encode__ignore_merges_takes_whole_pieces(void **state) {
    (void)state;
    tn_vocabulary v = hand_made();
    tn_tokenizer *merging = from(&v);
    v.ignore_merges = true;
    tn_tokenizer *whole = from(&v);
    ASSERT_IDS(merging, "abc", false, 6, 2);
    ASSERT_IDS(whole, "abc", false, 7);
    ASSERT_IDS(whole, "abcd", false, 6, 2, 3);
    tn_tokenizer_free(merging);
    tn_tokenizer_free(whole);
}

static void encode__unknown_bytes_become_the_unknown_token(void **state) {
    (void)state;
    tn_vocabulary v = hand_made();
    v.unk = 11;
    tn_tokenizer *t = from(&v);
    ASSERT_IDS(t, "azb", false, 0, 11, 1);
    tn_tokenizer_free(t);
}

static void vocabulary__contradictions_are_refused(void **state) {
    (void)state;
    static const char *twice[] = {"a", "b", "c", "d", "e", "f", "ab", "ab", "<x>", "<x><y>", "<u>", "[PAD11]"};
    static const uint32_t twice_lens[] = {1, 1, 1, 1, 1, 1, 2, 2, 3, 6, 3, 7};
    static const int32_t to_nothing[][2] = {{0, 2}}, outside[][2] = {{0, 99}};
    static const float scores[12] = {[3] = NAN};
    static const int32_t bad_types[] = {1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 4, 9};
    for (int i = 0; i < 8; i++) {
        tn_vocabulary v = hand_made();
        if (i == 0) v.texts = twice, v.lens = twice_lens;
        if (i == 1) v.merges = to_nothing;
        if (i == 2) v.scores = scores, v.kind = TN_TOKENIZER_SPM, v.n_merges = 0;
        if (i == 3) v.merges = outside;
        if (i == 4) v.types = bad_types;
        if (i == 5) v.eos = 12;
        if (i == 6) v.n_tokens = 0;
        if (i == 7) v.kind = TN_TOKENIZER_CHAR; /* "ab" is two characters */
        tn_tokenizer *t;
        assert_int_equal(tn_tokenizer_from_vocabulary(&t, &v), TN_E_CORRUPT);
        assert_null(t);
    }
}

static void vocabulary__merges_with_special_tokens_are_left_out(void **state) {
    (void)state;
    static const int32_t merges[][2] = {{0, 8}, {0, 1}};
    tn_vocabulary v = hand_made();
    v.merges = merges;
    v.n_merges = 2;
    tn_tokenizer *t = from(&v);
    assert_int_equal(tn_tokenizer_vocabulary(t)->n_merges, 1);
    ASSERT_IDS(t, "ab", false, 6);
    tn_tokenizer_free(t);
}

/* ---- threads ---- */

enum { N_TASKS = 32 };

typedef struct tasks {
    const tn_tokenizer *tokenizer;
    tn_status status[N_TASKS];
    tn_ids ids[N_TASKS];
} tasks;

static void encode_tasks(void *context, int64_t begin, int64_t end) {
    tasks *x = context;
    for (int64_t i = begin; i < end; i++)
        x->status[i] = tn_tokenizer_encode(x->tokenizer, story, strlen(story), true, &x->ids[i]);
}

static void encode__threads_share_a_tokenizer(void **state) {
    (void)state;
    tn_tokenizer *t = train_bpe(story, TN_SPLIT_LLAMA3, 300);
    tn_ids alone = encode(t, story, true);
    tasks x = {.tokenizer = t};
    assert_ok(tn_par_set_threads(4));
    tn_par_for(N_TASKS, 1, encode_tasks, &x);
    assert_ok(tn_par_set_threads(0));
    for (int i = 0; i < N_TASKS; i++) {
        assert_int_equal(x.status[i], TN_OK);
        assert_int_equal(x.ids[i].count, alone.count);
        assert_memory_equal(x.ids[i].list, alone.list, alone.count * sizeof *alone.list);
        tn_ids_release(&x.ids[i]);
    }
    tn_ids_release(&alone);
    tn_tokenizer_free(t);
}

/* ---- memory ---- */

static tn_status train_and_encode(const char *text, tn_tokenizer_kind kind) {
    tn_tokenizer_options options = {kind, TN_SPLIT_LLAMA3, 290, no_specials, 0};
    tn_tokenizer_trainer *trainer;
    tn_tokenizer *t;
    tn_ids ids = {0};
    TN_TRY(tn_tokenizer_trainer_create(&trainer, &options));
    tn_status status = tn_tokenizer_trainer_add(trainer, text, strlen(text));
    if (status) {
        tn_tokenizer_trainer_free(trainer);
        return status;
    }
    TN_TRY(tn_tokenizer_trainer_finish(trainer, &t));
    status = tn_tokenizer_encode(t, text, strlen(text), true, &ids);
    tn_ids_release(&ids);
    tn_tokenizer_free(t);
    return status;
}

static void memory__any_allocation_may_fail_and_nothing_leaks(void **state) {
    (void)state;
    for (int kind = TN_TOKENIZER_CHAR; kind <= TN_TOKENIZER_BPE; kind++) {
        int64_t alive = tn_memory_alive();
        tn_status status = TN_E_NOMEM;
        for (uint64_t n = 1; status; n++) {
            tn_memory_fail_at(n);
            status = train_and_encode(story, (tn_tokenizer_kind)kind);
            tn_memory_fail_at(0);
            assert_true(status == TN_OK || status == TN_E_NOMEM);
            assert_int_equal(tn_memory_alive(), alive);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(char__ids_follow_code_points),
        cmocka_unit_test(char__unseen_character_is_named),
        cmocka_unit_test(train__tiny_text_gives_this_vocabulary),
        cmocka_unit_test(train__ties_go_to_the_smaller_pair),
        cmocka_unit_test(train__overlapping_pairs_are_merged_from_the_left),
        cmocka_unit_test(train__result_does_not_depend_on_the_order_of_documents),
        cmocka_unit_test(train__vocabulary_has_the_size_asked_for),
        cmocka_unit_test(train__bad_options_are_refused),
        cmocka_unit_test(bpe__short_and_long_pieces_merge_by_definition),
        cmocka_unit_test(bpe__a_megabyte_without_a_break_is_quick),
        cmocka_unit_test(encode__any_bytes_come_back),
        cmocka_unit_test(encode__invalid_bytes_are_words_of_their_own),
        cmocka_unit_test(encode__characters_refuse_invalid_utf8_with_its_place),
        cmocka_unit_test(decode__takes_every_id_and_no_other),
        cmocka_unit_test(encode__special_texts_are_tokens_only_when_asked),
        cmocka_unit_test(encode__longest_special_token_wins_and_user_tokens_always_count),
        cmocka_unit_test(encode__ignore_merges_takes_whole_pieces),
        cmocka_unit_test(encode__unknown_bytes_become_the_unknown_token),
        cmocka_unit_test(vocabulary__contradictions_are_refused),
        cmocka_unit_test(vocabulary__merges_with_special_tokens_are_left_out),
        cmocka_unit_test(encode__threads_share_a_tokenizer),
        cmocka_unit_test(memory__any_allocation_may_fail_and_nothing_leaks),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
