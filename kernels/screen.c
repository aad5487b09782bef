/* SPDX-License-Identifier: MIT */
#include "kernels/screen.h"

#include "core/half.h"
#include "core/par.h"
#include "kernels/backward.h"
#include "kernels/kernels.h"
#include "kernels/table_priv.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    BLOCK = 512, /* ids of a task, which leaves its largest bounds */
    GROUP = 16,
    CODE_MOST = 32,    /* |q - 32| of Q6_K */
    PARTIAL_MOST = 95, /* the first stage sums q and takes 32 away: 63 + 32 */
    VALUES = 256,      /* of a block of the table */
    GROUPS = VALUES / GROUP,
    WIDE_PAYS = 8, /* wide bounds that leave more than one id in so many are a waste, */
    WIDE_RESTS = 64 /* and are left out for so many picks */
};

/* What a bound goes by: the high digits of the hidden row, or both. */
typedef enum coding { WIDE, NARROW, CODINGS } coding;

struct tn_screen {
    tn_table table;
    int m, k;
    size_t row_bytes;
    int8_t *high, *low;
    int16_t *sums;
    tn_real unit;
    tn_real error[CODINGS], reach; /* of a logit for a row of spread 1: see code_x and widen */
    coding coding;                 /* of the bounds that are made */
    int rests;                     /* picks that begin with narrow bounds */
    tn_real *spread;      /* [m] */
    bool knows_spread;
    tn_real *lower, *upper;           /* [m] */
    tn_real *best_lower, *best_upper; /* [blocks] */
    tn_real *heap;                    /* [m] the largest lower bounds, the least of them first */
    int32_t *ids;                     /* [m] */
    uint64_t *wanted;                 /* [m] bits */
    tn_real *logits;                  /* [m] */
    tn_real *rows;                    /* [threads, k] */
    int threads;
    int count;
    const tn_real *x;
};

bool tn_screen_serves(tn_table_type type) { return type == TN_TABLE_Q6_K && sizeof(tn_real) == sizeof(float); }

static int blocks_of(const tn_screen *s) { return (s->m + BLOCK - 1) / BLOCK; }

tn_status tn_screen_create(tn_screen **out, tn_arena *arena, const tn_table *table, int m, int k) {
    tn_screen *s;
    TN_ASSERT(tn_screen_serves(table->type) && k % VALUES == 0);
    TN_TAKE0(s, arena, 1, "screened head");
    s->table = *table;
    s->m = m;
    s->k = k;
    s->row_bytes = tn_table_row_bytes(table->type, k);
    s->threads = tn_par_threads();
    TN_TAKE(s->high, arena, k, "screened head");
    TN_TAKE(s->low, arena, k, "screened head");
    TN_TAKE(s->sums, arena, 2 * (k / GROUP), "screened head");
    TN_TAKE(s->spread, arena, m, "screened head");
    TN_TAKE(s->lower, arena, m, "screened head");
    TN_TAKE(s->upper, arena, m, "screened head");
    TN_TAKE(s->best_lower, arena, blocks_of(s), "screened head");
    TN_TAKE(s->best_upper, arena, blocks_of(s), "screened head");
    TN_TAKE(s->heap, arena, m, "screened head");
    TN_TAKE(s->ids, arena, m, "screened head");
    TN_TAKE(s->wanted, arena, (m + 63) / 64, "screened head");
    TN_TAKE(s->logits, arena, m, "screened head");
    TN_TAKE(s->rows, arena, (size_t)s->threads * (size_t)k, "screened head");
    *out = s;
    return TN_OK;
}

/* ---- the hidden row ---- */

/* error = 32 (|x - codes| + gamma |x|) + 95 c 2^-24 |codes|, in Euclidean norms and for c roundings of the estimate;
 * times the spread of a row it bounds |estimate - logit| (docs/math.md). The last factor covers what is rounded here.
 */
