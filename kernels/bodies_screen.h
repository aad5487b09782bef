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

/* Per lane, 16 terms of at most 128 x 63 x 128 and what undoes the 32 of every code: below 2^25. */
static void screen_q6_k(int k, const void *row, const tn_screen_x *x, tn_real *estimate, tn_real *spread) {
    const unsigned char *block = row;
    const __m512i eighth = _mm512_set_epi16(3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0,
                                            0, 0, 0, 0, 0, 0, 0);
    __m512 sum = _mm512_setzero_ps();
    __m256 squares = _mm256_setzero_ps();
    for (int at = 0; at < k; at += TN_Q6_K, block += TN_Q6_K_BYTES) {
        tn_prefetch_stream(block, 4);
        const __m512i highs = _mm512_loadu_si512(block + TN_Q6_K_HIGH);
        const __m256i scales = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(block + TN_Q6_K_SCALES)));
        const __m512i sixteen = _mm512_castsi256_si512(scales);
        __m512i h = _mm512_setzero_si512(), l = h;
        for (int half = 0; half < 2; half++) {
            __m512i codes[2];
            q6_k_codes(_mm512_loadu_si512(block + 64 * half),
                       half ? _mm512_shuffle_i64x2(highs, highs, 0xee) : _mm512_shuffle_i64x2(highs, highs, 0x44),
                       codes);
            for (int i = 0; i < 2; i++) {
                const int first = at + 128 * half + 64 * i;
                const __m512i of_each = _mm512_permutexvar_epi16(
                    _mm512_add_epi16(eighth, _mm512_set1_epi16((short)(8 * half + 4 * i))), sixteen);
                h = _mm512_dpwssd_epi32(h, _mm512_maddubs_epi16(codes[i], _mm512_loadu_si512(x->high + first)),
                                        of_each);
                l = _mm512_dpwssd_epi32(l, _mm512_maddubs_epi16(codes[i], _mm512_loadu_si512(x->low + first)), of_each);
            }
        }
        const __m512i sums = _mm512_loadu_si512(x->sums + at / 8); /* high and low in turn */
        const __m512i pairs = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(sums)),
                                                 _mm512_cvtepi32_epi16(_mm512_srli_epi32(sums, 16)), 1);
        const __m512i excess = _mm512_slli_epi32(_mm512_madd_epi16(pairs, _mm512_inserti64x4(sixteen, scales, 1)),
                                                 5); /* 8 lanes of high, 8 of low */
        h = _mm512_sub_epi32(h, _mm512_maskz_mov_epi64(0x0f, excess));
        l = _mm512_sub_epi32(l, _mm512_maskz_mov_epi64(0xf0, excess));
        const __m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128(tn_table_half(block + TN_Q6_K_D)));
        const __m512 joined = _mm512_fmadd_ps(_mm512_cvtepi32_ps(h), _mm512_set1_ps(256), _mm512_cvtepi32_ps(l));
        sum = _mm512_fmadd_ps(joined, _mm512_broadcastss_ps(d), sum);
        squares = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(scales, scales)),
                                  _mm256_broadcastss_ps(_mm_mul_ss(d, d)), squares);
    }
    *estimate = _mm512_reduce_add_ps(sum);
    *spread = _mm512_reduce_add_ps(_mm512_zextps256_ps512(squares));
}
#else
static void screen_q6_k(int k, const void *row, const tn_screen_x *x, tn_real *estimate, tn_real *spread) {
    const unsigned char *block = row;
    double sum = 0, squares = 0;
    for (int at = 0; at < k; at += TN_Q6_K, block += TN_Q6_K_BYTES) {
        const int8_t *scales = (const int8_t *)block + TN_Q6_K_SCALES;
        const double d = (double)tn_f16_to_f32(tn_table_half(block + TN_Q6_K_D));
        int32_t h = 0, l = 0, size = 0;
        for (int half = 0; half < 2; half++)
            for (int quarter = 0; quarter < 4; quarter++) {
                const unsigned char *nibbles = block + 64 * half + 32 * (quarter & 1);
                const unsigned char *high = block + TN_Q6_K_HIGH + 32 * half;
                const int low_at = 4 * (quarter >> 1), high_at = 2 * quarter, first = 128 * half + 32 * quarter;
                for (int part = 0; part < 2; part++) {
                    const int8_t *x_high = x->high + at + first + 16 * part, *x_low = x->low + at + first + 16 * part;
                    int32_t sums[2] = {0};
                    for (int i = 0; i < 16; i++) {
                        const int byte = 16 * part + i;
                        const int q = ((nibbles[byte] >> low_at & 15) | (high[byte] >> high_at & 3) << 4) - 32;
                        sums[0] += q * x_high[i];
                        sums[1] += q * x_low[i];
                    }
                    const int scale = scales[first / 16 + part];
                    h += scale * sums[0];
                    l += scale * sums[1];
                    size += scale * scale;
                }
            }
        sum += d * (256.0 * h + l);
        squares += d * d * size;
    }
    *estimate = (tn_real)sum;
    *spread = (tn_real)squares;
}
#endif
