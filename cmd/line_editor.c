/* SPDX-License-Identifier: MIT */
#include "cmd/line_editor.h"

#include "core/arena.h"
#include "core/fs.h"
#include "core/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

enum { REMEMBERED = 1000 };

/* A byte in it ends a wait; of the one editor of a process. */
static int wake[2] = {-1, -1};

struct tn_line_editor {
    EditLine *line; /* NULL: no terminal */
    History *past;
    HistEvent event;
    tn_buf history; /* path, or empty */
    const char *prompt;
    bool (*stopped)(void *context); /* asked with NULL */
    char bytes[4096];               /* of stdin, at..n of them not taken yet */
    int at, n;
};

/* ---- bytes of stdin ---- */

void tn_line_editor_wake(void) {
    const int before = errno;
    if (write(wake[1], "", 1) < 0) errno = before; /* full: awake already */
}

static void drain_wake(void) {
    char bytes[64];
    while (read(wake[0], bytes, sizeof bytes) > 0) continue;
}

/* Until stdin has something. False, with errno EINTR, when it was stopped. */
static bool wait_for_bytes(tn_line_editor *editor) {
    for (;;) {
        struct pollfd files[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = wake[0], .events = POLLIN}};
        drain_wake();
        if (editor->stopped(NULL)) {
            errno = EINTR;
            return false;
        }
        if (poll(files, TN_COUNT(files), -1) > 0 && files[0].revents) return true;
    }
}

/* What there is now. 1, 0 at the end of the input, -1 with errno when it was stopped or failed. */
static int fill(tn_line_editor *editor) {
    ssize_t n;
    do {
        if (!wait_for_bytes(editor)) return -1;
        n = read(STDIN_FILENO, editor->bytes, sizeof editor->bytes);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    editor->at = 0;
    editor->n = n > 0 ? (int)n : 0;
    return n > 0 ? 1 : (int)n;
}

/* As fill. */
static int next_byte(tn_line_editor *editor, char *byte) {
    const int got = editor->at < editor->n ? 1 : fill(editor);
    if (got == 1) *byte = editor->bytes[editor->at++];
    return got;
}

/* ---- editing ---- */

/* What is no UTF-8 is passed over, as libedit does. */
static int next_character(EditLine *line, wchar_t *out) {
    tn_line_editor *editor = NULL;
    mbstate_t state = {0};
    char byte;
    int got;
    el_get(line, EL_CLIENTDATA, (void *)&editor);
    while ((got = next_byte(editor, &byte)) == 1) {
        const size_t used = mbrtowc(out, &byte, 1, &state);
        if (used <= 1) return 1;
        if (used == (size_t)-1) state = (mbstate_t){0};
    }
    return got;
}

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
    el_set(editor->line, EL_GETCFN, next_character);
    el_set(editor->line, EL_PROMPT, prompt_of);
    el_set(editor->line, EL_EDITOR, "emacs");
    el_set(editor->line, EL_SIGNAL, 0); /* signals are the caller's */
    el_set(editor->line, EL_HIST, history, editor->past);
    el_set(editor->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    return TN_OK;
}

tn_status tn_line_editor_open(tn_line_editor **out, const char *history, bool (*stopped)(void *)) {
    tn_line_editor *editor = tn_heap_zalloc(1, sizeof *editor);
    *out = NULL;
    if (!editor) return TN_E_NOMEM;
    editor->stopped = stopped;
    tn_status status = history ? tn_buf_puts(&editor->history, history) : TN_OK;
    if (!status && wake[0] < 0 && pipe2(wake, O_NONBLOCK | O_CLOEXEC) != 0) status = tn_fail_errno("stdin", "wait for");
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

/* ---- lines ---- */

static tn_status finish(tn_buf *line) {
    if (line->len && line->data[line->len - 1] == '\n') line->data[--line->len] = '\0';
    return tn_utf8_check("the line", 0, tn_buf_text(line), line->len);
}

static tn_status read_plainly(tn_line_editor *editor, tn_buf *line, tn_line_kind *kind) {
    char byte = '\0';
    int got;
    while ((got = next_byte(editor, &byte)) == 1 && byte != '\n') TN_TRY(tn_buf_append(line, &byte, 1));
    if (got < 0 && errno != EINTR) return tn_fail_errno("stdin", "read");
    *kind = got < 0 ? TN_LINE_INTERRUPTED : got || line->len ? TN_LINE_TEXT : TN_LINE_END;
    return finish(line);
}

static tn_status take_interrupted(tn_line_editor *editor, tn_buf *line) {
    const LineInfo *typed = el_line(editor->line);
    tn_status status = tn_buf_append(line, typed->buffer, (size_t)(typed->lastchar - typed->buffer));
    el_reset(editor->line);
    editor->at = editor->n = 0;
    return status;
}

tn_status tn_line_editor_read(tn_line_editor *editor, const char *prompt, tn_buf *line, tn_line_kind *kind) {
    int len = 0;
    tn_buf_reset(line);
    if (!editor->line) return read_plainly(editor, line, kind);
    editor->prompt = prompt;
    el_set(editor->line, EL_PREP_TERM, 1); /* libedit would show its prompt before keys are its own */
    errno = 0;
    const char *text = el_gets(editor->line, &len);
    *kind = text && len > 0 ? TN_LINE_TEXT : errno == EINTR || len < 0 ? TN_LINE_INTERRUPTED : TN_LINE_END;
    if (*kind == TN_LINE_INTERRUPTED) return take_interrupted(editor, line);
    if (*kind != TN_LINE_TEXT) return TN_OK;
    if (len > 1) history(editor->past, &editor->event, H_ENTER, text);
    TN_TRY(tn_buf_append(line, text, (size_t)len));
    return finish(line);
}
