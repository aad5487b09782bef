/* SPDX-License-Identifier: MIT
 * head_words.c - the three products of the head in 16-bit fixed point, for training. A sum of `terms` products of codes
 * is exact as long as no code is above sqrt(2^31 / terms): 11 bits and a sign for 512 terms, about what bf16 keeps.
 *
 *   z  = w x'       rows of w and rows of x each have a unit of their own
 *   dx = P f w - weight w[y]     p_ij = exp(z_ij - max of the block) <= 1 needs no search for its unit; w one a block
 *   dw = (P f)' x - weight x     rows of x have theirs, which P f takes over before it is coded, a unit an id
 *
 * The target's share of G is added in floats, apart from P: next to it the many small p of a row would round to 0.
 *
 * For a w that is trained. Before one that is not, dx is all there is, and pays for f32: op_head_loss.c. */
#include "autograd/head_pass.h"
#include "kernels/words.h"

#include <math.h>
#include <string.h>

enum {
    DEPTH = 512, /* terms of a sum over C, at most */
    DW_IDS = 96, /* whose words for dw are made at once: a multiple of every tile's rows */
    COLUMNS_ALIGN = 64
};

static int pairs_of(int terms) { return (terms + 1) / 2; }
static int64_t w_block_words(const tn_head_pass *p) { return (int64_t)pairs_of(p->c) * TN_HEAD_BLOCK; }
static int64_t x_panel_words(const tn_head_pass *p) { return (int64_t)pairs_of(p->c) * p->width; }

/* ---- memory ---- */

/* A worker's room in the gradients of a block; words count as numbers of their size. */
typedef struct gradient_room {
    uint32_t *g_words;        /* dx: [id pairs][chunk]; dw: [token pairs][DW_IDS] */
    uint32_t *w_panels;       /* [panels of columns][id pairs][width] */
    tn_real *turned;          /* [chunk][DW_IDS + PAD] */
    tn_real *inverse;         /* [C or chunk] */
    tn_real *units;           /* [chunk or ids] */
    tn_real *factor, *raised; /* [chunk] */
} gradient_room;

static int64_t longest(const tn_head_pass *p) { return TN_ROUND_UP(TN_MAX(TN_MAX(p->c, p->chunk), TN_HEAD_BLOCK), 64); }

static int64_t cut_room(const tn_head_pass *p, tn_real *room, gradient_room *cut) {
    const int64_t g = TN_MAX((int64_t)p->chunk * TN_HEAD_BLOCK / 2, (int64_t)pairs_of(p->chunk) * DW_IDS),
                  w = tn_words_panels_count(TN_HEAD_BLOCK / 2, p->c),
                  turned = (int64_t)p->chunk * (DW_IDS + TN_HEAD_PAD), line = longest(p);
    const int64_t w_at = TN_ROUND_UP(g, 64), turned_at = w_at + TN_ROUND_UP(w, 64);
    if (cut) {
        *cut = (gradient_room){.g_words = (uint32_t *)room, .w_panels = (uint32_t *)(room + w_at)};
        cut->turned = room + turned_at;
        cut->inverse = cut->turned + TN_ROUND_UP(turned, 64);
        cut->units = cut->inverse + line;
        cut->factor = cut->units + line;
        cut->raised = cut->factor + line;
    }
    return turned_at + TN_ROUND_UP(turned, 64) + 4 * line;
}

/* What turning and coding a block of w takes. */
static int64_t coding_room(const tn_head_pass *p) { return (int64_t)p->c * (TN_HEAD_BLOCK + TN_HEAD_PAD) + longest(p); }

int64_t tn_head_words_room(const tn_head_pass *p, bool gradients) {
    const int64_t packing = coding_room(p) + longest(p);
    return gradients ? TN_MAX(packing, cut_room(p, NULL, NULL)) : packing;
}

tn_status tn_head_words_make(tn_head_pass *p, tn_arena *scratch, bool gradients) {
    tn_head_words *words = &p->words;
    const int pieces = (p->c + DEPTH - 1) / DEPTH, panels = (int)((p->stride + p->width - 1) / p->width);
    words->depth = TN_ROUND_UP((p->c + pieces - 1) / pieces, 2);
    words->top = tn_words_top(words->depth);
    words->top_ids = tn_words_top(TN_HEAD_BLOCK);
    words->top_rows = tn_words_top(p->chunk);
    TN_TAKE(words->w, scratch, p->blocks * w_block_words(p), "op scratch");
    TN_TAKE(words->x, scratch, panels * x_panel_words(p), "op scratch");
    TN_TAKE(words->w_unit, scratch, p->v, "op scratch");
    TN_TAKE(words->x_unit, scratch, panels * p->width, "op scratch");
    TN_TAKE(words->ones, scratch, longest(p), "op scratch");
    TN_TAKE(words->raised, scratch, longest(p), "op scratch");
    if (!gradients) return TN_OK;
    TN_TAKE(words->x_pairs, scratch, tn_words_panels_count(pairs_of(p->chunk), p->c), "op scratch");
    TN_TAKE(words->x_factor, scratch, p->chunk, "op scratch");
    return TN_OK;
}

