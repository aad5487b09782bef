/* SPDX-License-Identifier: MIT
 * hf_read.c - parameters out of the tensors of a Hugging Face folder. */
#include "models/hf_weights.h"

#include "models/hf_names.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SCALE_NAME = TN_HF_NAME_SIZE + 8 };

/* ---- checking ---- */

bool tn_hf_table_type(tn_safetensor_type type, tn_table_type *out) {
    switch (type) {
    case TN_SAFETENSOR_F32: return *out = TN_TABLE_F32, true;
    case TN_SAFETENSOR_F16: return *out = TN_TABLE_F16, true;
    case TN_SAFETENSOR_BF16: return *out = TN_TABLE_BF16, true;
    default: return false;
    }
}

static bool has_scale(tn_hf_weights weights, const tn_param *p) {
    return p->quantizer != TN_QUANT_NONE && (weights == TN_HF_MULTIPLIED || weights == TN_HF_DIVIDED);
}

static tn_status find(const tn_safetensors *file, const char *name, const tn_safetensor **out) {
    *out = tn_safetensors_find(file, name);
    return *out ? TN_OK : TN_FAIL(MISSING, "%s: has no tensor %s", tn_safetensors_path(file), name);
}

static bool has_shape(const tn_safetensor *t, int64_t rows, int64_t cols, bool vector) {
    if (vector) return t->n_dims == 1 && t->shape[0] == cols;
    return t->n_dims == 2 && t->shape[0] == rows && t->shape[1] == cols;
}

static tn_status fail_shape(const tn_safetensor *t, int64_t rows, int64_t cols, bool vector) {
    char found[128], expected[64];
    if (vector)
        snprintf(expected, sizeof expected, "[%lld]", (long long)cols);
    else
        snprintf(expected, sizeof expected, "[%lld, %lld]", (long long)rows, (long long)cols);
    return TN_FAIL(MISMATCH, "%s: %s is %s, config.json asks for %s", t->path, t->name, tn_safetensor_shape(t, found),
                   expected);
}

static tn_status check_packed(const tn_safetensor *t, const tn_param *p) {
    if (p->rows % 4) return TN_FAIL(UNSUPPORTED, "%s: %s: %d rows cannot be packed by four", t->path, t->name, p->rows);
    return has_shape(t, p->rows / 4, p->cols, false) ? TN_OK : fail_shape(t, p->rows / 4, p->cols, false);
}

static tn_status check_scale(const tn_safetensors *file, const tn_safetensor *matrix, const tn_safetensor **scale) {
    char name[SCALE_NAME], shape[128];
    tn_table_type type;
    snprintf(name, sizeof name, "%s_scale", matrix->name);
    TN_TRY(find(file, name, scale));
    const tn_safetensor *t = *scale;
    if (tn_hf_table_type(t->type, &type) && t->n_dims <= 1 && (t->n_dims == 0 || t->shape[0] == 1)) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: %s is %s %s, expected one number", t->path, t->name, tn_safetensor_type_name(t->type),
                   tn_safetensor_shape(t, shape));
}

tn_status tn_hf_check_weights(const tn_safetensors *file, tn_hf_weights weights, const tn_param *p,
                              const tn_safetensor **tensor, const tn_safetensor **scale) {
    char name[TN_HF_NAME_SIZE];
    tn_table_type type;
    const bool vector = !p->product && !p->tabular, packs = has_scale(weights, p);
    *scale = NULL;
    if (!tn_hf_name_of(p->name, name)) return TN_FAIL(UNSUPPORTED, "%s has no name in Hugging Face's models", p->name);
    TN_TRY(find(file, name, tensor));
    const tn_safetensor *t = *tensor;
    if (packs) TN_TRY(check_scale(file, t, scale));
    if (packs && t->type == TN_SAFETENSOR_U8) return check_packed(t, p);
    if (!tn_hf_table_type(t->type, &type))
        return TN_FAIL(UNSUPPORTED, "%s: %s is %s, expected F32, F16 or BF16%s", t->path, t->name,
                       tn_safetensor_type_name(t->type), packs ? ", or packed U8" : "");
    return has_shape(t, p->rows, p->cols, vector) ? TN_OK : fail_shape(t, p->rows, p->cols, vector);
}

/* ---- reading ---- */

tn_status tn_hf_table(const tn_safetensors *file, const tn_param *p, tn_table *out) {
    const tn_safetensor *t = NULL, *scale;
    TN_TRY(tn_hf_check_weights(file, TN_HF_FLOATS, p, &t, &scale));
    *out = (tn_table){.data = t->data};
    (void)tn_hf_table_type(t->type, &out->type);
    return TN_OK;
}

static tn_status unpack_row(const tn_stored *s, const tn_param *p, int64_t row, int8_t *states, float *scale) {
    const int64_t quarter = p->rows / 4, shift = 2 * (row / quarter);
    const unsigned char *packed = s->data + row % quarter * p->cols;
    unsigned bad = 0;
    for (int64_t i = 0; i < p->cols; i++) {
        const unsigned code = packed[i] >> shift & 3;
        bad |= code == 3;
        states[i] = (int8_t)((int)code - 1);
    }
    *scale = 1;
    if (bad)
        return TN_FAIL(CORRUPT, "%s: %s: row %lld has code 3, which no weight has", s->path, s->name, (long long)row);
    return TN_OK;
}

static tn_status read_scale(const tn_safetensor *t, tn_hf_weights weights, float *scale) {
    tn_real value;
    tn_table table = {.data = t->data};
    (void)tn_hf_table_type(t->type, &table.type);
    tn_table_rows(&table, 1, 0, 1, &value);
    if (!isfinite(value) || !(value > 0))
        return TN_FAIL(CORRUPT, "%s: %s is %g, expected a finite positive number", t->path, t->name, (double)value);
    *scale = (float)(weights == TN_HF_DIVIDED ? 1 / value : value);
    return TN_OK;
}

tn_status tn_hf_read_weights(tn_hf_reading *r, tn_param *p) {
    const tn_safetensor *t = NULL, *scale = NULL;
    TN_TRY(tn_hf_check_weights(r->file, r->weights, p, &t, &scale));
    tn_stored stored = {.path = t->path, .name = t->name, .data = t->data, .bytes = t->bytes, .factor = 1};
    if (t->type == TN_SAFETENSOR_U8) stored.unpack = unpack_row;
    (void)tn_hf_table_type(t->type, &stored.type);
    if (p->tensor.real && scale)
        return TN_FAIL(UNSUPPORTED, "%s: %s holds ternary weights, not the latents that training moves", t->path,
                       t->name);
    if (p->quantizer == TN_QUANT_NONE || p->tensor.real) return tn_reading_take_floats(&r->reading, &stored, p);
    if (!scale) return tn_reading_take_latents(&r->reading, &stored, p);
    TN_TRY(read_scale(scale, r->weights, &stored.factor));
    return tn_reading_take_states(&r->reading, &stored, p);
}
