/* SPDX-License-Identifier: MIT
 * SentencePiece: merging by scores, spaces, bytes; model files. Ids of the trained files are those of SentencePiece
 * 0.2.
 */
#include "core/arena.h"
#include "core/fs.h"
#include "core/rng.h"
#include "data/tokenizer_file.h"
#include "data/tokenizer_spm_file.h"
#include "tests/testing.h"
#include "tests/tokenizer_rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- a vocabulary made by hand ---- */

enum { N_NAMED = 16, N_ALL = N_NAMED + 256 };

typedef struct made {
    tn_vocabulary v;
    const char *texts[N_ALL];
    uint32_t lens[N_ALL];
    int32_t types[N_ALL];
    float scores[N_ALL];
    char bytes[256];
} made;

/* Tokens 0..15, then the 256 byte tokens. "yz" is a token though neither y nor z is one. */
static void make(made *m) {
    static const char *const texts[N_NAMED] = {"<unk>", "<s>", "</s>", " ",  "a",  "b",  "ab",  "ba",
                                               "aa",    " a",  "aba",  "yz", "  ", "zw", "[U]", "\xC3\xA9"};
    static const float scores[N_NAMED] = {0, 0, 0, -9, -9, -9, -2, -1, -3, -4, -5, -6, -7, -6, 0, -9};
    *m = (made){.v = {.kind = TN_TOKENIZER_SPM,
                      .n_tokens = N_ALL,
                      .texts = m->texts,
                      .lens = m->lens,
                      .types = m->types,
                      .scores = m->scores,
                      .add_bos = true,
                      .bos = 1,
                      .eos = 2,
                      .eot = -1,
                      .unk = 0,
                      .pad = -1,
                      .chat_template = ""}};
    for (int id = 0; id < N_ALL; id++) {
        bool named = id < N_NAMED;
        if (!named) m->bytes[id - N_NAMED] = (char)(id - N_NAMED);
        m->texts[id] = named ? texts[id] : &m->bytes[id - N_NAMED];
        m->lens[id] = named ? (uint32_t)strlen(texts[id]) : 1;
        m->types[id] = named ? TN_TOKEN_NORMAL : TN_TOKEN_BYTE;
        m->scores[id] = named ? scores[id] : 0;
    }
    m->types[0] = TN_TOKEN_UNKNOWN;
    m->types[1] = m->types[2] = TN_TOKEN_CONTROL;
    m->types[14] = TN_TOKEN_USER;
}

static tn_tokenizer *from(const tn_vocabulary *v) {
    tn_tokenizer *t;
    assert_ok(tn_tokenizer_from_vocabulary(&t, v));
    return t;
}

#define BYTE(b) (N_NAMED + (b))

static void spm__highest_score_is_merged_first_and_then_the_leftmost(void **state) {
    (void)state;
    made m;
    make(&m);
    tn_tokenizer *t = from(&m.v);
    ASSERT_IDS(t, "ab", false, 6);
    ASSERT_IDS(t, "aba", false, 10);   /* "ba" (-1) before "ab" (-2), then "a" and "ba" */
    ASSERT_IDS(t, "aab", false, 4, 6); /* "ab" (-2) before "aa" (-3) */
    ASSERT_IDS(t, "bbaa", false, 5, 7, 4);
    ASSERT_IDS(t, "aaa", false, 8, 4);
    ASSERT_IDS(t, "xyz", false, BYTE('x'), 11); /* two characters without tokens make one */
    ASSERT_IDS(t, "yzw", false, 11, BYTE('w')); /* "yz" and "zw" have one score */
    ASSERT_IDS(t, "zy", false, BYTE('z'), BYTE('y'));
    tn_tokenizer_free(t);
}

static void spm__spaces_are_put_before_parts_as_the_prefix_says(void **state) {
    (void)state;
    static const struct {
        tn_prefix prefix;
        bool collapse;
        int32_t text[3], spaced[3], parts[6]; /* "a", "  a", "a<s>a[U] a"; -1 ends */
    } cases[] = {
        {TN_PREFIX_NONE, false, {4, -1}, {3, 9, -1}, {4, 1, 4, 14, 9, -1}},
        {TN_PREFIX_PARTS, false, {9, -1}, {12, 9, -1}, {9, 1, 9, 14, 3, 9}},
        {TN_PREFIX_PARTS, true, {9, -1}, {9, -1}, {9, 1, 9, 14, 9, -1}},
        {TN_PREFIX_NONE, true, {4, -1}, {4, -1}, {4, 1, 4, 14, 4, -1}},
        {TN_PREFIX_BARE_PARTS, false, {9, -1}, {3, 9, -1}, {9, 1, 9, 14, 9, -1}},
        {TN_PREFIX_BARE_START, false, {9, -1}, {3, 9, -1}, {9, 1, 4, 14, 9, -1}},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        made m;
        make(&m);
        m.v.prefix = cases[i].prefix;
        m.v.collapse_spaces = cases[i].collapse;
        tn_tokenizer *t = from(&m.v);
        size_t n = cases[i].parts[5] < 0 ? 5 : 6;
        tn_test_ids(t, "a", false, cases[i].text, 1);
        tn_test_ids(t, "  a", false, cases[i].spaced, cases[i].spaced[1] < 0 ? 1 : 2);
        tn_test_ids(t, "a<s>a[U] a", true, cases[i].parts, n);
        tn_test_ids(t, "", true, NULL, 0);
        tn_test_json_round_trip(t);
        tn_tokenizer_free(t);
    }
}

