/* SPDX-License-Identifier: MIT
 * bodies_moments.h - AdamW on moments kept as 8-bit codes, TN_CODE_BLOCK of them to a scale (docs/math.md, "8-bit
 * moments"). Included once by every isa_*.c, after bodies_runs.h. Contracts: kernels.def.
 *
 * A code is a float with three bits after the point, cut out of an f32: in the table that begins at `base`
 *     value(c) = the f32 with bits (base + c) << 20, less the one with bits base << 20,
 * which is 0 for c = 0, then a few equal steps, then eight steps an octave up to (nearly) 1.875. */

typedef uint32_t vp_bits __attribute__((vector_size(PART_LANES * 4)));
typedef float vp_single __attribute__((vector_size(PART_LANES * 4)));
typedef struct vb { /* 16 words */
    vp_bits p[PARTS];
} vb;

/* TOP << FRACTION are the bits of 1.875; m takes a sign and 7 bits, v 8 bits. */
enum { FRACTION = 20, TOP = 1023, BASE_M = TOP - 127, BASE_V = TOP - 255 };

VR_INLINE vb vb_load(const uint8_t *p) {
    vb y;
    EACH_PART(const vp x = vp_from_bytes((const int8_t *)p + i * PART_LANES);
              y.p[i] = (vp_bits) __builtin_convertvector(x, vp_int32) & 255);
    return y;
}
VR_INLINE void vb_store(uint8_t *p, vb x) {
    EACH_PART(vp_store_bytes((int8_t *)p + i * PART_LANES, __builtin_convertvector((vp_int32)x.p[i], vpi)));
}
VR_INLINE vb vb_load_n(const uint8_t *p, int n) {
    if (TN_LIKELY(n == LANES)) return vb_load(p);
    uint8_t lanes[LANES] = {0};
    memcpy(lanes, p, (size_t)n);
    return vb_load(lanes);
}
VR_INLINE void vb_store_n(uint8_t *p, int n, vb x) {
    if (TN_LIKELY(n == LANES)) {
        vb_store(p, x);
        return;
    }
    uint8_t lanes[LANES];
    vb_store(lanes, x);
    memcpy(p, lanes, (size_t)n);
}

VR_INLINE vp_bits vp_base(uint32_t base) { return (vp_bits){0} + base; }
VR_INLINE vp_single vp_value(vp_bits code, uint32_t base) {
    return (vp_single)((vp_base(base) + code) << FRACTION) - (vp_single)(vp_base(base) << FRACTION);
}
/* One of the two codes around x, from 0 to the largest value (some ulps more are no harm): the upper one where x is
 * further above the lower one than `dither`, 16 bits, says; so the mean over all dithers is x. */
VR_INLINE vp_bits vp_code(vp_single x, vp_bits dither, uint32_t base) {
    const vp_bits bits = (vp_bits)(x + (vp_single)(vp_base(base) << FRACTION));
    return ((bits + (dither << (FRACTION - 16))) >> FRACTION) - base;
}

VR_INLINE vr moments_of(vb codes, tn_real scale) {
    vr y;
    EACH_PART(const vp_bits c = codes.p[i]; const vp_bits value = (vp_bits)vp_value(c & 127, BASE_M) | (c >> 7) << 31;
              y.p[i] = __builtin_convertvector((vp_single)value, vp) * vp_set(scale));
    return y;
}
VR_INLINE vb codes_of_moments(vr m, tn_real inverse, vb dither) {
    vb y;
    EACH_PART(const vp_bits x = (vp_bits) __builtin_convertvector(m.p[i] * vp_set(inverse), vp_single);
              const vp_bits size = vp_code((vp_single)(x & INT32_MAX), dither.p[i] & 0xffff, BASE_M);
              y.p[i] = size | x >> 31 << 7);
    return y;
}
VR_INLINE vr squares_of(vb codes, tn_real scale) {
    vr y;
    EACH_PART(y.p[i] = __builtin_convertvector(vp_value(codes.p[i], BASE_V), vp) * vp_set(scale));
    return y;
}
/* Never code 0: v divides. */
VR_INLINE vb codes_of_squares(vr v, tn_real inverse, vb dither) {
    vb y;
    EACH_PART(const vp_single x = __builtin_convertvector(v.p[i] * vp_set(inverse), vp_single);
              const vp_bits code = vp_code(x, dither.p[i] >> 16, BASE_V); y.p[i] = code - (vp_bits)(code == 0));
    return y;
}

