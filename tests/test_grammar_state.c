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

static size_t encode(const uint32_t *text, int n, char *out) {
    size_t len = 0;
    for (int i = 0; i < n; i++) len += tn_utf8_encode(text[i], out + len);
    return len;
}

/* ---- vocabularies ---- */

/* Tokens of one to five random bytes out of texts over the alphabet, so that many cut characters. */
static tn_tokenizer *random_tokens(tn_model *m) {
    enum { PIECES = 60 };
    char store[PIECES][8];
    const char *pieces[PIECES];
    uint32_t lens[PIECES];
    int n = 0;
    for (int i = 0; i < PIECES; i++) {
        uint32_t chars[8];
        char text[32];
        for (int k = 0; k < 8; k++) chars[k] = tn_model_alphabet[tn_model_draw(m, TN_MODEL_ALPHABET)];
        size_t len = encode(chars, 8, text), from = tn_model_draw(m, 4);
        lens[n] = (uint32_t)TN_MIN(len - from, 1 + tn_model_draw(m, 5));
        memcpy(store[n], text + from, lens[n]);
        pieces[n] = store[n];
        bool again = false;
        for (int k = 0; k < n; k++) again |= lens[k] == lens[n] && !memcmp(pieces[k], pieces[n], lens[n]);
        n += !again;
    }
    return tn_tiny_tokens(pieces, lens, n);
}

static bool in_mask(const uint64_t *words, int id) { return words[id / 64] >> id % 64 & 1; }

/* The mask, single questions and trying each token on a copy say the same. */
static int assert_mask(tn_grammar_state *s, const tn_tokenizer *tokenizer, int *allowed) {
    int n = tn_tokenizer_size(tokenizer), count = 0;
    const uint64_t *words;
    uint64_t copy[8];
    assert_true(n <= 512);
    assert_ok(tn_grammar_state_mask(s, &words));
    memcpy(copy, words, (size_t)(n + 63) / 64 * sizeof *copy);
    for (int id = 0; id < n; id++) {
        tn_grammar_state *other;
        assert_ok(tn_grammar_state_copy(&other, s));
        bool fits = !tn_grammar_state_accept(other, id);
        assert_int_equal(fits, in_mask(copy, id));
        assert_int_equal(fits, tn_grammar_state_allows(s, id));
        if (fits) allowed[count++] = id;
        tn_grammar_state_free(other);
    }
    return count;
}

/* Choose random tokens among the allowed ones up to the end; false when the vocabulary leads nowhere or it takes long.
 */
static bool walk(tn_model *m, tn_grammar_state *s, const tn_tokenizer *tokenizer, tn_buf *text) {
    int allowed[512], end = tn_tokenizer_eos(tokenizer);
    tn_buf_reset(text);
    for (int i = 0; i < 24; i++) {
        int n = assert_mask(s, tokenizer, allowed);
        if (!n) return false;
        int id = allowed[tn_model_draw(m, (uint32_t)n)];
        if (tn_grammar_state_may_end(s) && tn_model_draw(m, 3) == 0) id = end;
        assert_ok(tn_grammar_state_accept(s, id));
        if (id == end) return true;
        assert_ok(tn_tokenizer_decode(tokenizer, id, false, text));
    }
    return false;
}

static int decode_text(const tn_buf *text, uint32_t *out) {
    int n = 0;
    for (size_t at = 0; at < text->len; n++) {
        int len = tn_utf8_read(text->data + at, text->len - at, &out[n]);
        assert_true(len > 0);
        at += (size_t)len;
        if (n == TN_MODEL_TEXT - 1) return -1;
    }
    return n;
}

static void walk_model(tn_model *m, const tn_grammar *g, const char *grammar, size_t weight_limit, int *ended) {
    tn_tokenizer *tokenizer = random_tokens(m);
    tn_grammar_state *s = begin(g, tokenizer);
    tn_buf text = {0};
    uint32_t chars[TN_MODEL_TEXT];
    for (int i = 0; i < 3; i++) {
        tn_grammar_state_reset(s);
        s->shared->weight_limit = weight_limit;
        if (!walk(m, s, tokenizer, &text)) continue;
        int n = decode_text(&text, chars);
        if (n < 0) continue;
        if (!tn_model_judge(m, chars, n).whole) fail_msg("\"%s\" is not a text of\n%s", tn_buf_text(&text), grammar);
        assert_true(tn_grammar_state_must_end(s));
        ++*ended;
    }
    tn_buf_release(&text);
    tn_grammar_state_free(s);
    tn_tokenizer_free(tokenizer);
}

