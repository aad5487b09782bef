/* SPDX-License-Identifier: MIT */
#include "models/adapter_reading.h"

#include <math.h>
#include <string.h>

#include "models/gguf_weights.h"
#include "models/stored.h"

typedef struct job {
    const tn_adapter_reading *reading;
    tn_adapter *adapter;
    tn_arena *scratch;
    bool *used; /* [n_tensors] */
} job;

bool tn_adapter_name_ends(const char *name, const char *end) {
    const size_t len = strlen(name), tail = strlen(end);
    return len >= tail && strcmp(name + len - tail, end) == 0;
}

/* ---- values ---- */

static void put(const tn_adapter_stored *s, const tn_param *p, int64_t row, const tn_real *values) {
    tn_real *out = p->tensor.real;
    const int64_t ours = s->turned ? row : tn_gguf_param_row(p, s->paired_heads, row);
    for (int64_t i = 0; i < s->cols; i++) {
        const tn_real value = s->factor == 1 ? values[i] : (tn_real)(float)((double)values[i] / s->factor);
        out[s->turned ? i * p->cols + ours : ours * p->cols + i] = value;
    }
}

static tn_status fill_half(job *j, const tn_adapter_stored *s, const tn_param *p) {
    tn_real *values;
    TN_TAKE(values, j->scratch, s->cols, "loading");
    for (int64_t row = 0; row < s->rows; row++) {
        tn_table_rows(&s->table, s->cols, row, 1, values);
        bool finite = true;
        for (int64_t i = 0; i < s->cols; i++) finite &= isfinite(values[i]) != 0;
        if (!finite) return tn_fail_not_finite(s->path, s->name, row * s->cols, values);
        put(s, p, row, values);
    }
    tn_arena_reset(j->scratch);
    return TN_OK;
}

/* ---- pairs ---- */

static tn_status check_shape(const tn_adapter_stored *s, const tn_param *p) {
    const int64_t rows = s->turned ? p->cols : p->rows, cols = s->turned ? p->rows : p->cols;
    if (s->rows == rows && s->cols == cols) return TN_OK;
    return TN_FAIL(MISMATCH,
                   "%s: %s has %lld rows of %lld numbers, an adapter of rank %d of this model has %lld of %lld",
                   s->path, s->name, (long long)s->rows, (long long)s->cols, p->cols, (long long)rows, (long long)cols);
}

static tn_status check_halves(const tn_adapter_stored halves[2], const char *target) {
    const tn_adapter_stored *a = &halves[TN_ADAPTER_A], *b = &halves[TN_ADAPTER_B];
    if (!a->name || !b->name)
        return TN_FAIL(MISSING, "%s: %s has no other half: %s of %s is missing", a->name ? a->path : b->path,
                       a->name ? a->name : b->name, a->name ? "B" : "A", target);
    const int64_t rank_a = a->turned ? a->rows : a->cols, rank_b = b->turned ? b->rows : b->cols;
    if (rank_a != rank_b)
        return TN_FAIL(MISMATCH, "%s: %s is of rank %lld, %s of rank %lld", a->path, a->name, (long long)rank_a,
                       b->name, (long long)rank_b);
    if (rank_a >= 1 && rank_a <= TN_ADAPTER_RANK_MAX) return TN_OK;
    return TN_FAIL(RANGE, "%s: %s is of rank %lld, expected 1 to %d", a->path, a->name, (long long)rank_a,
                   (int)TN_ADAPTER_RANK_MAX);
}

static tn_status read_pair(void *context, const char *target, const char *module) {
    job *j = context;
    const tn_adapter_reading *r = j->reading;
    tn_adapter_stored halves[2] = {{.factor = 1}, {.factor = 1}};
    double alpha = 0;
    (void)module;
    for (int h = 0; h < 2; h++) {
        TN_TRY(r->find(r, target, (tn_adapter_half)h, &halves[h]));
        if (halves[h].name) j->used[halves[h].number] = true;
    }
    if (!halves[0].name && !halves[1].name) return r->terms(r, target, 0, &alpha);
    TN_TRY(check_halves(halves, target));
    const int rank = (int)(halves[1].turned ? halves[1].rows : halves[1].cols);
    TN_TRY(r->terms(r, target, rank, &alpha));
    TN_TRY(tn_adapter_add(j->adapter, target, rank, alpha));
    const tn_adapter_pair *pair = &j->adapter->pairs[j->adapter->n_pairs - 1];
    if (!(isfinite(pair->c) && pair->c > 0))
        return TN_FAIL(RANGE, "%s: an alpha of %g for rank %d is beyond what f32 can hold", halves[0].path, alpha,
                       rank);
    TN_TRY(check_shape(&halves[TN_ADAPTER_A], &pair->a));
    TN_TRY(check_shape(&halves[TN_ADAPTER_B], &pair->b));
    TN_TRY(fill_half(j, &halves[TN_ADAPTER_A], &pair->a));
    return fill_half(j, &halves[TN_ADAPTER_B], &pair->b);
}

static tn_status read_all(job *j) {
    const tn_adapter_reading *r = j->reading;
    tn_arena *kept = tn_arena_create("loading");
    if (!kept) return TN_E_NOMEM;
    j->used = tn_arena_zalloc(kept, (size_t)r->n_tensors + 1, sizeof *j->used, "loading");
    tn_status status = j->used ? tn_adapter_each_target(&j->adapter->config, read_pair, j) : TN_E_NOMEM;
    for (int64_t i = 0; i < r->n_tensors && !status; i++)
        if (!j->used[i]) status = r->refuse(r, i);
    tn_arena_free(kept);
    if (status || j->adapter->n_pairs) return status;
    return TN_FAIL(MISSING, "%s: holds no pair of an adapter", r->path);
}

tn_status tn_adapter_read_pairs(const tn_adapter_reading *reading, tn_adapter *adapter) {
    job j = {.reading = reading, .adapter = adapter, .scratch = tn_arena_create("loading")};
    tn_status status = j.scratch ? read_all(&j) : TN_E_NOMEM;
    tn_arena_free(j.scratch);
    return status;
}

tn_status tn_adapter_read_input(const char *path, const char *text, size_t len, tn_adapter_input *out) {
    *out = TN_ADAPTER_RAW;
    if (!text || (len == 3 && memcmp(text, "raw", 3) == 0)) return TN_OK;
    *out = TN_ADAPTER_QUANTIZED;
    if (len == 9 && memcmp(text, "quantized", 9) == 0) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: " TN_ADAPTER_KEY_INPUT " is \"%.*s\", expected raw or quantized", path,
                   (int)TN_MIN(len, (size_t)40), text);
}
