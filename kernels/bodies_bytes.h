/* SPDX-License-Identifier: MIT
 * bodies_bytes.h - ternary panels opened to bytes, for products of many rows: the including file gives TERNARY_WIDTH
 * and, with BYTE_PANEL_OWN, its own byte_panel and sum_codes. */

/* Four bytes of each word of the panel, part by part, become words of their own. */
static void ternary_bytes(int groups, const uint32_t *restrict panel, uint32_t *restrict bytes) {
    for (int g = 0; g < groups; g++, panel += TERNARY_WIDTH)
        for (int part = 0; part < 4; part++, bytes += TERNARY_WIDTH)
            for (int j = 0; j < TERNARY_WIDTH; j++) bytes[j] = panel[j] >> 2 * part & 0x03030303;
}

#ifndef BYTE_PANEL_OWN
static int32_t sum_codes(int k, const int8_t *q) {
    int32_t sum = 0;
    for (int i = 0; i < k; i++) sum += q[i];
    return sum;
}

static void byte_panel(int rows, int steps, const int8_t *q, int64_t q_stride, const uint32_t *bytes,
                       const int32_t *starts, int32_t *acc) {
    for (int r = 0; r < rows; r++, q += q_stride, acc += TERNARY_WIDTH) {
        for (int j = 0; j < TERNARY_WIDTH && starts; j++) acc[j] = starts[r];
        for (int i = 0; i < 4 * steps; i++)
            for (int j = 0; j < TERNARY_WIDTH; j++)
                acc[j] += q[i] * (int32_t)(bytes[i / 4 * TERNARY_WIDTH + j] >> 8 * (i % 4) & 255);
    }
}
#endif
