/* SPDX-License-Identifier: MIT
 * simd.h - the vocabulary that kernel bodies are written in: 16 lanes of tn_real on every machine.
 * Private to isa_*.c. One instruction set maps a `vr` to one zmm, two ymm or four xmm registers, but lanes are always
 * 16 and nothing is contracted, so a body gives the same bits wherever it is compiled. The one exception is vr_mul_add,
 * fused where the hardware can: it is for products (panels, attention), which promise equality per instruction set
 * only. A tail shorter than 16 lanes goes through the same arithmetic, filled up with a neutral value. */
#ifndef TN_KERNELS_SIMD_H
#define TN_KERNELS_SIMD_H
#include "core/compiler.h"

#include <float.h>
#include <math.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(VP_NEON) /* said by the file: every ARM compiler has NEON, and portable C stays portable */
#include <arm_neon.h>
#endif

#define VR_INLINE static inline __attribute__((always_inline, unused))

enum { LANES = 16 };

/* ---- parts: what one register holds ---- */
#if defined(__AVX512F__)
#define VP_BYTES 64
#elif defined(__AVX2__)
#define VP_BYTES 32
#else
#define VP_BYTES 16
#endif

#ifdef TN_F64
typedef int64_t lane_int;
#define real_exp  exp
#define real_log  log
#define real_sqrt sqrt
#else
typedef int32_t lane_int;
#define real_log  logf
#define real_sqrt sqrtf
#endif

enum { PART_LANES = VP_BYTES / sizeof(tn_real), PARTS = LANES / PART_LANES, HALF_LANES = VP_BYTES / 8 };

#if defined(__AVX2__) || defined(VP_NEON)
#define VR_FUSED /* vr_mul_add rounds once */
#endif

typedef tn_real vp __attribute__((vector_size(VP_BYTES)));
typedef lane_int vpi __attribute__((vector_size(VP_BYTES)));
typedef double vpd __attribute__((vector_size(VP_BYTES)));
/* As many reals as a vpd has doubles. */
typedef tn_real vp_half __attribute__((vector_size(HALF_LANES * sizeof(tn_real))));
typedef int8_t vp_int8 __attribute__((vector_size(PART_LANES)));
typedef int32_t vp_int32 __attribute__((vector_size(PART_LANES * 4)));
typedef uint32_t vp_uint32 __attribute__((vector_size(PART_LANES * 4)));

typedef struct vr {
    vp p[PARTS];
} vr;
typedef struct vd { /* 16 doubles */
    vpd p[LANES / HALF_LANES];
} vd;

/* The statement once per part, with `i` a constant, so that the compiler keeps parts in registers. */
#define PART_I(number, ...)                                                                                            \
    {                                                                                                                  \
        enum { i = (number) };                                                                                         \
        __VA_ARGS__;                                                                                                   \
    }
#define PARTS_1(...) PART_I(0, __VA_ARGS__)
#define PARTS_2(...) PARTS_1(__VA_ARGS__) PART_I(1, __VA_ARGS__)
#define PARTS_4(...) PARTS_2(__VA_ARGS__) PART_I(2, __VA_ARGS__) PART_I(3, __VA_ARGS__)
#define PARTS_8(...)                                                                                                   \
    PARTS_4(__VA_ARGS__) PART_I(4, __VA_ARGS__) PART_I(5, __VA_ARGS__) PART_I(6, __VA_ARGS__) PART_I(7, __VA_ARGS__)
#if VP_BYTES == 64
#define EACH_PART(...)        PARTS_1(__VA_ARGS__)
#define EACH_DOUBLE_PART(...) PARTS_2(__VA_ARGS__)
#elif VP_BYTES == 32
#define EACH_PART(...)        PARTS_2(__VA_ARGS__)
#define EACH_DOUBLE_PART(...) PARTS_4(__VA_ARGS__)
#elif defined(TN_F64)
#define EACH_PART(...)        PARTS_8(__VA_ARGS__)
#define EACH_DOUBLE_PART(...) PARTS_8(__VA_ARGS__)
#else
#define EACH_PART(...)        PARTS_4(__VA_ARGS__)
#define EACH_DOUBLE_PART(...) PARTS_8(__VA_ARGS__)
#endif

