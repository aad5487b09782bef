/* SPDX-License-Identifier: MIT
 * gguf_write.c - parameters into GGUF tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/half.h"
#include "core/par.h"
#include "formats/ternary_block.h"
#include "models/gguf_weights.h"
#include "models/rounding.h"

/* What a parameter is to a file. */
typedef enum role { ROLE_TERNARY, ROLE_MATRIX, ROLE_TABLE, ROLE_GAIN } role;

static role role_of(const tn_param *p) {
    if (p->quantizer != TN_QUANT_NONE) return ROLE_TERNARY;
    if (p->tensor.n_dims == 1) return ROLE_GAIN;
    return p->tabular ? ROLE_TABLE : ROLE_MATRIX;
}

int tn_gguf_type_of_table(tn_table_type type) {
    static const int types[] = {
#define TABLE_TYPE(name, word, values, bytes) TN_GGML_##name,
#include "kernels/table_types.def"
#undef TABLE_TYPE
    };
    return types[type];
}

static int type_of(const tn_param *p, tn_gguf_types types) {
    role r = role_of(p);
    if (r == ROLE_GAIN) return TN_GGML_F32;
    return r == ROLE_TABLE ? tn_gguf_type_of_table(types.table) : types.matrix;
}

/* Whether blocks of that type round the scale to f16. */
static bool rounds_scale(const tn_param *p, int type) {
    return role_of(p) == ROLE_TERNARY && (type == TN_GGML_TQ2_0 || type == TN_GGML_TQ1_0);
}

static bool has_scale_tensor(const tn_param *p, int type, tn_gguf_types types) {
    return types.scale_tensors && rounds_scale(p, type);
}

static float f16(float x) { return tn_f16_to_f32(tn_f32_to_f16(x)); }

/* ---- checks and roundings ---- */

static tn_status check_floats(const tn_param *p, int type) {
    for (int64_t i = 0; i < tn_param_count(p); i++) {
        float value = (float)p->tensor.real[i];
        if (!isfinite(value)) return TN_FAIL(NAN, "element %lld of %s is %g", (long long)i, p->name, (double)value);
        if (type == TN_GGML_F16 && !isfinite(f16(value)))
            return TN_FAIL(RANGE, "element %lld of %s is %g, beyond the 65504 of F16", (long long)i, p->name,
                           (double)value);
    }
    return TN_OK;
}

/* Whether the file has the scale of a ternary matrix in 16 bits. */
static bool halves_scale(const tn_param *p, int type, tn_gguf_types types) {
    return type == TN_GGML_F16 || (rounds_scale(p, type) && !types.scale_tensors);
}

static tn_status check_states(const tn_param *p, int type, bool halved) {
    float scale = (float)p->scale;
    bool fits = !halved || (f16(scale) > 0 && isfinite(f16(scale)));
    if (!isfinite(scale) || scale <= 0 || !fits)
        return TN_FAIL(RANGE, "the scale of %s is %g, which %s cannot hold", p->name, (double)scale,
                       tn_ggml_type_name(type));
    for (int64_t i = 0; i < tn_param_count(p); i++)
        if (p->states[i]) return TN_OK;
    return TN_FAIL(CORRUPT, "every weight of %s is zero: the model was not trained, or is damaged", p->name);
}

tn_status tn_gguf_check_param(const tn_param *param, tn_gguf_types types) {
    int type = type_of(param, types), block = (int)tn_ggml_type_block(type);
    if (param->cols % block)
        return TN_FAIL(SHAPE,
                       "%s has rows of %d weights, %s needs a multiple of %d; export with --type f16, or train with "
                       "widths that divide by %d",
                       param->name, param->cols, tn_ggml_type_name(type), block, block);
    if (role_of(param) == ROLE_TERNARY) return check_states(param, type, halves_scale(param, type, types));
    return role_of(param) == ROLE_TABLE ? TN_OK : check_floats(param, type); /* a table's numbers: when it is made */
}

static float rounded(tn_real value, int type) { return type == TN_GGML_F16 ? f16((float)value) : (float)value; }

tn_status tn_gguf_round_param(tn_param *param, tn_gguf_types types, tn_arena *arena) {
    if (role_of(param) == ROLE_TABLE) {
        bool same = param->table.data ? param->table.type == types.table : types.table == TN_TABLE_F32;
        return same ? TN_OK : tn_round_to_table(param, types.table, arena);
    }
    int type = type_of(param, types);
    param->scale = (tn_real)(halves_scale(param, type, types) ? f16((float)param->scale) : (float)param->scale);
    for (int64_t i = 0; role_of(param) != ROLE_TERNARY && i < tn_param_count(param); i++)
        param->tensor.real[i] = (tn_real)rounded(param->tensor.real[i], type);
    return TN_OK;
}

