/* SPDX-License-Identifier: MIT
 * cmd_chat.c - `tern chat`, which `tern run -cnv` is too: talk with a model. Flags are those of llama-cli and of
 * bitnet.cpp's run_inference.py. */
#include "cmd/chat_options.h"
#include "cmd/chat_room.h"
#include "cmd/escapes.h"
#include "cmd/generation_options.h"
#include "cmd/model_options.h"
#include "cmd/run_presets.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct settings {
    tn_model_options model;
    tn_generation generation;
    tn_chat_options chat;
    const char *prompt, *file;
    bool multiline, color, single_turn;
} settings;

typedef struct chat {
    settings *settings;
    tn_arena *arena;
    tn_loaded loaded;
    tn_buf prompt;
    tn_session *session;
    tn_chat_room room;
} chat;

/* ---- what is said before the first message ---- */

/* What -p is: bitnet.cpp and older llama.cpp take it as the system message, newer llama.cpp, which has -sys and -st, as
 * the first message of the user. */
static bool prompt_is_message(const settings *s) { return tn_chat_options_has_system(&s->chat) || s->single_turn; }

static tn_status begin_conversation(chat *c) {
    const settings *s = c->settings;
    TN_TRY(tn_text_argument(s->prompt, s->file, s->generation.escape, &c->prompt));
    const tn_buf *system = prompt_is_message(s) ? &s->chat.system : &c->prompt;
    if (!system->len) return TN_OK;
    if (system == &c->prompt)
        tn_log(TN_LOG_INFO, "chat",
               "-p is the system message, as in bitnet.cpp; beside -sys or -st it is the first "
               "message of the user");
    return tn_conversation_set_system(c->room.conversation, system->data);
}

/* ---- life ---- */

static tn_status open_conversation(chat *c) {
    settings *s = c->settings;
    int threads = s->model.threads, prompt_threads = s->model.prompt_threads;
    TN_TRY(tn_chat_options_open(&s->chat, &c->loaded, s->generation.escape));
    tn_log(TN_LOG_INFO, "chat", "chat template: %s", s->chat.source);
    const tn_conversation_options options = {.loaded = &c->loaded,
                                             .chat_template = s->chat.chat_template,
                                             .variables = s->chat.variables,
                                             .shift = s->generation.how.shift,
                                             .threads = threads,
                                             .prompt_threads = prompt_threads ? prompt_threads : threads,
                                             .stop = tn_chat_is_stopped};
    return tn_conversation_create(&c->room.conversation, c->session, &options);
}

static tn_status open_editor(chat *c) {
    tn_buf path = {0};
    bool person = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    tn_status status = person ? tn_chat_history_path(&path) : TN_OK;
    if (!status) status = tn_line_editor_open(&c->room.editor, path.len ? path.data : NULL, tn_chat_is_stopped);
    tn_buf_release(&path);
    return status;
}

static void fill_room(chat *c) {
    settings *s = c->settings;
    tn_chat_room *room = &c->room;
    const tn_generation *g = &s->generation;
    room->session = c->session;
    room->model = c->loaded.model;
    room->lora = &s->model.lora;
    room->how = g->how;
    room->defaults = tn_generation_request(g);
    room->seed = tn_generation_seed(g);
    room->multiline = s->multiline;
    room->single_turn = s->single_turn;
    room->color = s->color && !getenv("NO_COLOR") && isatty(STDERR_FILENO);
}

static tn_status open_chat(chat *c) {
    settings *s = c->settings;
    c->arena = tn_arena_create("model");
    if (!c->arena) return TN_E_NOMEM;
    TN_TRY(tn_model_options_load(&s->model, 1, c->arena, &c->loaded));
    TN_TRY(tn_session_create(&c->session, &c->loaded, tn_model_options_session(&s->model)));
    TN_TRY(tn_generation_open(&s->generation, c->loaded.tokenizer));
    TN_TRY(open_conversation(c));
    TN_TRY(open_editor(c));
    fill_room(c);
    return begin_conversation(c);
}

