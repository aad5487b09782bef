/* SPDX-License-Identifier: MIT
 * table_encode.c - reals to rows of tables. */
#include "kernels/table.h"

#include <math.h>
#include <string.h>

#include "core/half.h"
#include "kernels/table_priv.h"

static tn_status fail_value(tn_table_type type, int64_t i, double value) {
    if (!isfinite(value)) return TN_FAIL(RANGE, "element %lld is %g, not a finite number", (long long)i, value);
    return TN_FAIL(RANGE, "element %lld is %g, beyond what %s can hold", (long long)i, value, tn_table_type_name(type));
}

/* ---- F32, F16, BF16 ---- */

static void encode_f32(int64_t k, const tn_real *x, unsigned char *out) {
    for (int64_t i = 0; i < k; i++) {
        const float value = (float)x[i];
        memcpy(out + 4 * i, &value, sizeof value);
    }
}

static tn_status encode_halves(tn_table_type type, int64_t k, const tn_real *x, unsigned char *out) {
    for (int64_t i = 0; i < k; i++) {
        const bool f16 = type == TN_TABLE_F16;
        const uint16_t half = f16 ? tn_f32_to_f16((float)x[i]) : tn_f32_to_bf16((float)x[i]);
        if (!isfinite(f16 ? tn_f16_to_f32(half) : tn_bf16_to_f32(half))) return fail_value(type, i, (double)x[i]);
        memcpy(out + 2 * i, &half, sizeof half);
    }
    return TN_OK;
}

/* ---- blocks ---- */

/* rint in two additions that the compiler can make vectors of, for |x| < 2^22. */
static float nearest(float x) {
    const float shift = 12582912; /* 1.5 x 2^23: the unit of the sum is 1 */
    return (x + shift) - shift;
}

static float clamp(float x, float low, float high) {
    const float above = x > low ? x : low;
    return above < high ? above : high;
}

/* The element of the greatest size, the first of several; NaN when there is one. */
static float extreme_of(int n, const float *x, int *at) {
    *at = 0;
    for (int i = 0; i < n; i++) {
        if (fabsf(x[i]) > fabsf(x[*at])) *at = i;
        if (isnan(x[i])) return *at = i, x[i];
    }
    return x[*at];
}

static tn_status encode_q8_0(const float *x, int64_t first, unsigned char *out) {
    int at;
    const float top = extreme_of(TN_Q8_0, x, &at), d = fabsf(top) / 127;
    const uint16_t half = tn_f32_to_f16(d);
    if (!isfinite(tn_f16_to_f32(half))) return fail_value(TN_TABLE_Q8_0, first + at, (double)top);
    const float inverse = tn_f16_to_f32(half) > 0 ? 1 / d : 0;
    memcpy(out, &half, sizeof half);
    for (int i = 0; i < TN_Q8_0; i++) out[2 + i] = (unsigned char)(int8_t)nearest(x[i] * inverse);
    return TN_OK;
}

/* ---- Q6_K: 16 runs of 16 values, each with a scale of its own in units of d ----
 * A block is worked on turned, [value][run], all runs at once: loops long enough to become vectors. */

enum { RUN = 16, RUNS = 16, TRIALS = 9 };
#define Q6_K_MOST (65504.0f * 128 * 32) /* d, scale and code at their ends */

typedef struct q6_k_work {
    float x[TN_Q6_K]; /* x[RUNS i + r]: value i of run r */
    float inverse[TN_Q6_K], unit[TN_Q6_K];
    float codes[TN_Q6_K], products[TN_Q6_K], squares[TN_Q6_K];
} q6_k_work;

/* The sum of each run into the first RUNS of x. */
static void sum_runs(float *x) {
    for (int half = TN_Q6_K / 2; half >= RUNS; half /= 2)
        for (int i = 0; i < half; i++) x[i] += x[i + half];
}

static void spread(const float scales[RUNS], float *out) {
    for (int i = 0; i < RUN; i++) memcpy(out + RUNS * i, scales, sizeof *scales * RUNS);
}

static void make_codes(q6_k_work *b) {
    for (int i = 0; i < TN_Q6_K; i++) b->codes[i] = nearest(clamp(b->x[i] * b->inverse[i], -32, 31));
}

/* The scales s that bring s q, q = clamp(rint(x / s), -32, 31), nearest to x: the element of the greatest size is tried
 * at codes around -32, and for the codes that follow, s = sum x q / sum q^2 leaves an error of
 * sum x^2 - (sum x q)^2 / sum q^2. */
static void search_scales(q6_k_work *b, const float tops[RUNS], float scales[RUNS]) {
    float best[RUNS] = {0}, inverse[RUNS];
    memset(scales, 0, sizeof *scales * RUNS);
    for (int trial = 0; trial < TRIALS; trial++) {
        for (int r = 0; r < RUNS; r++) inverse[r] = fabsf(tops[r]) >= 0x1p-100f ? -(28 + (float)trial) / tops[r] : 0;
        spread(inverse, b->inverse);
        make_codes(b);
        for (int i = 0; i < TN_Q6_K; i++) {
            b->products[i] = b->x[i] * b->codes[i];
            b->squares[i] = b->codes[i] * b->codes[i];
        }
        sum_runs(b->products);
        sum_runs(b->squares);
        for (int r = 0; r < RUNS; r++) {
            const float xq = b->products[r], qq = b->squares[r];
            if (xq * xq > best[r] * qq) best[r] = xq * xq / qq, scales[r] = xq / qq;
        }
    }
}

