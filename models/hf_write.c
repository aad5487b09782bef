/* SPDX-License-Identifier: MIT
 * hf_write.c - parameters into the tensors of a Hugging Face folder. */
#include "models/hf_weights.h"

#include "models/hf_names.h"
#include "models/rounding.h"

#include <math.h>
#include <stdio.h>

static bool is_packed(const tn_param *p, tn_hf_format format) {
    return p->quantizer != TN_QUANT_NONE && format.weights == TN_HF_MULTIPLIED;
}

static tn_safetensor_type tensor_type(tn_table_type type) {
    return type == TN_TABLE_F32 ? TN_SAFETENSOR_F32 : type == TN_TABLE_F16 ? TN_SAFETENSOR_F16 : TN_SAFETENSOR_BF16;
}

/* ---- checks and roundings ---- */

static tn_status check_states(const tn_param *p) {
    if (p->rows % 4)
        return TN_FAIL(SHAPE,
                       "%s has %d rows, which are packed by four; export with --type hf, or train with widths that "
                       "divide by 4",
                       p->name, p->rows);
    bool any = false;
    for (int64_t i = 0; i < tn_param_count(p) && !any; i++) any = p->states[i] != 0;
    if (!any) return TN_FAIL(CORRUPT, "every weight of %s is zero: the model was not trained, or is damaged", p->name);
    if (isfinite(p->scale) && p->scale > 0) return TN_OK;
    return TN_FAIL(RANGE, "the scale of %s is %g, expected a finite positive number", p->name, (double)p->scale);
}

tn_status tn_hf_check_param(const tn_param *p, tn_hf_format format) {
    char name[TN_HF_NAME_SIZE];
    if (!tn_hf_name_of(p->name, name)) return TN_FAIL(UNSUPPORTED, "%s has no name in Hugging Face's models", p->name);
    return is_packed(p, format) ? check_states(p) : TN_OK;
}

static tn_status round_scale(tn_param *p, tn_table_type type) {
    unsigned char room[8];
    TN_TRY(tn_table_encode_row(type, 1, &p->scale, room));
    tn_table_row(type, 1, room, &p->scale);
    return TN_OK;
}

tn_status tn_hf_round_param(tn_param *p, tn_hf_format format, tn_arena *arena) {
    if (is_packed(p, format)) return round_scale(p, format.floats);
    if (p->table.data) return p->table.type == format.floats ? TN_OK : tn_round_to_table(p, format.floats, arena);
    return tn_round_value(p, format.floats);
}

/* ---- announcing ---- */

tn_status tn_hf_announce_param(tn_safetensors_writer *w, const tn_param *p, tn_hf_format format,
                               tn_hf_numbers *numbers) {
    char name[TN_HF_NAME_SIZE], scale[TN_HF_NAME_SIZE + 8];
    const tn_safetensor_type type = tensor_type(format.floats);
    const bool packed = is_packed(p, format), vector = p->tensor.n_dims == 1;
    const int64_t shape[2] = {packed ? p->rows / 4 : vector ? p->cols : p->rows, p->cols}, one = 1;
    (void)tn_hf_name_of(p->name, name);
    *numbers = (tn_hf_numbers){0, 0};
    TN_TRY(tn_safetensors_announce(w, name, packed ? TN_SAFETENSOR_U8 : type, vector ? 1 : 2, shape, &numbers->tensor));
    snprintf(scale, sizeof scale, "%s_scale", name);
    return packed ? tn_safetensors_announce(w, scale, type, 1, &one, &numbers->scale) : TN_OK;
}

/* ---- data, a stretch of rows at a time ---- */

enum { STRETCH = 64 };

typedef struct putting {
    tn_safetensors_writer *writer;
    const tn_param *param;
    tn_hf_format format;
    int number;
    unsigned char *out; /* [STRETCH rows as the file has them] */
} putting;

/* Four rows, a quarter of the matrix apart. */
static void pack_row(const tn_param *p, int64_t row, unsigned char *out) {
    const int64_t quarter = p->rows / 4 * (int64_t)p->cols;
    const int8_t *states = p->states + row * p->cols;
    for (int64_t i = 0; i < p->cols; i++) {
        int byte = 0;
        for (int k = 0; k < 4; k++) byte |= (states[k * quarter + i] + 1) << 2 * k;
        out[i] = (unsigned char)byte;
    }
}

static tn_status fill_row(const putting *g, int64_t row, unsigned char *out) {
    const tn_param *p = g->param;
    if (is_packed(p, g->format)) return pack_row(p, row, out), TN_OK;
    return tn_table_encode_row(g->format.floats, p->cols, p->tensor.real + row * p->cols, out);
}

static tn_status put_rows(const putting *g, int64_t rows, size_t row_bytes) {
    for (int64_t first = 0; first < rows; first += STRETCH) {
        const int64_t count = TN_MIN((int64_t)STRETCH, rows - first);
        for (int64_t i = 0; i < count; i++) TN_TRY(fill_row(g, first + i, g->out + (size_t)i * row_bytes));
        TN_TRY(tn_safetensors_put_piece(g->writer, g->number, g->out, (size_t)count * row_bytes));
    }
    return TN_OK;
}

static tn_status put_scale(tn_safetensors_writer *w, const tn_param *p, tn_table_type type, int number) {
    unsigned char room[8];
    TN_TRY(tn_table_encode_row(type, 1, &p->scale, room));
    return tn_safetensors_put_piece(w, number, room, tn_table_row_bytes(type, 1));
}

tn_status tn_hf_put_param(tn_safetensors_writer *w, const tn_param *p, tn_hf_format format,
                          const tn_hf_numbers *numbers) {
    const bool packed = is_packed(p, format);
    const size_t row_bytes = packed ? (size_t)p->cols : tn_table_row_bytes(format.floats, p->cols);
    if (p->table.data) return tn_safetensors_put_piece(w, numbers->tensor, p->table.data, (size_t)p->rows * row_bytes);
    putting g = {.writer = w, .param = p, .format = format, .number = numbers->tensor};
    g.out = tn_heap_zalloc(STRETCH, row_bytes);
    if (!g.out) return TN_E_NOMEM;
    tn_status status = put_rows(&g, packed ? p->rows / 4 : p->rows, row_bytes);
    tn_heap_free(g.out);
    return status || !packed ? status : put_scale(w, p, format.floats, numbers->scale);
}
