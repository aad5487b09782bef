/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "data/split.h"
#include "core/utf8.h"
#include "tests/testing.h"

#include <string.h>

/* ---- UTF-8 ---- */

static void utf8__valid_prefix_stops_at_the_first_bad_byte(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t valid;
        bool incomplete;
    } cases[] = {
        {"abc", 3, false},          {"", 0, false},
        {"a\xC3\xA9", 3, false},    {"a\xC3", 1, true},
        {"\xC0\x80", 0, false},     {"\xE0\x80\x80", 0, false},
        {"\xED\xA0\x80", 0, false}, {"\xED\x9F\xBF", 3, false},
        {"\xF4\x90\x80", 0, false}, {"\xF4\x8F\xBF\xBF", 4, false},
        {"\xF0\x9F\x98", 0, true},  {"\xF0\x80", 0, false},
        {"\xFF", 0, false},         {"\x80", 0, false},
        {"12345678\x80", 8, false}, {"1234567\xC3\xA9", 9, false},
        {"\xE4\xB8", 0, true},      {"\xE4\xB8z", 0, false},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        bool incomplete;
        assert_int_equal(tn_utf8_valid_prefix(cases[i].text, strlen(cases[i].text), &incomplete), cases[i].valid);
        assert_int_equal(incomplete, cases[i].incomplete);
    }
}

static void utf8__repair_replaces_each_invalid_byte(void **state) {
    (void)state;
    tn_buf out = {0};
    assert_ok(tn_utf8_repair("caf\xC3\xA9\xFF.\xE2\x82", 9, &out));
    assert_string_equal(tn_buf_text(&out), "caf\xC3\xA9\xEF\xBF\xBD.\xEF\xBF\xBD\xEF\xBF\xBD");
    tn_buf_release(&out);
}

static void utf8__tame_leaves_nothing_a_terminal_obeys(void **state) {
    (void)state;
    char text[] = "a\nb\t\033[1m\x7f\xC2\x9B\xC3\xA9\xE2\x80\xA8\xFFz", kept[] = "a\nb\tc\r";
    tn_utf8_tame(text, "\t");
    assert_string_equal(text, "a?b\t?[1m??\xC3\xA9??z");
    tn_utf8_tame(kept, "\t\n");
    assert_string_equal(kept, "a\nb\tc?");
}

static void utf8__every_character_comes_back(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        char text[4];
        uint32_t back;
        size_t n = tn_utf8_encode(code, text);
        bool surrogate = code >= 0xD800 && code < 0xE000;
        assert_int_equal(tn_utf8_valid_prefix(text, n, NULL), surrogate ? 0 : n);
        assert_int_equal(tn_utf8_decode(text, &back), n);
        assert_int_equal(back, code);
    }
}

/* ---- splitting ---- */

static tn_status join(void *context, const char *piece, size_t len) {
    tn_buf *out = context;
    TN_TRY(tn_buf_append(out, piece, len));
    return tn_buf_putc(out, '|');
}

static void assert_pieces(tn_split split, const char *text, const char *pieces) {
    tn_splitter *splitter;
    tn_buf out = {0};
    assert_ok(tn_splitter_create(&splitter, split));
    assert_ok(tn_splitter_run(splitter, text, strlen(text), join, &out));
    if (strcmp(tn_buf_text(&out), pieces) != 0) fail_msg("%s: %s, not %s", tn_split_name(split), out.data, pieces);
    tn_buf_release(&out);
    tn_splitter_free(splitter);
}

static void split__cuts_as_the_other_runtimes_do(void **state) {
    (void)state;
    static const struct {
        tn_split split;
        const char *text, *pieces;
    } cases[] = {
        {TN_SPLIT_GPT2, "I've  2024 eggs!\n\n ok", "I|'ve| | 2024| eggs|!|\n\n| ok|"},
        {TN_SPLIT_GPT2, "WE'VE", "WE|'|VE|"},
        {TN_SPLIT_LLAMA3, "WE'VE 12345(x)\r\n\n end", "WE|'VE| |123|45|(x|)\r\n\n| end|"},
        {TN_SPLIT_QWEN2, "a 12345", "a| |1|2|3|4|5|"},
        {TN_SPLIT_DEFAULT, "a 12345...b", "a| |123|45|...|b|"},
        {TN_SPLIT_GPT2,
         "a\xE1\xA0\x8E"
         "b",
         "a|\xE1\xA0\x8E|b|"},                            /* U+180E is not white space */
        {TN_SPLIT_GPT2, "a\xC2\xA0 b", "a|\xC2\xA0| b|"}, /* U+00A0 is */
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) assert_pieces(cases[i].split, cases[i].text, cases[i].pieces);
}

/* One text that tells the rows apart. The pieces are those of Hugging Face's tokenizers 0.23 for the same expressions.
 */
