/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "infer/conversation.h"
#include "kernels/kernels.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <string.h>

static const char template_text[] =
    "{%- for m in messages %}{{ '[' + m.role + ']' + m.content + eos_token }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '[assistant]' }}{% endif %}";

typedef struct fixture {
    char dir[TN_TEST_PATH];
    tn_arena *arena;
    tn_loaded loaded;
    tn_chat_template *chat_template;
    tn_session *session;
    tn_sampler *sampler;
    tn_conversation *conversation;
    tn_buf heard;
    int patience;  /* pieces until the listener has enough; 0 = never */
    int questions; /* that `stop` may ask before it says yes; 0 = never */
} fixture;

static tn_status hear(void *context, const char *text, size_t len) {
    fixture *f = context;
    TN_TRY(tn_buf_append(&f->heard, text, len));
    return f->patience && --f->patience == 0 ? TN_FAIL(STOPPED, "enough") : TN_OK;
}

static bool ask_stop(void *context) {
    fixture *f = context;
    return f->questions && --f->questions == 0;
}

static tn_conversation *start(fixture *f, bool shift) {
    tn_conversation *c;
    const tn_conversation_options options = {
        .loaded = &f->loaded, .chat_template = f->chat_template, .shift = shift, .stop = ask_stop, .context = f};
    assert_ok(tn_conversation_create(&c, f->session, &options));
    return c;
}

static int set_up(void **state) {
    static fixture f;
    static const char *const settings[] = {"model.context=160", NULL};
    char checkpoint[TN_TEST_PATH + 16];
    f = (fixture){0};
    assert_ok(tn_kernels_init(NULL));
    assert_ok(tn_par_set_threads(2));
    tn_test_dir_make(f.dir);
    snprintf(checkpoint, sizeof checkpoint, "%s/step.h5", f.dir);
    tn_test_tiny_checkpoint(checkpoint, TN_TOKENIZER_BPE, settings);
    f.arena = tn_arena_create("test");
    assert_ok(tn_model_file_load(checkpoint, f.arena, TN_MODEL_RUN, &f.loaded));
    assert_ok(tn_chat_template_create(&f.chat_template, "test", template_text, strlen(template_text)));
    assert_ok(tn_session_create(&f.session, &f.loaded, (tn_session_options){0}));
    tn_sampler_options options = tn_sampler_defaults();
    assert_ok(tn_sampler_create(&f.sampler, tn_model_get_config(f.loaded.model)->vocab_size, &options));
    f.conversation = start(&f, false);
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tn_conversation_free(f->conversation);
    tn_sampler_free(f->sampler);
    tn_session_free(f->session);
    tn_chat_template_free(f->chat_template);
    tn_loaded_release(&f->loaded);
    tn_arena_free(f->arena);
    tn_buf_release(&f->heard);
    tn_test_dir_remove(f->dir);
    assert_ok(tn_par_set_threads(0));
    return 0;
}

static tn_status say(fixture *f, const char *text, int max_tokens, tn_turn *turn) {
    tn_buf_reset(&f->heard);
    const tn_generate_options options = {.max_tokens = max_tokens, .ignore_eos = true, .piece = hear, .context = f};
    return tn_conversation_say(f->conversation, text, f->sampler, &options, turn);
}

static size_t count(const fixture *f) { return json_array_size(tn_conversation_messages(f->conversation)); }

static const char *message(const fixture *f, size_t i, const char *key) {
    return json_string_value(json_object_get(json_array_get(tn_conversation_messages(f->conversation), i), key));
}

/* The text that the template makes of the messages, and a prompt to answer. */
static void render(const fixture *f, size_t n, tn_buf *out) {
    for (size_t i = 0; i < n; i++)
        assert_ok(tn_buf_printf(out, "[%s]%s<|endoftext|>", message(f, i, "role"), message(f, i, "content")));
    assert_ok(tn_buf_puts(out, "[assistant]"));
}

