/* SPDX-License-Identifier: MIT */
#include "infer/conversation.h"

#include <string.h>

#include "core/arena.h"
#include "core/clock.h"
#include "core/par.h"
#include "core/utf8.h"

struct tn_conversation {
    tn_conversation_options options;
    tn_session *session;
    json_t *messages;
};

tn_status tn_conversation_create(tn_conversation **out, tn_session *session, const tn_conversation_options *options) {
    tn_conversation *c = tn_heap_zalloc(1, sizeof *c);
    *out = NULL;
    if (!c) return TN_E_NOMEM;
    *c = (tn_conversation){*options, session, json_array()};
    if (!c->messages) {
        tn_heap_free(c);
        return TN_FAIL(NOMEM, "out of memory for a conversation");
    }
    *out = c;
    return TN_OK;
}

void tn_conversation_free(tn_conversation *conversation) {
    if (!conversation) return;
    json_decref(conversation->messages);
    tn_heap_free(conversation);
}

/* ---- messages ---- */

const json_t *tn_conversation_messages(const tn_conversation *conversation) { return conversation->messages; }

static size_t count(const tn_conversation *c) { return json_array_size(c->messages); }

static bool has_role(const tn_conversation *c, size_t i, const char *role) {
    const char *text = json_string_value(json_object_get(json_array_get(c->messages, i), "role"));
    return text && strcmp(text, role) == 0;
}

/* 1 when a system message stands in front, else 0. */
static size_t n_system(const tn_conversation *c) { return has_role(c, 0, "system"); }

static tn_status insert(tn_conversation *c, size_t at, const char *role, const char *text, size_t len) {
    TN_TRY(tn_utf8_check("the message", 0, text, len));
    json_t *message = json_pack("{s:s, s:s%}", "role", role, "content", text, len);
    if (json_array_insert_new(c->messages, at, message)) return TN_FAIL(NOMEM, "out of memory for a message");
    return TN_OK;
}

tn_status tn_conversation_set_system(tn_conversation *conversation, const char *text) {
    size_t old = n_system(conversation);
    if (text) TN_TRY(insert(conversation, 0, "system", text, strlen(text)));
    if (old) json_array_remove(conversation->messages, text ? 1 : 0);
    return TN_OK;
}

static void cut(tn_conversation *c, size_t n) {
    while (count(c) > n) json_array_remove(c->messages, count(c) - 1);
}

void tn_conversation_reset(tn_conversation *conversation) { cut(conversation, n_system(conversation)); }

tn_status tn_conversation_set_messages(tn_conversation *conversation, const json_t *messages) {
    if (!json_is_array(messages)) return TN_FAIL(FORMAT, "messages: expected a list");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        if (!json_is_string(json_object_get(message, "role")) || !json_is_string(json_object_get(message, "content")))
            return TN_FAIL(FORMAT, "message %zu: expected texts \"role\" and \"content\"", i + 1);
    }
    json_t *copy = json_deep_copy(messages);
    if (!copy) return TN_FAIL(NOMEM, "out of memory for messages");
    json_decref(conversation->messages);
    conversation->messages = copy;
    return TN_OK;
}

/* ---- what the session is to hold ---- */

static tn_status encode(const tn_conversation *c, const json_t *messages, bool answer_follows, tn_ids *ids) {
    const tn_chat_prompt prompt = {.chat_template = c->options.chat_template,
                                   .messages = messages,
                                   .variables = c->options.variables,
                                   .add_generation_prompt = answer_follows};
    ids->count = 0;
    TN_TRY(tn_chat_prompt_encode(c->options.loaded->tokenizer, &prompt, ids));
    return ids->count ? TN_OK : TN_FAIL(EMPTY, "the chat template makes nothing of the messages");
}

/* Take out the oldest turn: the message behind the system message, and what follows it up to the next user's. The last
 * question stays. False when there is none to take. */
static bool drop_turn(tn_conversation *c, int *dropped) {
    size_t at = n_system(c), next = at + 1;
    while (next < count(c) && !has_role(c, next, "user")) next++;
    if (next >= count(c)) return false;
    for (; next > at; next--, ++*dropped) json_array_remove(c->messages, at);
    return true;
}

static tn_status fail_long(const tn_conversation *c, const tn_ids *ids) {
    return TN_FAIL(RANGE,
                   "what was said has %zu tokens, the context holds %d: a larger context (-c), a new "
                   "conversation (/reset) or --context-shift helps",
                   ids->count, tn_session_context(c->session));
}

