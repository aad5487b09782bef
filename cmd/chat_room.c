/* SPDX-License-Identifier: MIT */
#include "cmd/chat_room.h"
#include "cmd/cmd.h"
#include "core/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* ---- signals ---- */

static volatile sig_atomic_t interrupts, ending;

/* Who presses Ctrl-C again and again, while a pass over a long prompt takes its time, is let go. */
static void on_interrupt(int number) {
    if (++interrupts >= 3) signal(number, SIG_DFL);
    tn_line_editor_wake();
}

static void on_end(int number) {
    ending = number;
    tn_line_editor_wake();
}

void tn_chat_catch_signals(void) {
    const struct sigaction interrupt = {.sa_handler = on_interrupt}, end = {.sa_handler = on_end};
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGHUP, &end, NULL);
}

bool tn_chat_is_stopped(void *context) {
    (void)context;
    return interrupts || ending;
}

int tn_chat_signal(void) { return ending ? ending : interrupts ? SIGINT : 0; }

static void forget_interrupts(void) {
    interrupts = 0;
    tn_chat_catch_signals();
}

/* ---- settings ---- */

static void forget_form(tn_chat_room *room) {
    tn_grammar_state_free(room->form);
    tn_grammar_free(room->grammar);
    room->form = NULL;
    room->grammar = NULL;
}

/* A grammar or schema among the settings takes the place of the one on the command line. */
static tn_status take_form(tn_chat_room *room, const tn_answer_form *form) {
    tn_grammar *grammar = NULL;
    tn_grammar_state *state = NULL;
    tn_status status = TN_OK;
    if (!tn_answer_form_is_any(form)) {
        status = tn_answer_form_grammar(form, &grammar);
        if (!status) status = tn_grammar_state_create(&state, grammar, room->defaults.sampler.tokenizer);
    }
    if (status) {
        tn_grammar_free(grammar);
        return status;
    }
    forget_form(room);
    room->grammar = grammar;
    room->form = state;
    return TN_OK;
}

tn_status tn_chat_room_change(tn_chat_room *room, json_t *changes) {
    tn_request settings = room->defaults;
    tn_status status = tn_request_read(&settings, changes);
    if (!status) status = take_form(room, &settings.form);
    if (status) {
        json_decref(changes);
        return status;
    }
    json_decref(room->changes);
    room->changes = changes;
    room->settings = settings;
    return TN_OK;
}

uint64_t tn_chat_room_seed(const tn_chat_room *room) {
    return room->settings.seed >= 0 ? (uint64_t)room->settings.seed : room->seed;
}

/* ---- a turn ---- */

/* `context` is told that an answer has begun. */
static tn_status show_piece(void *context, const char *text, size_t len) {
    bool *begun = context;
    *begun = true;
    TN_TRY(tn_cmd_write(text, len));
    return tn_chat_is_stopped(NULL) ? TN_FAIL(STOPPED, "interrupted") : TN_OK;
}

static void add_up(tn_chat_totals *totals, const tn_turn *turn) {
    totals->turns++;
    totals->prompt_tokens += turn->prompt_tokens - turn->reused;
    totals->reused += turn->reused;
    totals->prompt_seconds += turn->prompt_seconds;
    totals->tokens += turn->answer.tokens;
    totals->seconds += turn->answer.seconds;
}

static void tell_limits(const tn_chat_room *room, const tn_turn *turn) {
    if (turn->dropped)
        tn_log(TN_LOG_INFO, "chat", "the context was full: the %d oldest messages are forgotten", turn->dropped);
    if (turn->answer.reason == TN_STOP_CONTEXT)
        tn_log(TN_LOG_WARN, "chat",
               "the answer ends because the context of %d tokens is full: a larger one (-c), a "
               "new conversation (/reset) or --context-shift helps",
               tn_session_context(room->session));
}

