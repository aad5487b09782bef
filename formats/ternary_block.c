/* SPDX-License-Identifier: MIT
 * In all three layouts code = state + 1. */
#include "formats/ternary_block.h"

#include "core/half.h"
#include "formats/gguf.h"

#include <math.h>
#include <string.h>

enum { TQ_RUN = 256 };

/* ---- I2_S: byte p of a run holds elements p, 32+p, 64+p, 96+p, the first in its highest bits ---- */

static void i2_s_pack_run(const int8_t *states, unsigned char *out) {
    for (int p = 0; p < 32; p++)
        out[p] = (unsigned char)((states[p] + 1) << 6 | (states[32 + p] + 1) << 4 | (states[64 + p] + 1) << 2 |
                                 (states[96 + p] + 1));
}

static bool i2_s_unpack_run(const unsigned char *in, int8_t *states) {
    unsigned char three = 0;
    for (int group = 0; group < 4; group++, states += 32)
        for (int p = 0; p < 32; p++) {
            const unsigned char code = in[p] >> (6 - 2 * group) & 3;
            three |= code & code >> 1;
            states[p] = (int8_t)(code - 1);
        }
    return !three;
}

/* ---- TQ2_0: byte 32h + m holds elements 128h + 32l + m, l = 0..3, the first in its lowest bits ---- */

static void tq2_0_pack_run(const int8_t *states, unsigned char *out) {
    for (int h = 0; h < 2; h++, states += 128, out += 32)
        for (int m = 0; m < 32; m++)
            out[m] = (unsigned char)((states[m] + 1) | (states[32 + m] + 1) << 2 | (states[64 + m] + 1) << 4 |
                                     (states[96 + m] + 1) << 6);
}