static void spm__what_has_no_token_is_spelled_in_bytes(void **state) {
    (void)state;
    made m;
    make(&m);
    tn_tokenizer *t = from(&m.v);
    ASSERT_IDS(t, "\xC3\xA9\xC3\xA8", false, 15, BYTE(0xC3), BYTE(0xA8));
    ASSERT_IDS(t, "a\xE2\x96\x81", false, 4, BYTE(0xE2), BYTE(0x96), BYTE(0x81)); /* the mark itself is no space */
    ASSERT_IDS(t, "a\xFF", false, 4, BYTE(0xFF));
    tn_tokenizer_free(t);
    m.v.n_tokens = N_NAMED; /* no bytes: one unknown token for neighbours, and the mark is a space */
    t = from(&m.v);
    ASSERT_IDS(t,
               "\xC3\xA9\xC3\xA8\xE4\xB8\x96z\xFF"
               "a\xC3\xA8",
               false, 15, 0, 4, 0);
    ASSERT_IDS(t,
               "\xE2\x96\x81"
               "a",
               false, 9);
    tn_tokenizer_free(t);
    m.v.unk = -1;
    t = from(&m.v);
    tn_ids ids = {0};
    assert_int_equal(tn_tokenizer_encode(t, "a\xC3\xA8", 3, false, &ids), TN_E_TEXT);
    assert_int_equal(ids.count, 0);
    tn_ids_release(&ids);
    tn_tokenizer_free(t);
}

static void spm__special_texts_are_never_merged(void **state) {
    (void)state;
    made m;
    make(&m);
    m.texts[6] = "s>"; /* "<" "s>" would be the text of the token <s> */
    m.lens[6] = 2;
    tn_tokenizer *t = from(&m.v);
    ASSERT_IDS(t, "<s>", false, BYTE('<'), 6);
    ASSERT_IDS(t, "<s>", true, 1);
    tn_tokenizer_free(t);
}

static void spm__any_bytes_come_back(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        made m;
        make(&m);
        m.v.prefix = i % 2 ? TN_PREFIX_PARTS : TN_PREFIX_NONE;
        if (i >= 2) m.texts[9] = "a b", m.lens[9] = 3; /* then merges cross words */
        tn_tokenizer *t = from(&m.v);
        tn_test_round_trips(t);
        tn_tokenizer_free(t);
    }
}

static void spm__decoding_one_token_keeps_its_space(void **state) {
    (void)state;
    made m;
    make(&m);
    m.v.prefix = TN_PREFIX_PARTS;
    tn_tokenizer *t = from(&m.v);
    tn_buf out = {0};
    const int32_t ids[] = {9, 9, 1, 9, BYTE(0xE2), 0};
    assert_ok(tn_tokenizer_decode(t, 9, false, &out));
    assert_string_equal(out.data, " a");
    tn_buf_reset(&out);
    assert_ok(tn_tokenizer_decode_all(t, ids, 6, false, &out));
    assert_string_equal(out.data, "a aa\xE2");
    tn_buf_reset(&out);
    assert_ok(tn_tokenizer_decode_all(t, ids, 6, true, &out));
    assert_string_equal(out.data, "a a<s>a\xE2<unk>");
    tn_buf_release(&out);
    tn_tokenizer_free(t);
}

/* ---- merging by its definition, over texts and scores alone ---- */

enum { MAX_LEN = 300 };

static int32_t find(const tn_vocabulary *v, const char *text, size_t len) {
    for (int id = 0; id < v->n_tokens; id++)
        if (v->types[id] == TN_TOKEN_NORMAL && v->lens[id] == len && memcmp(v->texts[id], text, len) == 0) return id;
    return -1;
}