/* ---- arithmetic on a part ---- */
VR_INLINE vp vp_set(tn_real x) { return x - (vp){0}; }
VR_INLINE vp vp_select(vpi mask, vp a, vp b) { return (vp)((mask & (vpi)a) | (~mask & (vpi)b)); }
VR_INLINE vpd vpd_abs(vpd x) {
    typedef int64_t bits __attribute__((vector_size(VP_BYTES)));
    return (vpd)((bits)x & INT64_MAX);
}
VR_INLINE vp vp_abs(vp x) { return (vp)((vpi)x & ~(vpi)vp_set(-(tn_real)0)); }

#if defined(__AVX512F__)
VR_INLINE vp vp_max(vp a, vp b) { return _mm512_max_ps(a, b); }
VR_INLINE vp vp_max_bits(vp a, vp b) { return (vp)_mm512_max_epi32((__m512i)a, (__m512i)b); }
VR_INLINE vp vp_sqrt(vp x) { return _mm512_sqrt_ps(x); }
VR_INLINE vp vp_mul_add(vp a, vp b, vp c) { return _mm512_fmadd_ps(a, b, c); }
#elif defined(__AVX2__)
VR_INLINE vp vp_max(vp a, vp b) { return _mm256_max_ps(a, b); }
VR_INLINE vp vp_max_bits(vp a, vp b) { return (vp)_mm256_max_epi32((__m256i)a, (__m256i)b); }
VR_INLINE vp vp_sqrt(vp x) { return _mm256_sqrt_ps(x); }
VR_INLINE vp vp_mul_add(vp a, vp b, vp c) { return _mm256_fmadd_ps(a, b, c); }
#elif defined(VP_NEON)
VR_INLINE vp vp_max(vp a, vp b) { return vbslq_f32(vcgtq_f32(a, b), a, b); } /* fmax is NaN when either is */
VR_INLINE vp vp_max_bits(vp a, vp b) { return (vp)vmaxq_s32((int32x4_t)a, (int32x4_t)b); }
VR_INLINE vp vp_sqrt(vp x) { return vsqrtq_f32(x); }
VR_INLINE vp vp_mul_add(vp a, vp b, vp c) { return vfmaq_f32(c, a, b); }
#else
VR_INLINE vp vp_max(vp a, vp b) { return vp_select(a > b, a, b); } /* b when either is NaN, like the x86 instruction */
VR_INLINE vp vp_max_bits(vp a, vp b) { return vp_select((vpi)a > (vpi)b, a, b); }
VR_INLINE vp vp_sqrt(vp x) {
    for (int i = 0; i < PART_LANES; i++) x[i] = real_sqrt(x[i]);
    return x;
}
VR_INLINE vp vp_mul_add(vp a, vp b, vp c) { return a * b + c; }
#endif

/* gcc 12 makes a chain of shuffles of a conversion to doubles, and a store and loads of a half of a register. */
#if defined(__AVX512F__) && !defined(TN_F64)
VR_INLINE vpd vpd_of(vp_half x) { return _mm512_cvtps_pd(x); }
VR_INLINE vp_half vp_take_half(vp x, int first) {
    return first ? _mm512_extractf32x8_ps(x, 1) : _mm512_castps512_ps256(x);
}
#elif defined(__AVX2__) && !defined(TN_F64)
VR_INLINE vpd vpd_of(vp_half x) { return _mm256_cvtps_pd(x); }
VR_INLINE vp_half vp_take_half(vp x, int first) {
    return first ? _mm256_extractf128_ps(x, 1) : _mm256_castps256_ps128(x);
}
#elif defined(VP_NEON)
VR_INLINE vpd vpd_of(vp_half x) { return vcvt_f64_f32(x); }
VR_INLINE vp_half vp_take_half(vp x, int first) { return first ? vget_high_f32(x) : vget_low_f32(x); }
#else
VR_INLINE vpd vpd_of(vp_half x) { return __builtin_convertvector(x, vpd); }
VR_INLINE vp_half vp_take_half(vp x, int first) {
    vp_half y;
    memcpy(&y, (const tn_real *)&x + first, sizeof y);
    return y;
}
#endif

/* Half to even, for |x| below 2^22 (f32) or 2^51 (f64): adding 1.5 x 2^23 leaves no room for a fraction. */
static const tn_real rint_magic = (tn_real)1.5 / (sizeof(tn_real) == 4 ? (tn_real)FLT_EPSILON : (tn_real)DBL_EPSILON);
VR_INLINE vp vp_rint(vp x) { return (x + rint_magic) - rint_magic; }
/* The same as a two's complement number in the low 16 bits, for |x| < 2^15: those of the magic number are 0. The bits
 * above mean nothing, and other values, NaN too, give any. */