/* ---- operands ---- */

/* Columns of x [terms, cols] as words, and the unit of each. */
static void pack_columns_by_unit(const tn_head_words *words, int terms, int cols, const tn_real *x, int64_t stride,
                                 tn_real *units, tn_real *inverse, uint32_t *to, int64_t to_stride) {
    tn_k->column_units(terms, cols, x, stride, words->raised, units, inverse);
    tn_k->pair_rows(terms, cols, x, stride, words->ones, inverse, to, to_stride);
}

/* Rows [ids, C] of a block of w as words, and their units. */
static void code_block(const tn_head_pass *p, int64_t block, const tn_real *rows, tn_real *room, uint32_t *to) {
    const int64_t stride = TN_HEAD_BLOCK + TN_HEAD_PAD;
    const int id = tn_head_block_first(p, block), ids = tn_head_block_first(p, block + 1) - id;
    tn_k->turn(ids, p->c, rows, p->c, room, stride);
    pack_columns_by_unit(&p->words, p->c, ids, room, stride, p->words.w_unit + id, room + p->c * stride, to,
                         TN_HEAD_BLOCK);
}

static const tn_real *block_rows(const tn_head_pass *p, int64_t block) {
    return p->a->in[1]->real + (int64_t)tn_head_block_first(p, block) * p->c;
}

/* Items: blocks. */
static void pack_w_blocks(void *context, int64_t begin, int64_t end) {
    const tn_head_pass *p = context;
    for (int64_t block = begin; block < end; block++)
        code_block(p, block, block_rows(p, block), tn_head_room(p), p->words.w + block * w_block_words(p));
}

static void fill(int64_t n, tn_real value, tn_real *x) {
    for (int64_t i = 0; i < n; i++) x[i] = value;
}

void tn_head_words_pack_w(tn_head_pass *p) {
    tn_head_words *words = &p->words;
    fill(longest(p), 1, words->ones);
    fill(longest(p), (tn_real)TN_FIXED_TOP / (tn_real)words->top, words->raised);
    tn_par_for(p->blocks, 1, pack_w_blocks, p);
}

void tn_head_words_pack_x(const tn_head_pass *p, int first, int rows) {
    const tn_head_words *words = &p->words;
    const int width = p->width;
    uint32_t *panel = words->x + first / width * x_panel_words(p);
    tn_real *turned = tn_head_room(p), *inverse = turned + (int64_t)p->c * width;
    if (rows < width) {
        memset(panel, 0, sizeof *panel * (size_t)x_panel_words(p));
        memset(words->x_unit + first, 0, sizeof *words->x_unit * (size_t)width);
    }
    tn_k->turn(rows, p->c, p->x + (int64_t)first * p->c, p->c, turned, width);
    pack_columns_by_unit(words, p->c, rows, turned, width, words->x_unit + first, inverse, panel, width);
    for (int i = first; i < first + rows && words->x_factor; i++)
        words->x_factor[i] = (tn_real)words->top_rows / (tn_real)words->top / words->x_unit[i];
}

/* Items: panels of columns. */
static void pack_column_panels(void *context, int64_t begin, int64_t end) {
    const tn_head_pass *p = context;
    const tn_head_words *words = &p->words;
    for (int64_t panel = begin; panel < end; panel++) {
        const int first = (int)panel * p->width, cols = TN_MIN(p->width, p->c - first), pairs = pairs_of(p->rows);
        uint32_t *to = words->x_pairs + (int64_t)first * pairs;
        if (cols < p->width) memset(to, 0, sizeof *to * (size_t)pairs * (size_t)p->width);
        tn_k->pair_rows(p->rows, cols, p->x + first, p->c, words->x_factor, words->ones, to, p->width);
    }
}

void tn_head_words_pack_columns(tn_head_pass *p) {
    tn_par_for((p->c + p->width - 1) / p->width, 1, pack_column_panels, p);
}

/* ---- products ---- */

void tn_head_words_logits(const tn_head_pass *p, int64_t block, int first, tn_real *z, int64_t stride) {
    const tn_head_words *words = &p->words;
    const int id = tn_head_block_first(p, block), ids = tn_head_block_first(p, block + 1) - id;
    const uint32_t *w = words->w + block * w_block_words(p), *x = words->x + first / p->width * x_panel_words(p);
    for (int at = 0; at < p->c; at += words->depth)
        tn_words_multiply(ids, p->width, pairs_of(TN_MIN(words->depth, p->c - at)), w + at / 2 * TN_HEAD_BLOCK,
                          TN_HEAD_BLOCK, x + (int64_t)(at / 2) * p->width, 0, words->w_unit + id,
                          at ? TN_SUM_ADD : TN_SUM_SET, z, stride);
    for (int j = 0; j < ids; j++, z += stride) tn_k->mul(p->width, z, words->x_unit + first, z);
}