static bool tq2_0_unpack_run(const unsigned char *in, int8_t *states) {
    unsigned char three = 0;
    for (int group = 0; group < 8; group++, states += 32)
        for (int m = 0; m < 32; m++) {
            const unsigned char code = in[group / 4 * 32 + m] >> (2 * (group % 4)) & 3;
            three |= code & code >> 1;
            states[m] = (int8_t)(code - 1);
        }
    return !three;
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

/* ---- what differs between the types ---- */

typedef void pack_run(const int8_t *states, unsigned char *out);
typedef bool unpack_run(const unsigned char *in, int8_t *states); /* false on code 3 */

typedef struct layout {
    int type;
    int64_t run, bytes; /* of a run, with its d */
    bool has_d;         /* f16 in the last two bytes of each run; else the scale lies behind all of them, as f32 */
    pack_run *pack;
    unpack_run *unpack;
} layout;

static const layout layouts[] = {
    {TN_GGML_I2_S, 128, 32, false, i2_s_pack_run, i2_s_unpack_run},
    {TN_GGML_TQ2_0, TQ_RUN, 66, true, tq2_0_pack_run, tq2_0_unpack_run},
    {TN_GGML_TQ1_0, TQ_RUN, 54, true, tq1_0_pack_run, tq1_0_unpack_run},
};

static const layout *find_layout(int type) {
    for (size_t i = 0; i < TN_COUNT(layouts); i++)
        if (layouts[i].type == type) return &layouts[i];
    return NULL;
}

bool tn_ternary_type(int type) { return find_layout(type) != NULL; }

/* ---- packing ---- */

static tn_status check_states(int type, const int8_t *states, int64_t count) {
    unsigned odd = 0;
    for (int64_t i = 0; i < count; i++) odd |= (unsigned char)(states[i] + 1) > 2;
    for (int64_t i = 0; odd && i < count; i++)
        if (states[i] < -1 || states[i] > 1)
            return TN_FAIL(RANGE, "%s: state %d at element %lld is not -1, 0 or +1", tn_ggml_type_name(type), states[i],
                           (long long)i);
    return TN_OK;
}

static tn_status check_scale(const layout *l, float scale) {
    const float stored = l->has_d ? tn_f16_to_f32(tn_f32_to_f16(scale)) : scale;
    if (!isfinite(scale) || scale <= 0)
        return TN_FAIL(RANGE, "%s: scale %g is not finite and positive", tn_ggml_type_name(l->type), (double)scale);
    if (!isfinite(stored) || stored == 0)
        return TN_FAIL(RANGE, "%s: scale %g does not fit in 16 bits", tn_ggml_type_name(l->type), (double)scale);
    return TN_OK;
}

tn_status tn_ternary_pack_rows(int type, const int8_t *states, int64_t rows, int64_t cols, float scale,
                               unsigned char *out) {
    const layout *l = find_layout(type);
    size_t bytes;
    TN_ASSERT(l);
    TN_TRY(tn_ggml_type_bytes(type, cols, rows, &bytes));
    TN_TRY(check_scale(l, scale));
    TN_TRY(check_states(type, states, rows * cols));
    const uint16_t half = tn_f32_to_f16(scale);
    for (int64_t i = 0; i < rows * cols; i += l->run, out += l->bytes) {
        l->pack(states + i, out);
        if (l->has_d) memcpy(out + l->bytes - 2, &half, sizeof half);
    }
    return TN_OK;
}

size_t tn_ternary_tail(int type, float scale, unsigned char out[TN_TERNARY_TAIL_MAX]) {
    if (find_layout(type)->has_d) return 0;
    memset(out, 0, TN_TERNARY_TAIL_MAX);
    memcpy(out, &scale, sizeof scale);
    return TN_TERNARY_TAIL_MAX;
}

tn_status tn_ternary_pack(int type, const int8_t *states, int64_t rows, int64_t cols, float scale, unsigned char *out) {
    const layout *l = find_layout(type);
    TN_TRY(tn_ternary_pack_rows(type, states, rows, cols, scale, out));
    (void)tn_ternary_tail(type, scale, out + rows * cols / l->run * l->bytes);
    return TN_OK;
}

/* ---- unpacking ---- */

/* The scale of one run, which must be that of the runs before. */
static tn_status read_d(const char *what, const layout *l, const unsigned char *in, int64_t run, float *here,
                        float *scale) {
    uint16_t half;
    memcpy(&half, in + l->bytes - 2, sizeof half);
    *here = tn_f16_to_f32(half);
    if (!isfinite(*here) || *here < 0 || (*here > 0 && *scale > 0 && *here != *scale))
        return TN_FAIL(CORRUPT, "%s: block %lld has scale %g after %g, expected one scale in all blocks", what,
                       (long long)run, (double)*here, (double)*scale);
    if (*here > 0) *scale = *here;
    return TN_OK;
}

static tn_status read_tail(const char *what, const unsigned char *tail, float *scale) {
    memcpy(scale, tail, sizeof *scale);
    if (isfinite(*scale) && *scale >= 0) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: scale %g is not finite and positive", what, (double)*scale);
}

tn_status tn_ternary_unpack_rows(int type, const char *what, const unsigned char *in, int64_t rows, int64_t cols,
                                 int64_t first, int64_t count, int8_t *states, float *scale) {
    const layout *l = find_layout(type);
    size_t bytes;
    TN_ASSERT(l && first >= 0 && count >= 0 && first <= rows - count);
    TN_TRY(tn_ggml_type_bytes(type, cols, rows, &bytes));
    *scale = 0;
    const int64_t runs = cols / l->run;
    for (int64_t run = first * runs; run < (first + count) * runs; run++, states += l->run) {
        const unsigned char *p = in + run * l->bytes;
        float here = 1;
        if (l->has_d) TN_TRY(read_d(what, l, p, run, &here, scale));
        if (!l->unpack(p, states))
            return TN_FAIL(CORRUPT, "%s: block %lld holds code 3, which no ternary weight has", what, (long long)run);
        if (here == 0) memset(states, 0, (size_t)l->run);
    }
    return l->has_d ? TN_OK : read_tail(what, in + rows * runs * l->bytes, scale);
}

tn_status tn_ternary_unpack(int type, const char *what, const unsigned char *in, int64_t rows, int64_t cols,
                            int8_t *states, float *scale) {
    return tn_ternary_unpack_rows(type, what, in, rows, cols, 0, rows, states, scale);
}