VR_INLINE vpi vp_rint16(vp x) { return (vpi)(x + rint_magic); }

#ifdef TN_F64
VR_INLINE vp vp_exp(vp x) {
    for (int i = 0; i < PART_LANES; i++) x[i] = exp(x[i]);
    return x;
}
#else
/* exp(x) = 2^n exp(r), n = rint(x / ln 2), |r| <= ln 2 / 2; exp(r) = 1 + r + r^2 P(r), P the minimax polynomial of
 * degree 4. Within 1.1 ulp (tests/test_formulas.c). Below the smallest normal number: 0; above the largest: infinity.
 */
VR_INLINE vp vp_exp(vp x) {
    const float magic = 12582912.0f /* 1.5 x 2^23 */, lowest = -87.3365447f, highest = 88.7228394f;
    vp inside = vp_select(x < lowest, vp_set(lowest), vp_select(x > highest, vp_set(highest), x)); /* a NaN stays one */
    vp t = inside * 1.44269504f + magic, n = t - magic;
    vp r = (inside - n * 0.693359375f) - n * -2.12194440e-4f; /* ln 2 in two pieces; n x the first is exact */
    vp poly = (((r * 1.39412179e-3f + 8.36323481e-3f) * r + 4.16663736e-2f) * r + 0.166665763f) * r + 0.5f;
    vp y = (poly * (r * r) + r) + 1.0f;
    vpi exponent = (vpi)t - (vpi)vp_set(magic), half = exponent >> 1; /* 2^n in two factors: n = 128 occurs */
    y = (y * (vp)((half + 127) << 23)) * (vp)((exponent - half + 127) << 23);
    y = vp_select(x < lowest, vp_set(0), y);
    return vp_select(x > highest, vp_set(INFINITY), y);
}
VR_INLINE float real_exp(float x) { return vp_exp(vp_set(x))[0]; }
#endif

/* exp for x up to 80, and for -infinity, in half the operations where multiply-adds are fused: for products, whose bits
 * agree on those sets alone. 0 where its value would be subnormal, for the polynomial means nothing there. */
#if defined(VR_FUSED) && !defined(TN_F64)
VR_INLINE vp vp_exp_fused(vp x) {
    const float magic = 12582912.0f /* 1.5 x 2^23 */, least = -87.3f;
    vp t = vp_mul_add(x, vp_set(1.44269504f), vp_set(magic)), n = t - magic;
    vp r = vp_mul_add(n, vp_set(2.12194440e-4f), vp_mul_add(n, vp_set(-0.693359375f), x));
    vp poly = vp_mul_add(vp_set(1.39412179e-3f), r, vp_set(8.36323481e-3f));
    poly =
        vp_mul_add(vp_mul_add(vp_mul_add(poly, r, vp_set(4.16663736e-2f)), r, vp_set(0.166665763f)), r, vp_set(0.5f));
    vp y = vp_mul_add(poly, r * r, r) + 1.0f;
#if defined(__AVX512F__)
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, vp_set(least), _CMP_NLT_UQ), y, n);
#else
    const vp power = (vp)(((vpi)t << 23) + (vpi)vp_set(1.0f)); /* 2^n: the bits of the magic number leave at the top */
    return (vp)((vpi)(y * power) & ~(vpi)(x < vp_set(least)));
#endif
}
#else
VR_INLINE vp vp_exp_fused(vp x) { return vp_exp(x); }
#endif

/* dst[j][i] = src[i][j] for a square of PART_LANES, rows `src_row` and `dst_row` apart. Interleaving the upper with the
 * lower half of the rows log2(PART_LANES) times is the turn. */
VR_INLINE void vp_turn(tn_real *dst, int64_t dst_row, const tn_real *src, int64_t src_row) {
    vpi low, high; /* lanes a0 b0 a1 b1 ... of a pair, from the first and from the second half */
    for (int i = 0; i < PART_LANES; i++) {
        low[i] = i / 2 + i % 2 * PART_LANES;
        high[i] = low[i] + PART_LANES / 2;
    }
    vp rows[PART_LANES], mixed[PART_LANES];
    for (int i = 0; i < PART_LANES; i++) memcpy(&rows[i], src + i * src_row, sizeof(vp));
    for (int step = 1; step < PART_LANES; step *= 2) {
        for (int i = 0; i < PART_LANES / 2; i++) {
            mixed[2 * i] = __builtin_shuffle(rows[i], rows[i + PART_LANES / 2], low);
            mixed[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + PART_LANES / 2], high);
        }
        for (int i = 0; i < PART_LANES; i++) rows[i] = mixed[i];
    }
    for (int i = 0; i < PART_LANES; i++) memcpy(dst + i * dst_row, &rows[i], sizeof(vp));
}

