/* SPDX-License-Identifier: MIT
 * Thin matrices are taken in strips of THIN columns. A strip with fewer, the last one of an r that is no multiple, has
 * sums with all of them on the stack. */
#include "kernels/thin.h"

#include "core/par.h"
#include "kernels/kernels_priv.h"
#include "kernels/panels.h"

#include <string.h>

enum {
    THIN = 16,            /* columns of thin_panel and thin_outer */
    GATHER_ROWS = 24,     /* of a task */
    OUTER_COLS = 64,      /* of a task: whole lines */
    MOST_AHEAD = 1 << 15, /* bytes */
    DEPTH = 256           /* terms of a sum for which a strip of P is filled up at a time, or a panel of U made */
};

typedef struct thin_job {
    int n, long_side, r;
    const tn_real *rows; /* [n, long_side] of gather and outer */
    tn_real *y;          /* [n, long_side] of spread */
    const tn_real *thin; /* [long_side, r] of gather and spread */
    const tn_real *p;    /* [n, r] of spread and outer */
    tn_real *to;         /* [n, r] of gather, [long_side, r] of outer */
    tn_real c;
    tn_sum sum;
} thin_job;

/* Rows of a strip of `cols` columns, side by side: in place, or filled up in `room` [rows][THIN]. */
static const tn_real *whole_strip(int rows, int cols, const tn_real *from, int64_t *stride, tn_real *room) {
    if (cols == THIN) return from;
    for (int i = 0; i < rows; i++, room += THIN) {
        memcpy(room, from + i * *stride, sizeof *room * (size_t)cols);
        memset(room + cols, 0, sizeof *room * (size_t)(THIN - cols));
    }
    *stride = THIN;
    return room - (int64_t)rows * THIN;
}

/* Rows of the thin matrix that come next, so that they come meanwhile: few rows of X or P leave no time for that. */
static void prefetch_rows(const thin_job *g, int first, int rows) {
    const char *at = (const char *)(g->thin + (int64_t)first * g->r);
    const int64_t bytes = (int64_t)TN_MIN(rows, g->long_side - first) * g->r * (int64_t)sizeof *g->thin;
    for (int64_t i = 0; i < TN_MIN(bytes, (int64_t)MOST_AHEAD); i += TN_ALIGN) __builtin_prefetch(at + i, 0, 2);
}

/* ---- gather ---- */

/* Rows first..first+count-1 of a strip of P. Behind the columns of one with fewer lies the next row of D, which serves
 * as well as zeros do; the last rows, behind which there may be nothing, are filled up. */
static void gather_strip(const thin_job *g, int first, int count, int col) {
    const int cols = TN_MIN((int)THIN, g->r - col), k = g->long_side;
    const int last = cols == THIN ? 0 : TN_MIN(k, (THIN - cols + g->r - 1) / g->r);
    const tn_real *x = g->rows + (int64_t)first * k, *d = g->thin + col;
    tn_real sums[GATHER_ROWS * THIN] = {0}, room[THIN * THIN];
    int64_t stride = g->r;
    for (int at = 0; at < k - last; at += DEPTH) {
        if (first == 0 && col == 0) prefetch_rows(g, at + DEPTH, DEPTH);
        tn_k->thin_panel(count, TN_MIN((int)DEPTH, k - last - at), x + at, k, d + at * stride, stride, sums, THIN);
    }
    d = whole_strip(last, cols, d + (k - last) * stride, &stride, room);
    tn_k->thin_panel(count, last, x + k - last, k, d, stride, sums, THIN);
    for (int i = 0; i < count; i++)
        memcpy(g->to + (int64_t)(first + i) * g->r + col, sums + i * THIN, sizeof *sums * (size_t)cols);
}

/* Items: blocks of GATHER_ROWS rows. */
static void gather_blocks(void *context, int64_t begin, int64_t end) {
    const thin_job *g = context;
    for (int first = (int)begin * GATHER_ROWS; first < TN_MIN((int)end * GATHER_ROWS, g->n); first += GATHER_ROWS)
        for (int col = 0; col < g->r; col += THIN) gather_strip(g, first, TN_MIN((int)GATHER_ROWS, g->n - first), col);
}

