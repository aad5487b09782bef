/* SPDX-License-Identifier: MIT
 * console.h - where log messages go: stderr, and a file beside it when asked for.
 * A message is one line, "2026-01-31T12:00:00Z INFO train: text", or the same as one JSON object. On a terminal, a
 * progress line may stand below the messages; it is cleared before and redrawn after each. */
#ifndef TN_CMD_CONSOLE_H
#define TN_CMD_CONSOLE_H
#include "core/log.h"
#include "core/status.h"

/* Fails: TN_E_IO when `file` (NULL = none) cannot be appended to. */
tn_status tn_console_open(const char *file, tn_log_level level, bool jsonl);
void tn_console_close(void);

/* True when stderr is a terminal that can redraw a line (not TERM=dumb, NO_COLOR unset). */
bool tn_console_can_redraw(void);
/* Show `text` (no newline, cut to the terminal's width) as the progress line; "" takes it away. Nothing elsewhere. */
void tn_console_progress(const char *text);

#endif
