/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/utf8.h"
#include "infer/grammar_priv.h"
#include "tests/grammar_model.h"
#include "tests/testing.h"
#include "tests/tiny_tokens.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static tn_tokenizer *bytes; /* of the suite: every byte is a token */

static int set_up(void **state) {
    (void)state;
    static const char *const none[] = {NULL};
    bytes = tn_tiny_bytes(none);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tn_tokenizer_free(bytes);
    return 0;
}

static tn_grammar *compile(const char *text) {
    tn_grammar *g;
    tn_status status = tn_grammar_create(&g, text, strlen(text));
    if (status) fail_msg("%s\n%s", tn_error_message(), text);
    return g;
}

static tn_grammar_state *begin(const tn_grammar *g, const tn_tokenizer *tokenizer) {
    tn_grammar_state *s;
    assert_ok(tn_grammar_state_create(&s, g, tokenizer));
    return s;
}

/* 'y' whole, 'm' more is needed, 'b' both are fine, 'n' not even a beginning. */
static char judge(tn_grammar_state *s, const char *text, size_t len) {
    tn_grammar_state_reset(s);
    if (tn_grammar_state_advance(s, text, len)) return 'n';
    return tn_grammar_state_must_end(s) ? 'y' : tn_grammar_state_may_end(s) ? 'b' : 'm';
}

static void grammar__says_what_fits(void **state) {
    (void)state;
    static const struct {
        const char *grammar, *text;
        char verdict;
    } cases[] = {
        {"root ::= \"ab\"", "", 'm'},
        {"root ::= \"ab\"", "ab", 'y'},
        {"root ::= \"ab\"", "abc", 'n'},
        {"root ::= \"a\"* \"b\"", "aaab", 'y'},
        {"root ::= \"a\" +", "a", 'b'},
        {"root ::= (\"a\" | \"b\" |)\n", "", 'b'},
        {"root ::=\n  \"a\"\n  | \"b\" |\n  \"c\"\n\nx ::= \"d\"", "c", 'y'},
        {"root ::= [^\"\\\\\\x00-\\x1F]{2}", "\xC3\xA9z", 'y'},
        {"root ::= [^\"\\\\\\x00-\\x1F]{2}", "z\n", 'n'},
        {"root ::= [a-]", "-", 'y'},
        {"root ::= [-a]", "-", 'y'},
        {"root ::= [\\]\\[]", "]", 'y'},
        {"root ::= [^^]", "^", 'n'},
        {"root ::= [a^]", "^", 'y'},
        {"root ::= .", "\xF0\x9F\x98\x80", 'y'},
        {"root ::= .", "\xF0\x9F\x98", 'm'},
        {"root ::= .", "\n", 'y'},
        {"root ::= .", "\xED\xA0\x80", 'n'},     /* a surrogate */
        {"root ::= .", "\xC1\x81", 'n'},         /* overlong */
        {"root ::= .", "\xF4\x90\x80\x80", 'n'}, /* beyond Unicode */
        {"root ::= .", "\x80", 'n'},
        {"root ::= [\xE3\x81\x81-\xE3\x82\x9F]+", "\xE3\x81\x82\xE3\x82\x93", 'b'},
        {"root ::= [\xE3\x81\x81-\xE3\x82\x9F]+", "\xE3\x82\xA2", 'n'},
        {"root ::= \"\\u65e5\\U0001F600\\x41\\t\\r\\n\\\\\\\"\"",
         "\xE6\x97\xA5\xF0\x9F\x98\x80"
         "A\t\r\n\\\"",
         'y'},
        {"root ::= \"a\"{2,3}", "aa", 'b'},
        {"root ::= \"a\"{2,3}", "aaa", 'y'},
        {"root ::= \"ab\"{2}", "ababa", 'n'},
        {"root ::= (\"ab\"{2}){2,}", "abababab", 'b'},
        {"root ::= \"a\"{0} \"b\"", "b", 'y'},
        {"root ::= \"a\"{0,0} \"b\"", "a", 'n'},
        {"root ::= \"x\"?*", "xx", 'b'},
        {"root ::= a-b c_d\na-b ::= \"1\"  # one\r\nc_d ::= [2] \r\n", "12", 'y'},
        {"root ::= \"(\" root \")\" | \"x\"", "((x))", 'y'},
        {"root ::= \"(\" root \")\" | \"x\"", "((x)", 'm'},
        {"root ::= a b\na ::= \"x\"?\nb ::= a \"y\"", "xxy", 'y'},
        {"root ::= \"\"", "", 'y'},
        {"root ::=", "", 'y'},
        {"root ::= (\"\" | \"a\"?)* \"b\"", "aab", 'y'},
        {"root ::= (\n  \"a\" # one\n  # two\n  \"b\"\n)", "ab", 'y'},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_grammar *g = compile(cases[i].grammar);
        tn_grammar_state *s = begin(g, bytes);
        char verdict = judge(s, cases[i].text, strlen(cases[i].text));
        if (verdict != cases[i].verdict)
            fail_msg("%s: \"%s\" is %c, expected %c", cases[i].grammar, cases[i].text, verdict, cases[i].verdict);
        tn_grammar_state_free(s);
        tn_grammar_free(g);
    }
}