static size_t merge_by_definition(const tn_vocabulary *v, const char *text, size_t len, int32_t *ids) {
    size_t begins[MAX_LEN + 1], n = len;
    for (size_t i = 0; i <= len; i++) begins[i] = i;
    for (;;) {
        size_t best = n;
        float score = -INFINITY;
        for (size_t i = 0; i + 1 < n; i++) {
            int32_t id = find(v, text + begins[i], begins[i + 2] - begins[i]);
            if (id >= 0 && v->scores[id] > score) score = v->scores[id], best = i;
        }
        if (best == n) break;
        memmove(begins + best + 1, begins + best + 2, (n - best - 1) * sizeof *begins);
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        ids[i] = find(v, text + begins[i], begins[i + 1] - begins[i]);
        if (ids[i] < 0) ids[i] = BYTE((unsigned char)text[begins[i]]);
    }
    return n;
}

static void spm__short_and_long_texts_merge_by_definition(void **state) {
    (void)state;
    static const char letters[] = "ab  yzwb";
    char text[MAX_LEN + 1];
    int32_t expected[MAX_LEN];
    tn_rng rng = tn_rng_make(3, TN_PURPOSE_TEST, 0);
    for (uint64_t k = 0; k < 400; k++) {
        made m;
        make(&m);
        if (k % 2) m.texts[9] = "a b", m.lens[9] = 3;
        for (int id = 0; id < N_NAMED; id++) m.scores[id] = -(float)tn_rng_below(&rng, 1000 * k + (uint64_t)id, 6);
        size_t len = 1 + tn_rng_below(&rng, 1000 * k + 100, k % 4 ? 40 : MAX_LEN);
        for (size_t i = 0; i < len; i++) text[i] = letters[tn_rng_below(&rng, 1000 * k + 200 + i, 8)];
        text[len] = '\0';
        tn_tokenizer *t = from(&m.v);
        tn_test_ids(t, text, false, expected, merge_by_definition(&m.v, text, len, expected));
        tn_tokenizer_free(t);
    }
}

static void spm__a_megabyte_without_a_break_is_quick(void **state) {
    (void)state;
    enum { LEN = 1 << 20 };
    made m;
    make(&m);
    tn_tokenizer *t = from(&m.v);
    char *text = tn_heap_resize(NULL, LEN);
    assert_non_null(text);
    for (int i = 0; i < 2; i++) {
        memset(text, i ? ' ' : 'a', LEN);
        tn_test_round_trip(t, text, LEN, false);
    }
    tn_heap_free(text);
    tn_tokenizer_free(t);
}

/* ---- model files ---- */

static tn_tokenizer *load(const char *name) {
    char path[TN_TEST_PATH];
    tn_tokenizer *t;
    snprintf(path, sizeof path, "tests/fuzz/corpus/sentencepiece/%s", name);
    assert_ok(tn_tokenizer_load(&t, path));
    return t;
}

static void file__trained_models_give_the_ids_of_sentencepiece(void **state) {
    (void)state;
    tn_tokenizer *t = load("spm_trained");
    assert_int_equal(tn_tokenizer_eos(t), 2);
    assert_int_equal(tn_tokenizer_vocabulary(t)->bos, 1);
    ASSERT_IDS(t, "Hello world", false, 346, 370, 278, 372, 266, 275, 322);
    ASSERT_IDS(t, "  two  spaces ", false, 369, 369, 260, 386, 372, 369, 265, 390, 373, 385, 282, 369);
    ASSERT_IDS(t, "First Citizen: speak, speak.\n\nAll", false, 341, 303, 315, 304, 366, 417, 281, 392, 265, 390, 370,
               373, 398, 384, 265, 390, 370, 373, 398, 394, 14, 14, 397, 278);
    ASSERT_IDS(t, "na\xC3\xAFve caf\xC3\xA9", false, 287, 373, 199, 179, 296, 279, 373, 387, 419);
    ASSERT_IDS(t, "\xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80", false, 369, 232, 193, 164, 233, 169, 193, 369, 244, 163,
               156, 132);
    ASSERT_IDS(t, "\tx", false, 369, 13, 124);
    ASSERT_IDS(t, " ", false, 369, 369);
    tn_test_round_trips(t);
    tn_test_json_round_trip(t);
    tn_tokenizer_free(t);
    t = load("spm_collapsing");
    ASSERT_IDS(t, "  two  spaces ", false, 3, 76, 62, 8, 80, 63, 75, 25);
    ASSERT_IDS(t, "\xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80", false, 59, 0, 59, 0);
    ASSERT_IDS(t, "na\xC3\xAFve caf\xC3\xA9", false, 30, 63, 0, 39, 22, 63, 77, 109);
    ASSERT_IDS(t, "\tx", false, 59, 0);
    tn_test_ids(t, " ", false, NULL, 0);
    tn_test_json_round_trip(t);
    tn_tokenizer_free(t);
}

