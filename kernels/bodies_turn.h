/* SPDX-License-Identifier: MIT
 * bodies_turn.h - squares of 16 outputs and 16 of k turned, for dX through panels that were packed for the forward
 * product (backward_packed.c). Words of one square, out and in: kernels_priv.h. Included once by every isa_*.c. */
#include "kernels/simd.h"

enum { SQUARE = 16 };

typedef uint32_t word4 __attribute__((vector_size(16)));
typedef uint8_t byte16 __attribute__((vector_size(16)));

VR_INLINE word4 word4_load(const uint32_t *p) {
    word4 x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* Byte j of word b is byte b of word j. */
VR_INLINE word4 word4_turn(word4 x) {
    return (word4)__builtin_shuffle((byte16)x, (byte16){0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15});
}

/* turned[4 i + b] of states opened(i, j): k = 4 i .. 4 i + 3 of outputs 4 j .. 4 j + 3, a byte each. */
#define TURN_SQUARE(opened)                                                                                            \
    {                                                                                                                  \
        word4 fields[4] = {{0}};                                                                                       \
        for (int j = 0; j < 4; j++)                                                                                    \
            for (int i = 0; i < 4; i++) fields[i] |= word4_turn(opened) << 2 * j;                                      \
        memcpy(turned, fields, sizeof fields);                                                                         \
    }

static void turn_pairs(int squares, const uint32_t *group, uint32_t *turned, int64_t stride) {
    for (; squares > 0; squares--, group += SQUARE, turned += stride)
        TURN_SQUARE(word4_load(group + 4 * j) >> 2 * i & 0x03030303)
}

static void turn_bytes(int squares, const uint32_t *bytes, int64_t step, uint32_t *turned, int64_t stride) {
    for (; squares > 0; squares--, bytes += SQUARE, turned += stride) TURN_SQUARE(word4_load(bytes + i * step + 4 * j))
}
