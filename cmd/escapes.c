/* SPDX-License-Identifier: MIT */
#include "cmd/escapes.h"
#include "core/fs.h"

#include <string.h>

enum { MAX_TEXT = 1 << 26 };

static int hex_digit(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Read the escape that `text` begins with, after its backslash; returns how many characters it took, 0 when unknown. */
static size_t unescape_one(const char *text, char *out) {
    static const char from[] = "nrt\"'\\", to[] = "\n\r\t\"'\\";
    const char *at = *text ? strchr(from, *text) : NULL;
    if (at) {
        *out = to[at - from];
        return 1;
    }
    int high = *text == 'x' ? hex_digit(text[1]) : -1, low = high >= 0 ? hex_digit(text[2]) : -1;
    if (low < 0) return 0;
    *out = (char)(high * 16 + low);
    return 3;
}

void tn_unescape(tn_buf *text) {
    size_t to = 0;
    for (size_t from = 0; from < text->len;) {
        size_t took = text->data[from] == '\\' ? unescape_one(text->data + from + 1, &text->data[to]) : 0;
        if (!took) text->data[to] = text->data[from];
        to++;
        from += 1 + took;
    }
    if (text->data) text->data[to] = '\0';
    text->len = to;
}

tn_status tn_text_argument(const char *text, const char *file, bool escape, tn_buf *out) {
    if (text) TN_TRY(tn_buf_puts(out, text));
    if (file) {
        TN_TRY(tn_file_read(strcmp(file, "-") == 0 ? "/dev/stdin" : file, MAX_TEXT, out));
        if (out->len && out->data[out->len - 1] == '\n') out->data[--out->len] = '\0';
    }
    if (escape) tn_unescape(out);
    return TN_OK;
}
