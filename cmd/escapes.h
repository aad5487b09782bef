/* SPDX-License-Identifier: MIT
 * escapes.h - backslash escapes in texts of the command line: \n \r \t \" \' \\ \xHH. Others stay as they are. */
#ifndef TN_CMD_ESCAPES_H
#define TN_CMD_ESCAPES_H
#include "core/buf.h"

void tn_unescape(tn_buf *text); /* in place */

#endif
