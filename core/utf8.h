/* SPDX-License-Identifier: MIT
 * utf8.h - one code point at a time. Strict: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef TN_CORE_UTF8_H
#define TN_CORE_UTF8_H
#include "core/compiler.h"

/* The number of bytes, 1..4, of the code point at the start of text [len]; 0 when it is invalid or cut off. */
int tn_utf8_decode(const char *text, size_t len, uint32_t *code);
bool tn_utf8_is_valid(const char *text, size_t len);

#endif
