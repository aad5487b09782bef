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
    PANELS_MAX = 8,
    FEW_ROWS = 16, /* as many or more are bound by their arithmetic, not by the memory that panels come from */
    FEW_BYTES = 128 << 10
};

static int panels_of(int m, int width) { return (m + width - 1) / width; }
static int64_t row_blocks_of(int n) { return ((int64_t)n + ROW_BLOCK - 1) / ROW_BLOCK; }

/* ---- ternary packing ---- */
size_t tn_pack_ternary_bytes(tn_packing packing, int m, int k) {
    return sizeof(uint32_t) * (size_t)panels_of(m, tn_k->ternary_panel_width) * tn_ternary_panel_words(packing, k);
}

typedef struct pack_job {
    tn_packing packing;
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
    for (int64_t panel = begin; panel < end; panel++) {
        const int first = (int)panel * p->width;
        uint32_t *words = p->words + (size_t)panel * tn_ternary_panel_words(p->packing, p->k);
        if (p->packing == TN_PACKING_TRIPLES)
            tn_pack_triples(p->width, TN_MIN(p->width, p->rows - first), p->k, p->states + (int64_t)first * p->k,
                            words);
        else
            pack_ternary_panel(p, first, words);
    }
}

void tn_pack_ternary_rows(tn_packing packing, int m, int k, int first, int rows, const int8_t *states, void *packed) {
    pack_job p = {.packing = packing, .rows = rows, .k = k, .width = tn_k->ternary_panel_width, .states = states};
    TN_ASSERT(first % TN_PACK_ROWS == 0 && TN_PACK_ROWS % p.width == 0);
    TN_ASSERT(first + rows == m || (first + rows < m && rows % TN_PACK_ROWS == 0));
    p.words = (uint32_t *)packed + (size_t)(first / p.width) * tn_ternary_panel_words(packing, k);
    tn_par_for(panels_of(rows, p.width), tn_grain_of((int64_t)p.width * k * 16), pack_ternary_panels, &p);
}

void tn_pack_ternary(tn_packing packing, int m, int k, const int8_t *states, void *packed) {
    tn_pack_ternary_rows(packing, m, k, 0, m, states, packed);
}

/* ---- and back ---- */

/* Four states of a word of bytes 0..2, less 1 each: no byte borrows from the next. */
static uint32_t signed_states(uint32_t bytes) { return ((bytes | 0x80808080) - 0x01010101) ^ 0x80808080; }

static void unpack_word(uint32_t bytes, int left, int8_t *states) {
    const uint32_t four = signed_states(bytes);
    memcpy(states, &four, left < 4 ? (size_t)TN_MAX(left, 0) : sizeof four);
}

/* States of a group of triples, or of pairs, of `count` outputs of a panel from `lane` on, `most` of each; rows of
 * states k apart. */
static void unpack_triples(const uint32_t *group, int lane, int count, int k, int most, int8_t *states) {
    const int width = tn_k->ternary_panel_width;
    uint32_t bytes[TN_TRIPLE_GROUP / 4 * TN_TERNARY_WIDTH_MAX];
    tn_k->triple_bytes(1, group, bytes);
    for (int j = lane; j < lane + count; j++, states += k)
        for (int i = 0; i < TN_TRIPLE_GROUP; i += 4) unpack_word(bytes[i / 4 * width + j], most - i, states + i);
}

static void unpack_pairs(const uint32_t *group, int lane, int count, int k, int most, int8_t *states) {
    for (int j = lane; j < lane + count; j++, states += k)
        for (int i = 0; i < TN_TERNARY_GROUP; i += 4) unpack_word(group[j] >> i / 2 & 0x03030303, most - i, states + i);
}

void tn_unpack_ternary_rows(tn_packing packing, int k, int first, int rows, const void *packed, int8_t *states) {
    const int width = tn_k->ternary_panel_width, group = tn_ternary_group(packing);
    for (int count; rows > 0; first += count, rows -= count, states += (int64_t)count * k) {
        const uint32_t *words = packed;
        words += (size_t)(first / width) * tn_ternary_panel_words(packing, k);
        count = TN_MIN(width - first % width, rows);
        for (int at = 0; at < k; at += group, words += tn_ternary_group_words(packing))
            (packing == TN_PACKING_TRIPLES ? unpack_triples : unpack_pairs)(words, first % width, count, k,
                                                                            TN_MIN(group, k - at), states + at);
    }
}

/* ---- ternary product ---- */
typedef struct ternary_job {
    int n, k;
    const int8_t *q;
    const tn_real *s;
    const tn_ternary_out *outs;
    int panels; /* of all outs, one after another */
    int panels_at_once;
} ternary_job;

static int out_panels(const tn_ternary_out *out) { return panels_of(out->m, tn_k->ternary_panel_width); }

