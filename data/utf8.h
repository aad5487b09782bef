/* SPDX-License-Identifier: MIT
 * utf8.h - single characters of text that is known to be valid (tn_utf8_valid_prefix in tokenizer.h decides that). */
#ifndef TN_DATA_UTF8_H
#define TN_DATA_UTF8_H
#include "core/status.h"

size_t tn_utf8_decode(const char *text, uint32_t *code_point); /* bytes read, 1..4 */
size_t tn_utf8_encode(uint32_t code_point, char out[4]);       /* bytes written, 1..4 */
/* TN_E_TEXT unless all of `text` is valid; the sentence starts with `name` and gives the byte offset plus `base`. */
tn_status tn_utf8_check(const char *name, uint64_t base, const char *text, size_t len);

#endif
