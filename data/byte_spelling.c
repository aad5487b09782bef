/* SPDX-License-Identifier: MIT */
#include "data/byte_spelling.h"

#include "core/utf8.h"

enum { SPELLED = 0x100, N_SPELLED = 68, N_PLAIN = 256 - N_SPELLED };

static bool is_plain(unsigned char byte) { return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD); }

/* The spelled bytes, ascending, are 00-20, 7F-A0 and AD. */
static int place_of_spelled(unsigned char byte) { return byte <= 0x20 ? byte : byte <= 0xA0 ? byte - 0x7F + 0x21 : 67; }
static unsigned char spelled_at(int i) { return (unsigned char)(i <= 0x20 ? i : i < 67 ? i - 0x21 + 0x7F : 0xAD); }

unsigned char tn_byte_in_order(int i) {
    if (i >= N_PLAIN) return spelled_at(i - N_PLAIN);
    int n_ascii = 0x7E - 0x21 + 1, n_before_ad = 0xAC - 0xA1 + 1;
    if (i < n_ascii) return (unsigned char)(0x21 + i);
    i -= n_ascii;
    return (unsigned char)(i < n_before_ad ? 0xA1 + i : 0xAE + i - n_before_ad);
}

tn_status tn_byte_spell(const char *bytes, size_t len, tn_buf *out) {
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        char text[4];
        uint32_t code = is_plain(byte) ? byte : (uint32_t)(SPELLED + place_of_spelled(byte));
        TN_TRY(tn_buf_append(out, text, tn_utf8_encode(code, text)));
    }
    return TN_OK;
}

bool tn_byte_unspell(const char *text, size_t len, tn_buf *out, tn_status *status) {
    *status = TN_OK;
    for (size_t at = 0; at < len && !*status;) {
        uint32_t code;
        at += tn_utf8_decode(text + at, &code);
        bool spelled = code >= SPELLED && code < SPELLED + N_SPELLED;
        if (!spelled && (code > 0xFF || !is_plain((unsigned char)code))) return false;
        *status = tn_buf_putc(out, (char)(spelled ? spelled_at((int)code - SPELLED) : (unsigned char)code));
    }
    return true;
}
