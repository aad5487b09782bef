/* SPDX-License-Identifier: MIT
 * Blocks of rows fill panels of their own. Where all of a block's |c B A'| are below 1/2 no state flips, and its panels
 * are copied as they are. */
#include "autograd/param_merge.h"

#include "core/par.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/thin.h"

#include <math.h>
#include <string.h>

enum {
    BLOCKS_MOST = 1 << 12, /* of TN_PACK_ROWS rows: as many as a model may have */
    PIECE = 1024           /* numbers of a row at a time */
};

static void swap_panels(tn_param_merge *merge, tn_param *param) {
    void *panels = merge->panels;
    merge->panels = param->packed_states;
    param->packed = param->packed_states = panels;
}

tn_status tn_param_merge_begin(tn_param_merge *merge, tn_param *param, tn_arena *arena) {
    TN_ASSERT(param->packed_states && !param->tensor.real);
    if (!merge->panels)
        merge->panels =
            tn_arena_alloc(arena, tn_pack_ternary_bytes(param->packing, param->rows, param->cols), "merged ternary");
    if (!merge->panels) return TN_E_NOMEM;
    swap_panels(merge, param);
    return TN_OK;
}

void tn_param_merge_keep(tn_param_merge *merge, const tn_param *param) {
    memcpy(merge->panels, param->packed_states, tn_pack_ternary_bytes(param->packing, param->rows, param->cols));
}

void tn_param_merge_end(tn_param_merge *merge, tn_param *param) {
    swap_panels(merge, param);
    if (param->states)
        tn_unpack_ternary_rows(param->packing, param->cols, 0, param->rows, param->packed_states, param->states);
}

/* ---- deriving ---- */

/* A worker's room: a block of rows as numbers, and as states. */
static int64_t block_numbers(const tn_param *w) { return (int64_t)TN_PACK_ROWS * w->cols; }
static int64_t worker_room(const tn_param *w) { return block_numbers(w) + block_numbers(w) / (int64_t)sizeof(tn_real); }

int64_t tn_param_merge_room(const tn_param *param) { return tn_par_threads() * worker_room(param); }

typedef struct derivation {
    const void *own; /* panels of T */
    tn_param *w;
    const tn_param *a, *b;
    tn_real c, *room;
    int64_t flipped[BLOCKS_MOST];
    tn_real largest[BLOCKS_MOST];
} derivation;

static void copy_panels(const derivation *d, int first, int rows) {
    const tn_param *w = d->w;
    const size_t begin = tn_pack_ternary_bytes(w->packing, first, w->cols),
                 end = tn_pack_ternary_bytes(w->packing, first + rows, w->cols);
    memcpy((char *)w->packed_states + begin, (const char *)d->own + begin, end - begin);
    if (w->states)
        tn_unpack_ternary_rows(w->packing, w->cols, first, rows, d->own, w->states + (int64_t)first * w->cols);
}

/* A piece of a row of T + y, as states again: in place of T. Returns how many flip. */
static int merge_piece(int count, const tn_real *y, int8_t *states) {
    tn_real sum[PIECE];
    int8_t merged[PIECE];
    int flipped = 0;
    tn_k->expand_states(count, states, 1, sum);
    tn_k->accumulate(count, y, sum);
    tn_k->ternarize(count, sum, 1, merged);
    for (int i = 0; i < count; i++) flipped += merged[i] != states[i];
    memcpy(states, merged, (size_t)count);
    return flipped;
}

static int64_t merge_rows(const derivation *d, int first, int rows, const tn_real *y, int8_t *states) {
    const int64_t count = (int64_t)rows * d->w->cols;
    int64_t flipped = 0;
    tn_unpack_ternary_rows(d->w->packing, d->w->cols, first, rows, d->own, states);
    for (int64_t at = 0; at < count; at += PIECE)
        flipped += merge_piece((int)TN_MIN((int64_t)PIECE, count - at), y + at, states + at);
    tn_param_put_states(d->w, first, rows, states);
    return flipped;
}

/* Items: blocks of TN_PACK_ROWS rows. */
static void derive_blocks(void *context, int64_t begin, int64_t end) {
    derivation *d = context;
    const int r = d->a->cols, k = d->w->cols;
    tn_real *y = d->room + tn_par_worker() * worker_room(d->w);
    int8_t *states = (int8_t *)(y + block_numbers(d->w));
    for (int64_t block = begin; block < end; block++) {
        const int first = (int)block * TN_PACK_ROWS, rows = TN_MIN((int)TN_PACK_ROWS, d->w->rows - first);
        tn_thin_spread(rows, k, r, d->b->tensor.real + (int64_t)first * r, d->a->tensor.real, d->c, TN_SUM_SET, y);
        d->largest[block] = tn_k->largest((int64_t)rows * k, y);
        d->flipped[block] = 0;
        if (d->largest[block] < (tn_real)0.5)
            copy_panels(d, first, rows);
        else
            d->flipped[block] = merge_rows(d, first, rows, y, states);
    }
}

void tn_param_merge_derive(tn_param_merge *merge, tn_param *param, const tn_param *a, const tn_param *b, tn_real c,
                           tn_real *room) {
    derivation d = {.own = merge->panels, .w = param, .a = a, .b = b, .c = c, .room = room};
    const int blocks = (param->rows + TN_PACK_ROWS - 1) / TN_PACK_ROWS;
    TN_ASSERT(blocks <= BLOCKS_MOST && a->rows == param->cols && b->rows == param->rows);
    tn_par_for(blocks, 1, derive_blocks, &d);
    merge->flipped = 0;
    merge->largest = 0;
    for (int i = 0; i < blocks; i++) {
        merge->flipped += d.flipped[i];
        merge->largest = fmax(merge->largest, (double)d.largest[i]);
    }
}