/* ---- 16 lanes ---- */
#define VR_UNARY(name, expression)                                                                                     \
    VR_INLINE vr name(vr x) {                                                                                          \
        vr y;                                                                                                          \
        EACH_PART(y.p[i] = (expression));                                                                              \
        return y;                                                                                                      \
    }
#define VR_BINARY(name, expression)                                                                                    \
    VR_INLINE vr name(vr a, vr b) {                                                                                    \
        vr y;                                                                                                          \
        EACH_PART(y.p[i] = (expression));                                                                              \
        return y;                                                                                                      \
    }
VR_UNARY(vr_abs, vp_abs(x.p[i]))
VR_UNARY(vr_rint, vp_rint(x.p[i]))
VR_UNARY(vr_sqrt, vp_sqrt(x.p[i]))
VR_UNARY(vr_exp, vp_exp(x.p[i]))
VR_UNARY(vr_exp_fused, vp_exp_fused(x.p[i]))
VR_BINARY(vr_add, a.p[i] + b.p[i])
VR_BINARY(vr_sub, a.p[i] - b.p[i])
VR_BINARY(vr_mul, a.p[i] * b.p[i])
VR_BINARY(vr_div, a.p[i] / b.p[i])
VR_BINARY(vr_max, vp_max(a.p[i], b.p[i]))
VR_BINARY(vr_max_bits, vp_max_bits(a.p[i], b.p[i])) /* of numbers >= +0, and of NaN, which is above infinity */

VR_INLINE vr vr_set(tn_real x) {
    vr y;
    EACH_PART(y.p[i] = vp_set(x));
    return y;
}
/* a b + c, fused where the hardware can. */
VR_INLINE vr vr_mul_add(vr a, vr b, vr c) {
    vr y;
    EACH_PART(y.p[i] = vp_mul_add(a.p[i], b.p[i], c.p[i]));
    return y;
}
/* a < b ? then : 0, lane by lane. */
VR_INLINE vr vr_if_less(vr a, vr b, vr then) {
    vr y;
    EACH_PART(y.p[i] = (vp)((vpi)(a.p[i] < b.p[i]) & (vpi)then.p[i]));
    return y;
}
VR_INLINE vr vr_load(const tn_real *p) {
    vr y;
    EACH_PART(memcpy(&y.p[i], p + i * PART_LANES, sizeof(vp)));
    return y;
}
VR_INLINE void vr_store(tn_real *p, vr x) { EACH_PART(memcpy(p + i * PART_LANES, &x.p[i], sizeof(vp))); }
/* The first n lanes of x, 1..16, and `fill` in the others, whatever x holds there. */
VR_INLINE vr vr_keep_first(vr x, int n, tn_real fill) {
#define MASK_8(m) m, m, m, m, m, m, m, m
    static const lane_int masks[2 * LANES] = {MASK_8(-1), MASK_8(-1), MASK_8(0), MASK_8(0)};
    const vp other = vp_set(fill);
    vr y;
    EACH_PART(vpi mask; memcpy(&mask, masks + LANES - n + i * PART_LANES, sizeof mask);
              y.p[i] = vp_select(mask, x.p[i], other));
    return y;
}
/* The first n lanes, 1..16; the others get `fill`. */
VR_INLINE vr vr_load_fill(const tn_real *p, int n, tn_real fill) {
    if (TN_LIKELY(n == LANES)) return vr_load(p);
    tn_real lanes[LANES];
    for (int i = 0; i < LANES; i++) lanes[i] = fill;
    memcpy(lanes, p, (size_t)n * sizeof *p);
    return vr_load(lanes);
}
VR_INLINE vr vr_load_n(const tn_real *p, int n) { return vr_load_fill(p, n, 0); }
VR_INLINE void vr_store_n(tn_real *p, int n, vr x) {
    if (TN_LIKELY(n == LANES)) {
        vr_store(p, x);
        return;
    }
    tn_real lanes[LANES];
    vr_store(lanes, x);
    memcpy(p, lanes, (size_t)n * sizeof *p);
}
VR_INLINE tn_real vr_sum(vr x) { /* lanes in order */
    tn_real lanes[LANES], sum = 0;
    vr_store(lanes, x);
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum;
}
/* Whether a lane is above `limit`, or one of the two is NaN. */
VR_INLINE bool vr_any_above(vr x, tn_real limit) {
    vpi above = {0};
    EACH_PART(above |= ~(vpi)(x.p[i] <= vp_set(limit)));
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)above, (__m512i)above) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)above, (__m256i)above);
#else
    lane_int any = 0;
    for (int i = 0; i < PART_LANES; i++) any |= above[i];
    return any != 0;