static tn_status say(tn_chat_room *room, const char *text, tn_turn *turn) {
    tn_generate_options how = room->how;
    tn_sampler_options options = tn_request_sampler(&room->settings);
    tn_sampler *sampler;
    bool begun = false;
    options.seed = tn_chat_room_seed(room);
    if (room->form) how.grammar = room->form;
    how.max_tokens = room->settings.max_tokens;
    how.ignore_eos = room->settings.ignore_eos;
    how.stops = room->settings.stops;
    how.n_stops = room->settings.n_stops;
    how.piece = show_piece;
    how.context = &begun;
    TN_TRY(tn_sampler_create(&sampler, tn_model_get_config(room->model)->vocab_size, &options));
    tn_status status = tn_conversation_say(room->conversation, text, sampler, &how, turn);
    tn_sampler_free(sampler);
    if (begun || !status) {
        tn_status ended = tn_cmd_print("\n");
        if (!status) status = ended;
    }
    return status;
}

static tn_status take_turn(tn_chat_room *room, const char *text) {
    tn_turn turn;
    forget_interrupts();
    tn_status status = say(room, text, &turn);
    add_up(&room->totals, &turn);
    room->read = tn_session_length(room->session);
    tell_limits(room, &turn);
    bool goes_on = status == TN_E_STOPPED && interrupts && !ending && tn_line_editor_is_terminal(room->editor);
    if (goes_on) interrupts = 0;
    return goes_on ? TN_OK : status;
}

/* ---- all turns ---- */

/* Tell what failed, unless nothing can go on after it. */
static tn_status leave_behind(tn_chat_room *room, tn_status status) {
    if (!status || status == TN_E_STOPPED || status == TN_E_NOMEM) return status;
    room->failures += !tn_line_editor_is_terminal(room->editor);
    (void)tn_cmd_fail(status);
    return TN_OK;
}

static bool is_blank(const char *text) { return text[strspn(text, " \t\n\r")] == '\0'; }

static tn_status respond(tn_chat_room *room, const char *message) {
    if (is_blank(message)) return TN_OK;
    if (*message == '/') return tn_chat_command(room, message);
    room->leaving = room->single_turn;
    return take_turn(room, message);
}

/* Ctrl-C at the prompt: what was typed is gone; where nothing was, the second one in a row leaves. */
static tn_status take_interrupt(tn_chat_room *room, const char *typed, bool *pressed) {
    if (ending || !tn_line_editor_is_terminal(room->editor)) return TN_FAIL(STOPPED, "interrupted");
    room->leaving = *pressed && is_blank(typed);
    *pressed = is_blank(typed);
    fprintf(stderr, *pressed && !room->leaving ? "\n(once more, or Ctrl-D, leaves)\n" : "\n");
    forget_interrupts();
    return TN_OK;
}

static tn_status take_message(tn_chat_room *room, tn_buf *message, bool *pressed) {
    tn_line_kind kind;
    TN_TRY(tn_chat_read(room, message, &kind));
    if (kind == TN_LINE_INTERRUPTED) return take_interrupt(room, tn_buf_text(message), pressed);
    *pressed = false;
    room->leaving = kind == TN_LINE_END;
    return room->leaving ? TN_OK : respond(room, tn_buf_text(message));
}

tn_status tn_chat_room_run(tn_chat_room *room, const char *first) {
    tn_buf message = {0};
    bool pressed = false;
    tn_status status = tn_chat_room_change(room, json_object());
    room->leaving = first && room->single_turn;
    if (!status && first) status = leave_behind(room, take_turn(room, first));
    while (!status && !room->leaving) status = leave_behind(room, take_message(room, &message, &pressed));
    tn_buf_release(&message);
    return status;
}

void tn_chat_room_release(tn_chat_room *room) {
    forget_form(room);
    json_decref(room->changes);
}

static double rate(int64_t count, double seconds) { return seconds > 0 ? (double)count / seconds : 0; }

void tn_chat_room_show_totals(const tn_chat_room *room) {
    const tn_chat_totals *t = &room->totals;
    fprintf(stderr,
            "turns: %d; prompts: %lld tokens, %.1f tokens/s (%lld more were there already); answers: %lld tokens, %.1f "
            "tokens/s; context: %d of %d tokens; seed %llu\n",
            t->turns, (long long)t->prompt_tokens, rate(t->prompt_tokens, t->prompt_seconds), (long long)t->reused,
            (long long)t->tokens, rate(t->tokens, t->seconds), room->read, tn_session_context(room->session),
            (unsigned long long)tn_chat_room_seed(room));
}
