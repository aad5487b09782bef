/* SPDX-License-Identifier: MIT
 * dW = (dY / s)' q: both operands as 16-bit pairs of neighbouring tokens, multiplied a chunk of tokens at a time so
 * that 32 bits hold every sum; chunks add up in order. Pairs are made once for all outputs and columns, for a few
 * chunks at a time, which bounds the scratch. */
#include "kernels/backward.h"
#include "kernels/kernels_priv.h"
#include "core/par.h"

#include <string.h>

enum {
    CHUNKS = 1,      /* made at a time */
    OUTPUTS = 48,    /* of a block: a multiple of every tile's rows; a row of words is a whole number of cache lines */
    MAKE_BLOCKS = 4, /* blocks whose words are made in one task, so that rows of dY are read in long pieces */
    TASK_PANELS = 4, /* panels of columns that one task multiplies a block with */
    PAIRS = TN_FIXED_CHUNK / 2
};

typedef struct dw_job {
    int n, m, k, width;
    int blocks, panels, pairs; /* of outputs, of columns; pairs of a whole chunk */
    int first, chunks;         /* the first token and the number of the chunks in hand */
    const tn_real *dy, *s;
    const int8_t *q;
    tn_sum sum;
    tn_real *dw;
    uint32_t *words; /* [CHUNKS][blocks][pairs][OUTPUTS] of dY / s */
    uint32_t *codes; /* [CHUNKS][panels][pairs][width] of q */
    tn_real *units;  /* [CHUNKS][blocks * OUTPUTS] */
} dw_job;

static dw_job dw_sizes(int n, int m, int k) {
    const int width = tn_k->pair_panel_width;
    return (dw_job){.n = n,
                    .m = m,
                    .k = k,
                    .width = width,
                    .blocks = (m + OUTPUTS - 1) / OUTPUTS,
                    .panels = (k + width - 1) / width,
                    .pairs = TN_MIN((n + 1) / 2, (int)PAIRS),
                    .chunks = TN_MIN((n + TN_FIXED_CHUNK - 1) / TN_FIXED_CHUNK, (int)CHUNKS)};
}

/* Sizes in words of the parts of the scratch, each a multiple of TN_ALIGN bytes. */
static size_t block_words(const dw_job *p) { return (size_t)p->pairs * OUTPUTS; }
static size_t panel_words(const dw_job *p) { return (size_t)p->pairs * (size_t)p->width; }
static size_t all_block_words(const dw_job *p) { return (size_t)p->chunks * (size_t)p->blocks * block_words(p); }
static size_t all_panel_words(const dw_job *p) { return (size_t)p->chunks * (size_t)p->panels * panel_words(p); }

size_t tn_ternary_dw_scratch(int n, int m, int k) {
    const dw_job p = dw_sizes(n, m, k);
    return sizeof(uint32_t) * (all_block_words(&p) + all_panel_words(&p)) +
           sizeof(tn_real) * (size_t)(p.chunks * p.blocks) * OUTPUTS;
}

static int chunk_first(const dw_job *p, int chunk) { return p->first + chunk * TN_FIXED_CHUNK; }
static int chunk_tokens(const dw_job *p, int chunk) {
    return TN_MIN((int)TN_FIXED_CHUNK, p->n - chunk_first(p, chunk));
}
static tn_real *chunk_units(const dw_job *p, int chunk) { return p->units + (int64_t)chunk * p->blocks * OUTPUTS; }
static uint32_t *words_at(const dw_job *p, int chunk, int block) {
    return p->words + (size_t)(chunk * p->blocks + block) * block_words(p);
}
static uint32_t *codes_at(const dw_job *p, int chunk, int panel) {
    return p->codes + (size_t)(chunk * p->panels + panel) * panel_words(p);
}

/* ---- pairs ---- */
/* The words of some blocks of a chunk: their columns of dY are read once for the units and, near by then, once more. */
static void make_words(const dw_job *p, int chunk, int block, int blocks) {
    const int first = block * OUTPUTS, cols = TN_MIN(blocks * OUTPUTS, p->m - first), tokens = chunk_tokens(p, chunk);
    const tn_real *dy = p->dy + (int64_t)chunk_first(p, chunk) * p->m + first;
    tn_real factor[TN_FIXED_CHUNK], inverse[MAKE_BLOCKS * OUTPUTS];
    for (int t = 0; t < tokens; t++) factor[t] = 1 / p->s[chunk_first(p, chunk) + t];
    tn_k->column_units(tokens, cols, dy, p->m, factor, chunk_units(p, chunk) + first, inverse);
    for (int at = 0; at < cols; at += OUTPUTS, block++)
        tn_k->pair_rows(tokens, TN_MIN((int)OUTPUTS, cols - at), dy + at, p->m, factor, inverse + at,
                        words_at(p, chunk, block), OUTPUTS);
}

