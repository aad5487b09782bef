/* SPDX-License-Identifier: MIT
 * dX = a dY T from the panels of the forward product. A sum of dX runs over outputs, which lie side by side in such a
 * panel, so the panels are turned: a stretch of columns of T at a time, into a worker's room, from where all tokens of
 * a chunk meet it as they meet T turned in backward_dx.c. Turning costs about as much as two of the rows that follow.
 * A task is a few panels of columns against a chunk of tokens. */
#include "kernels/backward_priv.h"
#include "core/par.h"

#include <string.h>

enum {
    SQUARE = 16, /* sides of what is turned at a time: TN_TERNARY_GROUP of k, as many outputs */
    PANELS_MOST = 4,
    TASKS_A_THREAD = 4,
    DIGIT_TOKENS = 8,                                         /* of a task that makes digits */
    GROUPS_MOST = TN_TERNARY_WIDTH_MAX / TN_TRIPLE_GROUP + 2, /* of triples that a panel's width of k touches */
    NO_STATE = 0x01010101,                                    /* zeros, opened */
    NO_STATES = 0x55555555                                    /* zeros, packed */
};

typedef struct packed_job {
    tn_dx_job dx; /* the chunk at hand: rows from `first` on */
    tn_packing packing;
    const uint32_t *packed;
    int panels, at_once; /* of T turned; panels of a task */
    int first, tokens;   /* the chunk */
    int8_t *digits;      /* [tokens][TN_DX_DIGITS][stride] */
    tn_real *units;      /* [tokens] */
    uint32_t *turned;    /* a worker: [PANELS_MOST] panels of T turned */
} packed_job;

static size_t panel_words(int m) { return tn_ternary_panel_words(TN_PACKING_PAIRS, m); }

static packed_job job_of(int n, int m, int k) {
    const int width = tn_k->ternary_panel_width;
    packed_job p = {.dx = {.n = n, .m = m, .k = k}, .panels = (k + width - 1) / width};
    p.at_once = TN_MIN(TN_MAX(p.panels / (TASKS_A_THREAD * tn_par_threads()), 1), (int)PANELS_MOST);
    return p;
}

/* Bytes of the parts of the scratch. */
static size_t digit_bytes(const packed_job *p) {
    return tn_dx_digit_bytes(TN_MIN(p->dx.n, (int)TN_FIXED_CHUNK), p->dx.m);
}
static size_t unit_bytes(void) { return sizeof(tn_real) * TN_FIXED_CHUNK; }
static size_t turned_words(const packed_job *p) { return panel_words(p->dx.m) * (size_t)p->at_once; }

size_t tn_ternary_dx_packed_scratch(int n, int m, int k) {
    const packed_job p = job_of(n, m, k);
    return digit_bytes(&p) + unit_bytes() + sizeof(uint32_t) * turned_words(&p) * (size_t)tn_par_threads();
}

/* ---- turning ---- */

/* A panel of the forward product, whose outputs begin at `output`, and the columns that are turned: from `column` on,
 * as many as a panel is wide. */
typedef struct crossing {
    const packed_job *job;
    const uint32_t *panel;
    int output, squares; /* of SQUARE outputs */
    int column;
    uint32_t *turned; /* their words for this panel's outputs */
} crossing;

static void turn_pairs(const crossing *c, int columns) {
    const int width = tn_k->ternary_panel_width;
    const uint32_t *group = c->panel + (size_t)c->column / TN_TERNARY_GROUP * (size_t)width;
    for (int at = 0; at < columns; at += SQUARE, group += width)
        tn_k->turn_pairs(c->squares, group, c->turned + at, width);
}

/* Groups of triples do not begin where panels do: those are opened that hold any of the columns. */
static void turn_triples(const crossing *c, int columns) {
    enum { STEPS = TN_TRIPLE_GROUP / 4 };
    const int width = tn_k->ternary_panel_width, k = c->job->dx.k;
    const int first = c->column / TN_TRIPLE_GROUP, all = (k + TN_TRIPLE_GROUP - 1) / TN_TRIPLE_GROUP;
    const int last = TN_MIN(all, (c->column + columns + TN_TRIPLE_GROUP - 1) / TN_TRIPLE_GROUP);
    uint32_t bytes[(GROUPS_MOST * STEPS) * TN_TERNARY_WIDTH_MAX];
    tn_k->triple_bytes(last - first, c->panel + (size_t)first * (size_t)tn_ternary_group_words(TN_PACKING_TRIPLES),
                       bytes);
    for (int i = (last - first) * STEPS * width; i < GROUPS_MOST * STEPS * width; i++) bytes[i] = NO_STATE;
    const uint32_t *from = bytes + (c->column % TN_TRIPLE_GROUP) / 4 * width;
    for (int at = 0; at < columns; at += SQUARE, from += SQUARE / 4 * width)
        tn_k->turn_bytes(c->squares, from, width, c->turned + at, width);
}

