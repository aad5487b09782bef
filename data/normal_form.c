/* SPDX-License-Identifier: MIT */
#include "data/normal_form.h"

#include "core/arena.h"

#include <utf8proc.h>

enum { FIRST_LEAD = 0xCC, MAX_TEXT = 512 << 20 }; /* U+0300 is CC 80 */

bool tn_is_plainly_nfc(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] >= FIRST_LEAD) return false;
    return true;
}

static tn_status compose(const char *text, size_t len, utf8proc_int32_t *codes, size_t n, tn_buf *out) {
    utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, codes, (utf8proc_ssize_t)n,
                       UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    utf8proc_ssize_t bytes = utf8proc_reencode(codes, (utf8proc_ssize_t)n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    TN_ASSERT(bytes >= 0);
    return tn_buf_append(out, codes, (size_t)bytes);
}

tn_status tn_nfc(const char *text, size_t len, tn_buf *out) {
    if (len > MAX_TEXT) return TN_FAIL(RANGE, "a text of %zu bytes is too long to bring into normal form", len);
    utf8proc_ssize_t n = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, NULL, 0,
                                            UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0) return TN_FAIL(TEXT, "text cannot be brought into normal form: %s", utf8proc_errmsg(n));
    utf8proc_int32_t *codes = tn_heap_zalloc((size_t)n + 1, sizeof *codes);
    if (!codes) return TN_E_NOMEM;
    tn_status status = compose(text, len, codes, (size_t)n, out);
    tn_heap_free(codes);
    return status;
}
