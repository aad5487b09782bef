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

/* ---- a panel of rows, as real_panel takes them ---- */
enum { TABLE_PANEL = TILE_VRS * LANES };

#if VP_BYTES == 64
/* One block of each row. Four codes stay together while they are turned, a quarter of the shuffles that reals take. */
static void q6_k_panel(int count, const unsigned char *row, int64_t stride, tn_real *panel) {
    enum { FOURS = TN_Q6_K / 4, GROUPS = TN_Q6_K / LANES };
    tn_real codes[TABLE_PANEL * FOURS] = {0}, turned[FOURS * TABLE_PANEL]; /* int8 codes, four in the room of a real */
    tn_real units[TABLE_PANEL * GROUPS] = {0}, units_turned[GROUPS * TABLE_PANEL];
    const __m512i middle = _mm512_set1_epi8(32);
    for (int r = 0; r < count; r++, row += stride) {
        const __m512i high = _mm512_loadu_si512(row + TN_Q6_K_HIGH);
        tn_prefetch_stream(row, 4);
        for (int half = 0; half < 2; half++) {
            __m512i six[2];
            q6_k_codes(_mm512_loadu_si512(row + 64 * half),
                       half ? _mm512_shuffle_i64x2(high, high, 0xee) : _mm512_shuffle_i64x2(high, high, 0x44), six);
            _mm512_storeu_si512(codes + r * FOURS + 32 * half, _mm512_sub_epi8(six[0], middle));
            _mm512_storeu_si512(codes + r * FOURS + 32 * half + 16, _mm512_sub_epi8(six[1], middle));
        }
        const vr d = vr_set(tn_f16_to_f32(tn_table_half(row + TN_Q6_K_D)));
        vr_store(units + r * GROUPS, vr_mul(d, vr_from_int8((const int8_t *)row + TN_Q6_K_SCALES)));
    }
    turn(TABLE_PANEL, FOURS, codes, FOURS, turned, TABLE_PANEL);
    turn(TABLE_PANEL, GROUPS, units, GROUPS, units_turned, TABLE_PANEL);
    for (int four = 0; four < FOURS; four++, panel += 4 * TABLE_PANEL)
        for (int j = 0; j < TABLE_PANEL; j += LANES) {
            const __m512i bytes = _mm512_loadu_si512(turned + four * TABLE_PANEL + j);
            const __m512 unit = _mm512_loadu_ps(units_turned + four / 4 * TABLE_PANEL + j);
            const __m512i each[4] = {_mm512_slli_epi32(bytes, 24), _mm512_slli_epi32(bytes, 16),
                                     _mm512_slli_epi32(bytes, 8), bytes};
            for (int b = 0; b < 4; b++)
                _mm512_storeu_ps(panel + b * TABLE_PANEL + j,
                                 _mm512_mul_ps(unit, _mm512_cvtepi32_ps(_mm512_srai_epi32(each[b], 24))));
        }
}
#endif

static void table_panel(tn_table_type type, int count, int depth, const void *rows, int64_t stride, tn_real *room,
                        tn_real *panel) {
    const unsigned char *row = rows;
#if VP_BYTES == 64
    if (type == TN_TABLE_Q6_K) {
        for (int at = 0; at < depth; at += TN_Q6_K, row += TN_Q6_K_BYTES)
            q6_k_panel(count, row, stride, panel + at * TABLE_PANEL);
        return;
    }
#endif
    if (count < TABLE_PANEL) memset(panel, 0, sizeof *panel * (size_t)(depth * TABLE_PANEL));
    for (int r = 0; r < count; r++, row += stride) table_row(type, depth, row, room + r * depth);
    turn(count, depth, room, depth, panel, TABLE_PANEL);
}