/* What a new session answers to that text. */
static void answer_afresh(fixture *f, size_t n, int max_tokens) {
    tn_session *session;
    tn_ids ids = {0};
    tn_buf text = {0};
    tn_generated done;
    const tn_generate_options options = {.max_tokens = max_tokens, .ignore_eos = true, .piece = hear, .context = f};
    tn_buf_reset(&f->heard);
    render(f, n, &text);
    assert_ok(tn_tokenizer_encode(f->loaded.tokenizer, text.data, text.len, true, &ids));
    assert_ok(tn_session_create(&session, &f->loaded, (tn_session_options){0}));
    assert_ok(tn_session_feed(session, ids.list, (int)ids.count));
    assert_ok(tn_generate(session, f->sampler, &options, &done));
    tn_session_free(session);
    tn_ids_release(&ids);
    tn_buf_release(&text);
}

static void conversation__answers_what_a_new_session_would(void **state) {
    fixture *f = *state;
    static const char *const questions[] = {"Once", "the cat?", "apples"};
    tn_turn turn[3];
    assert_ok(tn_conversation_set_system(f->conversation, "She said"));
    for (size_t i = 0; i < TN_COUNT(questions); i++) {
        assert_ok(say(f, questions[i], 6, &turn[i]));
        assert_int_equal(count(f), 3 + 2 * i);
        assert_string_equal(message(f, 1 + 2 * i, "content"), questions[i]);
        assert_string_equal(message(f, 2 + 2 * i, "role"), "assistant");
        assert_string_equal(message(f, 2 + 2 * i, "content"), tn_buf_text(&f->heard));
        answer_afresh(f, 2 + 2 * i, 6);
        assert_string_equal(message(f, 2 + 2 * i, "content"), tn_buf_text(&f->heard));
        assert_int_equal(turn[i].answer.tokens, 6);
    }
    assert_int_equal(turn[0].reused, 0);
    for (size_t i = 1; i < TN_COUNT(questions); i++) assert_true(turn[i].reused >= turn[i - 1].prompt_tokens);
}

static void conversation__interrupted_answer_stays_as_far_as_it_came(void **state) {
    fixture *f = *state;
    tn_turn turn;
    f->patience = 3;
    assert_int_equal(say(f, "Once", 50, &turn), TN_E_STOPPED);
    f->patience = 0;
    assert_int_equal(count(f), 2);
    assert_true(f->heard.len > 0);
    assert_string_equal(message(f, 1, "content"), tn_buf_text(&f->heard));
    assert_ok(say(f, "and?", 4, &turn));
    answer_afresh(f, 3, 4);
    assert_string_equal(message(f, 3, "content"), tn_buf_text(&f->heard));
}

static void conversation__interrupted_question_is_taken_back(void **state) {
    fixture *f = *state;
    tn_turn turn;
    f->questions = 1;
    assert_int_equal(say(f, "Once", 4, &turn), TN_E_STOPPED);
    assert_int_equal(count(f), 0);
    assert_int_equal(say(f, "\xff", 4, &turn), TN_E_TEXT);
    assert_int_equal(count(f), 0);
    assert_ok(say(f, "Once", 4, &turn));
    answer_afresh(f, 1, 4);
    assert_string_equal(message(f, 1, "content"), tn_buf_text(&f->heard));
}

static void conversation__full_context_is_refused_and_the_question_taken_back(void **state) {
    fixture *f = *state;
    tn_turn turn;
    tn_status status;
    size_t before;
    do {
        before = count(f);
        status = say(f, "The cat and the girl were glad", 10, &turn);
    } while (!status);
    assert_int_equal(status, TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "the context holds 160"));
    assert_true(before > 2);
    assert_int_equal(count(f), before);
}

