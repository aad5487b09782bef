/* SPDX-License-Identifier: MIT
 * half_lanes.h - 16 lanes from and to f16, rounding half to even. Private to isa_*.c. */
#ifndef TN_KERNELS_HALF_LANES_H
#define TN_KERNELS_HALF_LANES_H
#include "core/half.h"
#include "kernels/simd.h"

#if VP_BYTES == 64 && !defined(TN_F64)
VR_INLINE vr vr_from_f16(const uint16_t *p) {
    return (vr){{_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p))}};
}
VR_INLINE void vr_to_f16(uint16_t *p, vr x) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(x.p[0], _MM_FROUND_TO_NEAREST_INT));
}
#elif VP_BYTES == 32 && !defined(TN_F64)
VR_INLINE vr vr_from_f16(const uint16_t *p) {
    vr y;
    EACH_PART(y.p[i] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + i * PART_LANES))));
    return y;
}
VR_INLINE void vr_to_f16(uint16_t *p, vr x) {
    EACH_PART(
        _mm_storeu_si128((__m128i *)(void *)(p + i * PART_LANES), _mm256_cvtps_ph(x.p[i], _MM_FROUND_TO_NEAREST_INT)));
}
#else
VR_INLINE vr vr_from_f16(const uint16_t *p) {
    tn_real lanes[LANES];
    for (int i = 0; i < LANES; i++) lanes[i] = (tn_real)tn_f16_to_f32(p[i]);
    return vr_load(lanes);
}
VR_INLINE void vr_to_f16(uint16_t *p, vr x) {
    tn_real lanes[LANES];
    vr_store(lanes, x);
    for (int i = 0; i < LANES; i++) p[i] = tn_f32_to_f16((float)lanes[i]);
}
#endif

#endif