/* 16 numbers that look drawn, from key + first, key + first + 1, ...; the factors are the golden ratio and sqrt(3). */
VR_INLINE vb dither_of(uint32_t key, int64_t first) {
    uint32_t lanes[LANES];
    for (int j = 0; j < LANES; j++) lanes[j] = (uint32_t)j;
    vb y;
    EACH_PART(vp_bits x; memcpy(&x, lanes + i * PART_LANES, sizeof x); x += key + (uint32_t)first;
              x = (x ^ x >> 16) * 0x9e3779b9; x = (x ^ x >> 15) * 0xbb67ae85; y.p[i] = x ^ x >> 16);
    return y;
}

/* What the largest code of a block stands for, and its inverse; none for moments that are as good as 0. */
typedef struct code_scale {
    tn_real scale, inverse;
} code_scale;
static code_scale scale_for(tn_real largest, uint32_t base) {
    const tn_real scale = largest / (tn_real)vp_value(vp_base(TOP - base), base)[0];
    return scale < (tn_real)0x1p-120 ? (code_scale){0, 0} : (code_scale){scale, 1 / scale};
}

/* The codes of a block of up to TN_CODE_BLOCK new moments. */
static void store_codes(int64_t n, const tn_adamw_codes *to, int64_t block, const tn_real *m, const tn_real *v,
                        tn_real largest_m, tn_real largest_v) {
    const code_scale scale_m = scale_for(largest_m, BASE_M), scale_v = scale_for(largest_v, BASE_V);
    const int64_t first = block * TN_CODE_BLOCK;
    to->m_scale[block] = scale_m.scale;
    to->v_scale[block] = scale_v.scale;
    FOR_RUNS (i, left, n) {
        const vb dither = dither_of(to->key, first + i);
        vb_store_n(to->m + first + i, (int)left, codes_of_moments(vr_load(m + i), scale_m.inverse, dither));
        vb_store_n(to->v + first + i, (int)left, codes_of_squares(vr_load(v + i), scale_v.inverse, dither));
    }
}

static double adamw8bit_step(int64_t n, const tn_adamw *o, const tn_adamw_codes *codes, const tn_real *g, tn_real *w) {
    const adamw_rates rates = adamw_rates_of(o);
    const tn_adamw_codes c = *codes; /* where no store can reach it */
    vd total = {0};
    for (int64_t first = 0, block = 0; first < n; first += TN_CODE_BLOCK, block++) {
        const int64_t count = TN_MIN(n - first, (int64_t)TN_CODE_BLOCK);
        const tn_real scale_m = c.m_scale[block], scale_v = c.v_scale[block];
        tn_real m[TN_CODE_BLOCK], v[TN_CODE_BLOCK];
        vr largest_m = vr_set(0), largest_v = vr_set(0);
        FOR_RUNS (at, left, count) {
            const int64_t i = first + at;
            vr moment = moments_of(vb_load_n(c.m + i, (int)left), scale_m);
            vr square = squares_of(vb_load_n(c.v + i, (int)left), scale_v);
            const vr moved = adamw_move(&rates, STREAM(w), STREAM(g), &moment, &square);
            STORE(w, moved);
            total = add_abs(total, moved);
            vr_store(m + at, moment);
            vr_store(v + at, square);
            largest_m = vr_max(largest_m, vr_abs(moment));
            largest_v = vr_max(largest_v, square);
        }
        store_codes(count, &c, block, m, v, vr_reduce_max(largest_m), vr_reduce_max(largest_v));
    }
    return vd_sum(total);
}
