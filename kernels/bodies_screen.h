/* SPDX-License-Identifier: MIT
 * bodies_screen.h - the first stage of the screened head over a row of Q6_K (screen.h, table_priv.h), and the chain of
 * the second. Included once by every isa_*.c. */
#include "kernels/screen.h"
#include "kernels/stream.h"
#include "kernels/table_priv.h"
#include "core/half.h"

/* One chain over ascending k, as real_panel makes it. */
static tn_real chain(int k, const tn_real *x, const tn_real *w) {
    tn_real sum = 0;
    for (int i = 0; i < k; i++) {
#ifndef VR_FUSED
        sum = sum + x[i] * w[i];
#elif defined(TN_F64)
        sum = fma(x[i], w[i], sum);
#else
        sum = fmaf(x[i], w[i], sum);
#endif
    }
    return sum;
}

#if VP_BYTES == 64
/* Codes of half a block as they lie in its bytes, 0..63: values 0..63 and 64..127 of the half. */
VR_INLINE void q6_k_codes(__m512i low, __m512i high, __m512i codes[2]) {
    const __m512i nibble = _mm512_set1_epi8(15), six = _mm512_set1_epi8(63);
    const __m512i two = _mm512_set1_epi64(0x0000000200000002), four = _mm512_set1_epi64(0x0000000400000004);
    const __m512i up = _mm512_mask_blend_epi64(0xf0, four, two), down = _mm512_maskz_mov_epi64(0xf0, two);
    const __m512i first = _mm512_sllv_epi32(high, up), second = _mm512_srlv_epi32(high, down);
    codes[0] = _mm512_and_si512(six, _mm512_ternarylogic_epi64(nibble, low, first, 0xca));
    codes[1] = _mm512_and_si512(six, _mm512_ternarylogic_epi64(nibble, _mm512_srli_epi16(low, 4), second, 0xca));
}

VR_INLINE __m256i q6_k_scales(const unsigned char *block) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(block + TN_Q6_K_SCALES)));
}
VR_INLINE __m128 q6_k_d(const unsigned char *block) {
    return _mm_cvtph_ps(_mm_cvtsi32_si128(tn_table_half(block + TN_Q6_K_D)));
}

/* Sums of high and of low digits over a block. Per lane 16 terms of at most 128 x 63 x 128 and what undoes the 32 of
 * every code, below 2^25. */
VR_INLINE void q6_k_sums(const unsigned char *block, const int8_t *high, const int8_t *low, const int16_t *sums,
                         __m512i *h, __m512i *l) {
    const __m512i eighth = _mm512_set_epi16(3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0,
                                            0, 0, 0, 0, 0, 0, 0);
    const __m512i highs = _mm512_loadu_si512(block + TN_Q6_K_HIGH);
    const __m512i scales = _mm512_broadcast_i64x4(q6_k_scales(block));
    const __m512i excess = _mm512_slli_epi32(_mm512_madd_epi16(_mm512_loadu_si512(sums), scales), 5);
    *h = *l = _mm512_setzero_si512();
    __m512i codes[2];
    for (int i = 0; i < 4; i++) {
        if (i % 2 == 0)
            q6_k_codes(_mm512_loadu_si512(block + 32 * i),
                       i ? _mm512_shuffle_i64x2(highs, highs, 0xee) : _mm512_shuffle_i64x2(highs, highs, 0x44), codes);
        const __m512i of_each =
            _mm512_permutexvar_epi16(_mm512_add_epi16(eighth, _mm512_set1_epi16((short)(4 * i))), scales);
        *h = _mm512_dpwssd_epi32(*h, _mm512_maddubs_epi16(codes[i % 2], _mm512_loadu_si512(high + 64 * i)), of_each);
        *l = _mm512_dpwssd_epi32(*l, _mm512_maddubs_epi16(codes[i % 2], _mm512_loadu_si512(low + 64 * i)), of_each);
    }
    *h = _mm512_mask_sub_epi32(*h, 0x00ff, *h, excess);
    *l = _mm512_mask_sub_epi32(*l, 0xff00, *l, excess);
}

static tn_real screen_q6_k(int k, const void *row, const tn_screen_x *x) {
    const unsigned char *block = row;
    __m512 sum = _mm512_setzero_ps();
    for (int at = 0; at < k; at += TN_Q6_K, block += TN_Q6_K_BYTES) {
        __m512i h, l;
        tn_prefetch_stream(block, 4);
        q6_k_sums(block, x->high + at, x->low + at, x->sums + at / 8, &h, &l);
        const __m512 joined = _mm512_fmadd_ps(_mm512_cvtepi32_ps(h), _mm512_set1_ps(256), _mm512_cvtepi32_ps(l));
        sum = _mm512_fmadd_ps(joined, _mm512_broadcastss_ps(q6_k_d(block)), sum);
    }
    return _mm512_reduce_add_ps(sum);
}
#else
static tn_real screen_q6_k(int k, const void *row, const tn_screen_x *x) {
    const unsigned char *block = row;
    double sum = 0;
    for (int at = 0; at < k; at += TN_Q6_K, block += TN_Q6_K_BYTES) {
        const int8_t *scales = (const int8_t *)block + TN_Q6_K_SCALES;
        int32_t h = 0, l = 0;
        for (int part = 0; part < TN_Q6_K / 16; part++) {
            const int half = part / 8, quarter = part % 8 / 2, first = 16 * (part % 2);
            const unsigned char *nibbles = block + 64 * half + 32 * (quarter & 1) + first;
            const unsigned char *top = block + TN_Q6_K_HIGH + 32 * half + first;
            const int8_t *high = x->high + at + 16 * part, *low = x->low + at + 16 * part;
            const int low_at = 4 * (quarter >> 1), high_at = 2 * quarter;
            int32_t sums[2] = {0};
            for (int i = 0; i < 16; i++) {
                const int q = ((nibbles[i] >> low_at & 15) | (top[i] >> high_at & 3) << 4) - 32;
                sums[0] += q * high[i];
                sums[1] += q * low[i];
            }
            h += scales[part] * sums[0];
            l += scales[part] * sums[1];
        }
        sum += (double)tn_f16_to_f32(tn_table_half(block + TN_Q6_K_D)) * (256.0 * h + l);
    }
    return (tn_real)sum;
}
#endif
