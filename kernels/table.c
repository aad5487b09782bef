/* SPDX-License-Identifier: MIT
 * table.c - rows of tables to reals, and the list of types. Plain C: the truth for faster ways. */
#include "kernels/table.h"

#include <string.h>

#include "core/half.h"
#include "kernels/kernels.h"
#include "kernels/table_priv.h"

typedef struct type_row {
    const char *name;
    int64_t values;
    size_t bytes;
} type_row;

static const type_row types[] = {
#define TABLE_TYPE(name, word, values, bytes) {#name, values, bytes},
#include "kernels/table_types.def"
#undef TABLE_TYPE
};

const char *tn_table_type_name(tn_table_type type) { return types[type].name; }

tn_status tn_table_check(tn_table_type type, int64_t k) {
    const type_row *t = &types[type];
    if (k > 0 && k % t->values == 0) return TN_OK;
    return TN_FAIL(SHAPE, "%s packs rows in blocks of %lld values, and rows of %lld values do not fill them", t->name,
                   (long long)t->values, (long long)k);
}

size_t tn_table_row_bytes(tn_table_type type, int64_t k) {
    TN_ASSERT(k > 0 && k % types[type].values == 0);
    return (size_t)(k / types[type].values) * types[type].bytes;
}

/* ---- one block or run of each type ---- */

static void f32_run(int64_t k, const unsigned char *in, tn_real *y) {
    for (int64_t i = 0; i < k; i++) {
        float value;
        memcpy(&value, in + 4 * i, sizeof value);
        y[i] = (tn_real)value;
    }
}

static void f16_run(int64_t k, const unsigned char *in, tn_real *y) {
    for (int64_t i = 0; i < k; i++) y[i] = (tn_real)tn_f16_to_f32(tn_table_half(in + 2 * i));
}

static void bf16_run(int64_t k, const unsigned char *in, tn_real *y) {
    for (int64_t i = 0; i < k; i++) y[i] = (tn_real)tn_bf16_to_f32(tn_table_half(in + 2 * i));
}

static void q8_0_block(const unsigned char *in, tn_real *y) {
    const float d = tn_f16_to_f32(tn_table_half(in));
    for (int i = 0; i < TN_Q8_0; i++) y[i] = (tn_real)(d * (float)(int8_t)in[2 + i]);
}

/* Each product but the last is exact in f32, so their order means nothing. */
static void q6_k_block(const unsigned char *in, tn_real *y) {
    const float d = tn_f16_to_f32(tn_table_half(in + TN_Q6_K_D));
    const int8_t *scales = (const int8_t *)in + TN_Q6_K_SCALES;
    for (int half = 0; half < 2; half++, y += 128, scales += 8) {
        const unsigned char *low = in + 64 * half, *high = in + TN_Q6_K_HIGH + 32 * half;
        for (int quarter = 0; quarter < 4; quarter++) {
            const float unit[2] = {d * scales[2 * quarter], d * scales[2 * quarter + 1]};
            const unsigned char *nibbles = low + 32 * (quarter & 1);
            const int low_at = 4 * (quarter >> 1), high_at = 2 * quarter;
            for (int l = 0; l < 32; l++) {
                const int q = (nibbles[l] >> low_at & 15) | (high[l] >> high_at & 3) << 4;
                y[32 * quarter + l] = (tn_real)(unit[l >> 4] * (float)(q - 32));
            }
        }
    }
}

/* ---- rows ---- */

void tn_table_row(tn_table_type type, int64_t k, const void *row, tn_real *y) {
    const unsigned char *in = row;
    TN_ASSERT(k > 0 && k % types[type].values == 0);
    switch (type) {
    case TN_TABLE_F32: f32_run(k, in, y); break;
    case TN_TABLE_F16: f16_run(k, in, y); break;
    case TN_TABLE_BF16: bf16_run(k, in, y); break;
    case TN_TABLE_Q8_0:
        for (int64_t i = 0; i < k; i += TN_Q8_0, in += TN_Q8_0_BYTES) q8_0_block(in, y + i);
        break;
    case TN_TABLE_Q6_K:
        for (int64_t i = 0; i < k; i += TN_Q6_K, in += TN_Q6_K_BYTES) q6_k_block(in, y + i);
        break;
    case TN_TABLE_TYPES: TN_ASSERT(!"no type of a table");
    }
}

/* Half-precision numbers `step` bytes apart whose exponents, under `mask`, are not all ones. */
static bool halves_finite(int64_t count, const unsigned char *in, int step, unsigned mask) {
    bool finite = true;
    for (int64_t i = 0; i < count; i++) finite &= (tn_table_half(in + i * step) & mask) != mask;
    return finite;
}

/* Of blocks the scale tells: f16 times numbers of 14 bits at most never overflows. */
bool tn_table_finite(tn_table_type type, int64_t k, const void *row) {
    enum { F32 = 0x7f80, F16 = 0x7c00, BF16 = 0x7f80 };
    const unsigned char *in = row;
    TN_ASSERT(k > 0 && k % types[type].values == 0);
    switch (type) {
    case TN_TABLE_F32: return halves_finite(k, in + 2, 4, F32);
    case TN_TABLE_F16: return halves_finite(k, in, 2, F16);
    case TN_TABLE_BF16: return halves_finite(k, in, 2, BF16);
    case TN_TABLE_Q8_0: return halves_finite(k / TN_Q8_0, in, TN_Q8_0_BYTES, F16);
    case TN_TABLE_Q6_K: return halves_finite(k / TN_Q6_K, in + TN_Q6_K_D, TN_Q6_K_BYTES, F16);
    case TN_TABLE_TYPES: break;
    }
    return false;
}

void tn_table_rows(const tn_table *table, int64_t k, int64_t first, int64_t rows, tn_real *y) {
    const size_t bytes = tn_table_row_bytes(table->type, k);
    const unsigned char *row = (const unsigned char *)table->data + (size_t)first * bytes;
    for (int64_t i = 0; i < rows; i++, row += bytes, y += k) tn_k->table_row(table->type, k, row, y);
}