static void conversation__full_context_loses_the_oldest_turns(void **state) {
    fixture *f = *state;
    tn_turn turn;
    int dropped = 0;
    tn_conversation_free(f->conversation);
    f->conversation = start(f, true);
    assert_ok(tn_conversation_set_system(f->conversation, "She had"));
    for (int i = 0; i < 12; i++) {
        char question[32];
        snprintf(question, sizeof question, "The cat said %d", i);
        assert_ok(say(f, question, 9, &turn));
        dropped += turn.dropped;
        assert_int_equal(turn.dropped % 2, 0);
        assert_string_equal(message(f, 0, "content"), "She had");
        assert_string_equal(message(f, 1, "role"), "user");
        assert_string_equal(message(f, count(f) - 2, "content"), question);
        assert_int_equal(count(f), 1 + 2 * (i + 1) - dropped);
        answer_afresh(f, count(f) - 1, 9);
        assert_string_equal(message(f, count(f) - 1, "content"), tn_buf_text(&f->heard));
    }
    assert_true(dropped >= 4);
}

/* An answer longer than what is left goes on over a shift, or ends there. */
static void conversation__long_answer_ends_with_the_context_unless_it_shifts(void **state) {
    fixture *f = *state;
    tn_turn turn;
    assert_ok(say(f, "Once", 300, &turn));
    assert_int_equal(turn.answer.reason, TN_STOP_CONTEXT);
    assert_int_equal(turn.prompt_tokens + turn.answer.tokens, 161);
    tn_conversation_free(f->conversation);
    f->conversation = start(f, true);
    assert_ok(tn_conversation_set_system(f->conversation, "She had"));
    assert_ok(say(f, "Once", 300, &turn));
    assert_int_equal(turn.answer.reason, TN_STOP_LENGTH);
    assert_int_equal(turn.answer.tokens, 300);
    tn_buf text = {0};
    tn_ids ids = {0};
    assert_ok(tn_buf_puts(&text, "[system]She had<|endoftext|>"));
    assert_ok(tn_tokenizer_encode(f->loaded.tokenizer, text.data, text.len, true, &ids));
    assert_memory_equal(tn_session_history(f->session), ids.list, ids.count * sizeof *ids.list);
    tn_buf_release(&text);
    tn_ids_release(&ids);
    /* the answer alone is longer than the context now, so there is no way on but a new conversation */
    assert_int_equal(say(f, "and?", 3, &turn), TN_OK);
    assert_int_equal(count(f), 3);
}

static void conversation__messages_can_be_changed_and_are_checked(void **state) {
    fixture *f = *state;
    tn_turn turn;
    assert_ok(tn_conversation_set_system(f->conversation, "a"));
    assert_ok(tn_conversation_set_system(f->conversation, "b"));
    assert_int_equal(count(f), 1);
    assert_string_equal(message(f, 0, "content"), "b");
    assert_ok(say(f, "Once", 2, &turn));
    tn_conversation_reset(f->conversation);
    assert_int_equal(count(f), 1);
    assert_ok(tn_conversation_set_system(f->conversation, NULL));
    assert_int_equal(count(f), 0);
    static const char *const bad[] = {"{}", "[1]", "[{\"role\": \"user\"}]", "[{\"role\": \"user\", \"content\": 1}]"};
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        json_t *messages = json_loads(bad[i], 0, NULL);
        assert_int_equal(tn_conversation_set_messages(f->conversation, messages), TN_E_FORMAT);
        json_decref(messages);
    }
    json_t *messages =
        json_loads("[{\"role\": \"user\", \"content\": \"Once\"}, {\"role\": \"assistant\", \"content\": "
                   "\"upon\"}]",
                   0, NULL);
    assert_ok(tn_conversation_set_messages(f->conversation, messages));
    json_decref(messages);
    assert_ok(say(f, "a", 3, &turn));
    assert_int_equal(count(f), 4);
    answer_afresh(f, 3, 3);
    assert_string_equal(message(f, 3, "content"), tn_buf_text(&f->heard));
}

/* ---- prompts ---- */

