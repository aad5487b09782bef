/* SPDX-License-Identifier: MIT */
#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static TN_THREAD_LOCAL char message[1024];
static TN_THREAD_LOCAL char place[128];

const char *tn_status_name(tn_status status) {
    switch (status) {
    case TN_OK: return "TN_OK";
#define STATUS(name, text)                                                                                             \
    case TN_E_##name:                                                                                                  \
        return "TN_E_" #name;
#include "core/status.def"
#undef STATUS
    default: return "unknown status";
    }
}

const char *tn_status_text(tn_status status) {
    switch (status) {
    case TN_OK: return "done";
#define STATUS(name, text)                                                                                             \
    case TN_E_##name:                                                                                                  \
        return text;
#include "core/status.def"
#undef STATUS
    default: return "unknown status";
    }
}

const char *tn_error_message(void) { return message; }
const char *tn_error_place(void) { return place; }

void tn_error_clear(void) {
    message[0] = '\0';
    place[0] = '\0';
}

tn_status tn_fail_at(tn_status code, const char *file, int line, const char *fmt, ...) {
    char text[sizeof message]; /* an argument may be the old message */
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    snprintf(message, sizeof message, "%s", text);
    snprintf(place, sizeof place, "%s:%d", file, line);
    return code;
}

void tn_assert_failed(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: broken contract: %s\n", file, line, what);
    abort();
}
