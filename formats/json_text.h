/* SPDX-License-Identifier: MIT
 * json_text.h - values of JSON as text: to write them, and to speak of them. */
#ifndef TN_FORMATS_JSON_TEXT_H
#define TN_FORMATS_JSON_TEXT_H
#include "core/buf.h"

#include <jansson.h>

/* Append `value` on one line, without spaces; numbers have 15 digits. Fails: TN_E_TEXT, also for NULL, which is
 * jansson's answer to a text that is not UTF-8 and to want of memory. */
tn_status tn_json_text_put(const json_t *value, tn_buf *out);

/* "a string", "the number 3.5", "a list": for sentences. */
const char *tn_json_text_describe(const json_t *value, char out[64]);

#endif
