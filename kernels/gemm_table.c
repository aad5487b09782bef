/* SPDX-License-Identifier: MIT
 * The product with a table: a panel of its rows is decoded and packed where it is wanted, then it is the product of
 * panels.h. One task is a panel; the rows of X all stream past it. */
#include "core/par.h"
#include "kernels/gemm.h"
#include "kernels/kernels_priv.h"
#include "kernels/panels.h"

typedef struct table_job {
    int n, m, k;
    const tn_real *x;
    const tn_table *table;
    tn_real *y, *room;
} table_job;

enum { DEPTH = 256 /* of k at a time, whole blocks of every type: what is decoded stays in the nearest caches */ };

/* Decoded rows, and the panel made of them. */
static int64_t worker_room(int k) { return 2 * (int64_t)tn_k->real_panel_width * TN_MIN(k, (int)DEPTH); }

int64_t tn_gemm_table_room(int k) { return tn_par_threads() * worker_room(k); }

/* Rows first..first+count-1 of the table, a length of k at a time: one chain goes on from length to length. */
static void multiply_panel(const table_job *t, int64_t first, int count) {
    const size_t row_bytes = tn_table_row_bytes(t->table->type, t->k);
    tn_real *rows = t->room + tn_par_worker() * worker_room(t->k), *panel = rows + worker_room(t->k) / 2;
    for (int at = 0, depth; at < t->k; at += depth) {
        const unsigned char *row = (const unsigned char *)t->table->data + (size_t)first * row_bytes;
        if (at) row += tn_table_row_bytes(t->table->type, at);
        depth = TN_MIN((int)DEPTH, t->k - at);
        tn_k->table_panel(t->table->type, count, depth, row, (int64_t)row_bytes, rows, panel);
        tn_panels_multiply(t->n, count, depth, t->x + at, t->k, panel, at ? TN_SUM_ADD : TN_SUM_SET, t->y + first,
                           t->m);
    }
}

static void multiply_panels(void *context, int64_t begin, int64_t end) {
    const table_job *t = context;
    const int width = tn_k->real_panel_width;
    for (int64_t first = begin * width; first < TN_MIN(end * width, (int64_t)t->m); first += width)
        multiply_panel(t, first, (int)TN_MIN((int64_t)width, t->m - first));
}

void tn_gemm_table(int n, int m, int k, const tn_real *x, const tn_table *table, tn_real *y, tn_real *room) {
    table_job t = {.n = n, .m = m, .k = k, .x = x, .table = table, .y = y, .room = room};
    const int width = tn_k->real_panel_width;
    tn_par_for((m + width - 1) / width, tn_grain_of((int64_t)(n + 16) * width * k), multiply_panels, &t);
}