/* Where the tiles of a block of rows and a panel belong. */
typedef struct ternary_place {
    const ternary_job *job;
    const tn_ternary_out *out;
    int row, row_end, panel;
} ternary_place;

static void store_ternary(void *context, const int32_t *sums, int row, int rows) {
    const ternary_place *place = context;
    const ternary_job *t = place->job;
    const tn_ternary_out *out = place->out;
    const int width = tn_k->ternary_panel_width, first = place->panel * width, count = TN_MIN(width, out->m - first);
    const int next = place->row + row + rows;
    if (out->y)
        tn_prefetch_tile(out->y + (int64_t)next * out->m + first, TN_MIN(rows, place->row_end - next), count, out->m);
    for (int r = next - rows; r < next; r++, sums += width) {
        const int64_t at = (int64_t)r * out->m + first;
        if (out->acc)
            memcpy(out->acc + at, sums, sizeof *sums * (size_t)count);
        else
            tn_k->rescale(count, sums, t->s[r], out->a, out->y + at);
        if (out->base) tn_k->accumulate(count, out->base + at, out->y + at);
    }
}

/* Panel `number` of all. */
static void find_panel(ternary_place *place, int number) {
    place->out = place->job->outs;
    for (; number >= out_panels(place->out); place->out++) number -= out_panels(place->out);
    place->panel = number;
}

/* A block of rows against a few panels. */
static void ternary_tasks(void *context, int64_t begin, int64_t end) {
    const ternary_job *t = context;
    const int stretches = panels_of(t->panels, t->panels_at_once);
    tn_ternary_room room;
    for (int64_t task = begin; task < end; task++) {
        const int row = (int)(task / stretches) * ROW_BLOCK, first = (int)(task % stretches) * t->panels_at_once;
        const int rows = TN_MIN((int)ROW_BLOCK, t->n - row), last = TN_MIN(t->panels, first + t->panels_at_once);
        ternary_place at = {.job = t, .row = row, .row_end = row + rows};
        for (int panel = first; panel < last; panel++) {
            find_panel(&at, panel);
            const tn_packing packing = at.out->packing;
            if (panel == first || packing != room.packing)
                tn_ternary_rows_begin(&room, packing, rows, t->k, t->q + (int64_t)row * t->k, t->k);
            const uint32_t *words = at.out->packed;
            words += (size_t)at.panel * tn_ternary_panel_words(packing, t->k);
            tn_ternary_rows_multiply(&room, words, store_ternary, &at);
        }
    }
}

/* Few rows wait for the panels: each thread gets two long stretches of them, so that what it fetches ahead is its own.
 * Below some bytes a hand-over costs more than it brings. */
static int panels_for_few(const ternary_job *t) {
    const size_t bytes = sizeof(uint32_t) * tn_ternary_panel_words(TN_PACKING_PAIRS, t->k) * (size_t)t->panels;
    if (bytes * (size_t)(t->n + 3) / 4 < FEW_BYTES) return t->panels;
    return panels_of(t->panels, 2 * tn_par_threads());
}

/* Several panels at once spare the sums of the rows, but there must be work for every thread. */
static int panels_for_many(const ternary_job *t) {
    const int64_t a_thread = t->panels * row_blocks_of(t->n) / (8 * tn_par_threads());
    return (int)TN_MIN(TN_MAX(a_thread, (int64_t)1), (int64_t)PANELS_MAX);
}

void tn_gemm_ternary_each(int n, int k, const int8_t *q, const tn_real *s, const tn_ternary_out *outs, int count) {
    TN_ASSERT(k <= K_MAX);
    ternary_job t = {.n = n, .k = k, .q = q, .s = s, .outs = outs};
    for (int i = 0; i < count; i++) t.panels += out_panels(&outs[i]);
    if (n == 0 || t.panels == 0) return;
    t.panels_at_once = n < FEW_ROWS ? panels_for_few(&t) : n < ROW_BLOCK ? 1 : panels_for_many(&t);
    const int64_t work = (int64_t)TN_MIN(n, (int)ROW_BLOCK) * tn_k->ternary_panel_width * k / 4 * t.panels_at_once;
    tn_par_for(row_blocks_of(n) * panels_of(t.panels, t.panels_at_once), n < FEW_ROWS ? 1 : tn_grain_of(work),
               ternary_tasks, &t); /* four multiply-adds a lane */
}

void tn_gemm_ternary(int n, int m, int k, const int8_t *q, const tn_real *s, const void *packed, tn_real a,
                     tn_real *y) {
    tn_gemm_ternary_each(n, k, q, s, &(tn_ternary_out){.m = m, .packed = packed, .a = a, .y = y}, 1);
}

void tn_gemm_ternary_codes(tn_packing packing, int n, int m, int k, const int8_t *q, const void *packed, int32_t *acc) {
    tn_gemm_ternary_each(n, k, q, NULL, &(tn_ternary_out){.m = m, .packing = packing, .packed = packed, .acc = acc}, 1);
}
