/* SPDX-License-Identifier: MIT
 * utf8.h - the one judge of UTF-8: strict (Unicode 15, table 3-7), so no overlong forms, no surrogates, nothing above
 * U+10FFFF. */
#ifndef TN_CORE_UTF8_H
#define TN_CORE_UTF8_H
#include "core/buf.h"

/* The length of the longest prefix of `text` that is valid UTF-8. `incomplete` (may be NULL) tells whether what follows
 * is the beginning of a character that may still become valid. */
size_t tn_utf8_valid_prefix(const char *text, size_t len, bool *incomplete);
/* TN_E_TEXT unless all of `text` is valid; the sentence starts with `name` and gives the byte offset plus `base`. */
tn_status tn_utf8_check(const char *name, uint64_t base, const char *text, size_t len);

/* The number of bytes, 1..4, of the code point at the start of any text [len]; 0 when it is invalid or cut off. */
int tn_utf8_read(const char *text, size_t len, uint32_t *code_point);
/* The same for text that is known to be valid. */
size_t tn_utf8_decode(const char *text, uint32_t *code_point);
size_t tn_utf8_encode(uint32_t code_point, char out[4]); /* bytes written, 1..4 */

/* Append `text` with U+FFFD for each byte that is not part of valid UTF-8: for names of files, which may hold any. */
tn_status tn_utf8_repair(const char *text, size_t len, tn_buf *out);
/* Put '?' for each control character (C0, DEL, C1) that is not in `kept`, for line and paragraph separators, and for
 * each invalid byte, so that a terminal obeys nothing in `text` and shows it on one line. It may become shorter. */
void tn_utf8_tame(char *text, const char *kept);

#endif
