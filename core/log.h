/* SPDX-License-Identifier: MIT
 * log.h - messages to the person running Tern, with a level and a room: "2026-01-31T12:00:00Z INFO train: text".
 * Below cmd/ nothing prints: the sink, set once by the program, decides where a message goes. Default: dropped. */
#ifndef TN_CORE_LOG_H
#define TN_CORE_LOG_H
#include "core/compiler.h"

typedef enum tn_log_level {
    TN_LOG_OUTPUT,
    TN_LOG_ERROR,
    TN_LOG_WARN,
    TN_LOG_INFO,
    TN_LOG_TRACE,
    TN_LOG_DEBUG
} tn_log_level;

/* `text` has no newline; borrowed for the call. */
typedef void tn_log_sink(void *context, tn_log_level level, const char *room, const char *text);

void tn_log_set_sink(tn_log_sink *sink, void *context);
void tn_log_set_level(tn_log_level level); /* default TN_LOG_INFO */
tn_log_level tn_log_get_level(void);
void tn_log(tn_log_level level, const char *room, const char *fmt, ...) TN_PRINTF(3, 4);
const char *tn_log_level_name(tn_log_level level); /* "INFO" */

#endif
