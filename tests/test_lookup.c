/* SPDX-License-Identifier: MIT
 * Guesses from the text's own past, and texts written with them: the same as without, whatever chooses the tokens. */
#include "core/par.h"
#include "infer/lookup.h"
#include "tests/session_rig.h"

#include <stdio.h>
#include <string.h>

static void lookup__proposes_what_followed_the_longest_latest_match(void **state) {
    (void)state;
    static const struct {
        int n, history[12], most, drafted, draft[6];
    } cases[] = {
        {6, {1, 2, 3, 9, 1, 2}, 2, 2, {3, 9}},
        {6, {1, 2, 3, 9, 1, 2}, 4, 4, {3, 9, 1, 2}},
        {6, {1, 2, 3, 9, 1, 2}, 6, 6, {3, 9, 1, 2, 3, 9}},     /* on as it went before */
        {9, {1, 2, 3, 1, 2, 4, 5, 1, 2}, 1, 1, {4}},           /* the latest of equals */
        {12, {7, 1, 2, 3, 8, 1, 2, 4, 5, 7, 1, 2}, 1, 1, {3}}, /* the longer one */
        {4, {5, 5, 5, 5}, 3, 3, {5, 5, 5}},
        {4, {1, 2, 3, 2}, 3, 0, {0}}, /* one token is too few */
        {2, {1, 1}, 3, 0, {0}},
        {1, {1}, 3, 0, {0}},
        {6, {1, 2, 3, 9, 1, 2}, 0, 0, {0}},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        int32_t draft[6] = {0};
        assert_int_equal(tn_lookup_draft(draft, cases[i].most, cases[i].history, cases[i].n), cases[i].drafted);
        for (int k = 0; k < cases[i].drafted; k++) assert_int_equal(draft[k], cases[i].draft[k]);
    }
}

/* ---- texts ---- */

typedef struct told {
    tn_test_text text;
    int32_t ids[400];
    int n;
    tn_generated done;
} told;

static tn_status note(void *context, int32_t id, const tn_real *logits) {
    told *t = context;
    assert_non_null(logits);
    t->ids[t->n++] = id;
    return TN_OK;
}

static tn_status collect(void *context, const char *text, size_t len) {
    return tn_test_collect(&((told *)context)->text, text, len);
}

/* Write a text with the first `prompt` ids fed; what the session holds afterwards must be the prompt and all that was
 * chosen but the last token (of shifted texts: their end). */
static void write_text(const tn_test_model *f, int context, int prompt, const tn_sampler_options *how,
                       const tn_generate_options *what, told *out) {
    tn_session *session = tn_test_session(&f->loaded, context, 0);
    tn_sampler *sampler;
    tn_generate_options options = *what;
    *out = (told){.text.whole = true};
    options.piece = collect;
    options.token = note;
    options.context = out;
    assert_ok(tn_sampler_create(&sampler, tn_test_vocab(&f->loaded), how));
    assert_ok(tn_session_feed(session, f->ids, prompt));
    if (options.grammar) tn_grammar_state_reset(options.grammar);
    assert_ok(tn_generate(session, sampler, &options, &out->done));
    assert_int_equal(tn_session_position(session),
                     prompt + TN_MAX(out->done.tokens - 1, 0) + (out->done.reason == TN_STOP_EOS));
    int end = tn_session_length(session);
    const int32_t *history = tn_session_history(session);
    for (int i = 0; i < TN_MIN(end - prompt, out->done.tokens - 1); i++)
        assert_int_equal(history[end - 1 - i], out->ids[out->done.tokens - (out->done.reason != TN_STOP_EOS) - 1 - i]);
    tn_sampler_free(sampler);
    tn_session_free(session);
}

static int guessed_right; /* over a test, so that it says something */

static void assert_same_text(const tn_test_model *f, int context, int prompt, const tn_sampler_options *how,
                             tn_generate_options what) {
    told plain, ahead;
    what.draft = 0;
    write_text(f, context, prompt, how, &what, &plain);
    assert_int_equal(plain.done.drafted, 0);
    static const int drafts[] = {1, 3, 8, TN_DRAFT_MOST};
    for (size_t i = 0; i < TN_COUNT(drafts); i++) {
        what.draft = drafts[i];
        write_text(f, context, prompt, how, &what, &ahead);
        assert_int_equal(ahead.n, plain.n);
        assert_memory_equal(ahead.ids, plain.ids, (size_t)plain.n * sizeof *plain.ids);
        assert_string_equal(tn_buf_text(&ahead.text.text), tn_buf_text(&plain.text.text));
        assert_int_equal(ahead.done.reason, plain.done.reason);
        assert_int_equal(ahead.done.tokens, plain.done.tokens);
        assert_true(ahead.done.guessed <= ahead.done.drafted);
        guessed_right += ahead.done.guessed;
        tn_buf_release(&ahead.text.text);
    }
    tn_buf_release(&plain.text.text);
}

static void generate__tells_the_same_with_guesses_and_without(void **state) {
    tn_test_model *f = *state;
    assert_ok(tn_par_set_threads(1));
    guessed_right = 0;
    for (int number = 0; number < 40; number++) {
        tn_sampler_options how = tn_sampler_defaults();
        const char *stop = "a";
        tn_generate_options what = {.max_tokens = number % 5 ? -1 : 3 + number / 2, .ignore_eos = number % 3 > 0};
        how.seed = (uint64_t)number;
        how.temperature = 0.2 * (number % 4); /* 0: the most likely; and low ones, so that guesses come true */
        how.frequency_penalty = number % 4 == 3 ? 0.3 : 0;
        how.mirostat = number % 9 == 8 ? 2 : 0;
        how.mirostat_tau = 1;
        what.stops = &stop;
        what.n_stops = number % 8 == 7;
        assert_same_text(f, number % 2 ? 0 : 20, 1 + number % 10, &how, what);
    }
    assert_true(guessed_right > 100);
}