/* The unit of a block of w, or a NaN. */
static tn_real block_unit(const tn_head_pass *p, int id, int ids) {
    tn_real largest = 0, any = 0;
    for (int j = id; j < id + ids; j++) {
        largest = TN_MAX(largest, p->words.w_unit[j]);
        any += p->words.w_unit[j] * 0;
    }
    return largest * ((tn_real)p->words.top / (tn_real)p->words.top_ids) + any;
}

static void pack_w_panels(const tn_head_pass *p, int64_t block, int ids, tn_real unit, const gradient_room *room) {
    const int pairs = pairs_of(ids);
    const tn_real *rows = block_rows(p, block);
    for (int i = 0; i < p->width; i++) room->inverse[i] = 1 / unit;
    for (int first = 0; first < p->c; first += p->width) {
        const int cols = TN_MIN(p->width, p->c - first);
        uint32_t *to = room->w_panels + (int64_t)first * pairs;
        if (cols < p->width) memset(to, 0, sizeof *to * (size_t)pairs * (size_t)p->width);
        tn_k->pair_rows(ids, cols, rows + first, p->c, p->words.ones, room->inverse, to, p->width);
    }
}

static void add_dx(const tn_head_pass *p, int64_t block, const gradient_room *room, tn_sum sum, tn_real *dx) {
    const int id = tn_head_block_first(p, block), ids = tn_head_block_first(p, block + 1) - id, pairs = pairs_of(ids);
    const tn_real unit = block_unit(p, id, ids), top = (tn_real)p->words.top_ids, *f = p->top + block * p->stride;
    pack_w_panels(p, block, ids, unit, room);
    for (int i = 0; i < p->rows; i++) room->units[i] = f[i] * (unit / top);
    fill(p->rows, top, room->inverse);
    tn_k->pair_rows(ids, p->rows, p->g + id * p->stride, p->stride, p->words.ones, room->inverse, room->g_words,
                    p->chunk);
    tn_words_multiply(p->rows, p->c, pairs, room->g_words, p->chunk, room->w_panels, (int64_t)pairs * p->width,
                      room->units, sum, dx, p->c);
}

/* Some ids of a block. */
static void add_dw(const tn_head_pass *p, int id, int ids, const gradient_room *room, tn_sum sum) {
    const int64_t stride = DW_IDS + TN_HEAD_PAD;
    const int pairs = pairs_of(p->rows);
    tn_k->turn(ids, p->rows, p->g + id * p->stride, p->stride, room->turned, stride);
    tn_k->column_units(p->rows, ids, room->turned, stride, room->raised, room->units, room->inverse);
    tn_k->pair_rows(p->rows, ids, room->turned, stride, room->factor, room->inverse, room->g_words, DW_IDS);
    tn_words_multiply(ids, p->c, pairs, room->g_words, DW_IDS, p->words.x_pairs, (int64_t)pairs * p->width, room->units,
                      sum, p->a->in[1]->grad + (int64_t)id * p->c, p->c);
}

static void add_block_dw(const tn_head_pass *p, int64_t block, const gradient_room *room, tn_sum sum) {
    const int end = tn_head_block_first(p, block + 1);
    const tn_real *f = p->top + block * p->stride, raise = (tn_real)TN_FIXED_TOP / (tn_real)p->words.top_rows;
    for (int i = 0; i < p->rows; i++) {
        room->factor[i] = f[i] / p->words.x_factor[i];
        room->raised[i] = room->factor[i] * raise;
    }
    for (int id = tn_head_block_first(p, block); id < end; id += DW_IDS)
        add_dw(p, id, TN_MIN((int)DW_IDS, end - id), room, sum);
}

static void add_targets(const tn_head_pass *p, int64_t block, tn_real *dx) {
    const int id = tn_head_block_first(p, block), end = tn_head_block_first(p, block + 1);
    const tn_tensor *w = p->a->in[1];
    for (int i = 0; i < p->rows; i++) {
        const int64_t y = tn_head_target(p, i);
        if (y < id || y >= end) continue;
        const tn_real weight = (tn_real)-tn_head_weight(p, i);
        if (p->makes_dx) tn_k->axpy(p->c, weight, w->real + y * p->c, dx + (int64_t)i * p->c);
        if (p->makes_dw) tn_k->axpy(p->c, weight, p->x + (int64_t)i * p->c, w->grad + y * p->c);
    }
}

void tn_head_words_gradients(const tn_head_pass *p, int64_t block, tn_sum dw_sum, tn_sum dx_sum, tn_real *dx) {
    gradient_room room;
    cut_room(p, tn_head_room(p), &room);
    if (p->makes_dx) add_dx(p, block, &room, dx_sum, dx);
    if (p->makes_dw) add_block_dw(p, block, &room, dw_sum);
    add_targets(p, block, dx);
}