/* Columns of T from `column` on as one panel of T turned. */
static void turn_panel(const packed_job *p, int column, uint32_t *turned) {
    const int width = tn_k->ternary_panel_width, m = p->dx.m;
    const int columns = TN_MIN(width, TN_ROUND_UP(p->dx.k - column, SQUARE));
    crossing c = {.job = p, .panel = p->packed, .column = column, .turned = turned};
    if (columns < width)
        for (size_t i = 0; i < panel_words(m); i++) turned[i] = NO_STATES;
    for (; c.output < m; c.output += width) {
        c.squares = (TN_MIN(width, m - c.output) + SQUARE - 1) / SQUARE;
        (p->packing == TN_PACKING_TRIPLES ? turn_triples : turn_pairs)(&c, columns);
        c.panel += tn_ternary_panel_words(p->packing, p->dx.k);
        c.turned += c.squares * width;
    }
}

/* ---- product ---- */

/* Items: tokens of the chunk. */
static void make_digits(void *context, int64_t begin, int64_t end) {
    const packed_job *p = context;
    tn_dx_make_digits(&p->dx, p->first + (int)begin, (int)(end - begin),
                      p->digits + begin * TN_DX_DIGITS * tn_dx_stride(p->dx.m), p->units + begin);
}

/* A block of tokens of the chunk against panels first..first+panels-1, which `turned` holds. */
static void multiply_block(const packed_job *p, tn_ternary_room *room, int block, int first, int panels,
                           const uint32_t *turned) {
    const int m = p->dx.m, tokens = TN_MIN((int)TN_DX_TOKENS, p->tokens - block);
    tn_dx_place at = {.job = &p->dx, .units = p->units + block, .token = p->first + block, .tokens = tokens};
    tn_ternary_rows_begin(room, TN_PACKING_PAIRS, TN_DX_DIGITS * tokens, m,
                          p->digits + block * TN_DX_DIGITS * tn_dx_stride(m), tn_dx_stride(m));
    for (int i = 0; i < panels; i++) {
        at.panel = first + i;
        tn_ternary_rows_multiply(room, turned + (size_t)i * panel_words(m), tn_dx_store, &at);
    }
}

/* Items: stretches of panels. */
static void column_tasks(void *context, int64_t begin, int64_t end) {
    const packed_job *p = context;
    uint32_t *turned = p->turned + turned_words(p) * (size_t)tn_par_worker();
    tn_ternary_room room;
    for (int64_t task = begin; task < end; task++) {
        const int first = (int)task * p->at_once, panels = TN_MIN(p->at_once, p->panels - first);
        for (int i = 0; i < panels; i++)
            turn_panel(p, (first + i) * tn_k->ternary_panel_width, turned + (size_t)i * panel_words(p->dx.m));
        for (int block = 0; block < p->tokens; block += TN_DX_TOKENS)
            multiply_block(p, &room, block, first, panels, turned);
    }
}

void tn_ternary_dx_packed(int n, int m, int k, const tn_real *dy, tn_packing packing, const void *packed, tn_real a,
                          tn_sum sum, tn_real *dx, void *scratch) {
    TN_ASSERT(m <= TN_FIXED_M_MAX);
    packed_job p = job_of(n, m, k);
    p.dx = (tn_dx_job){n, m, k, dy, a, sum, dx};
    p.packing = packing;
    p.packed = packed;
    p.digits = scratch;
    p.units = (tn_real *)(p.digits + digit_bytes(&p));
    p.turned = (uint32_t *)(void *)((char *)p.units + unit_bytes());
    for (; p.first < n; p.first += TN_FIXED_CHUNK) {
        p.tokens = TN_MIN((int)TN_FIXED_CHUNK, n - p.first);
        const int64_t work = (int64_t)p.tokens * m * tn_k->ternary_panel_width / 2 * p.at_once;
        tn_par_for(p.tokens, DIGIT_TOKENS, make_digits, &p);
        tn_par_for((p.panels + p.at_once - 1) / p.at_once, tn_grain_of(work), column_tasks, &p);
    }
}
