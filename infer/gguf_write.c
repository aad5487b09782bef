/* SPDX-License-Identifier: MIT
 * gguf_write.c - parameters into GGUF tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/half.h"
#include "core/par.h"
#include "formats/ternary_block.h"
#include "infer/gguf_weights.h"

/* What a parameter is to a file. */
typedef enum role { ROLE_TERNARY, ROLE_MATRIX, ROLE_TABLE, ROLE_GAIN } role;

static role role_of(const tn_param *p) {
    if (p->quantizer != TN_QUANT_NONE) return ROLE_TERNARY;
    if (p->tensor.n_dims == 1) return ROLE_GAIN;
    return p->tabular ? ROLE_TABLE : ROLE_MATRIX;
}

static int ggml_type_of(tn_table_type type) {
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
    return r == ROLE_TABLE ? ggml_type_of(types.table) : types.matrix;
}

static bool has_scale_tensor(const tn_param *p, int type) {
    return role_of(p) == ROLE_TERNARY && (type == TN_GGML_TQ2_0 || type == TN_GGML_TQ1_0);
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

static tn_status check_states(const tn_param *p, int type) {
    float scale = (float)p->scale;
    bool fits = type != TN_GGML_F16 || (f16(scale) > 0 && isfinite(f16(scale)));
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
    if (role_of(param) == ROLE_TERNARY) return check_states(param, type);
    return role_of(param) == ROLE_TABLE ? TN_OK : check_floats(param, type); /* a table's numbers: when it is made */
}

static float rounded(tn_real value, int type) { return type == TN_GGML_F16 ? f16((float)value) : (float)value; }

/* Rows of a table encoded by whoever is free. */
typedef struct encoding {
    const tn_param *param;
    tn_table_type type;
    unsigned char *out;
    tn_real *room; /* [threads, cols] */
    bool *bad;     /* [rows] */
} encoding;

static tn_status encode_row(const encoding *e, int64_t i) {
    const int cols = e->param->cols;
    const tn_real *row = tn_param_rows(e->param, (int)i, 1, e->room + (int64_t)tn_par_worker() * cols);
    return tn_table_encode_row(e->type, cols, row, e->out + (size_t)i * tn_table_row_bytes(e->type, cols));
}

static void encode_rows(void *context, int64_t begin, int64_t end) {
    const encoding *e = context;
    for (int64_t i = begin; i < end; i++) e->bad[i] = encode_row(e, i) != TN_OK;
}

static tn_status make_table(tn_param *p, tn_table_type type, tn_arena *arena) {
    encoding e = {.param = p, .type = type};
    e.out = tn_arena_alloc(arena, (size_t)p->rows * tn_table_row_bytes(type, p->cols), "table");
    if (!e.out) return TN_E_NOMEM;
    TN_TAKE(e.room, arena, tn_par_threads() * (int64_t)p->cols, "table");
    TN_TAKE(e.bad, arena, p->rows, "table");
    tn_par_for(p->rows, 16, encode_rows, &e);
    for (int64_t i = 0; i < p->rows; i++) /* the message belongs to the thread that failed: try once more on this one */
        if (e.bad[i] && encode_row(&e, i))
            return TN_FAIL(RANGE, "row %lld of %s: %s", (long long)i, p->name, tn_error_message());
    p->table = (tn_table){type, e.out};
    p->tensor.real = NULL;
    return TN_OK;
}

tn_status tn_gguf_round_param(tn_param *param, tn_gguf_types types, tn_arena *arena) {
    if (role_of(param) == ROLE_TABLE) {
        bool same = param->table.data ? param->table.type == types.table : types.table == TN_TABLE_F32;
        return same ? TN_OK : make_table(param, types.table, arena);
    }
    int type = type_of(param, types);
    param->scale = (tn_real)rounded(param->scale, type);
    for (int64_t i = 0; role_of(param) != ROLE_TERNARY && i < tn_param_count(param); i++)
        param->tensor.real[i] = (tn_real)rounded(param->tensor.real[i], type);
    return TN_OK;
}

/* ---- announcing ---- */

tn_status tn_gguf_announce_param(tn_gguf_writer *writer, const tn_param *param, tn_gguf_types types) {
    int type = type_of(param, types);
    const int64_t ne[2] = {param->cols, param->rows};
    TN_TRY(tn_gguf_announce(writer, param->name, type, role_of(param) == ROLE_GAIN ? 1 : 2, ne));
    if (!has_scale_tensor(param, type)) return TN_OK;
    char name[80];
    const int64_t one = 1;
    snprintf(name, sizeof name, "%.*sscale", (int)(strlen(param->name) - strlen("weight")), param->name);
    return tn_gguf_announce(writer, name, TN_GGML_F32, 1, &one);
}

/* ---- data ---- */

static float value_of(const tn_param *p, int64_t i) {
    if (role_of(p) == ROLE_TERNARY) return (float)p->scale * (float)p->states[i];
    return (float)p->tensor.real[i];
}

static void fill_floats(const tn_param *p, int type, unsigned char *out) {
    for (int64_t i = 0; i < tn_param_count(p); i++) {
        float value = value_of(p, i);
        uint16_t half = tn_f32_to_f16(value);
        if (type == TN_GGML_F32)
            memcpy(out + 4 * i, &value, sizeof value);
        else
            memcpy(out + 2 * i, &half, sizeof half);
    }
}

/* The exact scale stands in a tensor of its own where blocks would round it. */
static float packed_scale(const tn_param *p, int type) { return has_scale_tensor(p, type) ? 1.0f : (float)p->scale; }

static tn_status fill(const tn_param *p, int type, unsigned char *out) {
    if (tn_ternary_type(type)) return tn_ternary_pack(type, p->states, p->rows, p->cols, packed_scale(p, type), out);
    fill_floats(p, type, out);
    return TN_OK;
}

/* Rows as they are, or as F32. */
static tn_status put_table(tn_gguf_writer *writer, const tn_param *p) {
    if (p->table.data)
        return tn_gguf_put_data(writer, p->table.data, (size_t)p->rows * tn_table_row_bytes(p->table.type, p->cols));
    float *row = tn_heap_zalloc((size_t)p->cols, sizeof *row);
    tn_status status = row ? TN_OK : TN_E_NOMEM;
    for (int i = 0; i < p->rows && !status; i++) {
        for (int j = 0; j < p->cols; j++) row[j] = (float)p->tensor.real[(int64_t)i * p->cols + j];
        status = tn_gguf_put_piece(writer, row, (size_t)p->cols * sizeof *row);
    }
    tn_heap_free(row);
    return status;
}

tn_status tn_gguf_put_param(tn_gguf_writer *writer, const tn_param *param, tn_gguf_types types) {
    if (role_of(param) == ROLE_TABLE) return put_table(writer, param);
    int type = type_of(param, types);
    size_t bytes;
    TN_TRY(tn_ggml_type_bytes(type, param->cols, param->rows, &bytes));
    unsigned char *data = tn_heap_zalloc(1, bytes);
    if (!data) return TN_E_NOMEM;
    tn_status status = fill(param, type, data);
    if (!status) status = tn_gguf_put_data(writer, data, bytes);
    tn_heap_free(data);
    if (status || !has_scale_tensor(param, type)) return status;
    float scale = (float)param->scale;
    return tn_gguf_put_data(writer, &scale, sizeof scale);
}
