/* SPDX-License-Identifier: MIT */
#include "cmd/line_editor.h"

#include "core/arena.h"
#include "core/utf8.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REMEMBERED = 1000 };

struct tn_line_editor {
    EditLine *line; /* NULL: no terminal */
    History *past;
    HistEvent event;
    tn_buf history; /* path, or empty */
    const char *prompt;
};

static char *prompt_of(EditLine *line) {
    tn_line_editor *editor = NULL;
    el_get(line, EL_CLIENTDATA, (void *)&editor);
    return (char *)(uintptr_t)editor->prompt;
}

/* libedit counts columns by the locale; the rest of the program stays in "C". */
static void use_utf8(void) {
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
}

static tn_status start_editing(tn_line_editor *editor) {
    use_utf8();
    editor->line = el_init("tern", stdin, stdout, stderr);
    editor->past = history_init();
    if (!editor->line || !editor->past) return TN_E_NOMEM;
    history(editor->past, &editor->event, H_SETSIZE, (int)REMEMBERED);
    history(editor->past, &editor->event, H_SETUNIQUE, 1);
    if (editor->history.len) history(editor->past, &editor->event, H_LOAD, tn_buf_text(&editor->history));
    el_set(editor->line, EL_CLIENTDATA, editor);
    el_set(editor->line, EL_PROMPT, prompt_of);
    el_set(editor->line, EL_EDITOR, "emacs");
    el_set(editor->line, EL_SIGNAL, 0); /* signals are the caller's */
    el_set(editor->line, EL_HIST, history, editor->past);
    el_set(editor->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    return TN_OK;
}

tn_status tn_line_editor_open(tn_line_editor **out, const char *history) {
    tn_line_editor *editor = tn_heap_zalloc(1, sizeof *editor);
    *out = NULL;
    if (!editor) return TN_E_NOMEM;
    tn_status status = history ? tn_buf_puts(&editor->history, history) : TN_OK;
    if (!status && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) status = start_editing(editor);
    if (status)
        tn_line_editor_close(editor);
    else
        *out = editor;
    return status;
}

void tn_line_editor_close(tn_line_editor *editor) {
    if (!editor) return;
    if (editor->past && editor->history.len) {
        const mode_t mask = umask(0077); /* what people say to a model is theirs */
        history(editor->past, &editor->event, H_SAVE, tn_buf_text(&editor->history));
        umask(mask);
    }
    if (editor->past) history_end(editor->past);
    if (editor->line) el_end(editor->line);
    tn_buf_release(&editor->history);
    tn_heap_free(editor);
}

bool tn_line_editor_is_terminal(const tn_line_editor *editor) { return editor->line != NULL; }

static tn_status finish(tn_buf *line) {
    if (line->len && line->data[line->len - 1] == '\n') line->data[--line->len] = '\0';
    return tn_utf8_check("the line", 0, tn_buf_text(line), line->len);
}

static tn_status read_plainly(tn_buf *line, tn_line_kind *kind) {
    int c;
    errno = 0;
    while ((c = getchar()) != EOF && c != '\n') {
        const char byte = (char)c;
        TN_TRY(tn_buf_append(line, &byte, 1));
    }
    *kind = c != EOF || (line->len && errno != EINTR) ? TN_LINE_TEXT
            : errno == EINTR                          ? TN_LINE_INTERRUPTED
                                                      : TN_LINE_END;
    if (*kind == TN_LINE_INTERRUPTED) {
        clearerr(stdin);
    }
    return finish(line);
}

static tn_status take_interrupted(tn_line_editor *editor, tn_buf *line) {
    const LineInfo *typed = el_line(editor->line);
    tn_status status = tn_buf_append(line, typed->buffer, (size_t)(typed->lastchar - typed->buffer));
    el_reset(editor->line);
    return status;
}

tn_status tn_line_editor_read(tn_line_editor *editor, const char *prompt, tn_buf *line, tn_line_kind *kind) {
    int len = 0;
    tn_buf_reset(line);
    if (!editor->line) return read_plainly(line, kind);
    editor->prompt = prompt;
    errno = 0;
    const char *text = el_gets(editor->line, &len);
    *kind = text && len > 0 ? TN_LINE_TEXT : errno == EINTR || len < 0 ? TN_LINE_INTERRUPTED : TN_LINE_END;
    if (*kind == TN_LINE_INTERRUPTED) return take_interrupted(editor, line);
    if (*kind != TN_LINE_TEXT) return TN_OK;
    if (len > 1) history(editor->past, &editor->event, H_ENTER, text);
    TN_TRY(tn_buf_append(line, text, (size_t)len));
    return finish(line);
}