static void split__each_row_cuts_as_its_expressions_say_elsewhere(void **state) {
    (void)state;
    static const char text[] =
        "I'LL they've 12345 x67,890!\r\n\n  a=b+c; na\xC3\xAFve \xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82 ABCdefGHi//\n "
        "can't\xE2\x80\xA6\xE3\x80\x82 $5~` \tend  ";
    static const struct {
        tn_split split;
        const char *pieces;
    } cases[] = {
        {TN_SPLIT_GPT2,
         "I|'|LL| they|'ve| 12345| x|67|,|890|!|\r\n\n | a|=|b|+|c|;| na\xC3\xAFve| "
         "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//|\n| can|'t|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\t|end|  |"},
        {TN_SPLIT_LLAMA3,
         "I|'LL| they|'ve| |123|45| x|67|,|890|!\r\n\n| | a|=b|+c|;| na\xC3\xAFve| "
         "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//\n| can|'t|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\tend|  |"},
        {TN_SPLIT_QWEN2,
         "I|'LL| they|'ve| |1|2|3|4|5| x|6|7|,|8|9|0|!\r\n\n| | a|=b|+c|;| na\xC3\xAFve| "
         "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//\n| can|'t|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\tend|  |"},
        {TN_SPLIT_DEFAULT, "I|'|LL| they|'|ve| |123|45| x|67|,|890|!|\r\n\n | a|=|b|+|c|;| na\xC3\xAFve| "
                           "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//|\n| can|'|t|\xE2\x80\xA6\xE3\x80\x82| "
                           "|$|5|~|`| |\t|end|  |"},
        {TN_SPLIT_DBRX,
         "I|'LL| they|'ve| |123|45| x|67|,|890|!\r\n\n| | a|=b|+c|;| na\xC3\xAFve| "
         "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//\n| can|'t|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\tend|  |"},
        {TN_SPLIT_STARCODER,
         "I|'|LL| they|'ve| |1|2|3|4|5| x|6|7|,|8|9|0|!|\r\n\n | a|=|b|+|c|;| na\xC3\xAFve| "
         "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//|\n| can|'t|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\t|end|  |"},
        {TN_SPLIT_FALCON, "I|'|LL| they|'|ve| |123|45| x|67|,|890|!|\r\n\n | a|=|b|+|c|;| na\xC3\xAFve| "
                          "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//|\n| can|'|t|\xE2\x80\xA6\xE3\x80\x82| "
                          "|$|5|~`| |\t|end|  |"},
        {TN_SPLIT_DEEPSEEK_LLM, "I|'|LL| they|'|ve| |12345| x|67|,|890|!|\r|\n|\n| | a|=|b|+|c|;| na|\xC3\xAF|ve| "
                                "|\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//|\n| "
                                "can|'|t|\xE2\x80\xA6|\xE3\x80\x82| $|5|~`| |\tend|  |"},
        {TN_SPLIT_DEEPSEEK_CODER,
         "I|'|LL| they|'|ve| |1|2|3|4|5| x|6|7|,|8|9|0|!|\r|\n|\n| | a|=|b|+|c|;| na\xC3\xAFve| "
         "|\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//|\n| can|'|t|\xE2\x80\xA6\xE3\x80\x82| $|5|~` |\tend|  |"},
        {TN_SPLIT_DEEPSEEK_V3,
         "I|'LL| they|'ve| |123|45| x|67|,|890|!\r\n\n| | a|=b|+c|;| na\xC3\xAFve| "
         "|\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//\n| can|'t|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\tend|  |"},
        {TN_SPLIT_BLOOM,
         "I'LL| they've| 12345| x67|,|890|!\r\n\n | a=b+c;| na\xC3\xAFve| \xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| "
         "ABCdefGHi//|\n| can't|\xE2\x80\xA6\xE3\x80\x82| $5~`| \t|end|  |"},
        {TN_SPLIT_VIKING,
         "I'LL| they've| |1|2|3|4|5| x|6|7|,|8|9|0|!\r\n\n | a=b+c;| na\xC3\xAFve| "
         "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi//|\n| can't|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| \t|end|  |"},
        {TN_SPLIT_TEKKEN,
         "I|'LL| they|'ve| |1|2|3|4|5| x|6|7|,|8|9|0|!\r\n\n| | a|=b|+c|;| na\xC3\xAFve| "
         "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdef|GHi|//\n| can|'t|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\tend|  |"},
        {TN_SPLIT_GPT4O,
         "I'LL| they've| |123|45| x|67|,|890|!\r\n\n| | a|=b|+c|;| na\xC3\xAFve| \xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| "
         "ABCdef|GHi|//\n| can't|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\tend|  |"},
        {TN_SPLIT_QWEN35,
         "I|'LL| they|'ve| |1|2|3|4|5| x|6|7|,|8|9|0|!\r\n\n| | a|=b|+c|;| na\xC3\xAFve| "
         "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//\n| can|'t|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\tend|  |"},
        {TN_SPLIT_SEED_CODER,
         "I|'LL| they|'ve| |1|2|3|4|5| x|6|7|,|8|9|0|!|\r\n\n| | a|=b|+c|;| na\xC3\xAFve| "
         "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//|\n| can|'t|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\tend|  |"},
        {TN_SPLIT_BAILINGMOE,
         "I|'LL| they|'ve| |1|2|3|4|5| x|6|7|,|8|9|0|!\r\n\n| | a|=b|+c|;| na\xC3\xAFve| "
         "\xE4\xB8\xAD\xE6\x96\x87\xE3\x81\x82| ABCdefGHi|//\n| can|'t|\xE2\x80\xA6\xE3\x80\x82| $|5|~`| |\tend|  |"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) assert_pieces(cases[i].split, text, cases[i].pieces);
    assert_int_equal(TN_COUNT(cases), TN_N_SPLITS);
}

static void split__names_lead_to_rows_and_others_are_refused_with_the_list(void **state) {
    (void)state;
    tn_split split;
    static const char *const smol[] = {"\\p{N}", "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+"};
    for (int i = 0; i < TN_N_SPLITS; i++) {
        const char *name = tn_split_name((tn_split)i);
        assert_true(tn_split_from_name(name, strlen(name), &split));
        assert_int_equal(split, i);
    }
    assert_true(tn_split_from_name("smollm", 6, &split));
    assert_int_equal(split, TN_SPLIT_STARCODER);
    assert_false(tn_split_from_name("smollm2", 7, &split));
    assert_false(tn_split_from_expressions(smol, 2, false, &split));
    assert_int_equal(tn_split_fail_name("pre", "smollm2", 7), TN_E_UNSUPPORTED);
    assert_non_null(strstr(tn_error_message(), "\"smollm2\" is not supported, expected one of gpt-2, llama-bpe"));
    assert_non_null(strstr(tn_error_message(), "bailingmoe"));
}

static void split__expressions_lead_to_the_row_that_takes_whole_pieces_alike(void **state) {
    (void)state;
    const char *const *llama;
    const char *const literal[] = {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+",
                                   "[\xE4\xB8\x80-\xE9\xBE\xA5\xE0\xA0\x80-\xE4\xB8\x80\xEA\xB0\x80-\xED\x9F\xBF]+",
                                   "\\p{N}"};
    tn_split split;
    int n = tn_split_expressions(TN_SPLIT_LLAMA3, &llama);
    assert_true(tn_split_from_expressions(llama, n, true, &split));
    assert_int_equal(split, TN_SPLIT_LLAMA3);
    assert_true(tn_split_from_expressions(llama, n, false, &split));
    assert_int_equal(split, TN_SPLIT_DBRX);
    assert_true(tn_split_from_expressions(literal, 5, false, &split)); /* line ends as characters */
    assert_int_equal(split, TN_SPLIT_DEEPSEEK_CODER);
}

static tn_status add_length(void *context, const char *piece, size_t len) {
    (void)piece;
    *(size_t *)context += len;
    return TN_OK;
}

static void split__loses_nothing_of_long_runs(void **state) {
    (void)state;
    static const char runs[] = " a1!\n";
    enum { LEN = 1 << 20 };
    char *text = tn_heap_resize(NULL, LEN);
    assert_non_null(text);
    for (int split = TN_SPLIT_GPT2; split < TN_N_SPLITS; split++) {
        tn_splitter *splitter;
        assert_ok(tn_splitter_create(&splitter, (tn_split)split));
        for (const char *c = runs; *c; c++) {
            size_t total = 0;
            memset(text, *c, LEN);
            assert_ok(tn_splitter_run(splitter, text, LEN, add_length, &total));
            assert_int_equal(total, LEN);
        }
        tn_splitter_free(splitter);
    }
    tn_heap_free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8__valid_prefix_stops_at_the_first_bad_byte),
        cmocka_unit_test(utf8__repair_replaces_each_invalid_byte),
        cmocka_unit_test(utf8__tame_leaves_nothing_a_terminal_obeys),
        cmocka_unit_test(utf8__every_character_comes_back),
        cmocka_unit_test(split__cuts_as_the_other_runtimes_do),
        cmocka_unit_test(split__each_row_cuts_as_its_expressions_say_elsewhere),
        cmocka_unit_test(split__names_lead_to_rows_and_others_are_refused_with_the_list),
        cmocka_unit_test(split__expressions_lead_to_the_row_that_takes_whole_pieces_alike),
        cmocka_unit_test(split__loses_nothing_of_long_runs),
    };
    return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