static void grammar__random_allowed_tokens_make_whole_texts(void **state) {
    (void)state;
    int ended = 0;
    for (uint32_t number = 0; number < 600; number++) {
        tn_model m;
        tn_buf text = {0};
        tn_grammar *g;
        tn_model_make(&m, number);
        tn_model_write(&m, &text);
        if (!tn_grammar_create(&g, text.data, text.len)) {
            walk_model(&m, g, text.data, SIZE_MAX, &ended);
            walk_model(&m, g, text.data, 0, &ended); /* forgets before every new move */
        }
        tn_grammar_free(g);
        tn_buf_release(&text);
    }
    assert_true(ended > 500);
}

static void grammar__bans_all_that_cannot_come_next(void **state) {
    (void)state;
    static const char *const pieces[] = {"no", "yes", "yess", "ye", NULL};
    tn_tokenizer *tokenizer = tn_tiny_bytes(pieces);
    tn_grammar *g = compile("root ::= \"yes\" | \"no\"");
    tn_grammar_state *s = begin(g, tokenizer);
    int n = tn_tokenizer_size(tokenizer), end = tn_tokenizer_eos(tokenizer);
    tn_real logits[300];
    for (int i = 0; i < 300; i++) logits[i] = 1;
    assert_ok(tn_grammar_state_bans(s, logits, 300)); /* a model with more rows than there are tokens */
    for (int i = 0; i < 300; i++) {
        bool fits = i == 'n' || i == 'y' || i == 256 || i == 257 || i == 259;
        assert_true(fits ? logits[i] == 1 : logits[i] == -HUGE_VALF);
    }
    assert_int_equal(tn_grammar_state_accept(s, end), TN_E_MISMATCH);
    assert_int_equal(tn_grammar_state_accept(s, 258), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "token 258: byte 3, 's', does not fit the grammar"));
    assert_int_equal(tn_grammar_state_accept(s, n), TN_E_RANGE);
    assert_ok(tn_grammar_state_accept(s, 257));
    assert_true(tn_grammar_state_must_end(s) && tn_grammar_state_may_end(s));
    for (int i = 0; i < 300; i++) logits[i] = 2;
    assert_ok(tn_grammar_state_bans(s, logits, n));
    for (int i = 0; i < n; i++) assert_true(i == end ? logits[i] == 2 : logits[i] == -HUGE_VALF);
    assert_ok(tn_grammar_state_accept(s, end));
    assert_int_equal(tn_grammar_state_accept(s, end), TN_E_MISMATCH);
    assert_int_equal(tn_grammar_state_bans(s, logits, n), TN_E_EMPTY);
    assert_false(tn_grammar_state_allows(s, end));
    tn_grammar_state_free(s);
    tn_grammar_free(g);
    tn_tokenizer_free(tokenizer);
}

static void grammar__words_that_cannot_be_spelled_leave_no_token(void **state) {
    (void)state;
    const char *pieces[] = {"a"};
    tn_tokenizer *tokenizer = tn_tiny_tokens(pieces, (uint32_t[]){1}, 1);
    tn_grammar *g = compile("root ::= \"ab\"");
    tn_grammar_state *s = begin(g, tokenizer);
    tn_real logits[2] = {0};
    assert_ok(tn_grammar_state_bans(s, logits, 2));
    assert_ok(tn_grammar_state_accept(s, 0));
    assert_int_equal(tn_grammar_state_bans(s, logits, 2), TN_E_EMPTY);
    assert_non_null(strstr(tn_error_message(), "no token of the vocabulary"));
    tn_grammar_state_free(s);
    tn_grammar_free(g);
    tn_tokenizer_free(tokenizer);
}