/* The ids of all that was said. A context that shifts is filled to three quarters at most, and then emptied to one
 * half, so that not every turn pays for it. */
static tn_status encode_all(tn_conversation *c, tn_ids *ids, int *dropped) {
    size_t context = (size_t)tn_session_context(c->session);
    TN_TRY(encode(c, c->messages, true, ids));
    if (c->options.shift && ids->count > context / 4 * 3)
        while (ids->count > context / 2 && drop_turn(c, dropped)) TN_TRY(encode(c, c->messages, true, ids));
    return ids->count <= context ? TN_OK : fail_long(c, ids);
}

/* Tokens that a shift in the middle of an answer must not take: those of the system message. A template that refuses to
 * render it alone keeps nothing. */
static int find_keep(const tn_conversation *c, const tn_ids *ids) {
    tn_ids system = {0};
    size_t keep = 0;
    json_t *alone = json_array();
    bool known = alone && n_system(c) && !json_array_append(alone, json_array_get(c->messages, 0)) &&
                 encode(c, alone, false, &system) == TN_OK;
    while (known && keep < TN_MIN(system.count, ids->count) && system.list[keep] == ids->list[keep]) keep++;
    tn_ids_release(&system);
    json_decref(alone);
    return (int)keep;
}

static tn_status read_prompt(tn_conversation *c, const tn_ids *ids, tn_turn *turn) {
    const tn_conversation_options *o = &c->options;
    const int n = (int)ids->count;
    double start = tn_clock_seconds();
    TN_TRY(tn_par_set_threads(o->prompt_threads));
    turn->prompt_tokens = n;
    TN_TRY(tn_session_read_prompt(c->session, ids->list, n, o->stop, o->context, &turn->reused));
    turn->prompt_seconds = tn_clock_seconds() - start;
    return tn_par_set_threads(o->threads);
}

/* ---- a turn ---- */

/* Stands between the text that comes and the caller. */
typedef struct listener {
    const tn_generate_options *caller;
    tn_buf text;
} listener;

static tn_status hear_piece(void *context, const char *text, size_t len) {
    listener *l = context;
    TN_TRY(tn_buf_append(&l->text, text, len));
    return l->caller->piece(l->caller->context, text, len);
}

static tn_status hear_token(void *context, int32_t id, const tn_real *logits) {
    const listener *l = context;
    return l->caller->token(l->caller->context, id, logits);
}

static tn_status write_answer(tn_conversation *c, tn_sampler *sampler, listener *l, int keep, tn_generated *out) {
    tn_generate_options options = *l->caller;
    options.piece = hear_piece;
    options.token = options.token ? hear_token : NULL;
    options.context = l;
    options.shift = c->options.shift;
    options.keep = keep;
    if (options.grammar) tn_grammar_state_reset(options.grammar);
    return tn_generate(c->session, sampler, &options, out);
}

static tn_status answer(tn_conversation *c, tn_sampler *sampler, listener *l, tn_turn *turn) {
    tn_ids ids = {0};
    tn_status status = encode_all(c, &ids, &turn->dropped);
    if (!status) status = read_prompt(c, &ids, turn);
    if (!status) status = write_answer(c, sampler, l, find_keep(c, &ids), &turn->answer);
    tn_ids_release(&ids);
    bool heard = !status || (status == TN_E_STOPPED && l->text.len);
    if (heard) TN_TRY(insert(c, count(c), "assistant", tn_buf_text(&l->text), l->text.len));
    return status;
}

tn_status tn_conversation_say(tn_conversation *conversation, const char *text, tn_sampler *sampler,
                              const tn_generate_options *options, tn_turn *turn) {
    tn_conversation *c = conversation;
    json_t *before = json_copy(c->messages);
    listener l = {.caller = options};
    *turn = (tn_turn){0};
    if (!before) return TN_FAIL(NOMEM, "out of memory for messages");
    tn_status status = insert(c, count(c), "user", text, strlen(text));
    if (!status) status = answer(c, sampler, &l, turn);
    if (!status || (status == TN_E_STOPPED && has_role(c, count(c) - 1, "assistant"))) {
        json_decref(before);
    } else {
        json_decref(c->messages);
        c->messages = before;
    }
    tn_buf_release(&l.text);
    return status;
}