static void make_codes(const dw_job *p, int chunk, int panel) {
    const int first = panel * p->width, tokens = chunk_tokens(p, chunk), cols = TN_MIN(p->width, p->k - first);
    uint32_t *codes = codes_at(p, chunk, panel);
    if (cols < p->width) memset(codes, 0, sizeof *codes * panel_words(p));
    tn_k->pair_codes(tokens, cols, p->q + (int64_t)chunk_first(p, chunk) * p->k + first, p->k, codes, p->width);
}

static int make_groups(const dw_job *p) { return (p->blocks + MAKE_BLOCKS - 1) / MAKE_BLOCKS; }

/* Of each chunk: its groups of blocks, then its panels. */
static void make_tasks(void *context, int64_t begin, int64_t end) {
    const dw_job *p = context;
    const int groups = make_groups(p), tasks = groups + p->panels;
    for (int64_t task = begin; task < end; task++) {
        const int chunk = (int)(task / tasks), part = (int)(task % tasks), block = part * MAKE_BLOCKS;
        if (part < groups)
            make_words(p, chunk, block, TN_MIN((int)MAKE_BLOCKS, p->blocks - block));
        else
            make_codes(p, chunk, part - groups);
    }
}

/* ---- products ---- */
typedef void store_sums(int rows, int n, const int32_t *sums, int64_t stride, const tn_real *units, tn_real *y,
                        int64_t y_stride);

static void multiply_block(const dw_job *p, int chunk, int block, int panel) {
    const int pairs = (chunk_tokens(p, chunk) + 1) / 2, first = block * OUTPUTS,
              outputs = TN_MIN((int)OUTPUTS, p->m - first), cols = TN_MIN(p->width, p->k - panel * p->width);
    const uint32_t *words = words_at(p, chunk, block), *codes = codes_at(p, chunk, panel);
    const bool set = p->sum == TN_SUM_SET && chunk_first(p, chunk) == 0;
    store_sums *const store = set ? tn_k->scale_sums : tn_k->scale_sums_add;
    int32_t tile[TN_PAIR_TILE_MAX];
    for (int at = 0, rows; at < outputs; at += rows) {
        rows = TN_MIN(tn_k->pair_tile_rows, outputs - at);
        tn_real *dw = p->dw + (int64_t)(first + at) * p->k + panel * p->width;
        tn_prefetch_tile(dw, rows, cols, p->k);
        tn_k->pair_panel(rows, pairs, words + at, OUTPUTS, codes, tile);
        store(rows, cols, tile, p->width, chunk_units(p, chunk) + first + at, dw, p->k);
    }
}

static int panel_groups(const dw_job *p) { return (p->panels + TASK_PANELS - 1) / TASK_PANELS; }

static void multiply_tasks(void *context, int64_t begin, int64_t end) {
    const dw_job *p = context;
    const int groups = panel_groups(p);
    for (int64_t task = begin; task < end; task++) {
        const int block = (int)(task / groups), panel = (int)(task % groups) * TASK_PANELS;
        for (int chunk = 0; chunk < p->chunks; chunk++)
            for (int i = panel; i < TN_MIN(panel + TASK_PANELS, p->panels); i++) multiply_block(p, chunk, block, i);
    }
}

void tn_ternary_dw(int n, int m, int k, const tn_real *dy, const int8_t *q, const tn_real *s, tn_sum sum, tn_real *dw,
                   void *scratch) {
    dw_job p = dw_sizes(n, m, k);
    p.words = scratch;
    p.codes = p.words + all_block_words(&p);
    p.units = (tn_real *)(p.codes + all_panel_words(&p));
    p.dy = dy;
    p.q = q;
    p.s = s;
    p.sum = sum;
    p.dw = dw;
    for (; p.first < n; p.first += CHUNKS * TN_FIXED_CHUNK) {
        p.chunks = TN_MIN((n - p.first + TN_FIXED_CHUNK - 1) / TN_FIXED_CHUNK, (int)CHUNKS);
        tn_par_for(p.chunks * (int64_t)(make_groups(&p) + p.panels), 1, make_tasks, &p);
        tn_par_for(p.blocks * (int64_t)panel_groups(&p), 1, multiply_tasks, &p);
    }
}
