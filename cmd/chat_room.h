/* SPDX-License-Identifier: MIT
 * chat_room.h - a conversation with a person or over a pipe. chat_room.c takes the turns, chat_input.c reads what is
 * said, chat_commands.c does what begins with a slash, cmd_chat.c is the command line.
 * stdout carries the answers alone, each with a newline at its end; everything else goes to stderr. */
#ifndef TN_CMD_CHAT_ROOM_H
#define TN_CMD_CHAT_ROOM_H
#include "cmd/line_editor.h"
#include "cmd/lora_options.h"
#include "infer/conversation.h"
#include "infer/request.h"

typedef struct tn_chat_totals {
    int turns;
    int64_t prompt_tokens, reused, tokens;
    double prompt_seconds, seconds;
} tn_chat_totals;

typedef struct tn_chat_room {
    /* Filled by the caller, borrowed. */
    tn_session *session;
    tn_conversation *conversation;
    tn_line_editor *editor;
    tn_model *model;
    tn_lora_options *lora;   /* beside it */
    tn_generate_options how; /* what settings do not say: guesses, the grammar of the command line */
    tn_request defaults;     /* settings as the command line has them */
    uint64_t seed;           /* where settings say none */
    bool multiline;          /* a message goes on until a line ends in a backslash; else a backslash makes it go on */
    bool color, single_turn;
    /* The room's own, zero at first. */
    json_t *changes;        /* object: what /set has changed */
    tn_request settings;    /* the defaults with the changes, whose texts they borrow */
    tn_grammar *grammar;    /* of the settings, and */
    tn_grammar_state *form; /* where it begins; NULL = they have none */
    tn_chat_totals totals;
    int read; /* tokens of the conversation that the model has read */
    bool leaving;
    int failures; /* turns and commands that failed, but a person's, who saw it */
} tn_chat_room;

/* From now on Ctrl-C stops an answer, and signals that end the program do so between two tokens. */
void tn_chat_catch_signals(void);
bool tn_chat_is_stopped(void *context); /* such a signal has come; for tn_conversation_options */
int tn_chat_signal(void);               /* its number, 0 = none */

/* Take turns until the person or the input has enough. A turn or command that fails is told, counted and left behind.
 * `first` is said before anything is read; or NULL. Fails: TN_E_STOPPED by a signal, or when the reader of stdout has
 * gone; TN_E_NOMEM. */
tn_status tn_chat_room_run(tn_chat_room *room, const char *first);
void tn_chat_room_release(tn_chat_room *room);

/* Put `changes`, which is taken over, in place of those that are there. Fails as tn_request_read, and for a grammar or
 * schema that is none, with nothing changed. */
tn_status tn_chat_room_change(tn_chat_room *room, json_t *changes);
uint64_t tn_chat_room_seed(const tn_chat_room *room); /* of the next answer */
/* Speed, seed and how full the context is, on stderr. */
void tn_chat_room_show_totals(const tn_chat_room *room);

/* ---- chat_input.c ---- */

/* The next message, its lines joined, or what there is of it when it was interrupted. `kind` as tn_line_editor_read; an
 * empty message is TN_LINE_TEXT too. */
tn_status tn_chat_read(const tn_chat_room *room, tn_buf *message, tn_line_kind *kind);
/* $XDG_STATE_HOME/tern/history, else ~/.local/state/tern/history, whose folder is made; "" when there is no home. */
tn_status tn_chat_history_path(tn_buf *out);

/* ---- chat_commands.c ---- */

/* Do what "/name argument" says. Fails: TN_E_MISSING for an unknown name, with the nearest one; what the command gives.
 */
tn_status tn_chat_command(tn_chat_room *room, const char *line);
tn_status tn_chat_list_commands(tn_buf *out); /* for /help and --help */

#endif
