/* SPDX-License-Identifier: MIT */
#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>

static tn_log_sink *the_sink;
static void *sink_context;
static tn_log_level the_level = TN_LOG_INFO;

void tn_log_set_sink(tn_log_sink *sink, void *context) {
    the_sink = sink;
    sink_context = context;
}

void tn_log_set_level(tn_log_level level) { the_level = level; }
tn_log_level tn_log_get_level(void) { return the_level; }

const char *tn_log_level_name(tn_log_level level) {
    static const char *const names[] = {"OUTPUT", "ERROR", "WARN", "INFO", "TRACE", "DEBUG"};
    return names[level];
}

void tn_log(tn_log_level level, const char *room, const char *fmt, ...) {
    if (level > the_level || !the_sink) return;
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    the_sink(sink_context, level, room, text);
}
