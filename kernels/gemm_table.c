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

/* Decoded rows, and the panel made of them. */
static int64_t worker_room(int k) { return 2 * (int64_t)tn_k->real_panel_width * k; }

int64_t tn_gemm_table_room(int k) { return tn_par_threads() * worker_room(k); }

static void multiply_panels(void *context, int64_t begin, int64_t end) {
    const table_job *t = context;
    const int width = tn_k->real_panel_width;
    tn_real *rows = t->room + tn_par_worker() * worker_room(t->k), *panel = rows + (int64_t)width * t->k;
    for (int64_t first = begin * width; first < TN_MIN(end * width, (int64_t)t->m); first += width) {
        const int count = (int)TN_MIN((int64_t)width, t->m - first);
        tn_table_rows(t->table, t->k, first, count, rows);
        tn_panels_pack_turned(t->k, count, rows, t->k, panel);
        tn_panels_multiply(t->n, count, t->k, t->x, t->k, panel, TN_SUM_SET, t->y + first, t->m);
    }
}

void tn_gemm_table(int n, int m, int k, const tn_real *x, const tn_table *table, tn_real *y, tn_real *room) {
    table_job t = {.n = n, .m = m, .k = k, .x = x, .table = table, .y = y, .room = room};
    const int width = tn_k->real_panel_width;
    tn_par_for((m + width - 1) / width, tn_grain_of((int64_t)(n + 16) * width * k), multiply_panels, &t);
}
