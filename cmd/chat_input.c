/* SPDX-License-Identifier: MIT */
#include "cmd/chat_room.h"
#include "core/fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a person types is green, as in llama.cpp. */
static void paint(const tn_chat_room *room, const char *code) {
    if (room->color && tn_line_editor_is_terminal(room->editor)) fprintf(stderr, "%s", code);
}

static bool ends_in_backslash(const tn_buf *line) { return line->len && line->data[line->len - 1] == '\\'; }

/* Whether the line is the last of its message; its backslash is taken off. */
static bool ends_message(const tn_chat_room *room, tn_buf *line, bool is_first) {
    if (is_first && line->len && line->data[0] == '/') return true;
    bool marked = ends_in_backslash(line);
    if (marked) line->data[--line->len] = '\0';
    return marked == room->multiline;
}

static tn_status read_lines(const tn_chat_room *room, tn_buf *message, tn_buf *line, tn_line_kind *kind) {
    bool ended = false;
    for (int n = 0; !ended; n++) {
        TN_TRY(tn_line_editor_read(room->editor, n ? "  " : "> ", line, kind));
        if (*kind == TN_LINE_END && n) break; /* the end of the input ends the message too */
        if (*kind != TN_LINE_TEXT) return tn_buf_append(message, tn_buf_text(line), line->len);
        ended = ends_message(room, line, n == 0);
        if (n) TN_TRY(tn_buf_putc(message, '\n'));
        TN_TRY(tn_buf_append(message, tn_buf_text(line), line->len));
    }
    *kind = TN_LINE_TEXT;
    return TN_OK;
}

tn_status tn_chat_read(const tn_chat_room *room, tn_buf *message, tn_line_kind *kind) {
    tn_buf line = {0};
    tn_buf_reset(message);
    paint(room, "\033[1m\033[32m");
    tn_status status = read_lines(room, message, &line, kind);
    paint(room, "\033[0m");
    tn_buf_release(&line);
    return status;
}

/* A folder for what programs remember, as the XDG base directory specification has it: absolute, or not used. */
static tn_status find_state_folder(tn_buf *out) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state && *state == '/') return tn_buf_puts(out, state);
    return home && *home == '/' ? tn_buf_printf(out, "%s/.local/state", home) : TN_OK;
}

tn_status tn_chat_history_path(tn_buf *out) {
    tn_buf_reset(out);
    TN_TRY(find_state_folder(out));
    if (!out->len) return TN_OK;
    TN_TRY(tn_buf_puts(out, "/tern"));
    TN_TRY(tn_dir_make(out->data));
    return tn_buf_puts(out, "/history");
}
