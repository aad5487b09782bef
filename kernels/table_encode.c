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

static float clamp(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

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

/* ---- Q6_K: 16 runs of 16 values, each with a scale of its own in units of d ---- */

enum { RUN = 16, RUNS = TN_Q6_K / RUN, TRIALS = 17 };
#define Q6_K_MOST (65504.0f * 128 * 32) /* d, scale and code at their ends */

/* The scale s that brings s q, q = clamp(rint(x / s), -32, 31), nearest to x: the element of the greatest size is tried
 * at codes around -32 and below, and for the codes that follow, s = sum x q / sum q^2 leaves an error of
 * sum x^2 - (sum x q)^2 / sum q^2. */
static float run_scale(const float *x) {
    int at;
    const float top = extreme_of(RUN, x, &at);
    float best = 0, scale = 0;
    for (int trial = 0; trial < TRIALS && fabsf(top) >= 0x1p-100f; trial++) {
        const float inverse = -(28 + 0.5f * (float)trial) / top;
        float xq = 0, qq = 0;
        for (int i = 0; i < RUN; i++) {
            const float q = clamp(nearest(x[i] * inverse), -32, 31);
            xq += x[i] * q;
            qq += q * q;
        }
        if (xq * xq > best * qq) best = xq * xq / qq, scale = xq / qq;
    }
    return scale;
}

static float run_error(const float *x, float unit) {
    const float inverse = 1 / unit;
    float error = 0;
    for (int i = 0; i < RUN; i++) {
        const float left = x[i] - unit * nearest(clamp(x[i] * inverse, -32, 31));
        error += left * left;
    }
    return error;
}

/* The scale in units of d, rounded either way or away by one more: whichever serves the run best. */
static int unit_scale(const float *x, float scale, float d) {
    const float middle = nearest(clamp(scale / d, -128, 127));
    float least = INFINITY;
    int best = 0;
    for (int step = -1; step <= 1; step++) {
        const float unit = clamp(middle + (float)step, -128, 127);
        const float error = unit == 0 ? INFINITY : run_error(x, unit * d);
        if (error < least) least = error, best = (int)unit;
    }
    return best;
}

static void put_code(int i, unsigned q, unsigned char *out) {
    const int half = i / 128, quarter = i / 32 % 4, l = i % 32;
    out[64 * half + 32 * (quarter & 1) + l] |= (unsigned char)((q & 15) << 4 * (quarter >> 1));
    out[TN_Q6_K_HIGH + 32 * half + l] |= (unsigned char)(q >> 4 << 2 * quarter);
}

static tn_status encode_q6_k(const float *x, int64_t first, unsigned char *out) {
    int at;
    float scales[RUNS];
    const float top = extreme_of(TN_Q6_K, x, &at);
    if (!(fabsf(top) < Q6_K_MOST)) return fail_value(TN_TABLE_Q6_K, first + at, (double)top);
    for (int run = 0; run < RUNS; run++) scales[run] = run_scale(x + RUN * run);
    const float largest = extreme_of(RUNS, scales, &(int){0});
    const uint16_t half = tn_f32_to_f16(largest / -128);
    const float d = tn_f16_to_f32(half);
    if (!isfinite(d)) return fail_value(TN_TABLE_Q6_K, first + at, (double)top);
    memset(out, 0, TN_Q6_K_BYTES);
    memcpy(out + TN_Q6_K_D, &half, sizeof half);
    for (int run = 0; run < RUNS; run++) {
        const int scale = d == 0 ? 0 : unit_scale(x + RUN * run, scales[run], d);
        const float inverse = scale ? 1 / ((float)scale * d) : 0;
        out[TN_Q6_K_SCALES + run] = (unsigned char)(int8_t)scale;
        for (int i = RUN * run; i < RUN * (run + 1); i++)
            put_code(i, (unsigned)(nearest(clamp(x[i] * inverse, -32, 31)) + 32), out);
    }
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