static tn_real error_of(const tn_screen *s, const tn_real *x, bool low) {
    const double k = s->k, ulp = 0x1p-24;
    double missed = 0, size = 0, parts = 0;
    for (int i = 0; i < s->k; i++) {
        const double high = 256.0 * s->high[i], rest = low ? s->low[i] : 0;
        const double miss = (double)x[i] - (double)s->unit * (high + rest);
        const double part = (double)s->unit * (fabs(high) + fabs(rest));
        missed += miss * miss;
        size += (double)x[i] * (double)x[i];
        parts += part * part;
    }
    const double chain = (k + 1) * ulp / (1 - (k + 1) * ulp), estimate = (4 * k / VALUES + 32) * ulp;
    const double error = CODE_MOST * (sqrt(missed) + chain * sqrt(size)) + PARTIAL_MOST * estimate * sqrt(parts);
    return (tn_real)(error * 1.001 + k * (double)FLT_MIN);
}

static void code_x(tn_screen *s, const tn_real *x) {
    double size = 0;
    s->unit = tn_k->digit_row(s->k, x, s->high, s->low);
    for (int i = 0; i < s->k; i++) size += (double)x[i] * (double)x[i];
    for (int g = 0; g < s->k / GROUP; g++) {
        int16_t *sums = s->sums + g / GROUPS * 2 * GROUPS + g % GROUPS;
        sums[0] = (int16_t)tn_k->sum_codes(GROUP, s->high + g * GROUP);
        sums[GROUPS] = (int16_t)tn_k->sum_codes(GROUP, s->low + g * GROUP);
    }
    s->error[WIDE] = error_of(s, x, false);
    s->error[NARROW] = error_of(s, x, true);
    s->reach = (tn_real)(2.01 * CODE_MOST * sqrt(size));
}

/* ---- the first stage ---- */

static const unsigned char *row_of(const tn_screen *s, int id) {
    return (const unsigned char *)s->table.data + (size_t)id * s->row_bytes;
}

/* The norm of the numbers that a row would stand for if all its codes were 1, not less; once for a table. */
static void spread_rows(void *context, int64_t begin, int64_t end) {
    tn_screen *s = context;
    for (int64_t id = begin; id < end; id++) {
        double squares = 0;
        const unsigned char *block = row_of(s, (int)id);
        for (int at = 0; at < s->k; at += VALUES, block += TN_Q6_K_BYTES) {
            const double d = (double)tn_f16_to_f32(tn_table_half(block + TN_Q6_K_D));
            int32_t size = 0;
            for (int g = 0; g < GROUPS; g++) {
                const int scale = (int8_t)block[TN_Q6_K_SCALES + g];
                size += scale * scale;
            }
            squares += d * d * size;
        }
        s->spread[id] = (tn_real)(sqrt(GROUP * squares) * (1 + 0x1p-20));
    }
}

/* From estimates to bounds; returns how many rows have none. The room that is added to the error covers the roundings
 * here. `reach` times its spread is more than any partial sum of a row's chain, so that none overflows. */
static int widen(int n, const tn_real *spread, tn_real error, tn_real reach, tn_real unit, tn_real *lower,
                 tn_real *upper) {
    int unbounded = 0;
    for (int i = 0; i < n; i++) {
        const tn_real z = lower[i] * unit, size = z < 0 ? -z : z;
        const tn_real around = spread[i] * error + size * (tn_real)0x1p-20 + FLT_MIN;
        const bool bounded = size + around + spread[i] * reach <= FLT_MAX;
        lower[i] = bounded ? z - around : (tn_real)NAN;
        upper[i] = bounded ? z + around : (tn_real)NAN;
        unbounded += !bounded;
    }
    return unbounded;
}

/* Bounds of ids first..first+n-1; false: some have none. */
static bool bound_ids(tn_screen *s, int first, int n) {
    const tn_screen_x x = {s->high, s->low, s->sums};
    tn_real *lower = s->lower + first;
    for (int i = 0; i < n; i++)
        lower[i] = (s->coding == WIDE ? tn_k->screen_q6_k_high : tn_k->screen_q6_k)(s->k, row_of(s, first + i), &x);
    return !widen(n, s->spread + first, s->error[s->coding], s->reach, s->unit, lower, s->upper + first);
}

static void bound_block(tn_screen *s, int block) {
    const int first = block * BLOCK, n = TN_MIN((int)BLOCK, s->m - first);
    if (!bound_ids(s, first, n)) {
        s->best_lower[block] = s->best_upper[block] = INFINITY; /* look at each */
    } else {
        s->best_lower[block] = tn_k->row_max(n, s->lower + first);
        s->best_upper[block] = tn_k->row_max(n, s->upper + first);
    }
}