static void grammar__copies_go_their_own_ways(void **state) {
    (void)state;
    tn_grammar *g = compile("root ::= [a-z]* [0-9]");
    tn_grammar_state *a = begin(g, bytes), *b;
    assert_ok(tn_grammar_state_advance(a, "xy", 2));
    assert_ok(tn_grammar_state_copy(&b, a));
    assert_ok(tn_grammar_state_advance(a, "1", 1));
    assert_true(tn_grammar_state_must_end(a));
    assert_false(tn_grammar_state_may_end(b));
    tn_grammar_state_set(a, b);
    assert_ok(tn_grammar_state_advance(a, "z", 1));
    tn_grammar_state_free(a); /* the copy outlives it */
    assert_ok(tn_grammar_state_advance(b, "z2", 2));
    assert_true(tn_grammar_state_must_end(b));
    tn_grammar_state_reset(b);
    assert_int_equal(tn_grammar_state_advance(b, "a!", 2), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "byte 1, '!'"));
    assert_ok(tn_grammar_state_advance(b, "3", 1)); /* it had stayed where it was */
    tn_grammar_state_free(b);
    tn_grammar_free(g);
}

/* ---- limits ---- */

static void grammar__depth_has_a_limit_and_tail_calls_have_none(void **state) {
    (void)state;
    tn_grammar *deep = compile("root ::= \"(\" root \")\" | \"x\""), *tail = compile("root ::= \"(\" root | \"x\"");
    tn_grammar_state *s = begin(deep, bytes), *t = begin(tail, bytes);
    for (int i = 0; i < TN_GRAMMAR_DEPTH; i++) assert_ok(tn_grammar_state_advance(s, "(", 1));
    assert_int_equal(tn_grammar_state_advance(s, "(", 1), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "opens more than 10000 rules"));
    assert_false(tn_grammar_state_allows(s, '('));
    assert_ok(tn_grammar_state_advance(s, "x", 1));
    for (int i = 0; i < TN_GRAMMAR_DEPTH; i++) assert_ok(tn_grammar_state_advance(s, ")", 1));
    assert_true(tn_grammar_state_must_end(s));
    for (int i = 0; i < 3 * TN_GRAMMAR_DEPTH; i++) assert_ok(tn_grammar_state_advance(t, "(", 1));
    tn_grammar_state_free(s);
    tn_grammar_state_free(t);
    tn_grammar_free(deep);
    tn_grammar_free(tail);
}

/* Each parenthesis can be read in three ways, so there are 3^100 ways to read this, and each has its own stack. */
static void grammar__ways_to_read_a_text_share_their_stacks(void **state) {
    (void)state;
    tn_grammar *g = compile("root ::= term \"+\" root | term \"-\" root | term\nterm ::= \"(\" root \")\" | [0-9]+");
    tn_grammar_state *s = begin(g, bytes);
    for (int i = 0; i < 100; i++) assert_ok(tn_grammar_state_advance(s, "(", 1));
    assert_ok(tn_grammar_state_advance(s, "1+2", 3));
    for (int i = 0; i < 100; i++) assert_ok(tn_grammar_state_advance(s, ")-3", 3));
    assert_true(tn_grammar_state_may_end(s));
    assert_true(s->shared->n_items < 20000);
    tn_grammar_state_free(s);
    tn_grammar_free(g);
}

static void grammar__long_texts_do_not_fill_the_memory(void **state) {
    (void)state;
    tn_grammar *g = compile("root ::= \"(\" root \")\" root | [a-z]*");
    tn_grammar_state *s = begin(g, bytes);
    const uint64_t *words;
    s->shared->weight_limit = 2000;
    for (int i = 0; i < 5000; i++) {
        assert_ok(tn_grammar_state_advance(s, i % 3 == 2 ? ")" : "(", 1));
        assert_ok(tn_grammar_state_mask(s, &words));
        assert_true(in_mask(words, ')') && in_mask(words, 'z') && !in_mask(words, tn_tokenizer_eos(bytes)));
        s->shared->weight_limit = TN_MIN(s->shared->weight_limit, 40000u);
    }
    assert_true(s->shared->n_sets < 20000);
    tn_grammar_state_free(s);
    tn_grammar_free(g);
}