void tn_thin_gather(int n, int k, int r, const tn_real *x, const tn_real *d, tn_real *p) {
    thin_job g = {.n = n, .long_side = k, .r = r, .rows = x, .thin = d, .to = p};
    tn_par_for((n + GATHER_ROWS - 1) / GATHER_ROWS, tn_grain_of((int64_t)GATHER_ROWS * k * r), gather_blocks, &g);
}

/* ---- spread ---- */

/* Columns of Y from `first` on, as many as a panel of reals has. */
static void spread_panel(const thin_job *s, int first, int cols) {
    tn_real panel[DEPTH * TN_REAL_WIDTH_MAX];
    for (int at = 0; at < s->r; at += DEPTH) {
        const int terms = TN_MIN((int)DEPTH, s->r - at);
        tn_panels_pack_turned(terms, cols, s->thin + (int64_t)first * s->r + at, s->r, panel);
        if (s->c != 1) tn_k->scale((int64_t)terms * tn_k->real_panel_width, s->c, panel, panel);
        tn_panels_multiply(s->n, cols, terms, s->p + at, s->r, panel, at ? TN_SUM_ADD : s->sum, s->y + first,
                           s->long_side);
    }
}

/* Items: panels of columns. */
static void spread_panels(void *context, int64_t begin, int64_t end) {
    const thin_job *s = context;
    const int width = tn_k->real_panel_width;
    for (int first = (int)begin * width; first < TN_MIN((int)end * width, s->long_side); first += width) {
        prefetch_rows(s, first + width, width);
        spread_panel(s, first, TN_MIN(width, s->long_side - first));
    }
}

void tn_thin_spread(int n, int m, int r, const tn_real *p, const tn_real *u, tn_real c, tn_sum sum, tn_real *y) {
    thin_job s = {.n = n, .long_side = m, .r = r, .y = y, .thin = u, .p = p, .c = c, .sum = sum};
    const int width = tn_k->real_panel_width;
    tn_par_for((m + width - 1) / width, tn_grain_of((int64_t)(n + THIN) * width * r), spread_panels, &s);
}

/* ---- outer ---- */

/* Rows first..first+count-1 of a strip of U. */
static void outer_strip(const thin_job *o, int first, int count, int col) {
    const int cols = TN_MIN((int)THIN, o->r - col), depth = cols == THIN ? o->n : DEPTH;
    tn_real *u = o->to + (int64_t)first * o->r + col;
    tn_real sums[OUTER_COLS * THIN] = {0}, room[DEPTH * THIN];
    for (int i = 0; i < count && o->sum == TN_SUM_ADD; i++)
        memcpy(sums + i * THIN, u + (int64_t)i * o->r, sizeof *u * (size_t)cols);
    for (int at = 0; at < o->n; at += depth) {
        const int terms = TN_MIN(depth, o->n - at);
        int64_t stride = o->r;
        const tn_real *strip = whole_strip(terms, cols, o->p + (int64_t)at * o->r + col, &stride, room);
        tn_k->thin_outer(count, terms, o->rows + (int64_t)at * o->long_side + first, o->long_side, strip, stride, sums,
                         THIN);
    }
    for (int i = 0; i < count; i++) memcpy(u + (int64_t)i * o->r, sums + i * THIN, sizeof *u * (size_t)cols);
}

/* Items: blocks of OUTER_COLS rows of U. */
static void outer_blocks(void *context, int64_t begin, int64_t end) {
    const thin_job *o = context;
    for (int first = (int)begin * OUTER_COLS; first < TN_MIN((int)end * OUTER_COLS, o->long_side); first += OUTER_COLS)
        for (int col = 0; col < o->r; col += THIN)
            outer_strip(o, first, TN_MIN((int)OUTER_COLS, o->long_side - first), col);
}

void tn_thin_outer(int n, int m, int r, const tn_real *y, const tn_real *p, tn_sum sum, tn_real *u) {
    thin_job o = {.n = n, .long_side = m, .r = r, .rows = y, .p = p, .to = u, .sum = sum};
    tn_par_for((m + OUTER_COLS - 1) / OUTER_COLS, tn_grain_of((int64_t)n * OUTER_COLS * r), outer_blocks, &o);
}
