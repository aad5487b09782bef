/* SPDX-License-Identifier: MIT */
#include "models/stored.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/fs.h"
#include "core/log.h"
#include "core/par.h"
#include "kernels/gemm.h"

enum { TABLE_STRETCH = 256 };

void tn_reading_end(tn_reading *r, const char *path) {
    if (r->n_zero)
        tn_log(TN_LOG_WARN, "models", "%s: every weight is zero in %d of its matrices: %s%s", path, r->n_zero,
               tn_buf_text(&r->zeros), r->n_zero > TN_ZEROS_NAMED ? ", ..." : "");
    tn_buf_release(&r->zeros);
}

static int64_t row_of(const tn_stored *s, const tn_param *p, int64_t row) {
    return s->find_row ? s->find_row(p, s->paired_heads, row) : row;
}

static tn_table table_of(const tn_stored *s) { return (tn_table){s->type, s->data}; }

/* ---- numbers ---- */

/* Stretches of rows, each checked by whoever is free. */
typedef struct check {
    const tn_stored *stored;
    int64_t rows, cols;
    bool *bad; /* [stretches] */
} check;

static const unsigned char *row_at(const check *c, int64_t row) {
    return c->stored->data + (size_t)row * tn_table_row_bytes(c->stored->type, c->cols);
}

static void check_stretches(void *context, int64_t begin, int64_t end) {
    const check *c = context;
    for (int64_t stretch = begin; stretch < end; stretch++) {
        const int64_t first = stretch * TABLE_STRETCH, last = TN_MIN(first + TABLE_STRETCH, c->rows);
        bool finite = true;
        for (int64_t row = first; row < last; row++)
            finite &= tn_table_finite(c->stored->type, c->cols, row_at(c, row));
        c->bad[stretch] = !finite;
        tn_pages_drop(row_at(c, first), (size_t)(row_at(c, last) - row_at(c, first)));
    }
}

tn_status tn_fail_not_finite(const char *path, const char *name, int64_t first, const tn_real *values) {
    int64_t i = 0;
    while (isfinite(values[i])) i++;
    return TN_FAIL(CORRUPT, "%s: element %lld of %s is %g, not a finite number", path, (long long)(first + i), name,
                   (double)values[i]);
}

/* The first number that is not finite, at or behind `row`. */
static tn_status fail_not_finite(const check *c, int64_t row, tn_real *room) {
    const tn_table table = table_of(c->stored);
    while (tn_table_finite(table.type, c->cols, row_at(c, row))) row++;
    tn_table_rows(&table, c->cols, row, 1, room);
    return tn_fail_not_finite(c->stored->path, c->stored->name, row * c->cols, room);
}

static tn_status check_finite(const tn_reading *r, const tn_stored *s, const tn_param *p) {
    check c = {.stored = s, .rows = p->rows, .cols = p->cols};
    const int64_t stretches = (c.rows + TABLE_STRETCH - 1) / TABLE_STRETCH;
    tn_real *room;
    TN_TAKE(room, r->scratch, c.cols, "loading");
    TN_TAKE(c.bad, r->scratch, stretches, "loading");
    tn_par_for(stretches, 1, check_stretches, &c);
    for (int64_t i = 0; i < stretches; i++)
        if (c.bad[i]) return fail_not_finite(&c, i * TABLE_STRETCH, room);
    return TN_OK;
}

typedef struct decoding {
    const tn_stored *stored;
    const tn_param *param;
    tn_real *out; /* [rows, cols] */
} decoding;

static void decode_rows(void *context, int64_t begin, int64_t end) {
    const decoding *d = context;
    const tn_table table = table_of(d->stored);
    const int64_t cols = d->param->cols;
    for (int64_t i = begin; i < end; i++)
        tn_table_rows(&table, cols, row_of(d->stored, d->param, i), 1, d->out + i * cols);
}

static void decode(const tn_stored *s, const tn_param *p, tn_real *out) {
    tn_par_for(p->rows, 16, decode_rows, &(decoding){s, p, out});
    tn_pages_drop(s->data, s->bytes);
}

static tn_status take_floats(tn_reading *r, const tn_stored *s, tn_param *p) {
    TN_TRY(check_finite(r, s, p));
    if (p->tabular && !p->tensor.real) return tn_param_put_table(p, table_of(s));
    decode(s, p, p->tensor.real);
    return TN_OK;
}

/* ---- states ---- */

/* What one stretch of TN_PACK_ROWS rows had. */
typedef struct found {
    float scale; /* 0: no weight but zeros said one */
    bool failed, any;
} found;

typedef struct unpacking {
    const tn_stored *stored;
    tn_param *param;
    tn_real *values; /* [threads, cols], where the file has numbers */
    int8_t *states;  /* [threads, TN_PACK_ROWS, cols] */
    found *found;    /* [stretches] */
} unpacking;

