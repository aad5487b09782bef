/* SPDX-License-Identifier: MIT
 * gguf_read.c - parameters out of GGUF tensors. Matrices are unpacked a stretch of rows at a time, on all threads; what
 * was read of the file is given back. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/par.h"
#include "formats/ternary_block.h"
#include "models/gguf_weights.h"
#include "kernels/gemm.h"

enum { NAME_SIZE = 80, WHAT_SIZE = 256, TABLE_STRETCH = 256 };

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

/* ---- floats ---- */

static tn_status table_of(const tn_gguf_tensor *t, tn_table *table) {
    table->data = t->data;
    if (tn_gguf_table_type(t->type, &table->type)) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: %s is %s, expected floats or Q8_0 or Q6_K", t->path, t->name,
                   tn_ggml_type_name(t->type));
}

static const unsigned char *row_of(const tn_table *table, int64_t cols, int64_t row) {
    return (const unsigned char *)table->data + (size_t)row * tn_table_row_bytes(table->type, cols);
}

/* Stretches of rows, each checked by whoever is free. */
typedef struct check {
    const tn_gguf *file;
    const tn_gguf_tensor *tensor;
    tn_table table;
    int64_t rows, cols;
    bool *bad; /* [stretches] */
} check;

static void check_stretches(void *context, int64_t begin, int64_t end) {
    const check *c = context;
    const size_t bytes = tn_table_row_bytes(c->table.type, c->cols);
    for (int64_t stretch = begin; stretch < end; stretch++) {
        const int64_t first = stretch * TABLE_STRETCH, last = TN_MIN(first + TABLE_STRETCH, c->rows);
        bool finite = true;
        for (int64_t row = first; row < last; row++)
            finite &= tn_table_finite(c->table.type, c->cols, row_of(&c->table, c->cols, row));
        c->bad[stretch] = !finite;
        tn_gguf_drop(c->file, c->tensor, (size_t)first * bytes, (size_t)last * bytes);
    }
}

/* The first number that is not finite, at or behind `row`. */
static tn_status fail_not_finite(const check *c, int64_t row, tn_real *room) {
    while (tn_table_finite(c->table.type, c->cols, row_of(&c->table, c->cols, row))) row++;
    tn_table_rows(&c->table, c->cols, row, 1, room);
    int64_t i = 0;
    while (isfinite(room[i])) i++;
    return TN_FAIL(CORRUPT, "%s: element %lld of %s is %g, not a finite number", c->tensor->path,
                   (long long)(row * c->cols + i), c->tensor->name, (double)room[i]);
}

static tn_status check_finite(const tn_gguf_reading *r, const tn_gguf_tensor *t, const tn_param *p, tn_table table) {
    check c = {.file = r->file, .tensor = t, .table = table, .rows = p->rows, .cols = p->cols};
    const int64_t stretches = (c.rows + TABLE_STRETCH - 1) / TABLE_STRETCH;
    tn_real *room;
    TN_TAKE(room, r->scratch, c.cols, "loading");
    TN_TAKE(c.bad, r->scratch, stretches, "loading");
    tn_par_for(stretches, 1, check_stretches, &c);
    for (int64_t i = 0; i < stretches; i++)
        if (c.bad[i]) return fail_not_finite(&c, i * TABLE_STRETCH, room);
    return TN_OK;
}

static tn_status read_floats(const tn_gguf_reading *r, const tn_gguf_tensor *t, tn_param *p) {
    tn_table table;
    TN_TRY(table_of(t, &table));
    TN_TRY(check_finite(r, t, p, table));
    if (p->tabular && !p->tensor.real && r->by_reference) return tn_param_put_table(p, table);
    if (!p->tensor.real) TN_TRY(tn_param_take_value(p, r->arena));
    for (int64_t i = 0; i < p->rows; i++)
        tn_table_rows(&table, p->cols, tn_gguf_tensor_row(p, r->paired_heads, i), 1, p->tensor.real + i * p->cols);
    tn_gguf_drop(r->file, t, 0, t->bytes);
    return TN_OK;
}

/* ---- ternary matrices ---- */

/* What one stretch of TN_PACK_ROWS rows had. */
typedef struct found {
    float scale; /* 0: no weight but zeros said one */
    bool failed, any;
} found;

typedef struct unpacking {
    const tn_gguf_reading *reading;
    const tn_gguf_tensor *tensor;
    tn_param *param;
    char what[WHAT_SIZE]; /* for messages */
    tn_table table;       /* of a matrix of floats */
    tn_real *values;      /* [threads, cols] for those */
    int8_t *states;       /* [threads, TN_PACK_ROWS, cols] */
    found *found;         /* [stretches] */
} unpacking;

static tn_status join_scale(const unpacking *u, float scale, float *joined) {
    if (*joined > 0 && scale > 0 && scale != *joined)
        return TN_FAIL(CORRUPT, "%s: has scales %g and %g, expected one for the whole matrix", u->what, (double)*joined,
                       (double)scale);
    if (scale != 0) *joined = scale;
    return TN_OK;
}