static void grammar__much_work_is_given_up(void **state) {
    (void)state;
    tn_buf text = {0};
    assert_ok(tn_buf_puts(&text, "root ::= (\"a\"?){250} \"b\""));
    tn_grammar *g = compile(text.data);
    tn_grammar_state *s = begin(g, bytes);
    s->shared->work_limit = 200;
    assert_ok(tn_grammar_state_advance(s, "a", 1)); /* one move more than the limit is made */
    assert_int_equal(tn_grammar_state_advance(s, "aaaa", 4), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "too many ways"));
    tn_grammar_state_free(s);
    tn_grammar_free(g);
    tn_buf_reset(&text);
    assert_ok(tn_buf_puts(&text, "root ::= "));
    for (int i = 0; i < 40000; i++) assert_ok(tn_buf_printf(&text, "\"%d\" | ", i));
    assert_ok(tn_buf_puts(&text, "\"x\""));
    g = compile(text.data);
    assert_int_equal(tn_grammar_state_create(&s, g, bytes), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "in more ways"));
    tn_grammar_free(g);
    tn_buf_reset(&text);
    assert_ok(tn_buf_puts(&text, "root ::= "));
    for (int i = 0; i < 5000; i++) assert_ok(tn_buf_puts(&text, "\"a\"{256} "));
    assert_int_equal(tn_grammar_create(&g, text.data, text.len), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "makes the grammar larger than 1048576 steps"));
    tn_buf_release(&text);
}

/* Counts that are too large for a step each, at and around their bounds. */
static void grammar__large_repetitions_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *grammar;
        int min, max;
    } cases[] = {{"root ::= \"a\"{1000}", 1000, 1000},
                 {"root ::= \"ab\"{0,1000}", 0, 1000},
                 {"root ::= [a-z]{300,70000}", 300, 70000},
                 {"root ::= \"a\"{5000,}", 5000, INT32_MAX},
                 {"root ::= (\"ab\" | \"b\"){257,258}", 257, 258}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_grammar *g = compile(cases[i].grammar);
        tn_grammar_state *s = begin(g, bytes);
        bool pairs = strstr(cases[i].grammar, "ab") != NULL;
        int most = TN_MIN(cases[i].max, 100000);
        assert_true(g->n_steps < 4000);
        for (int n = 0; n <= most; n++) {
            assert_int_equal(tn_grammar_state_may_end(s), n >= cases[i].min);
            assert_int_equal(tn_grammar_state_must_end(s), n == cases[i].max);
            bool fits = !tn_grammar_state_advance(s, pairs ? "ab" : "a", pairs ? 2 : 1);
            assert_int_equal(fits, n < cases[i].max);
        }
        tn_grammar_state_free(s);
        tn_grammar_free(g);
    }
}

/* Let every allocation fail in turn: refused each time, nothing lost, and the last round succeeds. */
static void grammar__want_of_memory_is_an_error(void **state) {
    (void)state;
    static const char text[] = "root ::= [^a\xE6\x97\xA5]{3} (\"x\" root)? b\nb ::= \"1\"{2,} | ([2-3] b?)";
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_grammar *g = NULL;
        tn_grammar_state *s = NULL, *copy = NULL;
        const uint64_t *words;
        tn_memory_fail_at(n);
        status = tn_grammar_create(&g, text, strlen(text));
        if (!status) status = tn_grammar_state_create(&s, g, bytes);
        if (!status) status = tn_grammar_state_copy(&copy, s);
        if (!status) status = tn_grammar_state_mask(s, &words);
        if (!status) status = tn_grammar_state_accept(s, 'q');
        if (!status) status = tn_grammar_state_advance(s, "\xF0\x9F\x98\x80zx", 6);
        if (!status) status = tn_places_forget(s->shared);
        if (!status) status = tn_grammar_state_mask(s, &words);
        tn_memory_fail_at(0);
        if (status) assert_int_equal(status, TN_E_NOMEM);
        tn_grammar_state_free(copy);
        tn_grammar_state_free(s);
        tn_grammar_free(g);
        assert_int_equal(tn_memory_alive(), alive);
        assert_true(n < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grammar__random_allowed_tokens_make_whole_texts),
        cmocka_unit_test(grammar__bans_all_that_cannot_come_next),
        cmocka_unit_test(grammar__words_that_cannot_be_spelled_leave_no_token),
        cmocka_unit_test(grammar__copies_go_their_own_ways),
        cmocka_unit_test(grammar__depth_has_a_limit_and_tail_calls_have_none),
        cmocka_unit_test(grammar__ways_to_read_a_text_share_their_stacks),
        cmocka_unit_test(grammar__long_texts_do_not_fill_the_memory),
        cmocka_unit_test(grammar__much_work_is_given_up),
        cmocka_unit_test(grammar__large_repetitions_are_counted),
        cmocka_unit_test(grammar__want_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
