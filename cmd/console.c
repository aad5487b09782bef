/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"
#include "cmd/console.h"
#include "core/clock.h"
#include "core/fs.h"
#include "core/utf8.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { MAX_LINE = 1 << 14 };

static FILE *log_file;
static bool as_json;
static char progress[512];

bool tn_console_can_redraw(void) {
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0 && !getenv("NO_COLOR");
}

static int terminal_width(void) {
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return known ? size.ws_col - 1 : 79;
}

static void clear_progress(void) {
    if (progress[0]) fputs("\r\033[K", stderr);
}

static void draw_progress(void) {
    if (progress[0]) fprintf(stderr, "\r\033[K%.*s", terminal_width(), progress);
    fflush(stderr);
}

void tn_console_progress(const char *text) {
    if (!tn_console_can_redraw()) return;
    if (!*text) clear_progress();
    snprintf(progress, sizeof progress, "%s", text);
    draw_progress();
}

static void put_plain(char line[MAX_LINE], tn_log_level level, const char *room, const char *text) {
    char stamp[21];
    tn_clock_stamp(tn_clock_unix(), stamp);
    snprintf(line, MAX_LINE, "%s %s %s: %s", stamp, tn_log_level_name(level), room, text);
    tn_utf8_tame(line, "\t");
}

/* False when memory is short. A message has at most 2047 bytes, of which JSON makes at most six each. */
static bool put_json(char line[MAX_LINE], tn_log_level level, const char *room, const char *text) {
    char stamp[21];
    tn_clock_stamp(tn_clock_unix(), stamp);
    json_t *object = json_pack("{s:s, s:s, s:s, s:o}", "time", stamp, "level", tn_log_level_name(level), "room", room,
                               "text", tn_cmd_json_text(text, strlen(text)));
    size_t len = object ? json_dumpb(object, line, MAX_LINE - 1, JSON_COMPACT | JSON_ENSURE_ASCII) : 0;
    json_decref(object);
    if (len >= MAX_LINE) len = 0;
    line[len] = '\0';
    return len > 0;
}

static void write_line(void *context, tn_log_level level, const char *room, const char *text) {
    (void)context;
    char line[MAX_LINE];
    if (!as_json || !put_json(line, level, room, text)) put_plain(line, level, room, text);
    clear_progress();
    fprintf(stderr, "%s\n", line);
    draw_progress();
    if (!log_file) return;
    fprintf(log_file, "%s\n", line);
    fflush(log_file);
}

tn_status tn_console_open(const char *file, tn_log_level level, bool jsonl) {
    as_json = jsonl;
    if (file) {
        log_file = fopen(file, "ae");
        if (!log_file) return tn_fail_errno(file, "write");
    }
    tn_log_set_level(level);
    tn_log_set_sink(write_line, NULL);
    return TN_OK;
}

void tn_console_close(void) {
    tn_console_progress("");
    tn_log_set_sink(NULL, NULL);
    if (log_file) fclose(log_file);
    log_file = NULL;
}
