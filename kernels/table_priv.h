/* SPDX-License-Identifier: MIT
 * table_priv.h - where the parts of a block lie, for table.c and table_encode.c.
 * Q8_0: f16 d, 32 int8 q; value = d q.
 * Q6_K: low[128], high[64], int8 scales[16], f16 d. Two halves of 128 values have 64 bytes of low, 32 of high and 8
 * scales each. Value 32 j + l of a half, l < 32, has its low four bits in byte 32 (j mod 2) + l of low, lower nibble
 * for j < 2, its high two in byte l of high from bit 2 j on, and scale 2 j + l / 16; value = d scale (q - 32). */
#ifndef TN_KERNELS_TABLE_PRIV_H
#define TN_KERNELS_TABLE_PRIV_H
#include <string.h>

#include "core/compiler.h"

enum {
    TN_Q8_0 = 32,
    TN_Q8_0_BYTES = 34,
    TN_Q6_K = 256,
    TN_Q6_K_HIGH = 128,
    TN_Q6_K_SCALES = 192,
    TN_Q6_K_D = 208,
    TN_Q6_K_BYTES = 210
};

static inline uint16_t tn_table_half(const unsigned char *in) {
    uint16_t half;
    memcpy(&half, in, sizeof half);
    return half;
}

#endif
