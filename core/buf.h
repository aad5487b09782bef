/* SPDX-License-Identifier: MIT
 * buf.h - a growable run of bytes, always followed by a NUL, for text and for binary alike.
 * Life: tn_buf b = {0};  ... tn_buf_append(...) ...;  tn_buf_release(&b).  b.data is NULL until the first byte. */
#ifndef TN_CORE_BUF_H
#define TN_CORE_BUF_H
#include "core/status.h"

#include <stdarg.h>

typedef struct tn_buf {
    char *data;
    size_t len; /* bytes in use, the NUL not counted */
    size_t cap;
} tn_buf;

tn_status tn_buf_reserve(tn_buf *buf, size_t more); /* room for `more` bytes and the NUL */
tn_status tn_buf_append(tn_buf *buf, const void *data, size_t len);
tn_status tn_buf_puts(tn_buf *buf, const char *text);
tn_status tn_buf_putc(tn_buf *buf, char c);
tn_status tn_buf_printf(tn_buf *buf, const char *fmt, ...) TN_PRINTF(2, 3);
tn_status tn_buf_vprintf(tn_buf *buf, const char *fmt, va_list args);
/* The shortest of 15 to 17 digits that reads back to the same number. */
tn_status tn_buf_put_real(tn_buf *buf, double value);
const char *tn_buf_text(const tn_buf *buf); /* never NULL */
void tn_buf_reset(tn_buf *buf);             /* empty, keep the memory */
void tn_buf_release(tn_buf *buf);

#endif
