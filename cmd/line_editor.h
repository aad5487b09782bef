/* SPDX-License-Identifier: MIT
 * line_editor.h - lines that a person types: edited and remembered (libedit) on a terminal, plainly read elsewhere.
 * Threads: one editor a process, one thread. */
#ifndef TN_CMD_LINE_EDITOR_H
#define TN_CMD_LINE_EDITOR_H
#include "core/buf.h"

typedef struct tn_line_editor tn_line_editor;

typedef enum tn_line_kind {
    TN_LINE_TEXT,
    TN_LINE_END,        /* Ctrl-D, or the input is at its end */
    TN_LINE_INTERRUPTED /* `stopped` said so: the line has what was typed so far */
} tn_line_kind;

/* Lines are remembered in the file `history`, which is made when it is missing (mode 0600) and written again by _close;
 * NULL: for this process alone. A history that cannot be read is empty. `stopped`, which gets NULL, is asked while a
 * line is waited for: at its beginning, and again after each tn_line_editor_wake. Fails: TN_E_NOMEM, TN_E_IO. */
tn_status tn_line_editor_open(tn_line_editor **out, const char *history, bool (*stopped)(void *));
/* For handlers of signals, after what they change. A signal that comes between a look and a wait is not lost, whichever
 * thread it comes to. */
void tn_line_editor_wake(void);
void tn_line_editor_close(tn_line_editor *editor); /* NULL is fine */
/* True when a person sits there: prompts are shown. */
bool tn_line_editor_is_terminal(const tn_line_editor *editor);

/* The next line, without its newline; anything but UTF-8 is TN_E_TEXT. `prompt` is shown on a terminal. */
tn_status tn_line_editor_read(tn_line_editor *editor, const char *prompt, tn_buf *line, tn_line_kind *kind);

#endif
