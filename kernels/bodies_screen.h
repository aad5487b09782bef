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

/* Sums of high and of low digits over a block; low = NULL: of high ones alone. Per lane 16 terms of at most
 * 128 x 63 x 128 and what undoes the 32 of every code, below 2^25. */
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
        if (low)
            *l = _mm512_dpwssd_epi32(*l, _mm512_maddubs_epi16(codes[i % 2], _mm512_loadu_si512(low + 64 * i)), of_each);
    }
    *h = _mm512_mask_sub_epi32(*h, 0x00ff, *h, excess);
    if (low) *l = _mm512_mask_sub_epi32(*l, 0xff00, *l, excess);
}

VR_INLINE tn_real screen_digits(int k, const void *row, const tn_screen_x *x, bool both) {
    const unsigned char *block = row;
    __m512 sum = _mm512_setzero_ps();
    for (int at = 0; at < k; at += TN_Q6_K, block += TN_Q6_K_BYTES) {
        __m512i h, l;
        tn_prefetch_stream(block, 4);
        q6_k_sums(block, x->high + at, both ? x->low + at : NULL, x->sums + at / 8, &h, &l);
        const __m512 joined = _mm512_fmadd_ps(_mm512_cvtepi32_ps(h), _mm512_set1_ps(256), _mm512_cvtepi32_ps(l));
        sum = _mm512_fmadd_ps(joined, _mm512_broadcastss_ps(q6_k_d(block)), sum);
    }
    return _mm512_reduce_add_ps(sum);
}
#elif VP_BYTES == 32
/* Codes of half a block, 0..63, in the order of its values. */
VR_INLINE void q6_k_codes(const unsigned char *low, const unsigned char *high, __m256i codes[4]) {
    const __m256i nibble = _mm256_set1_epi8(15), two = _mm256_set1_epi8(48);
    const __m256i a = _mm256_loadu_si256((const __m256i *)low), b = _mm256_loadu_si256((const __m256i *)(low + 32));
    const __m256i top = _mm256_loadu_si256((const __m256i *)high);
    codes[0] = _mm256_or_si256(_mm256_and_si256(a, nibble), _mm256_and_si256(_mm256_slli_epi16(top, 4), two));
    codes[1] = _mm256_or_si256(_mm256_and_si256(b, nibble), _mm256_and_si256(_mm256_slli_epi16(top, 2), two));
    codes[2] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(a, 4), nibble), _mm256_and_si256(top, two));
    codes[3] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(b, 4), nibble),
                               _mm256_and_si256(_mm256_srli_epi16(top, 2), two));
}

VR_INLINE __m256i q6_k_of_each(__m256i sum, __m256i codes, const int8_t *digits, __m256i scales) {
    const __m256i pairs = _mm256_maddubs_epi16(codes, _mm256_loadu_si256((const __m256i *)digits));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, scales));
}

VR_INLINE __m256i q6_k_take(__m256i sum, const int16_t *sums, __m256i scales) {
    const __m256i excess = _mm256_madd_epi16(_mm256_loadu_si256((const __m256i *)sums), scales);
    return _mm256_sub_epi32(sum, _mm256_slli_epi32(excess, 5));
}

/* Sums of high and of low digits over a block; low = NULL: of high ones alone. Per lane 32 terms of at most
 * 128 x 63 x 128 and what undoes the 32 of every code, below 2^26. */
VR_INLINE void q6_k_sums(const unsigned char *block, const int8_t *high, const int8_t *low, const int16_t *sums,
                         __m256i *h, __m256i *l) {
    const __m256i scales = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(block + TN_Q6_K_SCALES)));
    const __m256i first = _mm256_set_m128i(_mm_set1_epi16(0x0302), _mm_set1_epi16(0x0100));
    const __m256i halves[2] = {_mm256_permute4x64_epi64(scales, 0x44), _mm256_permute4x64_epi64(scales, 0xee)};
    *h = *l = _mm256_setzero_si256();
    for (int half = 0; half < 2; half++) {
        __m256i codes[4];
        q6_k_codes(block + 64 * half, block + TN_Q6_K_HIGH + 32 * half, codes);
        for (int i = 0; i < 4; i++) {
            const int at = 128 * half + 32 * i;
            const __m256i which = _mm256_add_epi8(first, _mm256_set1_epi8((char)(4 * i)));
            const __m256i two = _mm256_shuffle_epi8(halves[half], which);
            *h = q6_k_of_each(*h, codes[i], high + at, two);
            if (low) *l = q6_k_of_each(*l, codes[i], low + at, two);
        }
    }
    *h = q6_k_take(*h, sums, scales);
    if (low) *l = q6_k_take(*l, sums + 16, scales);
}

VR_INLINE tn_real screen_digits(int k, const void *row, const tn_screen_x *x, bool both) {
    const unsigned char *block = row;
    __m256 sum = _mm256_setzero_ps();
    for (int at = 0; at < k; at += TN_Q6_K, block += TN_Q6_K_BYTES) {
        __m256i h, l;
        tn_prefetch_stream(block, 4);
        q6_k_sums(block, x->high + at, both ? x->low + at : NULL, x->sums + at / 8, &h, &l);
        const __m256 joined =
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(h), _mm256_set1_ps(256), _mm256_cvtepi32_ps(l));
        sum = _mm256_fmadd_ps(joined, _mm256_set1_ps(tn_f16_to_f32(tn_table_half(block + TN_Q6_K_D))), sum);
    }
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    const __m128 pair = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
#else
VR_INLINE tn_real screen_digits(int k, const void *row, const tn_screen_x *x, bool both) {
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
                if (both) sums[1] += q * low[i];
            }
            h += scales[part] * sums[0];
            l += scales[part] * sums[1];
        }
        sum += (double)tn_f16_to_f32(tn_table_half(block + TN_Q6_K_D)) * (256.0 * h + l);
    }
    return (tn_real)sum;
}
#endif

static tn_real screen_q6_k(int k, const void *row, const tn_screen_x *x) { return screen_digits(k, row, x, true); }
static tn_real screen_q6_k_high(int k, const void *row, const tn_screen_x *x) {
    return screen_digits(k, row, x, false);
}
