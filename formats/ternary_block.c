/* SPDX-License-Identifier: MIT
 * In all three layouts code = state + 1. */
#include "formats/ternary_block.h"

#include "core/half.h"
#include "formats/gguf.h"

#include <math.h>
#include <string.h>

enum { I2_S_RUN = 128, TQ_RUN = 256, TQ1_0_BYTES = 54, TQ2_0_BYTES = 66 };

static tn_status check_packing(tn_ggml_type type, const int8_t *states, int64_t rows, int64_t cols, float scale) {
    size_t bytes;
    TN_TRY(tn_ggml_type_bytes(type, cols, rows, &bytes));
    if (!isfinite(scale) || scale <= 0)
        return TN_FAIL(RANGE, "%s: scale %g is not finite and positive", tn_ggml_type_name(type), (double)scale);
    for (int64_t i = 0; i < rows * cols; i++)
        if (states[i] < -1 || states[i] > 1)
            return TN_FAIL(RANGE, "%s: state %d at element %lld is not -1, 0 or +1", tn_ggml_type_name(type), states[i],
                           (long long)i);
    return TN_OK;
}

static tn_status code_three(const char *what, int64_t block) {
    return TN_FAIL(CORRUPT, "%s: block %lld holds code 3, which no ternary weight has", what, (long long)block);
}

/* ---- I2_S: byte p of a run holds elements p, 32+p, 64+p, 96+p, the first in its highest bits ---- */

tn_status tn_i2_s_pack(const int8_t *states, int64_t rows, int64_t cols, float scale, unsigned char *out) {
    TN_TRY(check_packing(TN_GGML_I2_S, states, rows, cols, scale));
    for (int64_t run = 0; run < rows * cols / I2_S_RUN; run++, states += I2_S_RUN, out += 32)
        for (int p = 0; p < 32; p++)
            out[p] = (unsigned char)((states[p] + 1) << 6 | (states[32 + p] + 1) << 4 | (states[64 + p] + 1) << 2 |
                                     (states[96 + p] + 1));
    memset(out, 0, 32);
    memcpy(out, &scale, sizeof scale);
    return TN_OK;
}

static bool i2_s_unpack_run(const unsigned char *in, int8_t *states) {
    bool three = false;
    for (int p = 0; p < 32; p++)
        for (int group = 0; group < 4; group++) {
            int code = in[p] >> (6 - 2 * group) & 3;
            three |= code == 3;
            states[32 * group + p] = (int8_t)(code - 1);
        }
    return !three;
}

tn_status tn_i2_s_unpack(const char *what, const unsigned char *in, int64_t rows, int64_t cols, int8_t *states,
                         float *scale) {
    size_t bytes;
    TN_TRY(tn_ggml_type_bytes(TN_GGML_I2_S, cols, rows, &bytes));
    int64_t runs = rows * cols / I2_S_RUN;
    for (int64_t run = 0; run < runs; run++)
        if (!i2_s_unpack_run(in + 32 * run, states + I2_S_RUN * run)) return code_three(what, run);
    memcpy(scale, in + 32 * runs, sizeof *scale);
    if (!isfinite(*scale) || *scale <= 0)
        return TN_FAIL(CORRUPT, "%s: scale %g is not finite and positive", what, (double)*scale);
    return TN_OK;
}

/* ---- what TQ1_0 and TQ2_0 share: runs of 256, each followed by its own f16 d ---- */

typedef void pack_run(const int8_t *states, unsigned char *out);
typedef bool unpack_run(const unsigned char *in, int8_t *states); /* false on code 3 */

static tn_status tq_pack(tn_ggml_type type, int bytes, pack_run *pack, const int8_t *states, int64_t n_runs, float d,
                         unsigned char *out) {
    uint16_t half = tn_f32_to_f16(d);
    float stored = tn_f16_to_f32(half);
    if (!isfinite(stored) || stored == 0)
        return TN_FAIL(RANGE, "%s: scale %g does not fit in 16 bits", tn_ggml_type_name(type), (double)d);
    for (int64_t run = 0; run < n_runs; run++, states += TQ_RUN, out += bytes) {
        pack(states, out);
        out[bytes - 2] = (unsigned char)half;
        out[bytes - 1] = (unsigned char)(half >> 8);
    }
    return TN_OK;
}

static tn_status tq_unpack(const char *what, int bytes, unpack_run *unpack, const unsigned char *in, int64_t n_runs,
                           int8_t *states, float *d) {
    *d = 0;
    for (int64_t run = 0; run < n_runs; run++, states += TQ_RUN, in += bytes) {
        float here = tn_f16_to_f32((uint16_t)(in[bytes - 2] | in[bytes - 1] << 8));
        if (!isfinite(here) || here < 0 || (here > 0 && *d > 0 && here != *d))
            return TN_FAIL(CORRUPT, "%s: block %lld has scale %g after %g, expected one scale in all blocks", what,
                           (long long)run, (double)here, (double)*d);
        if (!unpack(in, states)) return code_three(what, run);
        if (here == 0) memset(states, 0, TQ_RUN);
        if (here > 0) *d = here;
    }
    return TN_OK;
}