/* With scales `units`: the codes, and the error of each run. */
static void try_units(q6_k_work *b, const float units[RUNS]) {
    float inverse[RUNS];
    for (int r = 0; r < RUNS; r++) inverse[r] = units[r] == 0 ? 0 : 1 / units[r];
    spread(inverse, b->inverse);
    spread(units, b->unit);
    make_codes(b);
    for (int i = 0; i < TN_Q6_K; i++) {
        const float left = b->x[i] - b->unit[i] * b->codes[i];
        b->squares[i] = left * left;
    }
    sum_runs(b->squares);
}

/* Scales in units of d: rounded, and one less or more where that serves the run better. */
static void round_scales(q6_k_work *b, const float scales[RUNS], float d, float rounded[RUNS]) {
    static const float steps[] = {0, -1, 1};
    float least[RUNS], tried[RUNS], units[RUNS];
    for (int r = 0; r < RUNS; r++) least[r] = INFINITY;
    for (size_t step = 0; step < TN_COUNT(steps); step++) {
        for (int r = 0; r < RUNS; r++) {
            tried[r] = clamp(nearest(clamp(scales[r] / d, -128, 127)) + steps[step], -128, 127);
            units[r] = tried[r] * d;
        }
        try_units(b, units);
        for (int r = 0; r < RUNS; r++)
            if (b->squares[r] < least[r]) least[r] = b->squares[r], rounded[r] = tried[r];
    }
}

static void put_codes(const q6_k_work *b, unsigned char *out) {
    unsigned char turned[TN_Q6_K];
    for (int i = 0; i < TN_Q6_K; i++) turned[i] = (unsigned char)(int)(b->codes[RUNS * (i % RUN) + i / RUN] + 32);
    for (int half = 0; half < 2; half++) {
        const unsigned char *q = turned + 128 * half;
        unsigned char *low = out + 64 * half, *high = out + TN_Q6_K_HIGH + 32 * half;
        for (int l = 0; l < 64; l++) low[l] = (unsigned char)((q[l] & 15) | (q[64 + l] & 15) << 4);
        for (int l = 0; l < 32; l++)
            high[l] = (unsigned char)(q[l] >> 4 | q[32 + l] >> 4 << 2 | q[64 + l] >> 4 << 4 | q[96 + l] >> 4 << 6);
    }
}

static tn_status encode_q6_k(const float *x, int64_t first, unsigned char *out) {
    q6_k_work b;
    int at;
    float tops[RUNS], scales[RUNS] = {0}, rounded[RUNS] = {0}, units[RUNS];
    const float top = extreme_of(TN_Q6_K, x, &at);
    if (!(fabsf(top) < Q6_K_MOST)) return fail_value(TN_TABLE_Q6_K, first + at, (double)top);
    for (int r = 0; r < RUNS; r++) tops[r] = extreme_of(RUN, x + RUN * r, &(int){0});
    for (int i = 0; i < TN_Q6_K; i++) b.x[RUNS * (i % RUN) + i / RUN] = x[i];
    search_scales(&b, tops, scales);
    const uint16_t half = tn_f32_to_f16(extreme_of(RUNS, scales, &(int){0}) / -128);
    const float d = tn_f16_to_f32(half);
    if (!isfinite(d)) return fail_value(TN_TABLE_Q6_K, first + at, (double)top);
    if (d != 0) round_scales(&b, scales, d, rounded);
    for (int r = 0; r < RUNS; r++) {
        units[r] = rounded[r] * d;
        out[TN_Q6_K_SCALES + r] = (unsigned char)(int8_t)rounded[r];
    }
    try_units(&b, units);
    put_codes(&b, out);
    memcpy(out + TN_Q6_K_D, &half, sizeof half);
    return TN_OK;
}

/* ---- rows ---- */

typedef tn_status encode_block(const float *x, int64_t first, unsigned char *out);

static tn_status encode_blocks(encode_block *encode, int values, int bytes, int64_t k, const tn_real *x,
                               unsigned char *out) {
    float block[TN_Q6_K];
    for (int64_t i = 0; i < k; i += values, out += bytes) {
        for (int j = 0; j < values; j++) block[j] = (float)x[i + j];
        TN_TRY(encode(block, i, out));
    }
    return TN_OK;
}

tn_status tn_table_encode_row(tn_table_type type, int64_t k, const tn_real *x, void *row) {
    TN_TRY(tn_table_check(type, k));
    switch (type) {
    case TN_TABLE_F32: encode_f32(k, x, row); return TN_OK;
    case TN_TABLE_F16:
    case TN_TABLE_BF16: return encode_halves(type, k, x, row);
    case TN_TABLE_Q8_0: return encode_blocks(encode_q8_0, TN_Q8_0, TN_Q8_0_BYTES, k, x, row);
    case TN_TABLE_Q6_K: return encode_blocks(encode_q6_k, TN_Q6_K, TN_Q6_K_BYTES, k, x, row);
    case TN_TABLE_TYPES: break;
    }
    return TN_FAIL(ARG, "%d is no type of a table", (int)type);
}
