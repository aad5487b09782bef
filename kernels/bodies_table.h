/* SPDX-License-Identifier: MIT
 * bodies_table.h - rows of tables to reals, 16 at a time: the numbers of tn_table_row (table.h, table_priv.h). Included
 * once by every isa_*.c. */
#include "kernels/half_lanes.h"
#include "kernels/table.h"
#include "kernels/table_priv.h"

static void f16_lanes(int64_t k, const unsigned char *in, tn_real *y) {
    for (int64_t i = 0; i < k; i += LANES) {
        uint16_t halves[LANES];
        memcpy(halves, in + 2 * i, sizeof halves);
        vr_store(y + i, vr_from_f16(halves));
    }
}

static void bf16_lanes(int64_t k, const unsigned char *in, tn_real *y) {
    for (int64_t i = 0; i < k; i++) {
        const uint32_t bits = (uint32_t)tn_table_half(in + 2 * i) << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        y[i] = (tn_real)value;
    }
}

static void q8_0_lanes(int64_t k, const unsigned char *in, tn_real *y) {
    for (int64_t i = 0; i < k; i += TN_Q8_0, in += TN_Q8_0_BYTES) {
        const vr d = vr_set((tn_real)tn_f16_to_f32(tn_table_half(in)));
        for (int j = 0; j < TN_Q8_0; j += LANES)
            vr_store(y + i + j, vr_mul(d, vr_from_int8((const int8_t *)in + 2 + j)));
    }
}

/* Codes of a half of a block, minus 32. */
static void q6_k_half(const unsigned char *restrict low, const unsigned char *restrict high, int8_t *restrict codes) {
    for (int l = 0; l < 32; l++) {
        codes[l] = (int8_t)(((low[l] & 15) | (high[l] & 3) << 4) - 32);
        codes[32 + l] = (int8_t)(((low[32 + l] & 15) | (high[l] >> 2 & 3) << 4) - 32);
        codes[64 + l] = (int8_t)((low[l] >> 4 | (high[l] >> 4 & 3) << 4) - 32);
        codes[96 + l] = (int8_t)((low[32 + l] >> 4 | (high[l] >> 6) << 4) - 32);
    }
}

static void q6_k_lanes(int64_t k, const unsigned char *in, tn_real *y) {
    for (int64_t i = 0; i < k; i += TN_Q6_K, in += TN_Q6_K_BYTES, y += TN_Q6_K) {
        const tn_real d = (tn_real)tn_f16_to_f32(tn_table_half(in + TN_Q6_K_D));
        int8_t codes[TN_Q6_K];
        for (int half = 0; half < 2; half++)
            q6_k_half(in + 64 * half, in + TN_Q6_K_HIGH + 32 * half, codes + 128 * half);
        for (int part = 0; part < TN_Q6_K / LANES; part++) {
            const vr unit = vr_set(d * (tn_real)(int8_t)in[TN_Q6_K_SCALES + part]);
            vr_store(y + part * LANES, vr_mul(unit, vr_from_int8(codes + part * LANES)));
        }
    }
}

static void table_row(tn_table_type type, int64_t k, const void *row, tn_real *y) {
    switch (type) {
    case TN_TABLE_F16: {
        const int64_t whole = k / LANES * LANES;
        f16_lanes(whole, row, y);
        if (whole < k) tn_table_row(type, k - whole, (const unsigned char *)row + 2 * whole, y + whole);
        break;
    }
    case TN_TABLE_BF16: bf16_lanes(k, row, y); break;
    case TN_TABLE_Q8_0: q8_0_lanes(k, row, y); break;
    case TN_TABLE_Q6_K: q6_k_lanes(k, row, y); break;
    default: tn_table_row(type, k, row, y);
    }
}