/* ---- TQ2_0: byte 32h + m holds elements 128h + 32l + m, l = 0..3, the first in its lowest bits ---- */

static void tq2_0_pack_run(const int8_t *states, unsigned char *out) {
    for (int h = 0; h < 2; h++, states += 128, out += 32)
        for (int m = 0; m < 32; m++)
            out[m] = (unsigned char)((states[m] + 1) | (states[32 + m] + 1) << 2 | (states[64 + m] + 1) << 4 |
                                     (states[96 + m] + 1) << 6);
}

static bool tq2_0_unpack_run(const unsigned char *in, int8_t *states) {
    bool three = false;
    for (int i = 0; i < TQ_RUN; i++) {
        int code = in[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
        three |= code == 3;
        states[i] = (int8_t)(code - 1);
    }
    return !three;
}

tn_status tn_tq2_0_pack(const int8_t *states, int64_t rows, int64_t cols, float d, unsigned char *out) {
    TN_TRY(check_packing(TN_GGML_TQ2_0, states, rows, cols, d));
    return tq_pack(TN_GGML_TQ2_0, TQ2_0_BYTES, tq2_0_pack_run, states, rows * cols / TQ_RUN, d, out);
}

tn_status tn_tq2_0_unpack(const char *what, const unsigned char *in, int64_t rows, int64_t cols, int8_t *states,
                          float *d) {
    size_t bytes;
    TN_TRY(tn_ggml_type_bytes(TN_GGML_TQ2_0, cols, rows, &bytes));
    return tq_unpack(what, TQ2_0_BYTES, tq2_0_unpack_run, in, rows * cols / TQ_RUN, states, d);
}

/* ---- TQ1_0: a byte holds up to five base-3 digits as a fraction of 256, the first digit the most significant ----
 * Three strides: 32 bytes of 5 digits (elements 0..159), 16 bytes of 5 (160..239), 4 bytes of 4 (240..255); digit n of
 * byte m in a stride of `width` bytes is the stride's element m + width n. */

typedef struct tq1_0_stride {
    int width, digits;
} tq1_0_stride;

static const tq1_0_stride tq1_0_strides[] = {{32, 5}, {16, 5}, {4, 4}};

static void tq1_0_pack_run(const int8_t *states, unsigned char *out) {
    for (size_t s = 0; s < TN_COUNT(tq1_0_strides); s++) {
        int width = tq1_0_strides[s].width, digits = tq1_0_strides[s].digits;
        for (int m = 0; m < width; m++) {
            int q = 0;
            for (int n = 0; n < 5; n++) q = 3 * q + (n < digits ? states[m + width * n] + 1 : 0);
            out[m] = (unsigned char)((256 * q + 242) / 243); /* rounded up, so that decoding may cut off */
        }
        states += width * digits;
        out += width;
    }
}

static bool tq1_0_unpack_run(const unsigned char *in, int8_t *states) {
    for (size_t s = 0; s < TN_COUNT(tq1_0_strides); s++) {
        int width = tq1_0_strides[s].width, digits = tq1_0_strides[s].digits;
        for (int m = 0; m < width; m++) {
            unsigned char fraction = in[m];
            for (int n = 0; n < digits; n++) {
                states[m + width * n] = (int8_t)((3 * fraction >> 8) - 1);
                fraction = (unsigned char)(3 * fraction); /* the part behind the point */
            }
        }
        states += width * digits;
        in += width;
    }
    return true; /* every byte decodes to digits 0..2 */
}

tn_status tn_tq1_0_pack(const int8_t *states, int64_t rows, int64_t cols, float d, unsigned char *out) {
    TN_TRY(check_packing(TN_GGML_TQ1_0, states, rows, cols, d));
    return tq_pack(TN_GGML_TQ1_0, TQ1_0_BYTES, tq1_0_pack_run, states, rows * cols / TQ_RUN, d, out);
}

tn_status tn_tq1_0_unpack(const char *what, const unsigned char *in, int64_t rows, int64_t cols, int8_t *states,
                          float *d) {
    size_t bytes;
    TN_TRY(tn_ggml_type_bytes(TN_GGML_TQ1_0, cols, rows, &bytes));
    return tq_unpack(what, TQ1_0_BYTES, tq1_0_unpack_run, in, rows * cols / TQ_RUN, states, d);
}
