/* SPDX-License-Identifier: MIT
 * gguf_read.c - parameters out of GGUF tensors. */
#include <stdio.h>
#include <string.h>

#include "formats/ternary_block.h"
#include "models/gguf_weights.h"

enum { NAME_SIZE = 80, WHAT_SIZE = 256 };

bool tn_gguf_scale_name(const char *name, char *scale, size_t size) {
    const char *suffix = strrchr(name, '.');
    if (!suffix || strcmp(suffix, ".weight") != 0) return false;
    return snprintf(scale, size, "%.*s.scale", (int)(suffix - name), name) < (int)size;
}

bool tn_gguf_table_type(int type, tn_table_type *out) {
    switch (type) {
#define TABLE_TYPE(name, word, values, bytes)                                                                          \
    case TN_GGML_##name:                                                                                               \
        *out = TN_TABLE_##name;                                                                                        \
        return true;
#include "kernels/table_types.def"
#undef TABLE_TYPE
    default: return false;
    }
}

tn_status tn_gguf_table(const tn_gguf_tensor *t, tn_table *out) {
    out->data = t->data;
    if (tn_gguf_table_type(t->type, &out->type)) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: %s is %s, expected floats or Q8_0 or Q6_K", t->path, t->name,
                   tn_ggml_type_name(t->type));
}

static bool in_pairs(const tn_param *p, int paired_heads) {
    return paired_heads && (strstr(p->name, ".attn_q.weight") || strstr(p->name, ".attn_k.weight"));
}

/* Row 2 j + t of a head of d rows in pairs is row t d / 2 + j of one in halves. */
int64_t tn_gguf_param_row(const tn_param *param, int d, int64_t row) {
    if (!in_pairs(param, d)) return row;
    const int64_t at = row % d;
    return row - at + at % 2 * (d / 2) + at / 2;
}

int64_t tn_gguf_tensor_row(const tn_param *param, int d, int64_t row) {
    if (!in_pairs(param, d)) return row;
    const int64_t at = row % d;
    return row - at + at % (d / 2) * 2 + at / (d / 2);
}

static tn_status find(const tn_gguf *file, const char *name, const tn_gguf_tensor **out) {
    *out = tn_gguf_find(file, name);
    if (*out) return TN_OK;
    return TN_FAIL(MISSING, "%s: has no tensor %s", tn_gguf_path(file), name);
}

tn_status tn_gguf_check_weights(const tn_gguf *file, const tn_param *param) {
    const tn_gguf_tensor *t = NULL;
    TN_TRY(find(file, param->name, &t));
    if (t->ne[0] == param->cols && t->ne[1] == param->rows && t->ne[2] == 1 && t->ne[3] == 1) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: %s is {%lld, %lld, %lld, %lld}, the model's keys ask for {%d, %d}", t->path, t->name,
                   (long long)t->ne[0], (long long)t->ne[1], (long long)t->ne[2], (long long)t->ne[3], param->cols,
                   param->rows);
}

static tn_stored stored_in(const tn_gguf_tensor *t, int paired_heads) {
    return (tn_stored){.path = t->path,
                       .name = t->name,
                       .data = t->data,
                       .bytes = t->bytes,
                       .kind = t->type,
                       .find_row = tn_gguf_tensor_row,
                       .paired_heads = paired_heads,
                       .factor = 1};
}

static tn_status read_floats(tn_gguf_reading *r, const tn_gguf_tensor *t, tn_param *p) {
    tn_stored stored = stored_in(t, r->paired_heads);
    tn_table table;
    TN_TRY(tn_gguf_table(t, &table));
    stored.type = table.type;
    return tn_reading_take_floats(&r->reading, &stored, p);
}

/* ---- ternary matrices ---- */

static tn_status unpack_row(const tn_stored *s, const tn_param *p, int64_t row, int8_t *states, float *scale) {
    char what[WHAT_SIZE];
    snprintf(what, sizeof what, "%.160s: %s", s->path, s->name);
    return tn_ternary_unpack_rows(s->kind, what, s->data, p->rows, p->cols, row, 1, states, scale);
}

/* The scale tensor beside a matrix multiplies its product, which is to say its scale. */
static tn_status multiply_scale(const tn_gguf *file, const tn_param *p, float *scale) {
    char name[NAME_SIZE];
    const tn_gguf_tensor *t = tn_gguf_scale_name(p->name, name, sizeof name) ? tn_gguf_find(file, name) : NULL;
    if (!t) return TN_OK;
    const int64_t count = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    float factor;
    if (count != 1 || t->type != TN_GGML_F32)
        return TN_FAIL(MISMATCH, "%s: %s is %s with %lld values, expected one F32", t->path, name,
                       tn_ggml_type_name(t->type), (long long)count);
    memcpy(&factor, t->data, sizeof factor);
    *scale *= factor;
    return TN_OK;
}

static tn_status read_states(tn_gguf_reading *r, const tn_gguf_tensor *t, tn_param *p) {
    tn_stored stored = stored_in(t, r->paired_heads);
    if (tn_ternary_type(t->type))
        stored.unpack = unpack_row;
    else if (!tn_gguf_table_type(t->type, &stored.type) || stored.type > TN_TABLE_BF16)
        return TN_FAIL(UNSUPPORTED, "%s: %s is %s, expected ternary blocks or floats", t->path, t->name,
                       tn_ggml_type_name(t->type));
    TN_TRY(multiply_scale(r->file, p, &stored.factor));
    return tn_reading_take_states(&r->reading, &stored, p);
}

tn_status tn_gguf_read_weights(tn_gguf_reading *reading, tn_param *param) {
    const tn_gguf_tensor *t = NULL;
    TN_TRY(tn_gguf_check_weights(reading->file, param));
    TN_TRY(find(reading->file, param->name, &t));
    return param->quantizer == TN_QUANT_NONE ? read_floats(reading, t, param) : read_states(reading, t, param);
}