static void bound_blocks(void *context, int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block++) bound_block(context, (int)block);
}

/* Items: ids in question. */
static void narrow_ids(void *context, int64_t begin, int64_t end) {
    tn_screen *s = context;
    for (int64_t i = begin; i < end; i++) (void)bound_ids(s, s->ids[i], 1);
}

/* ---- what is left in question ---- */

/* The heap keeps its least number at 0. */
static void sink(tn_real *heap, int n, tn_real x) {
    int at = 0;
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (!(heap[child] < x)) break;
        heap[at] = heap[child];
    }
    heap[at] = x;
}

static bool is_set(const uint64_t *bits, int id) { return !bits || (bits[id / 64] >> id % 64 & 1); }

/* The `top`-th largest lower bound of what is allowed: as many logits are at least that. */
static tn_real threshold(tn_screen *s, const tn_screen_question *question) {
    const int top = TN_MAX(TN_MIN(question->top, s->m), 1);
    for (int i = 0; i < top; i++) s->heap[i] = -INFINITY;
    for (int block = 0; block < blocks_of(s); block++) {
        if (!(s->best_lower[block] > s->heap[0])) continue;
        const int last = TN_MIN((block + 1) * BLOCK, s->m);
        for (int id = block * BLOCK; id < last; id++)
            if (s->lower[id] > s->heap[0] && is_set(question->allowed, id)) sink(s->heap, top, s->lower[id]);
    }
    return s->heap[0];
}

static void collect(tn_screen *s, tn_real least, const tn_screen_question *question) {
    memset(s->wanted, 0, sizeof *s->wanted * (size_t)(s->m + 63) / 64);
    for (int i = 0; i < question->n_also; i++) {
        const int id = question->also[i];
        s->wanted[id / 64] |= (uint64_t)1 << id % 64;
        s->best_upper[id / BLOCK] = INFINITY;
    }
    s->count = 0;
    for (int block = 0; block < blocks_of(s); block++) {
        if (s->best_upper[block] < least) continue;
        const int last = TN_MIN((block + 1) * BLOCK, s->m);
        for (int id = block * BLOCK; id < last; id++)
            if (is_set(s->wanted, id) || (!(s->upper[id] < least) && is_set(question->allowed, id)))
                s->ids[s->count++] = id;
    }
}

static void true_logits(void *context, int64_t begin, int64_t end) {
    tn_screen *s = context;
    tn_real *row = s->rows + (int64_t)tn_par_worker() * s->k;
    for (int64_t i = begin; i < end; i++) {
        tn_table_rows(&s->table, s->k, s->ids[i], 1, row);
        s->logits[i] = tn_k->chain(s->k, s->x, row);
    }
}

/* Bounds of all ids, then narrower ones of those that are in question. What is out of question by its wide bound stays
 * so: narrow bounds only raise the threshold. */
static void bound_all(tn_screen *s, const tn_screen_question *question) {
    s->coding = s->rests ? NARROW : WIDE;
    tn_par_for(blocks_of(s), 1, bound_blocks, s);
    if (s->coding == NARROW) {
        s->rests--;
        return;
    }
    collect(s, threshold(s, question), question);
    s->coding = NARROW;
    tn_par_for(s->count, GROUP, narrow_ids, s);
    for (int i = 0; i < s->count; i++) {
        tn_real *best = &s->best_lower[s->ids[i] / BLOCK];
        *best = TN_MAX(*best, s->lower[s->ids[i]]);
    }
    if (s->count > s->m / WIDE_PAYS) s->rests = WIDE_RESTS;
}

int tn_screen_pick(tn_screen *s, const tn_real *x, const tn_screen_question *question, const int32_t **ids,
                   const tn_real **logits) {
    TN_ASSERT(s->threads >= tn_par_threads());
    if (!s->knows_spread) tn_par_for(s->m, BLOCK, spread_rows, s);
    s->knows_spread = true;
    code_x(s, x);
    bound_all(s, question);
    collect(s, threshold(s, question), question);
    s->x = x;
    tn_par_for(s->count, 4, true_logits, s);
    *ids = s->ids;
    *logits = s->logits;
    return s->count;
}

void tn_screen_bounds(const tn_screen *s, const tn_real **lower, const tn_real **upper) {
    *lower = s->lower;
    *upper = s->upper;
}
