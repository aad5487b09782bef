/* SPDX-License-Identifier: MIT */
#include "cmd/console.h"
#include "core/clock.h"
#include "core/fs.h"
#include "core/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static FILE *log_file;
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

static void write_line(void *context, tn_log_level level, const char *room, const char *text) {
    (void)context;
    char stamp[21], line[2304];
    tn_clock_stamp(tn_clock_unix(), stamp);
    snprintf(line, sizeof line, "%s %s %s: %s", stamp, tn_log_level_name(level), room, text);
    tn_utf8_tame(line, "\t");
    clear_progress();
    fprintf(stderr, "%s\n", line);
    draw_progress();
    if (!log_file) return;
    fprintf(log_file, "%s\n", line);
    fflush(log_file);
}

tn_status tn_console_open(const char *file, tn_log_level level) {
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
