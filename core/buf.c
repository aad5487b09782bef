/* SPDX-License-Identifier: MIT */
#include "core/buf.h"

#include "core/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tn_status tn_buf_reserve(tn_buf *buf, size_t more) {
    if (more > SIZE_MAX / 2 - buf->len) return TN_FAIL(NOMEM, "out of memory: a buffer of %zu bytes asked for", more);
    size_t need = buf->len + more + 1;
    if (need <= buf->cap) return TN_OK;
    size_t cap = TN_MAX(need, buf->cap + buf->cap / 2 + 64);
    char *data = tn_heap_resize(buf->data, cap);
    if (!data) return TN_E_NOMEM;
    buf->data = data;
    buf->cap = cap;
    buf->data[buf->len] = '\0';
    return TN_OK;
}

tn_status tn_buf_append(tn_buf *buf, const void *data, size_t len) {
    TN_TRY(tn_buf_reserve(buf, len));
    if (len) memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return TN_OK;
}

tn_status tn_buf_puts(tn_buf *buf, const char *text) { return tn_buf_append(buf, text, strlen(text)); }
tn_status tn_buf_putc(tn_buf *buf, char c) { return tn_buf_append(buf, &c, 1); }

tn_status tn_buf_vprintf(tn_buf *buf, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    TN_ASSERT(len >= 0);
    tn_status status = tn_buf_reserve(buf, (size_t)len);
    if (!status) {
        vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, again);
        buf->len += (size_t)len;
    }
    va_end(again);
    return status;
}

tn_status tn_buf_printf(tn_buf *buf, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    tn_status status = tn_buf_vprintf(buf, fmt, args);
    va_end(args);
    return status;
}

tn_status tn_buf_put_real(tn_buf *buf, double value) {
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    return tn_buf_puts(buf, text);
}

const char *tn_buf_text(const tn_buf *buf) { return buf->data ? buf->data : ""; }

void tn_buf_reset(tn_buf *buf) {
    buf->len = 0;
    if (buf->data) buf->data[0] = '\0';
}

void tn_buf_release(tn_buf *buf) {
    tn_heap_free(buf->data);
    *buf = (tn_buf){0};
}
