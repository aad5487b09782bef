/* SPDX-License-Identifier: MIT
 * dW = (dY / s)' q: both operands as 16-bit pairs of neighbouring tokens, multiplied a chunk of tokens at a time so
 * that 32 bits hold every sum; chunks add up in order. The pairs of dY are made by the thread that multiplies them,
 * since lines that another core has just written are slow to come; those of q once, by all threads, at the end of the
 * loop over the chunk before, so that nobody waits twice a chunk. */
#include "kernels/backward.h"
#include "kernels/kernels_priv.h"
#include "core/par.h"

#include <string.h>

enum {
    OUTPUTS = 48,      /* of a task: a multiple of every tile's rows; a row of words is a whole number of cache lines */
    LAST_OUTPUTS = 16, /* of the tasks at the end, so that threads get done together: a cache line of dY */
    CODE_PAIRS = 32,   /* of a task that makes pairs of q */
    PAIRS = TN_FIXED_CHUNK / 2
};

typedef struct dw_job {
    int n, m, k, width;
    int chunks, panels, pairs; /* of tokens; of columns; pairs of a whole chunk */
    int whole, blocks;         /* tasks of OUTPUTS; the others follow */
    int chunk;                 /* that is multiplied, -1 before the first; pairs of q are made of the next */
    const tn_real *dy, *s;
    const int8_t *q;
    tn_sum sum;
    tn_real *dw;
    uint32_t *codes; /* [2: even and odd chunks][panels][pairs][width] of q */
    uint32_t *words; /* a worker: [pairs][OUTPUTS] of dY / s */
} dw_job;

static dw_job dw_sizes(int n, int m, int k) {
    const int width = tn_k->pair_panel_width, whole = TN_MAX(m / OUTPUTS - tn_par_threads(), 0);
    return (dw_job){.n = n,
                    .m = m,
                    .k = k,
                    .width = width,
                    .chunks = (n + TN_FIXED_CHUNK - 1) / TN_FIXED_CHUNK,
                    .panels = (k + width - 1) / width,
                    .pairs = TN_MIN((n + 1) / 2, (int)PAIRS),
                    .whole = whole,
                    .blocks = whole + (m - whole * OUTPUTS + LAST_OUTPUTS - 1) / LAST_OUTPUTS};
}

/* Sizes in words of the parts of the scratch, each a multiple of TN_ALIGN bytes. */
static size_t block_words(const dw_job *p) { return (size_t)p->pairs * OUTPUTS; }
static size_t panel_words(const dw_job *p) { return (size_t)p->pairs * (size_t)p->width; }
static size_t code_words(const dw_job *p) { return (size_t)p->panels * panel_words(p); }

size_t tn_ternary_dw_scratch(int n, int m, int k) {
    const dw_job p = dw_sizes(n, m, k);
    return sizeof(uint32_t) *
           (code_words(&p) * (size_t)TN_MIN(p.chunks, 2) + block_words(&p) * (size_t)tn_par_threads());
}

static int first_token(int chunk) { return chunk * TN_FIXED_CHUNK; }
static int tokens_of(const dw_job *p, int chunk) { return TN_MIN((int)TN_FIXED_CHUNK, p->n - first_token(chunk)); }
static uint32_t *codes_at(const dw_job *p, int chunk, int panel) {
    return p->codes + (size_t)(chunk % 2) * code_words(p) + (size_t)panel * panel_words(p);
}

/* ---- pairs of q ---- */
static void make_codes(const dw_job *p, int chunk, int pair) {
    const int token = 2 * pair, tokens = TN_MIN(2 * (int)CODE_PAIRS, tokens_of(p, chunk) - token);
    const int8_t *q = p->q + (int64_t)(first_token(chunk) + token) * p->k;
    for (int panel = 0; panel < p->panels; panel++) {
        const int first = panel * p->width, cols = TN_MIN(p->width, p->k - first);
        uint32_t *codes = codes_at(p, chunk, panel) + pair * p->width;
        if (cols < p->width) memset(codes, 0, sizeof *codes * (size_t)((tokens + 1) / 2 * p->width));
        tn_k->pair_codes(tokens, cols, q + first, p->k, codes, p->width);
    }
}

