/* SPDX-License-Identifier: MIT
 * dW = (dY / s)' q: both operands as 16-bit pairs of neighbouring tokens, multiplied a chunk of tokens at a time so
 * that 32 bits hold every sum; chunks add up in order. The pairs of q are made once, by all threads; those of dY by the
 * thread that multiplies them, since lines that another core has just written are slow to come. */
#include "kernels/backward.h"
#include "kernels/kernels_priv.h"
#include "kernels/words.h"
#include "core/par.h"

#include <string.h>

enum {
    OUTPUTS = 48,      /* of a task: a multiple of every tile's rows; a row of words is a whole number of cache lines */
    LAST_OUTPUTS = 16, /* of the tasks at the end, so that threads get done together: a cache line of dY */
    CODE_PAIRS = 16,   /* of a task that makes pairs of q */
    PAIRS = TN_FIXED_CHUNK / 2
};

typedef struct dw_job {
    int n, m, k, width;
    int panels, pairs; /* of columns; pairs of a whole chunk */
    int whole;         /* tasks of OUTPUTS; the others follow */
    int first, tokens; /* the chunk in hand */
    const tn_real *dy, *s;
    const int8_t *q;
    tn_sum sum;
    tn_real *dw;
    uint32_t *codes; /* [panels][pairs][width] of q */
    uint32_t *words; /* a worker: [pairs][OUTPUTS] of dY / s */
} dw_job;

static dw_job dw_sizes(int n, int m, int k) {
    const int width = tn_k->pair_panel_width;
    return (dw_job){.n = n,
                    .m = m,
                    .k = k,
                    .width = width,
                    .panels = (k + width - 1) / width,
                    .pairs = TN_MIN((n + 1) / 2, (int)PAIRS),
                    .whole = TN_MAX(m / OUTPUTS - tn_par_threads(), 0)};
}

/* Sizes in words of the parts of the scratch, each a multiple of TN_ALIGN bytes. */
static size_t block_words(const dw_job *p) { return (size_t)p->pairs * OUTPUTS; }
static size_t panel_words(const dw_job *p) { return (size_t)p->pairs * (size_t)p->width; }
static size_t code_words(const dw_job *p) { return (size_t)p->panels * panel_words(p); }

size_t tn_ternary_dw_scratch(int n, int m, int k) {
    const dw_job p = dw_sizes(n, m, k);
    return sizeof(uint32_t) * (code_words(&p) + block_words(&p) * (size_t)tn_par_threads());
}

/* ---- pairs of q ---- */
static void make_codes(const dw_job *p, int pair, int pairs) {
    const int token = 2 * pair, tokens = TN_MIN(2 * pairs, p->tokens - token);
    const int8_t *q = p->q + (int64_t)(p->first + token) * p->k;
    for (int panel = 0; panel < p->panels; panel++) {
        const int first = panel * p->width, cols = TN_MIN(p->width, p->k - first);
        uint32_t *codes = p->codes + panel * panel_words(p) + pair * p->width;
        if (cols < p->width) memset(codes, 0, sizeof *codes * (size_t)(pairs * p->width));
        tn_k->pair_codes(tokens, cols, q + first, p->k, codes, p->width);
    }
}

static void code_tasks(void *context, int64_t begin, int64_t end) {
    make_codes(context, (int)begin, (int)(end - begin));
}

/* ---- products ---- */
typedef struct dw_block {
    int first, count; /* outputs */
    uint32_t *words;
    tn_real units[OUTPUTS];
} dw_block;

static void make_words(const dw_job *p, dw_block *block) {
    const tn_real *dy = p->dy + (int64_t)p->first * p->m + block->first;
    tn_real factor[TN_FIXED_CHUNK], inverse[OUTPUTS];
    for (int t = 0; t < p->tokens; t++) factor[t] = 1 / p->s[p->first + t];
    tn_k->column_units(p->tokens, block->count, dy, p->m, factor, block->units, inverse);
    tn_k->pair_rows(p->tokens, block->count, dy, p->m, factor, inverse, block->words, OUTPUTS);
}

static int count_tasks(const dw_job *p) {
    return p->whole + (p->m - p->whole * OUTPUTS + LAST_OUTPUTS - 1) / LAST_OUTPUTS;
}

static void multiply_tasks(void *context, int64_t begin, int64_t end) {
    const dw_job *p = context;
    const tn_sum sum = p->first == 0 ? p->sum : TN_SUM_ADD;
    dw_block block = {.words = p->words + block_words(p) * (size_t)tn_par_worker()};
    for (int task = (int)begin; task < end; task++) {
        const int size = task < p->whole ? OUTPUTS : LAST_OUTPUTS;
        block.first = TN_MIN(task, p->whole) * OUTPUTS + TN_MAX(task - p->whole, 0) * LAST_OUTPUTS;
        block.count = TN_MIN(size, p->m - block.first);
        make_words(p, &block);
        tn_words_multiply(block.count, p->k, (p->tokens + 1) / 2, block.words, OUTPUTS, p->codes,
                          (int64_t)panel_words(p), block.units, sum, p->dw + (int64_t)block.first * p->k, p->k);
    }
}

void tn_ternary_dw(int n, int m, int k, const tn_real *dy, const int8_t *q, const tn_real *s, tn_sum sum, tn_real *dw,
                   void *scratch) {
    dw_job p = dw_sizes(n, m, k);
    p.codes = scratch;
    p.words = p.codes + code_words(&p);
    p.dy = dy;
    p.q = q;
    p.s = s;
    p.sum = sum;
    p.dw = dw;
    for (; p.first < n; p.first += TN_FIXED_CHUNK) {
        p.tokens = TN_MIN((int)TN_FIXED_CHUNK, n - p.first);
        tn_par_for((p.tokens + 1) / 2, CODE_PAIRS, code_tasks, &p);
        tn_par_for(count_tasks(&p), 1, multiply_tasks, &p);
    }
}
