/* SPDX-License-Identifier: MIT */
#include "core/half.h"

#include <string.h>

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float tn_bf16_to_f32(uint16_t h) { return float_of((uint32_t)h << 16); }

uint16_t tn_f32_to_bf16(float f) {
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 64); /* a quiet NaN keeps its top half */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

float tn_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 31, fraction = h & 1023u;
    if (exponent == 31) return float_of(sign | 0x7f800000u | fraction << 13);
    if (exponent) return float_of(sign | (exponent + 112) << 23 | fraction << 13);
    float f = (float)fraction * 0x1p-24f; /* subnormal: fraction units of 2^-24 */
    return sign ? -f : f;
}

uint16_t tn_f32_to_f16(float f) {
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000u, abs = u & 0x7fffffffu;
    if (abs > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (abs >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above round to infinity */
    if (abs < 0x38800000u) {                                   /* below 2^-14: count units of 2^-24 */
        uint32_t shift = 126 - (abs >> 23), fraction = (abs & 0x7fffffu) | 0x800000u;
        if (shift > 24) return (uint16_t)sign;
        uint32_t half = fraction >> shift, rest = fraction & ((1u << shift) - 1), middle = 1u << (shift - 1);
        half += rest > middle || (rest == middle && (half & 1));
        return (uint16_t)(sign | half);
    }
    uint32_t half = (abs - 0x38000000u) + 0xfffu + (abs >> 13 & 1);
    return (uint16_t)(sign | half >> 13);
}