static void file__what_is_not_understood_is_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        tn_status status;
        const char *part;
    } cases[] = {
#define CASE(bytes, status, part) {bytes, sizeof bytes - 1, status, part}
#define PIECE                                                                                                          \
    "\x0A\x08\x0A\x01"                                                                                                 \
    "a\x15\x00\x00\x80\xBF"
        CASE("", TN_E_CORRUPT, "m: has no pieces"),
        CASE("\x12\x02\x18\x02", TN_E_CORRUPT, "no pieces"),
        CASE(PIECE, TN_E_UNSUPPORTED, "m: model type unigram"),
        CASE(PIECE "\x12\x02\x18\x03", TN_E_UNSUPPORTED, "word"),
        CASE(PIECE "\x12\x02\x18\x09", TN_E_UNSUPPORTED, "beyond"),
        CASE(PIECE "\x12\x02\x18\x02", TN_OK, ""),
        CASE(PIECE PIECE "\x12\x02\x18\x02", TN_E_CORRUPT, "piece 1: \"a\" is piece 0 too"),
        CASE(PIECE "\x12\x05\x18\x02\xC0\x01\x01", TN_E_UNSUPPORTED, "treat_whitespace_as_suffix"),
        CASE(PIECE "\x12\x02\x18\x02\x1A\x09\x0A\x04nfkc\x12\x01x", TN_E_UNSUPPORTED, "normalizer \"nfkc\""),
        CASE(PIECE "\x12\x02\x18\x02\x1A\x02\x28\x00", TN_E_UNSUPPORTED, "escape_whitespaces"),
        CASE("\x0A\x05\x0A\x01"
             "a\x18\x07",
             TN_E_CORRUPT, "piece 0: has type 7"),
        CASE("\x0A\x05\x0A\x01"
             "a\x18\x06",
             TN_E_CORRUPT, "expected <0x00> to <0xFF>"),
        CASE("\x0A\x03\x0A\x01\xFF", TN_E_CORRUPT, "piece 0: 1 bytes"),
        CASE("\x0A\x02\x0A\x00", TN_E_CORRUPT, "piece 0: 0 bytes"),
        CASE("\x0A\x05\x0A\x01", TN_E_CORRUPT, "a field of 5 bytes, 2 are left"),
        CASE(PIECE "\x13", TN_E_CORRUPT, "wire type 3"),
        CASE(PIECE "\x02\x00", TN_E_CORRUPT, "the number 0"),
        CASE(PIECE "\x18\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", TN_E_CORRUPT, "more than 10 bytes"),
        CASE(PIECE "\x19\x00", TN_E_CORRUPT, "cut short within a number"),
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_tokenizer *t;
        tn_error_clear();
        assert_int_equal(tn_tokenizer_from_spm(&t, "m", (const unsigned char *)cases[i].bytes, cases[i].len),
                         cases[i].status);
        assert_int_equal(t == NULL, cases[i].status != TN_OK);
        if (!strstr(tn_error_message(), cases[i].part))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, tn_error_message(), cases[i].part);
        tn_tokenizer_free(t);
    }
}

static void file__any_allocation_may_fail_and_nothing_leaks(void **state) {
    (void)state;
    tn_buf file = {0};
    assert_ok(tn_file_read("tests/fuzz/corpus/sentencepiece/spm_collapsing", 1 << 20, &file));
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status == TN_E_NOMEM; n++) {
        tn_tokenizer *t;
        tn_ids ids = {0};
        tn_memory_fail_at(n);
        status = tn_tokenizer_from_spm(&t, "m", (const unsigned char *)file.data, file.len);
        if (!status) status = tn_tokenizer_encode(t, "a text <s> of words", 19, true, &ids);
        tn_memory_fail_at(0);
        tn_ids_release(&ids);
        tn_tokenizer_free(t);
        assert_int_equal(tn_memory_alive(), alive);
    }
    assert_int_equal(status, TN_OK);
    tn_buf_release(&file);
}

#define TEST(name) cmocka_unit_test(name)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(spm__highest_score_is_merged_first_and_then_the_leftmost),
        TEST(spm__spaces_are_put_before_parts_as_the_prefix_says),
        TEST(spm__what_has_no_token_is_spelled_in_bytes),
        TEST(spm__special_texts_are_never_merged),
        TEST(spm__any_bytes_come_back),
        TEST(spm__decoding_one_token_keeps_its_space),
        TEST(spm__short_and_long_texts_merge_by_definition),
        TEST(spm__a_megabyte_without_a_break_is_quick),
        TEST(file__trained_models_give_the_ids_of_sentencepiece),
        TEST(file__what_is_not_understood_is_refused_by_name),
        TEST(file__any_allocation_may_fail_and_nothing_leaks),
    };
    return cmocka_run_group_tests_name("tokenizer_spm", tests, NULL, NULL);
}
