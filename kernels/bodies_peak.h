/* SPDX-License-Identifier: MIT
 * bodies_peak.h - loops of multiply-adds on registers alone, as many a second as a set of instructions can do: what the
 * products are measured against. Included once by every isa_*.c. */
#ifndef TN_KERNELS_BODIES_PEAK_H
#define TN_KERNELS_BODIES_PEAK_H
#include "kernels/simd.h"

/* Makes a value unknown without touching its register; else a compiler computes the products once, before the loop. */
#if defined(__AVX512F__)
#define PEAK_PIN(x) __asm__ volatile("" : "+v"(x))
#elif defined(__x86_64__)
#define PEAK_PIN(x) __asm__ volatile("" : "+x"(x))
#elif defined(__aarch64__)
#define PEAK_PIN(x) __asm__ volatile("" : "+w"(x))
#else
#define PEAK_PIN(x) __asm__ volatile("" : "+m"(x))
#endif

/* The multiply-adds that the panels of a set are made of; _COUNT of them a register. */
typedef uint16_t peak_int __attribute__((vector_size(VP_BYTES)));
#if defined(__AVX512VNNI__)
#define PEAK_BYTES(sum, a, b) sum = (peak_int)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b)
#define PEAK_WORDS(sum, a, b) sum = (peak_int)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b)
enum { PEAK_BYTES_COUNT = 64, PEAK_WORDS_COUNT = 32 };
#elif defined(__AVXVNNI__)
#define PEAK_BYTES(sum, a, b) sum = (peak_int)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b)
#define PEAK_WORDS(sum, a, b) sum = (peak_int)_mm256_dpwssd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b)
enum { PEAK_BYTES_COUNT = 32, PEAK_WORDS_COUNT = 16 };
#elif defined(__AVX2__)
#define PEAK_BYTES(sum, a, b) sum += (peak_int)_mm256_maddubs_epi16((__m256i)a, (__m256i)b)
#define PEAK_WORDS(sum, a, b) sum = (peak_int)_mm256_add_epi32((__m256i)sum, _mm256_madd_epi16((__m256i)a, (__m256i)b))
enum { PEAK_BYTES_COUNT = 32, PEAK_WORDS_COUNT = 16 };
#elif defined(VP_NEON)
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define PEAK_BYTES(sum, a, b) sum = (peak_int)vmmlaq_s32((int32x4_t)sum, (int8x16_t)a, (int8x16_t)b)
enum { PEAK_BYTES_COUNT = 32 };
#elif defined(__ARM_FEATURE_DOTPROD)
#define PEAK_BYTES(sum, a, b) sum = (peak_int)vdotq_s32((int32x4_t)sum, (int8x16_t)a, (int8x16_t)b)
enum { PEAK_BYTES_COUNT = 16 };
#else
#define PEAK_BYTES(sum, a, b) sum = (peak_int)vmlal_high_s8((int16x8_t)sum, (int8x16_t)a, (int8x16_t)b)
enum { PEAK_BYTES_COUNT = 8 };
#endif
#define PEAK_WORDS(sum, a, b) sum = (peak_int)vmlal_high_s16((int32x4_t)sum, (int16x8_t)a, (int16x8_t)b)
enum { PEAK_WORDS_COUNT = 4 };
#else
/* Portable C has no sum of neighbours, so 16 bits are the lanes for codes too, eight of them a register. */
#define PEAK_BYTES(sum, a, b) sum += a * b
#define PEAK_WORDS(sum, a, b) sum += a * b
enum { PEAK_BYTES_COUNT = VP_BYTES / 2, PEAK_WORDS_COUNT = VP_BYTES / 2 };
#endif
#define PEAK_REAL(sum, a, b) sum = vp_mul_add(a, b, sum)

/* Sums: as many as registers allow beside the operands; 12 hide a latency of 5 only when every port is kept busy. */
#define PEAK_12(DO, ...)                                                                                               \
    DO(0, __VA_ARGS__)                                                                                                 \
    DO(1, __VA_ARGS__)                                                                                                 \
    DO(2, __VA_ARGS__)                                                                                                 \
    DO(3, __VA_ARGS__)                                                                                                 \
    DO(4, __VA_ARGS__)                                                                                                 \
    DO(5, __VA_ARGS__)                                                                                                 \
    DO(6, __VA_ARGS__)                                                                                                 \
    DO(7, __VA_ARGS__) DO(8, __VA_ARGS__) DO(9, __VA_ARGS__) DO(10, __VA_ARGS__) DO(11, __VA_ARGS__)
#if defined(__AVX512F__) || defined(__aarch64__)
#define PEAK_EACH(DO, ...)                                                                                             \
    PEAK_12(DO, __VA_ARGS__)                                                                                           \
    DO(12, __VA_ARGS__)                                                                                                \
    DO(13, __VA_ARGS__)                                                                                                \
    DO(14, __VA_ARGS__)                                                                                                \
    DO(15, __VA_ARGS__) DO(16, __VA_ARGS__) DO(17, __VA_ARGS__) DO(18, __VA_ARGS__) DO(19, __VA_ARGS__)
enum { PEAK_SUMS = 20 };
#else
#define PEAK_EACH PEAK_12
enum { PEAK_SUMS = 12 };
#endif
#define PEAK_START(i, type) type sum##i = {0};
#define PEAK_END(i, type)   PEAK_PIN(sum##i);
#define PEAK_STEP(i, STEP)                                                                                             \
    STEP(sum##i, a, b);                                                                                                \
    PEAK_PIN(a);                                                                                                       \
    PEAK_PIN(sum##i);
/* The operands have bits of both kinds, as data have. Integer sums wrap around. */
#define DEFINE_SPIN(name, type, count, x, y, STEP)                                                                     \
    static TN_UNUSED int64_t name(int64_t rounds) {                                                                    \
        type a = (type){0} + (x), b = (type){0} + (y);                                                                 \
        PEAK_EACH(PEAK_START, type);                                                                                   \
        PEAK_PIN(b);                                                                                                   \
        for (int64_t left = rounds; left > 0; left--) {                                                                \
            PEAK_EACH(PEAK_STEP, STEP);                                                                                \
        }                                                                                                              \
        PEAK_EACH(PEAK_END, type);                                                                                     \
        return rounds > 0 ? rounds * PEAK_SUMS * (count) : 0;                                                          \
    }

DEFINE_SPIN(spin_real, vp, PART_LANES, (tn_real)0.7, (tn_real)0.3, PEAK_REAL)
DEFINE_SPIN(spin_bytes, peak_int, PEAK_BYTES_COUNT, 0x0201, 0x5a35, PEAK_BYTES)
DEFINE_SPIN(spin_words, peak_int, PEAK_WORDS_COUNT, 0x1a35, 0x0135, PEAK_WORDS)

#if defined(__AVX512BF16__)
#define PEAK_BF16(sum, a, b) sum = (vp)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b)
DEFINE_SPIN(spin_bf16, vp, 32, (tn_real)0.7, (tn_real)0.3, PEAK_BF16)
#elif defined(VP_NEON) && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define PEAK_BF16(sum, a, b) sum = (vp)vbfmmlaq_f32((float32x4_t)sum, (bfloat16x8_t)a, (bfloat16x8_t)b)
DEFINE_SPIN(spin_bf16, vp, 16, (tn_real)0.7, (tn_real)0.3, PEAK_BF16)
#else
static TN_UNUSED int64_t spin_bf16(int64_t rounds) {
    (void)rounds;
    return 0;
}
#endif

#endif