#endif
}
/* A maximum by halves: it has the same value in any order. A shuffle counts lanes modulo PART_LANES; they are loaded,
 * since gcc would build the numbers lane by lane. */
#define VR_REDUCE(name, maximum)                                                                                       \
    VR_INLINE tn_real name(vr x) {                                                                                     \
        static const lane_int lanes[LANES + LANES / 2] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,              \
                                                          12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};             \
        vp max = x.p[0];                                                                                               \
        EACH_PART(max = maximum(max, x.p[i]));                                                                         \
        for (int step = PART_LANES / 2; step > 0; step /= 2) {                                                         \
            vpi turned;                                                                                                \
            memcpy(&turned, lanes + step, sizeof turned);                                                              \
            max = maximum(max, __builtin_shuffle(max, turned));                                                        \
        }                                                                                                              \
        return max[0] + 0; /* which settles the sign of a zero */                                                      \
    }
VR_REDUCE(vr_reduce_max, vp_max)           /* drops a NaN or keeps it */
VR_REDUCE(vr_reduce_max_bits, vp_max_bits) /* as vr_max_bits; a NaN is kept */

/* ---- integers of other widths ---- */
VR_INLINE vr vr_from_int32(const int32_t *p) {
    vr y;
    EACH_PART(vp_int32 v; memcpy(&v, p + i * PART_LANES, sizeof v); y.p[i] = __builtin_convertvector(v, vp));
    return y;
}
/* gcc 12 turns vectors of bytes into wide ones and back lane by lane. */
#if defined(__AVX512F__)
VR_INLINE vp vp_from_bytes(const int8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
#elif defined(__AVX2__)
VR_INLINE vp vp_from_bytes(const int8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
#elif defined(VP_NEON)
VR_INLINE vp vp_from_bytes(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    const int16x8_t wide = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}
#else
VR_INLINE vp vp_from_bytes(const int8_t *p) {
    vp_int8 v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(__builtin_convertvector(v, vp_int32), vp);
}
#endif
VR_INLINE vr vr_from_int8(const int8_t *p) {
    vr y;
    EACH_PART(y.p[i] = vp_from_bytes(p + i * PART_LANES));
    return y;
}
/* The low byte of every lane. */
#if defined(__AVX512F__)
VR_INLINE void vp_store_bytes(int8_t *p, vpi x) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)x)); }
#elif defined(__AVX2__)
VR_INLINE void vp_store_bytes(int8_t *p, vpi x) {
    const __m256i halves = _mm256_shuffle_epi8((__m256i)x, _mm256_set1_epi32(0x0c080400));
    const __m128i low = _mm256_castsi256_si128(halves), high = _mm256_extracti128_si256(halves, 1);
    _mm_storel_epi64((__m128i *)p, _mm_unpacklo_epi32(low, high));
}
#elif defined(VP_NEON)
VR_INLINE void vp_store_bytes(int8_t *p, vpi x) {
    const int16x4_t halves = vmovn_s32(x);
    const int8x8_t bytes = vmovn_s16(vcombine_s16(halves, halves));
    memcpy(p, &bytes, 4);
}
#else
VR_INLINE void vp_store_bytes(int8_t *p, vpi x) {
    vp_int8 v = __builtin_convertvector(x, vp_int8);
    memcpy(p, &v, sizeof v);
}
#endif
/* Lanes hold integers -128..127. */
VR_INLINE void vr_to_int8(int8_t *p, vr x) {
    EACH_PART(vp_store_bytes(p + i * PART_LANES, __builtin_convertvector(x.p[i], vpi)));
}
VR_INLINE vr vr_from_int8_n(const int8_t *p, int n) {
    if (TN_LIKELY(n == LANES)) return vr_from_int8(p);
    int8_t lanes[LANES] = {0};
    memcpy(lanes, p, (size_t)n);
    return vr_from_int8(lanes);
}
VR_INLINE vr vr_from_int32_n(const int32_t *p, int n) {
    if (TN_LIKELY(n == LANES)) return vr_from_int32(p);
    int32_t lanes[LANES] = {0};
    memcpy(lanes, p, (size_t)n * sizeof *p);
    return vr_from_int32(lanes);
}
VR_INLINE void vr_to_int8_n(int8_t *p, int n, vr x) {
    if (TN_LIKELY(n == LANES)) {
        vr_to_int8(p, x);
        return;
    }
    int8_t lanes[LANES];
    vr_to_int8(lanes, x);
    memcpy(p, lanes, (size_t)n);
}

