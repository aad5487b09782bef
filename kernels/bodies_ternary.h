/* SPDX-License-Identifier: MIT
 * bodies_ternary.h - the frame of a ternary panel. On x86 byte dot products take one unsigned operand: the states plus
 * 1, as packed. Their sum is too large by the sum of q, so accumulators start at minus that. The including file gives
 * TERNARY_WIDTH, TERNARY_ROWS, the ternary_tiles and sum_codes(), or, when its states are signed, TERNARY_SIGNED. */

/* acc[rows][TERNARY_WIDTH] += q[rows, 16 groups] x (panel + 1), or x panel with TERNARY_SIGNED */
typedef void ternary_tile_fn(int groups, const int8_t *q, int64_t q_stride, const uint32_t *panel,
                             int32_t *restrict acc);

/* Four codes of k, to meet four states. */
VR_INLINE int32_t load_codes(const int8_t *q) {
    int32_t codes;
    memcpy(&codes, q, sizeof codes);
    return codes;
}

static ternary_tile_fn *const ternary_tiles[TERNARY_ROWS + 1];
#ifdef TERNARY_SIGNED
#define START_OF(k, q) 0
#else
static int32_t sum_codes(int k, const int8_t *q);
#define START_OF(k, q) -sum_codes(k, q)
#endif

static void ternary_panel(int rows, int k, const int8_t *q, int64_t q_stride, const void *panel, int32_t *acc) {
    for (int r = 0; r < rows; r++) {
        const int32_t start = START_OF(k, q + r * q_stride);
        for (int j = 0; j < TERNARY_WIDTH; j++) acc[r * TERNARY_WIDTH + j] = start;
    }
    const int groups = k / TN_TERNARY_GROUP, left = k % TN_TERNARY_GROUP;
    ternary_tiles[rows](groups, q, q_stride, panel, acc);
    if (left == 0) return;
    int8_t tail[TERNARY_ROWS * TN_TERNARY_GROUP] = {0};
    for (int r = 0; r < rows; r++) memcpy(tail + r * TN_TERNARY_GROUP, q + r * q_stride + k - left, (size_t)left);
    ternary_tiles[rows](1, tail, TN_TERNARY_GROUP, (const uint32_t *)panel + (int64_t)groups * TERNARY_WIDTH, acc);
}