static void prompt__has_exactly_one_bos(void **state) {
    fixture *f = *state;
    static const char *const texts[] = {"{{ bos_token }}{{ messages[0].content }}", "{{ messages[0].content }}"};
    const tn_vocabulary *v = tn_tokenizer_vocabulary(f->loaded.tokenizer);
    json_t *messages = json_loads("[{\"role\": \"user\", \"content\": \"Once\"}]", 0, NULL);
    for (int adds = 0; adds < 2; adds++)
        for (int writes = 0; writes < 2; writes++) {
            tn_vocabulary other = *v;
            tn_tokenizer *tokenizer;
            tn_chat_template *chat_template;
            tn_ids ids = {0};
            other.add_bos = adds;
            assert_ok(tn_tokenizer_from_vocabulary(&tokenizer, &other));
            assert_ok(tn_chat_template_create(&chat_template, "test", texts[!writes], strlen(texts[!writes])));
            const tn_chat_prompt prompt = {.chat_template = chat_template, .messages = messages};
            assert_ok(tn_chat_prompt_encode(tokenizer, &prompt, &ids));
            int n = 0;
            for (size_t i = 0; i < ids.count; i++) n += ids.list[i] == v->bos;
            assert_int_equal(n, adds || writes);
            assert_true(n == 0 || ids.list[0] == v->bos);
            tn_ids_release(&ids);
            tn_chat_template_free(chat_template);
            tn_tokenizer_free(tokenizer);
        }
    json_decref(messages);
}

static tn_tokenizer *with_template(const tn_tokenizer *tokenizer, const char *text) {
    tn_vocabulary other = *tn_tokenizer_vocabulary(tokenizer);
    tn_tokenizer *changed;
    other.chat_template = text;
    assert_ok(tn_tokenizer_from_vocabulary(&changed, &other));
    return changed;
}

static void template__is_the_one_asked_for_or_the_models_own(void **state) {
    fixture *f = *state;
    tn_chat_template *chat_template;
    const char *source;
    assert_ok(tn_chat_template_choose(&chat_template, f->loaded.tokenizer, NULL, &source));
    assert_string_equal(source, "none");
    tn_chat_template_free(chat_template);
    tn_loaded other = f->loaded;
    other.tokenizer = with_template(f->loaded.tokenizer, "own {{ messages[0].content }}");
    json_t *messages = json_loads("[{\"role\": \"user\", \"content\": \"Once\"}]", 0, NULL);
    for (int asked = 0; asked < 2; asked++) {
        tn_buf text = {0};
        tn_ids ids = {0};
        assert_ok(tn_chat_template_choose(&chat_template, other.tokenizer, asked ? "none" : NULL, &source));
        const tn_chat_prompt prompt = {.chat_template = chat_template, .messages = messages};
        assert_ok(tn_chat_prompt_encode(other.tokenizer, &prompt, &ids));
        for (size_t i = 0; i < ids.count; i++)
            assert_ok(tn_tokenizer_decode(other.tokenizer, ids.list[i], true, &text));
        assert_string_equal(tn_buf_text(&text), asked ? "Once" : "own Once");
        tn_buf_release(&text);
        tn_ids_release(&ids);
        tn_chat_template_free(chat_template);
    }
    assert_int_equal(tn_chat_template_choose(&chat_template, other.tokenizer, "lama3", &source), TN_E_MISSING);
    json_decref(messages);
    tn_tokenizer_free(other.tokenizer);
}

int main(void) {
#define ROW(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ROW(conversation__answers_what_a_new_session_would),
        ROW(conversation__interrupted_answer_stays_as_far_as_it_came),
        ROW(conversation__interrupted_question_is_taken_back),
        ROW(conversation__full_context_is_refused_and_the_question_taken_back),
        ROW(conversation__full_context_loses_the_oldest_turns),
        ROW(conversation__long_answer_ends_with_the_context_unless_it_shifts),
        ROW(conversation__messages_can_be_changed_and_are_checked),
        ROW(prompt__has_exactly_one_bos),
        ROW(template__is_the_one_asked_for_or_the_models_own),
    };
    return cmocka_run_group_tests_name("conversation", tests, NULL, NULL);
}