/* 256 high + low = rint(x), |x| <= 32512: two signed digits. */
VR_INLINE void vr_to_digits(int8_t *high, int8_t *low, vr x) {
    EACH_PART(vpi g = vp_rint16(x.p[i]); vp_store_bytes(low + i * PART_LANES, g);
              vp_store_bytes(high + i * PART_LANES, (g + 128) >> 8));
}
/* rint(x) in the low, rint(y) in the high 16 bits of a word; both |.| < 2^15. */
VR_INLINE void vr_to_pairs(uint32_t *p, vr x, vr y) {
    EACH_PART(vpi word = (vp_rint16(x.p[i]) & 0xffff) | (vp_rint16(y.p[i]) << 16);
              vp_int32 v = __builtin_convertvector(word, vp_int32); memcpy(p + i * PART_LANES, &v, sizeof v));
}
/* 256 high + low of 32-bit sums of digits, below 2^31 itself (any value where it is not: in a row with a NaN). */
VR_INLINE vr vr_from_digits(const int32_t *high, const int32_t *low) {
    vr y;
    EACH_PART(vp_uint32 h; memcpy(&h, high + i * PART_LANES, sizeof h); vp_uint32 l;
              memcpy(&l, low + i * PART_LANES, sizeof l);
              y.p[i] = __builtin_convertvector((vp_int32)(256 * h + l), vp));
    return y;
}
VR_INLINE vr vr_from_digits_n(const int32_t *high, const int32_t *low, int n) {
    if (TN_LIKELY(n == LANES)) return vr_from_digits(high, low);
    int32_t lanes[2][LANES] = {0};
    memcpy(lanes[0], high, (size_t)n * sizeof *high);
    memcpy(lanes[1], low, (size_t)n * sizeof *low);
    return vr_from_digits(lanes[0], lanes[1]);
}
VR_INLINE void vr_to_digits_n(int8_t *high, int8_t *low, int n, vr x) {
    if (TN_LIKELY(n == LANES)) {
        vr_to_digits(high, low, x);
        return;
    }
    int8_t lanes[2][LANES];
    vr_to_digits(lanes[0], lanes[1], x);
    memcpy(high, lanes[0], (size_t)n);
    memcpy(low, lanes[1], (size_t)n);
}
VR_INLINE void vr_to_pairs_n(uint32_t *p, int n, vr x, vr y) {
    if (TN_LIKELY(n == LANES)) {
        vr_to_pairs(p, x, y);
        return;
    }
    uint32_t lanes[LANES];
    vr_to_pairs(lanes, x, y);
    memcpy(p, lanes, (size_t)n * sizeof *p);
}

/* ---- 16 doubles, for long sums ---- */
VR_INLINE vd vd_load(const tn_real *p) {
    vd y;
    EACH_DOUBLE_PART(vp_half v; memcpy(&v, p + i * HALF_LANES, sizeof v); y.p[i] = vpd_of(v));
    return y;
}
VR_INLINE vd vd_of(vr x) {
    vd y;
    EACH_DOUBLE_PART(y.p[i] = vpd_of(vp_take_half(x.p[i * HALF_LANES / PART_LANES], i * HALF_LANES % PART_LANES)));
    return y;
}
VR_INLINE vd vd_load_n(const tn_real *p, int n) {
    if (TN_LIKELY(n == LANES)) return vd_load(p);
    tn_real lanes[LANES] = {0};
    memcpy(lanes, p, (size_t)n * sizeof *p);
    return vd_load(lanes);
}
VR_INLINE double vd_sum(vd x) {
    double lanes[LANES], sum = 0;
    EACH_DOUBLE_PART(memcpy(lanes + i * HALF_LANES, &x.p[i], sizeof(vpd)));
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum;
}

/* Over n elements in runs of 16: `i` is the first element of the run, `left` how many it has. */
#define FOR_RUNS(i, left, n) for (int64_t i = 0, left; i < (n) && (left = TN_MIN((n)-i, (int64_t)LANES), 1); i += LANES)

#endif
