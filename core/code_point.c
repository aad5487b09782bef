/* SPDX-License-Identifier: MIT */
#include "core/code_point.h"

static int length_from_lead(unsigned char lead) {
    if (lead < 0x80) return 1;
    if (lead < 0xc2) return 0; /* a continuation byte, or a lead that could only begin an overlong form */
    if (lead < 0xe0) return 2;
    if (lead < 0xf0) return 3;
    return lead < 0xf5 ? 4 : 0;
}

int tn_code_point_read(const char *text, size_t len, uint32_t *code) {
    if (!len) return 0;
    const unsigned char *p = (const unsigned char *)text;
    int n = length_from_lead(p[0]);
    if (!n || (size_t)n > len) return 0;
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    bool overlong = (n == 3 && c < 0x800) || (n == 4 && c < 0x10000);
    bool surrogate = c >= 0xd800 && c < 0xe000;
    if (overlong || surrogate || c > 0x10ffff) return 0;
    *code = c;
    return n;
}
