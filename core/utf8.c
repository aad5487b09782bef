/* SPDX-License-Identifier: MIT */
#include "core/utf8.h"

#include <inttypes.h>
#include <string.h>

enum { INVALID = 0, INCOMPLETE = -1 };

/* Bytes of the character at p, or INVALID, or INCOMPLETE when `len` cuts a so far valid one (Unicode 15, table 3-7). */
static int sequence(const unsigned char *p, size_t len) {
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4) return INVALID;
    int n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    unsigned low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;  /* overlong forms start below */
    unsigned high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF; /* surrogates, and beyond U+10FFFF, above */
    for (int i = 1; i < n; i++) {
        if ((size_t)i == len) return INCOMPLETE;
        if (p[i] < low || p[i] > high) return INVALID;
        low = 0x80;
        high = 0xBF;
    }
    return n;
}

size_t tn_utf8_valid_prefix(const char *text, size_t len, bool *incomplete) {
    const unsigned char *p = (const unsigned char *)text;
    size_t at = 0;
    int n = 1;
    while (at < len) {
        uint64_t eight;
        if (len - at >= 8 && (memcpy(&eight, p + at, 8), (eight & 0x8080808080808080u) == 0)) {
            at += 8;
            continue;
        }
        n = sequence(p + at, len - at);
        if (n <= 0) break;
        at += (size_t)n;
    }
    if (incomplete) *incomplete = n == INCOMPLETE;
    return at;
}

size_t tn_utf8_decode(const char *text, uint32_t *code_point) {
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80) return *code_point = p[0], 1;
    size_t n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    uint32_t value = p[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) value = value << 6 | (p[i] & 0x3F);
    *code_point = value;
    return n;
}

int tn_utf8_read(const char *text, size_t len, uint32_t *code_point) {
    int n = len ? sequence((const unsigned char *)text, len) : INVALID;
    if (n <= 0) return 0;
    tn_utf8_decode(text, code_point);
    return n;
}

size_t tn_utf8_encode(uint32_t code_point, char out[4]) {
    if (code_point < 0x80) return out[0] = (char)code_point, 1;
    size_t n = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code_point >>= 6) out[i] = (char)(0x80 | (code_point & 0x3F));
    out[0] = (char)((0xF00u >> n & 0xFF) | code_point);
    return n;
}

tn_status tn_utf8_check(const char *name, uint64_t base, const char *text, size_t len) {
    size_t valid = tn_utf8_valid_prefix(text, len, NULL);
    if (valid == len) return TN_OK;
    return TN_FAIL(TEXT, "%s: byte %" PRIu64 " (0x%02x) is not valid UTF-8, expected UTF-8 text", name, base + valid,
                   (unsigned char)text[valid]);
}

tn_status tn_utf8_repair(const char *text, size_t len, tn_buf *out) {
    for (size_t at = 0; at < len;) {
        size_t valid = tn_utf8_valid_prefix(text + at, len - at, NULL);
        TN_TRY(tn_buf_append(out, text + at, valid));
        at += valid;
        if (at < len) TN_TRY(tn_buf_puts(out, "\xEF\xBF\xBD"));
        at++;
    }
    return TN_OK;
}

static bool is_control(uint32_t code) {
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x2028 || code == 0x2029;
}

void tn_utf8_tame(char *text, const char *kept) {
    size_t to = 0;
    for (size_t at = 0, len = strlen(text); at < len;) {
        uint32_t code = 0;
        int n = tn_utf8_read(text + at, len - at, &code);
        bool harmless = n && (!is_control(code) || (code < 0x80 && strchr(kept, (int)code)));
        if (harmless)
            memmove(text + to, text + at, (size_t)n);
        else
            text[to] = '?';
        to += harmless ? (size_t)n : 1;
        at += n ? (size_t)n : 1;
    }
    text[to] = '\0';
}
