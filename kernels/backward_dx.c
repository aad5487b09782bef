/* SPDX-License-Identifier: MIT
 * dX = a dY T: each token of dY as two rows of signed digits, which meet T turned in the byte products of the forward.
 * A task is a block of tokens against all of T: its digits stay in a cache while the panels pass, a panel while the
 * rows of the block do. */
#include "kernels/backward_priv.h"
#include "kernels/gemm.h"
#include "core/par.h"

#include <string.h>

/* ---- packing ---- */
size_t tn_pack_ternary_turned_bytes(int m, int k) {
    const size_t panels = (size_t)((k + tn_k->ternary_panel_width - 1) / tn_k->ternary_panel_width);
    return sizeof(uint32_t) * panels * tn_ternary_panel_words(TN_PACKING_PAIRS, m);
}

typedef struct turn_job {
    int m, k, width;
    const int8_t *states;
    uint32_t *words;
} turn_job;

/* Four rows of T as one row of 2-bit fields: field i is row 4 i + b of the group, plus 1 (kernels_priv.h). Rows past
 * the last are 0. */
static void pack_fields(const turn_job *t, int row, int first, int count, uint8_t *restrict fields) {
    memset(fields, 1 + 4 + 16 + 64, (size_t)t->width);
    for (int i = 0; i < 4 && row + 4 * i < t->m; i++) {
        const int8_t *restrict states = t->states + (int64_t)(row + 4 * i) * t->k + first;
        for (int j = 0; j < count; j++) fields[j] = (uint8_t)(fields[j] + states[j] * (1 << 2 * i));
    }
}

static void turn_group(const turn_job *t, int row, int first, int count, uint32_t *restrict words) {
    uint8_t fields[4][TN_TERNARY_WIDTH_MAX];
    for (int b = 0; b < 4; b++) pack_fields(t, row + b, first, count, fields[b]);
    for (int j = 0; j < t->width; j++)
        words[j] =
            fields[0][j] | (uint32_t)fields[1][j] << 8 | (uint32_t)fields[2][j] << 16 | (uint32_t)fields[3][j] << 24;
}

static void turn_panels(void *context, int64_t begin, int64_t end) {
    const turn_job *t = context;
    for (int64_t panel = begin; panel < end; panel++) {
        const int first = (int)panel * t->width, count = TN_MIN(t->width, t->k - first);
        uint32_t *words = t->words + (size_t)panel * tn_ternary_panel_words(TN_PACKING_PAIRS, t->m);
        for (int row = 0; row < t->m; row += TN_TERNARY_GROUP, words += t->width)
            turn_group(t, row, first, count, words);
    }
}

void tn_pack_ternary_turned(int m, int k, const int8_t *states, void *packed) {
    turn_job t = {.m = m, .k = k, .width = tn_k->ternary_panel_width, .states = states, .words = packed};
    tn_par_for((k + t.width - 1) / t.width, tn_grain_of((int64_t)t.width * m), turn_panels, &t);
}

/* ---- shared with backward_packed.c ---- */
void tn_dx_make_digits(const tn_dx_job *p, int token, int tokens, int8_t *digits, tn_real *units) {
    const int64_t stride = tn_dx_stride(p->m);
    for (int t = 0; t < tokens; t++, digits += TN_DX_DIGITS * stride)
        units[t] = p->a * tn_k->digit_row(p->m, p->dy + (int64_t)(token + t) * p->m, digits, digits + stride);
}

void tn_dx_store(void *context, const int32_t *sums, int row, int rows) {
    const tn_dx_place *place = context;
    const tn_dx_job *p = place->job;
    const int width = tn_k->ternary_panel_width, first = place->panel * width, count = TN_MIN(width, p->k - first);
    const int token = row / TN_DX_DIGITS, tokens = rows / TN_DX_DIGITS, next = token + tokens;
    tn_real *dx = p->dx + (int64_t)(place->token + token) * p->k + first;
    tn_prefetch_tile(dx + (int64_t)tokens * p->k, TN_MIN(tokens, place->tokens - next), count, p->k);
    (p->sum == TN_SUM_ADD ? tn_k->join_digits_add : tn_k->join_digits)(tokens, count, sums, width, place->units + token,
                                                                       dx, p->k);
}

/* ---- product ---- */
enum { LAST_TOKENS = TN_DX_TOKENS / 4 /* of the tasks at the end, so that threads get done together */ };

typedef struct turned_job {
    tn_dx_job dx;
    const uint32_t *packed;
    int whole;      /* tasks of TN_DX_TOKENS; the others follow */
    int8_t *digits; /* a worker: [TN_DX_TOKENS] of them */
} turned_job;

size_t tn_ternary_dx_scratch(int n, int m) {
    (void)n;
    return tn_dx_digit_bytes(TN_DX_TOKENS, m) * (size_t)tn_par_threads();
}

static void dx_task(const turned_job *p, tn_ternary_room *room, int token, int tokens, int8_t *digits) {
    const int width = tn_k->ternary_panel_width, m = p->dx.m;
    tn_real units[TN_DX_TOKENS];
    tn_dx_place at = {.job = &p->dx, .units = units, .token = token, .tokens = tokens};
    tn_dx_make_digits(&p->dx, token, tokens, digits, units);
    tn_ternary_rows_begin(room, TN_PACKING_PAIRS, TN_DX_DIGITS * tokens, m, digits, tn_dx_stride(m));
    for (; at.panel * width < p->dx.k; at.panel++)
        tn_ternary_rows_multiply(room, p->packed + (size_t)at.panel * tn_ternary_panel_words(TN_PACKING_PAIRS, m),
                                 tn_dx_store, &at);
}

static void dx_tasks(void *context, int64_t begin, int64_t end) {
    const turned_job *p = context;
    int8_t *digits = p->digits + tn_dx_digit_bytes(TN_DX_TOKENS, p->dx.m) * (size_t)tn_par_worker();
    tn_ternary_room room;
    for (int task = (int)begin; task < end; task++) {
        const int size = task < p->whole ? TN_DX_TOKENS : LAST_TOKENS,
                  token = TN_MIN(task, p->whole) * TN_DX_TOKENS + TN_MAX(task - p->whole, 0) * LAST_TOKENS;
        dx_task(p, &room, token, TN_MIN(size, p->dx.n - token), digits);
    }
}

void tn_ternary_dx(int n, int m, int k, const tn_real *dy, const void *packed_turned, tn_real a, tn_sum sum,
                   tn_real *dx, void *scratch) {
    TN_ASSERT(m <= TN_FIXED_M_MAX);
    turned_job p = {.dx = {n, m, k, dy, a, sum, dx}, .packed = packed_turned, .digits = scratch};
    p.whole = TN_MAX(n / TN_DX_TOKENS - tn_par_threads(), 0);
    const int64_t tasks = p.whole + (n - p.whole * TN_DX_TOKENS + LAST_TOKENS - 1) / LAST_TOKENS;
    tn_par_for(tasks, tn_grain_of((int64_t)LAST_TOKENS * m * k / 2), dx_tasks, &p);
}
