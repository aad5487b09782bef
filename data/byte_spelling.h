/* SPDX-License-Identifier: MIT
 * byte_spelling.h - GPT-2's alphabet: every byte is one printable character, so that any bytes can be written as text.
 * Bytes 21-7E, A1-AC, AE-FF stand for themselves; the other 68, ascending, are U+0100, U+0101, ... */
#ifndef TN_DATA_BYTE_SPELLING_H
#define TN_DATA_BYTE_SPELLING_H
#include "core/buf.h"

/* The byte with place `i` (0..255) in GPT-2's vocabulary: the plain ones ascending, then the others ascending. */
unsigned char tn_byte_in_order(int i);
tn_status tn_byte_spell(const char *bytes, size_t len, tn_buf *out); /* appends */
/* Appends the bytes that valid UTF-8 `text` spells; false when a character is not of the alphabet. NOMEM is in
 * `status`. */
bool tn_byte_unspell(const char *text, size_t len, tn_buf *out, tn_status *status);

#endif