static tn_status join_scale(const unpacking *u, float scale, float *joined) {
    if (*joined > 0 && scale > 0 && scale != *joined)
        return TN_FAIL(CORRUPT, "%s: %s: has scales %g and %g, expected one for the whole matrix", u->stored->path,
                       u->stored->name, (double)*joined, (double)scale);
    if (scale != 0) *joined = scale;
    return TN_OK;
}

/* The scale is the first magnitude that is not zero; all others must be the same. */
static tn_status recover_row(const unpacking *u, int64_t row, tn_real *values, int8_t *states, float *scale) {
    const int cols = u->param->cols;
    const tn_table table = table_of(u->stored);
    tn_table_rows(&table, cols, row, 1, values);
    for (int i = 0; i < cols; i++) {
        const float size = fabsf((float)values[i]);
        if (size != 0 && *scale == 0) *scale = size;
        if (size != 0 && !(size == *scale))
            return TN_FAIL(UNSUPPORTED,
                           "%s: %s is not ternary: it holds both %.9g and %.9g (a float twin says tern.quantization = "
                           "none)",
                           u->stored->path, u->stored->name, (double)*scale, (double)size);
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
    const tn_stored *s = u->stored;
    const int first = (int)stretch * TN_PACK_ROWS, count = TN_MIN((int)TN_PACK_ROWS, p->rows - first);
    int8_t *states = u->states + (int64_t)tn_par_worker() * TN_PACK_ROWS * p->cols;
    for (int i = 0; i < count; i++) {
        const int64_t row = row_of(s, p, first + i);
        int8_t *out = states + (int64_t)i * p->cols;
        float scale = f->scale;
        if (s->unpack)
            TN_TRY(s->unpack(s, p, row, out, &scale));
        else
            TN_TRY(recover_row(u, row, u->values + (int64_t)tn_par_worker() * p->cols, out, &scale));
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

static tn_status make_room(unpacking *u, const tn_reading *r, int64_t stretches) {
    const int64_t threads = tn_par_threads(), cols = u->param->cols;
    TN_TAKE(u->found, r->scratch, stretches, "loading");
    TN_TAKE(u->states, r->scratch, threads * TN_PACK_ROWS * cols, "loading");
    if (u->stored->unpack) return TN_OK;
    TN_TAKE(u->values, r->scratch, threads * cols, "loading");
    return check_finite(r, u->stored, u->param);
}

static tn_status note_zeros(tn_reading *r, const char *name) {
    if (++r->n_zero > TN_ZEROS_NAMED) return TN_OK;
    return tn_buf_printf(&r->zeros, "%s%s", r->zeros.len ? ", " : "", name);
}

static tn_status take_states(tn_reading *r, const tn_stored *s, tn_param *p) {
    unpacking u = {.stored = s, .param = p};
    const int64_t stretches = (p->rows + TN_PACK_ROWS - 1) / TN_PACK_ROWS;
    float scale = 0;
    bool any = false;
    TN_TRY(make_room(&u, r, stretches));
    tn_par_for(stretches, 1, unpack_stretches, &u);
    TN_TRY(join(&u, stretches, &scale, &any));
    tn_pages_drop(s->data, s->bytes);
    scale *= s->factor;
    if (!isfinite(scale) || scale < 0 || (scale == 0 && any))
        return TN_FAIL(CORRUPT, "%s: the scale of %s is %g, expected a finite positive number", s->path, s->name,
                       (double)scale);
    p->scale = (tn_real)scale;
    return any ? TN_OK : note_zeros(r, s->name);
}

/* ---- latents ---- */

static tn_status take_latents(tn_reading *r, const tn_stored *s, tn_param *p) {
    tn_real *values;
    int8_t *states;
    TN_TRY(check_finite(r, s, p));
    TN_TAKE(values, r->scratch, tn_param_count(p), "loading");
    TN_TAKE(states, r->scratch, tn_param_count(p), "loading");
    decode(s, p, values);
    tn_param_quantize(p->quantizer, p->rows, p->cols, values, states, &p->scale);
    tn_param_put_states(p, 0, p->rows, states);
    return any_weight(states, tn_param_count(p)) ? TN_OK : note_zeros(r, s->name);
}

/* ---- any of them ---- */

static tn_status with_scratch(tn_reading *r, const tn_stored *s, tn_param *p,
                              tn_status take(tn_reading *, const tn_stored *, tn_param *)) {
    tn_arena_mark mark = tn_arena_get_mark(r->scratch);
    tn_status status = take(r, s, p);
    tn_arena_rewind(r->scratch, &mark);
    return status;
}

tn_status tn_reading_take_floats(tn_reading *reading, const tn_stored *stored, tn_param *param) {
    return with_scratch(reading, stored, param, take_floats);
}

tn_status tn_reading_take_states(tn_reading *reading, const tn_stored *stored, tn_param *param) {
    return with_scratch(reading, stored, param, take_states);
}

tn_status tn_reading_take_latents(tn_reading *reading, const tn_stored *stored, tn_param *param) {
    return with_scratch(reading, stored, param, take_latents);
}
