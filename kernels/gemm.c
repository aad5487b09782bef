/* SPDX-License-Identifier: MIT
 * The forward product of ternary matrices: packing, tiles, threads. One task is a panel of weights against a block of
 * rows, so that the panel stays in cache while rows stream past it. Layout of panels: kernels_priv.h. */
#include "kernels/gemm.h"
#include "kernels/kernels_priv.h"
#include "kernels/ternary_rows.h"
#include "core/par.h"

#include <string.h>

enum {
    K_MAX = 132104, /* 127 k <= 2^24 */
    ROW_BLOCK = TN_BLOCK_ROWS,
    PANELS_MAX = 4
};

static int panels_of(int m, int width) { return (m + width - 1) / width; }
static int64_t row_blocks_of(int n) { return ((int64_t)n + ROW_BLOCK - 1) / ROW_BLOCK; }

/* ---- ternary packing ---- */
size_t tn_pack_ternary_bytes(int m, int k) {
    return sizeof(uint32_t) * (size_t)panels_of(m, tn_k->ternary_panel_width) * tn_ternary_panel_words(k);
}

typedef struct pack_job {
    int rows, k, width;
    const int8_t *states;
    uint32_t *words; /* of the first of the rows */
} pack_job;

/* The word of 16 states; see kernels_priv.h. Of a state only the low two bits are read: adding 1 then carries into no
 * other. */
static uint32_t pack_group(const int8_t states[TN_TERNARY_GROUP]) {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t four;
        memcpy(&four, states + 4 * i, sizeof four);
        word |= (((four & 0x03030303) + 0x01010101) & 0x03030303) << 2 * i;
    }
    return word;
}

static uint32_t pack_tail(const int8_t *states, int count) {
    int8_t group[TN_TERNARY_GROUP] = {0};
    memcpy(group, states, (size_t)count);
    return pack_group(group);
}

/* Output by output, so that states are read as they lie. */
static void pack_ternary_panel(const pack_job *p, int first, uint32_t *words) {
    const int count = TN_MIN(p->width, p->rows - first), whole = p->k / TN_TERNARY_GROUP,
              left = p->k % TN_TERNARY_GROUP;
    for (int j = 0; j < p->width; j++, words++) {
        const int8_t *states = p->states + (int64_t)(first + j) * p->k;
        uint32_t *word = words;
        for (int g = 0; g < whole; g++, word += p->width, states += TN_TERNARY_GROUP)
            *word = j < count ? pack_group(states) : pack_group((const int8_t[TN_TERNARY_GROUP]){0});
        if (left) *word = j < count ? pack_tail(states, left) : pack_tail(states, 0);
    }
}

static void pack_ternary_panels(void *context, int64_t begin, int64_t end) {
    const pack_job *p = context;
    for (int64_t panel = begin; panel < end; panel++)
        pack_ternary_panel(p, (int)panel * p->width, p->words + (size_t)panel * tn_ternary_panel_words(p->k));
}

void tn_pack_ternary_rows(int m, int k, int first, int rows, const int8_t *states, void *packed) {
    pack_job p = {.rows = rows, .k = k, .width = tn_k->ternary_panel_width, .states = states};
    TN_ASSERT(first % TN_PACK_ROWS == 0 && TN_PACK_ROWS % p.width == 0);
    TN_ASSERT(first + rows == m || (first + rows < m && rows % TN_PACK_ROWS == 0));
    p.words = (uint32_t *)packed + (size_t)(first / p.width) * tn_ternary_panel_words(k);
    tn_par_for(panels_of(rows, p.width), tn_grain_of((int64_t)p.width * k * 16), pack_ternary_panels, &p);
}

void tn_pack_ternary(int m, int k, const int8_t *states, void *packed) {
    tn_pack_ternary_rows(m, k, 0, m, states, packed);
}

/* ---- ternary product ---- */
typedef struct ternary_job {
    int n, m, k;
    const int8_t *q;
    const tn_real *s;
    const uint32_t *packed;
    tn_real a;
    const tn_real *base; /* to add; or NULL */
    tn_real *y;          /* scaled results, or */
    int32_t *acc;        /* the bare integers; the other one is NULL */
    int panels_at_once;
} ternary_job;

/* Where the tiles of a block of rows and a panel belong. */
typedef struct ternary_place {
    const ternary_job *job;
    int row, row_end, panel;
} ternary_place;

static void store_ternary(void *context, const int32_t *sums, int row, int rows) {
    const ternary_place *place = context;
    const ternary_job *t = place->job;
    const int width = tn_k->ternary_panel_width, first = place->panel * width, count = TN_MIN(width, t->m - first);
    const int next = place->row + row + rows;
    if (t->y) tn_prefetch_tile(t->y + (int64_t)next * t->m + first, TN_MIN(rows, place->row_end - next), count, t->m);
    for (int r = next - rows; r < next; r++, sums += width) {
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
        const int rows = TN_MIN((int)ROW_BLOCK, t->n - row), last = TN_MIN(panels, first + t->panels_at_once);
        tn_ternary_rows_begin(&room, rows, t->k, t->q + (int64_t)row * t->k, t->k);
        ternary_place at = {.job = t, .row = row, .row_end = row + rows, .panel = first};
        for (; at.panel < last; at.panel++)
            tn_ternary_rows_multiply(&room, t->packed + (size_t)at.panel * tn_ternary_panel_words(t->k), store_ternary,
                                     &at);
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
    tn_par_for(row_blocks_of(t->n) * panels_of(panels, t->panels_at_once), tn_grain_of(work), ternary_tasks, t);
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
