/* SPDX-License-Identifier: MIT
 * neon.h - what several tiles on NEON need. Private to isa_*.c. */
#ifndef TN_KERNELS_NEON_H
#define TN_KERNELS_NEON_H
#include "kernels/simd.h"

/* The first 4 words, or `count`, a constant, and zeros if that is less. */
VR_INLINE uint32x4_t load_words(const uint32_t *p, int count) {
    const uint32x2_t none = vdup_n_u32(0);
    if (count >= 4) return vld1q_u32(p);
    const uint32x2_t first = count > 1 ? vld1_u32(p) : count > 0 ? vld1_lane_u32(p, none, 0) : none;
    return vcombine_u32(first, count > 2 ? vld1_lane_u32(p + 2, none, 0) : none);
}

#endif
