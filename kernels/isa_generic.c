/* SPDX-License-Identifier: MIT
 * The portable rows: complete on every machine, and what the others are tested against. */
#include "kernels/bodies.h"

enum { TERNARY_WIDTH = 16, TERNARY_ROWS = 4, TERNARY_OPENS = false };

#include "kernels/bodies_bytes.h"

/* One group of states as 16-bit numbers, [k][output]. */
static void unpack_group(const uint32_t *group, int16_t states[TN_TERNARY_GROUP][TERNARY_WIDTH]) {
    for (int i = 0; i < 4; i++)
        for (int b = 0; b < 4; b++)
            for (int j = 0; j < TERNARY_WIDTH; j++)
                states[4 * i + b][j] = (int16_t)((int)(group[j] >> (8 * b + 2 * i) & 3) - 1);
}

/* |sum over a group| <= 16 x 128, so 16 bits hold it. */
static void add_group(const int8_t *q, int count, int16_t states[TN_TERNARY_GROUP][TERNARY_WIDTH],
                      int32_t *restrict acc) {
    int16_t sums[TERNARY_WIDTH] = {0};
    for (int t = 0; t < count; t++)
        for (int j = 0; j < TERNARY_WIDTH; j++) sums[j] = (int16_t)(sums[j] + q[t] * states[t][j]);
    for (int j = 0; j < TERNARY_WIDTH; j++) acc[j] += sums[j];
}

static void ternary_panel(int rows, int k, const int8_t *q, int64_t q_stride, const void *panel, int32_t *acc) {
    const uint32_t *group = panel;
    memset(acc, 0, sizeof *acc * (size_t)(rows * TERNARY_WIDTH));
    for (int at = 0; at < k; at += TN_TERNARY_GROUP, group += TERNARY_WIDTH) {
        int16_t states[TN_TERNARY_GROUP][TERNARY_WIDTH];
        unpack_group(group, states);
        for (int r = 0; r < rows; r++)
            add_group(q + r * q_stride + at, TN_MIN(k - at, (int)TN_TERNARY_GROUP), states, acc + r * TERNARY_WIDTH);
    }
}

/* Two tables with one initialiser: the constant truth, and the one that tn_kernels_init overwrites. */
#define KERNEL(result, name, parameters) .name = name,
const tn_kernels tn_kernels_generic = {
#include "kernels/kernels.def"
    TN_KERNEL_SIZES("generic")};
tn_kernels tn_kernels_table = {
#include "kernels/kernels.def"
    TN_KERNEL_SIZES("generic")};
#undef KERNEL