/* ---- announcing ---- */

tn_status tn_gguf_announce_param(tn_gguf_writer *writer, const tn_param *param, tn_gguf_types types) {
    int type = type_of(param, types);
    const int64_t ne[2] = {param->cols, param->rows};
    TN_TRY(tn_gguf_announce(writer, param->name, type, role_of(param) == ROLE_GAIN ? 1 : 2, ne));
    char name[80];
    const int64_t one = 1;
    if (!has_scale_tensor(param, type, types) || !tn_gguf_scale_name(param->name, name, sizeof name)) return TN_OK;
    return tn_gguf_announce(writer, name, TN_GGML_F32, 1, &one);
}

/* ---- data, a stretch of rows at a time ---- */

enum { STRETCH = 64 };

typedef struct putting {
    tn_gguf_writer *writer;
    const tn_param *param;
    tn_gguf_types types;
    int type;
    unsigned char *out; /* [STRETCH rows as the file has them] */
    size_t row_bytes;
} putting;

static void fill_floats(const tn_param *p, int type, int64_t row, unsigned char *out) {
    const bool ternary = role_of(p) == ROLE_TERNARY;
    const float scale = (float)p->scale;
    for (int64_t j = 0, i = row * p->cols; j < p->cols; j++, i++) {
        const float value = ternary ? scale * (float)p->states[i] : (float)p->tensor.real[i];
        const uint16_t half = tn_f32_to_f16(value);
        if (type == TN_GGML_F32)
            memcpy(out + 4 * j, &value, sizeof value);
        else
            memcpy(out + 2 * j, &half, sizeof half);
    }
}

/* The scale that blocks are given; the exact one may stand in a tensor of its own. */
static float packed_scale(const putting *p) {
    return has_scale_tensor(p->param, p->type, p->types) ? 1.0f : (float)p->param->scale;
}

static tn_status fill_row(const putting *p, int64_t row, unsigned char *out) {
    const tn_param *param = p->param;
    const int64_t ours = tn_gguf_param_row(param, p->types.paired_heads, row);
    if (param->table.data)
        memcpy(out, (const unsigned char *)param->table.data + (size_t)ours * p->row_bytes, p->row_bytes);
    else if (!tn_ternary_type(p->type))
        fill_floats(param, p->type, ours, out);
    else
        return tn_ternary_pack_rows(p->type, param->states + ours * param->cols, 1, param->cols, packed_scale(p), out);
    return TN_OK;
}

static tn_status put_rows(const putting *p) {
    for (int64_t first = 0; first < p->param->rows; first += STRETCH) {
        const int64_t count = TN_MIN((int64_t)STRETCH, p->param->rows - first);
        for (int64_t i = 0; i < count; i++) TN_TRY(fill_row(p, first + i, p->out + (size_t)i * p->row_bytes));
        TN_TRY(tn_gguf_put_piece(p->writer, p->out, (size_t)count * p->row_bytes));
    }
    return TN_OK;
}

static tn_status put_tail(const putting *p) {
    unsigned char tail[TN_TERNARY_TAIL_MAX];
    if (!tn_ternary_type(p->type)) return TN_OK;
    return tn_gguf_put_piece(p->writer, tail, tn_ternary_tail(p->type, packed_scale(p), tail));
}

tn_status tn_gguf_put_param(tn_gguf_writer *writer, const tn_param *param, tn_gguf_types types) {
    putting p = {.writer = writer, .param = param, .types = types, .type = type_of(param, types)};
    size_t two_rows;
    TN_TRY(tn_ggml_type_bytes(p.type, param->cols, 1, &p.row_bytes));
    TN_TRY(tn_ggml_type_bytes(p.type, param->cols, 2, &two_rows));
    p.row_bytes = two_rows - p.row_bytes; /* without what lies behind all rows */
    p.out = tn_heap_zalloc(STRETCH, p.row_bytes);
    if (!p.out) return TN_E_NOMEM;
    tn_status status = put_rows(&p);
    if (!status) status = put_tail(&p);
    tn_heap_free(p.out);
    if (status || !has_scale_tensor(param, p.type, types)) return status;
    float scale = (float)param->scale;
    return tn_gguf_put_data(writer, &scale, sizeof scale);
}
