/* SPDX-License-Identifier: MIT
 * The forward product of ternary matrices: packing, tiles, threads. One task is a panel of weights against a block of
 * rows, so that the panel stays in cache while rows stream past it. Layout of panels: kernels_priv.h. */
#include "kernels/gemm.h"
#include "kernels/kernels_priv.h"
#include "kernels/ternary_rows.h"
#include "core/par.h"

#include <string.h>

enum {
    K_MAX = 132104,     /* 127 k <= 2^24 */
    ROW_BLOCK = TN_BLOCK_ROWS,
    PANELS_MAX = 4,
    TASK_WORK = 1 << 20 /* multiply-adds below which a thread of its own does not pay */
};

static int panels_of(int m, int width) { return (m + width - 1) / width; }
static int64_t row_blocks_of(int n) { return ((int64_t)n + ROW_BLOCK - 1) / ROW_BLOCK; }

/* Tasks to hand out at a time, each worth `work` multiply-adds. Speed only: no output is shared between tasks. */
static int64_t grain_of(int64_t work) { return TN_MAX(TASK_WORK / TN_MAX(work, (int64_t)1), (int64_t)1); }

/* ---- ternary packing ---- */
static size_t ternary_panel_words(int k) {
    return (size_t)(TN_ROUND_UP(k, TN_TERNARY_GROUP) / TN_TERNARY_GROUP) * (size_t)tn_k->ternary_panel_width;
}

size_t tn_pack_ternary_bytes(int m, int k) {
    return sizeof(uint32_t) * (size_t)panels_of(m, tn_k->ternary_panel_width) * ternary_panel_words(k);
}

typedef struct pack_job {
    int m, k, width;
    const int8_t *states;
    uint32_t *words;
} pack_job;

/* The word of 16 states; see kernels_priv.h. */
static uint32_t pack_group(const int8_t states[TN_TERNARY_GROUP]) {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        for (int b = 0; b < 4; b++) word |= (uint32_t)(states[4 * i + b] + 1) << (8 * b + 2 * i);
    return word;
}

static uint32_t pack_group_at(const pack_job *p, int output, int at) {
    int8_t group[TN_TERNARY_GROUP] = {0};
    if (output < p->m)
        memcpy(group, p->states + (int64_t)output * p->k + at, (size_t)TN_MIN(p->k - at, (int)TN_TERNARY_GROUP));
    return pack_group(group);
}

static void pack_ternary_panels(void *context, int64_t begin, int64_t end) {
    const pack_job *p = context;
    uint32_t *word = p->words + (size_t)begin * ternary_panel_words(p->k);
    for (int64_t panel = begin; panel < end; panel++)
        for (int at = 0; at < p->k; at += TN_TERNARY_GROUP)
            for (int j = 0; j < p->width; j++) *word++ = pack_group_at(p, (int)panel * p->width + j, at);
}

void tn_pack_ternary(int m, int k, const int8_t *states, void *packed) {
    pack_job p = {.m = m, .k = k, .width = tn_k->ternary_panel_width, .states = states, .words = packed};
    tn_par_for(panels_of(m, p.width), grain_of((int64_t)p.width * k * 16), pack_ternary_panels, &p);
}

/* ---- ternary product ---- */
typedef struct ternary_job {
    int n, m, k;
    const int8_t *q;
    const tn_real *s;
    const uint32_t *packed;
    tn_real a;
    const tn_real *base; /* to add; or NULL */
    tn_real *y;   /* scaled results, or */
    int32_t *acc; /* the bare integers; the other one is NULL */
    int panels_at_once;
} ternary_job;

/* What the block of rows in `room`, from `row` on, has summed for a panel. */
static void store_ternary(const ternary_job *t, const tn_ternary_room *room, int row, int panel) {
    const int width = tn_k->ternary_panel_width, first = panel * width, count = TN_MIN(width, t->m - first);
    const int32_t *sums = room->acc;
    for (int r = row; r < row + room->rows; r++, sums += width) {
        const int64_t at = (int64_t)r * t->m + first;
        if (t->acc)
            memcpy(t->acc + at, sums, sizeof *sums * (size_t)count);
        else
            tn_k->rescale(count, sums, t->s[r], t->a, t->y + at);
        if (t->base) tn_k->accumulate(count, t->base + at, t->y + at);
    }
}

/* A block of rows against a few panels. */
static void ternary_tasks(void *context, int64_t begin, int64_t end) {
    const ternary_job *t = context;
    const int panels = panels_of(t->m, tn_k->ternary_panel_width), stretches = panels_of(panels, t->panels_at_once);
    tn_ternary_room room;
    for (int64_t task = begin; task < end; task++) {
        const int row = (int)(task / stretches) * ROW_BLOCK, first = (int)(task % stretches) * t->panels_at_once;
        tn_ternary_rows_begin(&room, TN_MIN((int)ROW_BLOCK, t->n - row), t->k, t->q + (int64_t)row * t->k, t->k);
        for (int panel = first; panel < TN_MIN(panels, first + t->panels_at_once); panel++) {
            tn_ternary_rows_multiply(&room, t->packed + (size_t)panel * ternary_panel_words(t->k));
            store_ternary(t, &room, row, panel);
        }
    }
}

/* Several panels at once spare the sums of the rows, but there must be work for every thread. */
static int panels_at_once(const ternary_job *t, int panels) {
    if (t->n < ROW_BLOCK) return 1;
    return (int)TN_MIN(TN_MAX(panels * row_blocks_of(t->n) / (8 * tn_par_threads()), (int64_t)1), (int64_t)PANELS_MAX);
}

static void multiply_ternary(ternary_job *t) {
    TN_ASSERT(t->k <= K_MAX);
    const int width = tn_k->ternary_panel_width, panels = panels_of(t->m, width);
    t->panels_at_once = panels_at_once(t, panels);
    const int64_t work = (int64_t)TN_MIN(t->n, (int)ROW_BLOCK) * width * t->k / 4 * t->panels_at_once; /* four a lane */
    tn_par_for(row_blocks_of(t->n) * panels_of(panels, t->panels_at_once), grain_of(work), ternary_tasks, t);
}

void tn_gemm_ternary(int n, int m, int k, const int8_t *q, const tn_real *s, const void *packed, tn_real a,
                     tn_real *y) {
    multiply_ternary(&(ternary_job){.n = n, .m = m, .k = k, .q = q, .s = s, .packed = packed, .a = a, .y = y});
}

void tn_gemm_ternary_add(int n, int m, int k, const int8_t *q, const tn_real *s, const void *packed, tn_real a,
                         const tn_real *base, tn_real *y) {
    multiply_ternary(
        &(ternary_job){.n = n, .m = m, .k = k, .q = q, .s = s, .packed = packed, .a = a, .base = base, .y = y});
}

void tn_gemm_ternary_codes(int n, int m, int k, const int8_t *q, const void *packed, int32_t *acc) {
    multiply_ternary(&(ternary_job){.n = n, .m = m, .k = k, .q = q, .packed = packed, .acc = acc});
}
