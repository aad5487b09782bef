/* SPDX-License-Identifier: MIT
 * normal_form.h - Unicode's normal form C, from utf8proc (Unicode 15). */
#ifndef TN_DATA_NORMAL_FORM_H
#define TN_DATA_NORMAL_FORM_H
#include "core/buf.h"

/* True for text that is in form C because it has no character from U+0300 on; most of it. */
bool tn_is_plainly_nfc(const char *text, size_t len);
/* Append `text`, valid UTF-8, in form C. Fails: TN_E_RANGE for more than 512 MiB of it. */
tn_status tn_nfc(const char *text, size_t len, tn_buf *out);

#endif