/* The scale is the first magnitude that is not zero; all others must be the same. */
static tn_status recover_row(const unpacking *u, int64_t row, tn_real *values, int8_t *states, float *scale) {
    const int cols = u->param->cols;
    tn_table_rows(&u->table, cols, row, 1, values);
    for (int i = 0; i < cols; i++) {
        const float size = fabsf((float)values[i]);
        if (size != 0 && *scale == 0) *scale = size;
        if (size != 0 && !(size == *scale))
            return TN_FAIL(
                UNSUPPORTED,
                "%s is not ternary: it holds both %.9g and %.9g (a float twin says tern.quantization = none)", u->what,
                (double)*scale, (double)size);
        states[i] = (int8_t)((values[i] > 0) - (values[i] < 0));
    }
    return TN_OK;
}

static bool any_weight(const int8_t *states, int64_t n) {
    int8_t any = 0;
    for (int64_t i = 0; i < n; i++) any |= states[i];
    return any != 0;
}

static tn_status unpack_stretch(const unpacking *u, int64_t stretch, found *f) {
    const tn_param *p = u->param;
    const tn_gguf_tensor *t = u->tensor;
    const int first = (int)stretch * TN_PACK_ROWS, count = TN_MIN((int)TN_PACK_ROWS, p->rows - first);
    int8_t *states = u->states + (int64_t)tn_par_worker() * TN_PACK_ROWS * p->cols;
    for (int i = 0; i < count; i++) {
        const int64_t row = tn_gguf_tensor_row(p, u->reading->paired_heads, first + i);
        int8_t *out = states + (int64_t)i * p->cols;
        float scale = f->scale;
        if (u->values)
            TN_TRY(recover_row(u, row, u->values + (int64_t)tn_par_worker() * p->cols, out, &scale));
        else
            TN_TRY(tn_ternary_unpack_rows(t->type, u->what, t->data, p->rows, p->cols, row, 1, out, &scale));
        TN_TRY(join_scale(u, scale, &f->scale));
    }
    f->any = any_weight(states, (int64_t)count * p->cols);
    tn_param_put_states(u->param, first, count, states);
    return TN_OK;
}

static void unpack_stretches(void *context, int64_t begin, int64_t end) {
    const unpacking *u = context;
    for (int64_t i = begin; i < end; i++) {
        u->found[i] = (found){0};
        u->found[i].failed = unpack_stretch(u, i, &u->found[i]) != TN_OK;
    }
}

/* The message of a failure belongs to the thread that had it: the first stretch that failed is tried again on this one.
 */
static tn_status join(const unpacking *u, int64_t stretches, float *scale, bool *any) {
    for (int64_t i = 0; i < stretches; i++) {
        found again = {0};
        if (u->found[i].failed) TN_TRY(unpack_stretch(u, i, &again));
        TN_TRY(join_scale(u, u->found[i].scale, scale));
        *any |= u->found[i].any;
    }
    return TN_OK;
}

static tn_status make_room(unpacking *u, int64_t stretches) {
    const tn_gguf_reading *r = u->reading;
    const int64_t threads = tn_par_threads(), cols = u->param->cols;
    TN_TAKE(u->found, r->scratch, stretches, "loading");
    TN_TAKE(u->states, r->scratch, threads * TN_PACK_ROWS * cols, "loading");
    if (tn_ternary_type(u->tensor->type)) return TN_OK;
    TN_TAKE(u->values, r->scratch, threads * cols, "loading");
    TN_TRY(table_of(u->tensor, &u->table));
    if (u->table.type <= TN_TABLE_BF16) return check_finite(r, u->tensor, u->param, u->table);
    return TN_FAIL(UNSUPPORTED, "%s is %s, expected ternary blocks or floats", u->what,
                   tn_ggml_type_name(u->tensor->type));
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

static tn_status note_zeros(tn_gguf_reading *r, const char *name) {
    if (++r->n_zero > TN_ZEROS_NAMED) return TN_OK;
    return tn_buf_printf(&r->zeros, "%s%s", r->zeros.len ? ", " : "", name);
}

static tn_status read_states(tn_gguf_reading *r, const tn_gguf_tensor *t, tn_param *p) {
    unpacking u = {.reading = r, .tensor = t, .param = p};
    const int64_t stretches = (p->rows + TN_PACK_ROWS - 1) / TN_PACK_ROWS;
    float scale = 0;
    bool any = false;
    snprintf(u.what, sizeof u.what, "%.160s: %s", t->path, t->name);
    TN_TRY(make_room(&u, stretches));
    tn_par_for(stretches, 1, unpack_stretches, &u);
    TN_TRY(join(&u, stretches, &scale, &any));
    tn_gguf_drop(r->file, t, 0, t->bytes);
    TN_TRY(multiply_scale(r->file, p, &scale));
    if (!isfinite(scale) || scale < 0 || (scale == 0 && any))
        return TN_FAIL(CORRUPT, "%s: the scale of %s is %g, expected a finite positive number", t->path, t->name,
                       (double)scale);
    p->scale = (tn_real)scale;
    return any ? TN_OK : note_zeros(r, p->name);
}

tn_status tn_gguf_read_weights(tn_gguf_reading *reading, tn_param *param) {
    const tn_gguf_tensor *t = NULL;
    TN_TRY(tn_gguf_check_weights(reading->file, param));
    TN_TRY(find(reading->file, param->name, &t));
    tn_arena_mark mark = tn_arena_get_mark(reading->scratch);
    tn_status status =
        param->quantizer == TN_QUANT_NONE ? read_floats(reading, t, param) : read_states(reading, t, param);
    tn_arena_rewind(reading->scratch, &mark);
    return status;
}
