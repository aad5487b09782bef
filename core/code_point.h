/* SPDX-License-Identifier: MIT
 * code_point.h - the next character of UTF-8 text that may be anything. Strict: no overlong forms, no surrogates,
 * nothing above U+10FFFF. */
#ifndef TN_CORE_CODE_POINT_H
#define TN_CORE_CODE_POINT_H
#include "core/compiler.h"

/* The number of bytes, 1..4, of the code point at the start of text [len]; 0 when it is invalid or cut off. */
int tn_code_point_read(const char *text, size_t len, uint32_t *code);

#endif