static tn_status run_chat(chat *c) {
    TN_TRY(open_chat(c));
    tn_chat_catch_signals();
    if (tn_line_editor_is_terminal(c->room.editor))
        fprintf(stderr, "Ctrl-C stops an answer, Ctrl-D leaves, /help tells what else there is.\n");
    bool asks = prompt_is_message(c->settings) && c->prompt.len;
    tn_status status = tn_chat_room_run(&c->room, asks ? c->prompt.data : NULL);
    if (c->room.totals.turns && tn_log_get_level() >= TN_LOG_INFO) tn_chat_room_show_totals(&c->room);
    return status;
}

static int run_command(settings *s) {
    chat c = {.settings = s};
    tn_status status = run_chat(&c);
    tn_line_editor_close(c.room.editor);
    tn_conversation_free(c.room.conversation);
    tn_chat_room_release(&c.room);
    tn_session_free(c.session);
    tn_chat_options_release(&s->chat);
    tn_generation_release(&s->generation);
    tn_loaded_release(&c.loaded);
    tn_arena_free(c.arena);
    tn_buf_release(&c.prompt);
    if (tn_chat_signal()) return TN_EXIT_SIGNAL + tn_chat_signal();
    if (status) return tn_cmd_fail(status);
    return c.room.failures ? TN_EXIT_FAILED : TN_EXIT_DONE;
}

/* ---- the command line ---- */

static int check(settings *s) {
    int status = tn_model_options_check(&s->model);
    if (status == TN_OPTIONS_GO) status = tn_generation_check(&s->generation);
    if (status == TN_OPTIONS_GO) status = tn_chat_options_check(&s->chat);
    if (status != TN_OPTIONS_GO) return status;
    if (s->prompt && s->file) return tn_cmd_usage_error("-p and -f cannot both be given");
    return TN_OPTIONS_GO;
}

static tn_status put_more(tn_buf *out) {
    TN_TRY(tn_run_presets_list(out));
    return tn_chat_list_commands(out);
}

int tn_cmd_chat(int argc, char **argv) {
    settings s = {0};
    const tn_option *model_rows = tn_model_options_init(&s.model);
    const tn_option *rows = tn_generation_init(&s.generation), *chat_rows = tn_chat_options_init(&s.chat);
    const tn_option options[] = {
        {"prompt", 'p', TN_OPT_ANY, &s.prompt, "TEXT", "the system message; beside -sys or -st the first question", 0,
         0, NULL},
        {"file", 'f', TN_OPT_TEXT, &s.file, "FILE", "the same from FILE", 0, 0, NULL},
        {"single-turn|st", 0, TN_OPT_ON, &s.single_turn, NULL, "leave after the first answer", 0, 0, NULL},
        {"multiline-input|mli", 0, TN_OPT_ON, &s.multiline, NULL, "a message ends with a line that ends in \\", 0, 0,
         NULL},
        {"color|co", 0, TN_OPT_ON, &s.color, NULL, "what is typed in green, on a terminal and without NO_COLOR", 0, 0,
         NULL},
        {"conversation|cnv", 0, TN_OPT_IGNORED, NULL, NULL, "no effect here", 0, 0, NULL},
        {"interactive", 'i', TN_OPT_IGNORED, NULL, NULL, "no effect here", 0, 0, NULL},
        {"interactive-first|if", 0, TN_OPT_IGNORED, NULL, NULL, "no effect here", 0, 0, NULL},
        {"display-prompt|no-display-prompt", 0, TN_OPT_IGNORED, NULL, NULL, "no effect here", 0, 0, NULL},
        {"no-conversation|no-cnv", 0, TN_OPT_REFUSED, NULL, "V", "tern run continues a text", 0, 0, NULL},
        {"session|prompt-cache|prompt-cache-ro|prompt-cache-all", 0, TN_OPT_REFUSED, NULL, "V",
         "/save and /load keep a chat", 0, 0, NULL},
        {"in-prefix|in-suffix|in-prefix-bos", 0, TN_OPT_REFUSED, NULL, "V",
         "the chat template says what stands around a message", 0, 0, NULL},
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "chat",
        .synopsis = "-m MODEL [-sys TEXT] [-p TEXT]",
        .about =
            "Talk with a model. Where the input is no terminal, each line is a message and only answers are written.",
        .more = put_more,
        .options = options,
        .shared = {chat_rows, rows, model_rows},
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status == TN_OPTIONS_GO) status = check(&s);
    return status == TN_OPTIONS_GO ? run_command(&s) : status;
}