static void generate__tells_the_same_with_guesses_when_the_context_shifts(void **state) {
    tn_test_model *f = *state;
    assert_ok(tn_par_set_threads(1));
    guessed_right = 0;
    for (int number = 0; number < 12; number++) {
        tn_sampler_options how = tn_sampler_defaults();
        const tn_generate_options what = {.max_tokens = 90, .ignore_eos = true, .shift = true, .keep = number % 5};
        how.seed = (uint64_t)number;
        how.temperature = 0.3 * (number % 3);
        assert_same_text(f, 20 + number, 8, &how, what);
    }
    assert_true(guessed_right > 100);
}

static void generate__tells_the_same_with_guesses_under_a_grammar(void **state) {
    tn_test_model *f = *state;
    static const char text[] = "root ::= (\"at\" | \"ta\" | \"the \" [adeh]){3,12}";
    tn_grammar *grammar;
    tn_grammar_state *at;
    assert_ok(tn_par_set_threads(1));
    assert_ok(tn_grammar_create(&grammar, text, strlen(text)));
    assert_ok(tn_grammar_state_create(&at, grammar, f->loaded.tokenizer));
    guessed_right = 0;
    for (int number = 0; number < 12; number++) {
        tn_sampler_options how = tn_sampler_defaults();
        const tn_generate_options what = {.max_tokens = -1, .grammar = at, .ignore_eos = number % 2 > 0};
        how.seed = (uint64_t)number;
        how.temperature = 0.4 * (number % 3);
        assert_same_text(f, 0, 5, &how, what);
    }
    assert_true(guessed_right > 20);
    tn_grammar_state_free(at);
    tn_grammar_free(grammar);
}

/* ---- what else ends a text, or does not ---- */

static void generate__shifts_a_full_context_instead_of_ending(void **state) {
    tn_test_model *f = *state;
    tn_sampler_options how = tn_sampler_defaults();
    told a, b;
    how.temperature = 0;
    tn_generate_options what = {.max_tokens = 60, .ignore_eos = true};
    write_text(f, 16, 6, &how, &what, &a);
    assert_int_equal(a.done.reason, TN_STOP_CONTEXT);
    assert_string_equal(tn_stop_reason_name(a.done.reason), "length");
    assert_int_equal(a.done.tokens, 16 - 6 + 1);
    what.shift = true;
    what.keep = 2;
    write_text(f, 16, 6, &how, &what, &b);
    assert_int_equal(b.done.reason, TN_STOP_LENGTH);
    assert_int_equal(b.done.tokens, 60);
    assert_memory_equal(a.ids, b.ids, (size_t)a.n * sizeof *a.ids);
    /* after the first shift it goes on like a session that was fed what is left */
    int32_t left[16] = {f->ids[0], f->ids[1]};
    memcpy(left + 2, b.ids + 3,
           8 * sizeof *left); /* 16 held: 2 kept, 7 dropped, 7 left, and the one that had no room */
    tn_session *session = tn_test_session(&f->loaded, 16, 0);
    tn_sampler *sampler;
    int32_t id;
    assert_ok(tn_sampler_create(&sampler, tn_test_vocab(&f->loaded), &how));
    assert_ok(tn_session_feed(session, left, 10));
    const tn_place at = {.history = left, .n = 10};
    assert_ok(tn_sampler_pick(sampler, tn_session_logits(session), &at, &id));
    assert_int_equal(id, b.ids[11]);
    tn_sampler_free(sampler);
    tn_session_free(session);
    what.keep = 15; /* leaves nothing to drop */
    tn_buf_release(&b.text.text);
    write_text(f, 16, 6, &how, &what, &b);
    assert_int_equal(b.done.reason, TN_STOP_CONTEXT);
    tn_buf_release(&a.text.text);
    tn_buf_release(&b.text.text);
}

static void generate__says_nothing_that_its_grammar_does_not(void **state) {
    tn_test_model *f = *state;
    static const char text[] = "root ::= \"Once\" \" and\"? [.!]";
    tn_grammar *grammar;
    tn_grammar_state *at;
    assert_ok(tn_grammar_create(&grammar, text, strlen(text)));
    assert_ok(tn_grammar_state_create(&at, grammar, f->loaded.tokenizer));
    for (int number = 0; number < 20; number++) {
        tn_sampler_options how = tn_sampler_defaults();
        const tn_generate_options what = {.max_tokens = -1, .grammar = at, .ignore_eos = number % 2 > 0};
        told t;
        how.seed = (uint64_t)number;
        write_text(f, 0, 5, &how, &what, &t);
        assert_int_equal(t.done.reason, TN_STOP_EOS);
        const char *said = tn_buf_text(&t.text.text);
        if (strcmp(said, "Once.") && strcmp(said, "Once!") && strcmp(said, "Once and.") && strcmp(said, "Once and!"))
            fail_msg("\"%s\"", said);
        tn_buf_release(&t.text.text);
    }
    tn_grammar_state_free(at);
    tn_grammar_free(grammar);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookup__proposes_what_followed_the_longest_latest_match),
        cmocka_unit_test_setup_teardown(generate__tells_the_same_with_guesses_and_without, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(generate__tells_the_same_with_guesses_when_the_context_shifts,
                                        tn_test_model_set_up, tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(generate__tells_the_same_with_guesses_under_a_grammar, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(generate__shifts_a_full_context_instead_of_ending, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(generate__says_nothing_that_its_grammar_does_not, tn_test_model_set_up,
                                        tn_test_model_tear_down),
    };
    return cmocka_run_group_tests_name("lookup", tests, NULL, NULL);
}