/* ---- products ---- */
typedef struct dw_block {
    int first, count; /* outputs */
    uint32_t *words;
    tn_real units[OUTPUTS];
} dw_block;

static void make_words(const dw_job *p, dw_block *block) {
    const int first = first_token(p->chunk), tokens = tokens_of(p, p->chunk);
    const tn_real *dy = p->dy + (int64_t)first * p->m + block->first;
    tn_real factor[TN_FIXED_CHUNK], inverse[OUTPUTS];
    for (int t = 0; t < tokens; t++) factor[t] = 1 / p->s[first + t];
    tn_k->column_units(tokens, block->count, dy, p->m, factor, block->units, inverse);
    tn_k->pair_rows(tokens, block->count, dy, p->m, factor, inverse, block->words, OUTPUTS);
}

typedef void store_sums(int rows, int n, const int32_t *sums, int64_t stride, const tn_real *units, tn_real *y,
                        int64_t y_stride);

static void multiply_panel(const dw_job *p, const dw_block *block, int panel) {
    const int pairs = (tokens_of(p, p->chunk) + 1) / 2, cols = TN_MIN(p->width, p->k - panel * p->width);
    const uint32_t *codes = codes_at(p, p->chunk, panel);
    store_sums *const store = p->sum == TN_SUM_SET && p->chunk == 0 ? tn_k->scale_sums : tn_k->scale_sums_add;
    int32_t tile[TN_PAIR_TILE_MAX];
    for (int at = 0, rows; at < block->count; at += rows) {
        rows = TN_MIN(tn_k->pair_tile_rows, block->count - at);
        tn_real *dw = p->dw + (int64_t)(block->first + at) * p->k + panel * p->width;
        tn_prefetch_tile(dw, rows, cols, p->k);
        tn_k->pair_panel(rows, pairs, block->words + at, OUTPUTS, codes, tile);
        store(rows, cols, tile, p->width, block->units + at, dw, p->k);
    }
}

static void multiply_block(const dw_job *p, int number) {
    const int size = number < p->whole ? OUTPUTS : LAST_OUTPUTS,
              first = TN_MIN(number, p->whole) * OUTPUTS + TN_MAX(number - p->whole, 0) * LAST_OUTPUTS;
    dw_block block = {.first = first,
                      .count = TN_MIN(size, p->m - first),
                      .words = p->words + block_words(p) * (size_t)tn_par_worker()};
    make_words(p, &block);
    for (int panel = 0; panel < p->panels; panel++) multiply_panel(p, &block, panel);
}

/* ---- threads ---- */
static int block_tasks(const dw_job *p) { return p->chunk < 0 ? 0 : p->blocks; }
static int code_tasks(const dw_job *p) {
    return p->chunk + 1 < p->chunks ? (tokens_of(p, p->chunk + 1) + 2 * CODE_PAIRS - 1) / (2 * CODE_PAIRS) : 0;
}

static void tasks(void *context, int64_t begin, int64_t end) {
    const dw_job *p = context;
    const int blocks = block_tasks(p);
    for (int task = (int)begin; task < end; task++) {
        if (task < blocks)
            multiply_block(p, task);
        else
            make_codes(p, p->chunk + 1, (task - blocks) * CODE_PAIRS);
    }
}

void tn_ternary_dw(int n, int m, int k, const tn_real *dy, const int8_t *q, const tn_real *s, tn_sum sum, tn_real *dw,
                   void *scratch) {
    dw_job p = dw_sizes(n, m, k);
    p.codes = scratch;
    p.words = p.codes + code_words(&p) * (size_t)TN_MIN(p.chunks, 2);
    p.dy = dy;
    p.q = q;
    p.s = s;
    p.sum = sum;
    p.dw = dw;
    for (p.chunk = -1; p.chunk < p.chunks; p.chunk++) tn_par_for(block_tasks(&p) + code_tasks(&p), 1, tasks, &p);
}