static void grammar__mistakes_are_named_with_their_place(void **state) {
    (void)state;
    static const struct {
        const char *grammar;
        tn_status status;
        const char *part;
    } cases[] = {
        {"", TN_E_FORMAT, "none is \"root\""},
        {"rot ::= \"a\"", TN_E_FORMAT, "none is \"root\""},
        {"root ::= \"a\n", TN_E_FORMAT, "line 1, column 10: the literal has no end"},
        {"root ::= [a", TN_E_FORMAT, "line 1, column 10: the class has no end"},
        {"root ::= []", TN_E_FORMAT, "no character is in this class"},
        {"root ::= [^\\x00-\\U0010FFFF]", TN_E_FORMAT, "no character is in this class"},
        {"root ::= [z-a]", TN_E_FORMAT, "line 1, column 11: the range runs backwards"},
        {"root ::= \"\\q\"", TN_E_FORMAT, "line 1, column 12: found 'q'"},
        {"root ::= \"\\x4\"", TN_E_FORMAT, "expected 2 hexadecimal digits after \\x"},
        {"root ::= \"\\ud800\"", TN_E_FORMAT, "no surrogate"},
        {"root ::= \"\\U00110000\"", TN_E_FORMAT, "the escape is no character"},
        {"root ::= (\"a\" | ", TN_E_FORMAT, "found the end of the grammar, expected a part of a rule, | or )"},
        {"root ::= \"a\"\n  \"b\"", TN_E_FORMAT, "line 2, column 3: found '\"', expected the name of a rule"},
        {"root ::= \"a\" )", TN_E_FORMAT, "line 1, column 14: found ')'"},
        {"root ::= *", TN_E_FORMAT, "found '*', expected something to repeat"},
        {"root ::= \"a\" | ?", TN_E_FORMAT, "found '?'"},
        {"root ::= \"a\"{", TN_E_FORMAT, "expected a number of repetitions"},
        {"root ::= \"a\"{,2}", TN_E_FORMAT, "expected a number of repetitions"},
        {"root ::= \"a\"{2", TN_E_FORMAT, "expected }"},
        {"root ::= \"a\"{3,2}", TN_E_FORMAT, "is below the smallest"},
        {"root ::= \"a\"{99999999999}", TN_E_FORMAT, "repeats more often than"},

        {"root : \"a\"", TN_E_FORMAT, "line 1, column 6: found ':', expected ::="},
        {"root ::= a\n", TN_E_FORMAT, "line 1, column 10: rule \"a\" is used but not defined"},
        {"root ::= \"a\"\n\xC3\xA9 ::= \"b\"", TN_E_FORMAT, "line 2, column 1: found '\xC3\xA9'"},
        {"root ::= \"\xC3\xA9\" $", TN_E_FORMAT, "column 14: found '$'"},
        {"root ::= \"a\"\nroot ::= \"b\"", TN_E_FORMAT,
         "line 2, column 1: rule \"root\" is defined twice, first in line 1"},
        {"root ::= <think>", TN_E_FORMAT, "tokens in a grammar are not supported"},
        {"root ::= root \"a\" | \"b\"", TN_E_FORMAT, "rule \"root\" begins with itself: root -> root"},
        {"root ::= \"x\" a\na ::= (b | \"z\")\nb ::= \"\"? c? a\nc ::= \"1\"", TN_E_FORMAT,
         "rule \"a\" begins with itself: a -> b -> a"},
        {"root ::= (\"\" root){2} | \"x\"", TN_E_FORMAT, "begins with itself: root -> root"},
        {"root ::= \"x\" a\na ::= \"y\" a", TN_E_FORMAT, "has no end"},
        {"root ::= \"\xFF\"", TN_E_TEXT, "byte 10"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_grammar *g;
        tn_status status = tn_grammar_create(&g, cases[i].grammar, strlen(cases[i].grammar));
        assert_null(g);
        if (status != cases[i].status || !strstr(tn_error_message(), cases[i].part))
            fail_msg("%s: %s: \"%s\" lacks \"%s\"", cases[i].grammar, tn_status_name(status), tn_error_message(),
                     cases[i].part);
    }
}

/* ---- against the naive judge ---- */

static size_t encode(const uint32_t *text, int n, char *out) {
    size_t len = 0;
    for (int i = 0; i < n; i++) len += tn_utf8_encode(text[i], out + len);
    return len;
}

static void assert_verdict(const tn_model *m, const tn_grammar_state *s, bool alive, const uint32_t *text, int n,
                           const char *grammar) {
    tn_verdict v = tn_model_judge(m, text, n);
    char bytes_of[4 * TN_MODEL_TEXT];
    int len = (int)encode(text, n, bytes_of);
    bool same = alive == (v.whole || v.more);
    if (same && alive)
        same = tn_grammar_state_may_end(s) == v.whole && tn_grammar_state_must_end(s) == (v.whole && !v.more);
    if (!same) fail_msg("\"%.*s\": judged whole %d, more %d, but is not:\n%s", len, bytes_of, v.whole, v.more, grammar);
}

/* A text of the grammar, most of the time: characters that keep it alive are tried first. */
static void follow_one(tn_model *m, tn_grammar_state *s, const char *grammar) {
    uint32_t text[TN_MODEL_TEXT];
    tn_grammar_state_reset(s);
    assert_verdict(m, s, true, text, 0, grammar);
    for (int n = 0; n < 10; n++) {
        text[n] = tn_model_alphabet[tn_model_draw(m, TN_MODEL_ALPHABET)];
        for (int tries = 0; tries < 6; tries++) {
            tn_verdict v = tn_model_judge(m, text, n + 1);
            if (v.whole || v.more) break;
            text[n] = tn_model_alphabet[tn_model_draw(m, TN_MODEL_ALPHABET)];
        }
        char bytes_of[4];
        size_t len = tn_utf8_encode(text[n], bytes_of);
        bool alive = true;
        for (size_t i = 0; i < len && alive; i++) alive = !tn_grammar_state_advance(s, bytes_of + i, 1);
        assert_verdict(m, s, alive, text, n + 1, grammar);
        if (!alive) return;
    }
}

static void grammar__random_ones_agree_with_a_naive_matcher(void **state) {
    (void)state;
    int followed = 0;
    for (uint32_t number = 0; number < 3000; number++) {
        tn_model m;
        tn_buf text = {0};
        tn_grammar *g;
        tn_model_make(&m, number);
        tn_model_write(&m, &text);
        tn_status status = tn_grammar_create(&g, text.data, text.len);
        bool left = tn_model_is_left_recursive(&m), good = !left && tn_model_has_ends(&m);
        if (status != (good ? TN_OK : TN_E_FORMAT) || (left && !strstr(tn_error_message(), "begins with itself")))
            fail_msg("model %u: %s:\n%s", number, status ? tn_error_message() : "was taken", text.data);
        if (good) {
            tn_grammar_state *s = begin(g, bytes);
            for (int i = 0; i < 12; i++) follow_one(&m, s, text.data);
            tn_grammar_state_free(s);
            followed++;
        }
        tn_grammar_free(g);
        tn_buf_release(&text);
    }
    assert_true(followed > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grammar__says_what_fits),
        cmocka_unit_test(grammar__mistakes_are_named_with_their_place),
        cmocka_unit_test(grammar__random_ones_agree_with_a_naive_matcher),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
