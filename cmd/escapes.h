/* SPDX-License-Identifier: MIT
 * escapes.h - texts of the command line, and their backslash escapes: \n \r \t \" \' \\ \xHH. Others stay as they
 * are. */
#ifndef TN_CMD_ESCAPES_H
#define TN_CMD_ESCAPES_H
#include "core/buf.h"

void tn_unescape(tn_buf *text); /* in place */

/* Append `text`, or what is in `file`, - for stdin, whose last newline belongs to the file alone; either may be NULL.
 */
tn_status tn_text_argument(const char *text, const char *file, bool escape, tn_buf *out);

#endif
