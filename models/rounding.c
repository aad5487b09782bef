/* SPDX-License-Identifier: MIT */
#include "models/rounding.h"

#include "core/par.h"

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

tn_status tn_round_to_table(tn_param *p, tn_table_type type, tn_arena *arena) {
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

static tn_status round_row(tn_table_type type, int64_t cols, tn_real *row, unsigned char *room) {
    TN_TRY(tn_table_encode_row(type, cols, row, room));
    tn_table_row(type, cols, room, row);
    return TN_OK;
}

tn_status tn_round_value(tn_param *p, tn_table_type type) {
    unsigned char *room = tn_heap_zalloc(1, tn_table_row_bytes(type, p->cols));
    tn_status status = room ? TN_OK : TN_E_NOMEM;
    for (int64_t i = 0; i < p->rows && !status; i++) {
        status = round_row(type, p->cols, p->tensor.real + i * p->cols, room);
        if (status == TN_E_RANGE)
            status = TN_FAIL(RANGE, "row %lld of %s: %s", (long long)i, p->name, tn_error_message());
    }
    tn_heap_free(room);
    return status;
}
