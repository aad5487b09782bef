/* SPDX-License-Identifier: MIT
 * op_lora.c -  an adapter of rank r beside a matrix (Hu 2021): y + c (drop(x) A) B', in two ops
 *   lora_down  P = X A                x [N,k]  A [k,r]  P [N,r]; X = keep x / (1 - p), of codes x = q / s, or raw
 *              dA = X' dP,  dx = keep (dP A') / (1 - p)                  straight through the codes
 *   lora_up    y = y0 + c P B'        y [N,m]  P [N,r]  B [m,r];  y takes over the numbers of y0
 *              dB = c dY' P,  dP = c dY B,  dy0 = dY
 *   within     lora_up whose forward is the identity
 * For backward only references are held. Where X is not stored as it is, blocks of its rows are made when wanted. */
#include "autograd/dropout_mask.h"
#include "autograd/op_page.h"
#include "kernels/thin.h"

#include <math.h>
#include <string.h>

/* ---- lora_down ---- */

typedef struct down_aux {
    tn_dropout_mask mask;
    tn_real *room; /* of forward: a block of X, or NULL */
} down_aux;

enum { BLOCK_ROWS = 128 };

tn_tensor *tn_lora_down(tn_tape *t, tn_tensor *x, tn_param *a, tn_lora_reading reading) {
    return tn_tape_apply(t, TN_OP_lora_down, (tn_tensor *const[]){x, &a->tensor}, &reading, sizeof reading);
}

static bool drops(const tn_op_args *a) { return ((const down_aux *)a->aux)->mask.threshold != 0; }
static bool reads_codes(const tn_op_args *a) {
    return a->in[0]->dtype == TN_CODES && !((const tn_lora_reading *)a->options)->raw;
}
static bool is_stored(const tn_op_args *a) { return !reads_codes(a) && !drops(a); }

static int64_t block_numbers(const tn_op_args *a) {
    return TN_MIN(tn_tensor_rows(a->in[0]), (int64_t)BLOCK_ROWS) * tn_tensor_cols(a->in[0]);
}

tn_status tn_op_lora_down_check(tn_op_args *a) {
    const tn_lora_reading *o = a->options;
    const tn_tensor *x = a->in[0];
    char shape[64];
    TN_TRY(tn_op_need(a, "lora_down", 0, x->dtype == TN_CODES ? TN_CODES : TN_REAL));
    if (o->raw && !x->real) return TN_FAIL(DTYPE, "lora_down: x has codes alone, the numbers were not kept");
    const tn_param *w = tn_op_float_param(a, "lora_down", 1, false);
    if (!w) return TN_E_DTYPE;
    if (tn_tensor_cols(x) != w->rows)
        return TN_FAIL(SHAPE, "lora_down: x %s does not fit %s [%d,%d]", tn_tensor_shape(x, shape), w->name, w->rows,
                       w->cols);
    down_aux *aux;
    TN_TAKE0(aux, tn_tape_step(a->tape), 1, "tape");
    a->aux = aux;
    TN_TRY(tn_dropout_mask_init(&aux->mask, a->tape, "lora_down", o->drop, o->site));
    TN_TRY(tn_op_rows_result(a, w->cols));
    if (is_stored(a)) return TN_OK;
    TN_TRY(tn_op_reserve(a, block_numbers(a)));
    TN_TAKE(aux->room, tn_tape_scratch(a->tape), block_numbers(a), "op scratch");
    return TN_OK;
}

/* Rows first..first+rows-1 of X, or of dX before its mask. */
typedef struct block {
    const tn_op_args *a;
    int first, rows;
    tn_real *room; /* [BLOCK_ROWS, k], NULL: X is stored, and one block */
} block;

/* Items: rows of the block. */
static void make_rows(void *context, int64_t begin, int64_t end) {
    const block *b = context;
    const tn_tensor *x = b->a->in[0];
    const down_aux *aux = b->a->aux;
    const int64_t k = tn_tensor_cols(x);
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = b->first + i;
        tn_real *to = b->room + i * k;
        if (reads_codes(b->a)) tn_k->dequantize_row((int)k, x->codes + row * k, x->row_scale[row], to);
        if (drops(b->a))
            tn_dropout_mask_apply(&aux->mask, row * k, (row + 1) * k, reads_codes(b->a) ? to : x->real + row * k, false,
                                  to);
    }
}

static block first_block(const tn_op_args *a, tn_real *room) {
    const int n = (int)tn_tensor_rows(a->in[0]);
    return (block){.a = a, .rows = room ? TN_MIN(n, (int)BLOCK_ROWS) : n, .room = room};
}

static bool is_left(const block *b) { return b->first < tn_tensor_rows(b->a->in[0]); }

static void next_block(block *b) {
    b->first += b->rows;
    b->rows = TN_MIN(b->rows, (int)tn_tensor_rows(b->a->in[0]) - b->first);
}

static void each_row(const block *b, tn_par_body *body) {
    tn_par_for(b->rows, TN_MAX(TN_OP_RUN / tn_tensor_cols(b->a->in[0]), 1), body, (void *)(uintptr_t)b);
}

/* The rows of X. */
static const tn_real *block_of_x(const block *b) {
    if (!b->room) return b->a->in[0]->real;
    each_row(b, make_rows);
    return b->room;
}

void tn_op_lora_down_forward(const tn_op_args *a) {
    const down_aux *aux = a->aux;
    const tn_tensor *w = a->in[1];
    const int k = w->param->rows, r = w->param->cols;
    for (block b = first_block(a, aux->room); is_left(&b); next_block(&b))
        tn_thin_gather(b.rows, k, r, block_of_x(&b), w->real, a->out->real + (int64_t)b.first * r);
}

/* Items: rows of the block, which hold dP A'. */
static void deliver_rows(void *context, int64_t begin, int64_t end) {
    const block *b = context;
    const down_aux *aux = b->a->aux;
    const int64_t k = tn_tensor_cols(b->a->in[0]);
    for (int64_t i = begin; i < end; i++) {
        const int64_t at = (b->first + i) * k;
        tn_dropout_mask_apply(&aux->mask, at, at + k, b->room + i * k, b->a->write[0] == TN_WRITE_ADD,
                              b->a->in[0]->grad + at);
    }
}

static tn_sum sum_of(const tn_op_args *a, int input) {
    return a->write[input] == TN_WRITE_SET ? TN_SUM_SET : TN_SUM_ADD;
}

static void down_dx(const tn_op_args *a, tn_real *room) {
    const tn_tensor *w = a->in[1];
    const int k = w->param->rows, r = w->param->cols;
    if (!drops(a)) {
        tn_thin_spread((int)tn_tensor_rows(a->in[0]), k, r, a->out->grad, w->real, 1, sum_of(a, 0), a->in[0]->grad);
        return;
    }
    for (block b = first_block(a, room); is_left(&b); next_block(&b)) {
        tn_thin_spread(b.rows, k, r, a->out->grad + (int64_t)b.first * r, w->real, 1, TN_SUM_SET, b.room);
        each_row(&b, deliver_rows);
    }
}

static void down_da(const tn_op_args *a, tn_real *room) {
    const tn_tensor *w = a->in[1];
    const int k = w->param->rows, r = w->param->cols;
    for (block b = first_block(a, room); is_left(&b); next_block(&b))
        tn_thin_outer(b.rows, k, r, block_of_x(&b), a->out->grad + (int64_t)b.first * r,
                      b.first ? TN_SUM_ADD : sum_of(a, 1), w->grad);
}

void tn_op_lora_down_backward(const tn_op_args *a) {
    tn_real *room = is_stored(a) ? NULL : tn_op_scratch(a, block_numbers(a));
    if (!is_stored(a) && !room) return;
    if (tn_op_wants(a, 0)) down_dx(a, room);
    if (tn_op_wants(a, 1)) down_da(a, room);
}

static const tn_lora_reading plain = {false, 0, 0}, third = {false, (tn_real)(1.0 / 3), 7}, all = {false, 1, 0};
#define OPTIONS(o) .options = &(o), .options_size = sizeof(o)
const tn_op_sample tn_op_lora_down_samples[] = {
    {.dims = {{1, 1}, {1, 1}}, OPTIONS(plain)},
    {.dims = {{7, 33}, {33, 5}}, OPTIONS(third)},
    {.dims = {{2, 3, 300}, {300, 16}}, OPTIONS(plain)},
    {.dims = {{300, 70}, {70, 33}}, OPTIONS(third)}, /* several blocks and strips, and tails */
    {.dims = {{300, 70}, {70, 33}}, OPTIONS(plain)},
    {.dims = {{4, 8}, {9, 3}}, OPTIONS(plain), .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {8, 3}}, OPTIONS(all), .expect = TN_E_RANGE},
    TN_SAMPLES_END};

/* ---- lora_up ---- */

typedef struct up_options {
    tn_real c;
    bool within;
} up_options;

static tn_tensor *apply_up(tn_tape *t, tn_tensor *y, tn_tensor *p, tn_param *b, up_options options) {
    return tn_tape_apply(t, TN_OP_lora_up, (tn_tensor *const[]){y, p, &b->tensor}, &options, sizeof options);
}

tn_tensor *tn_lora_up(tn_tape *t, tn_tensor *y, tn_tensor *p, tn_param *b, tn_real c) {
    return apply_up(t, y, p, b, (up_options){.c = c});
}

tn_tensor *tn_lora_within(tn_tape *t, tn_tensor *y, tn_tensor *p, tn_param *b, tn_real c) {
    return apply_up(t, y, p, b, (up_options){.c = c, .within = true});
}

tn_status tn_op_lora_up_check(tn_op_args *a) {
    const up_options *o = a->options;
    const tn_tensor *y = a->in[0], *p = a->in[1];
    char shape[2][64];
    for (int i = 0; i < 2; i++) TN_TRY(tn_op_need(a, "lora_up", i, TN_REAL));
    const tn_param *w = tn_op_float_param(a, "lora_up", 2, false);
    if (!w) return TN_E_DTYPE;
    if (tn_tensor_cols(y) != w->rows || tn_tensor_cols(p) != w->cols || tn_tensor_rows(y) != tn_tensor_rows(p))
        return TN_FAIL(SHAPE, "lora_up: y %s, P %s and %s [%d,%d] do not fit", tn_tensor_shape(y, shape[0]),
                       tn_tensor_shape(p, shape[1]), w->name, w->rows, w->cols);
    if (!isfinite(o->c)) return TN_FAIL(RANGE, "lora_up: a scale of %g", (double)o->c);
    TN_TRY(tn_op_reserve(a, tn_tensor_count(p)));
    a->out = tn_op_result_over(a, y->n_dims, y->dims);
    return a->out ? TN_OK : TN_E_NOMEM;
}

static int rows_of(const tn_op_args *a) { return (int)tn_tensor_rows(a->in[0]); }

void tn_op_lora_up_forward(const tn_op_args *a) {
    const up_options *o = a->options;
    const tn_tensor *w = a->in[2];
    if (o->within) return;
    tn_thin_spread(rows_of(a), w->param->rows, w->param->cols, a->in[1]->real, w->real, o->c, TN_SUM_ADD, a->out->real);
}

void tn_op_lora_up_backward(const tn_op_args *a) {
    const up_options *o = a->options;
    const tn_tensor *p = a->in[1], *w = a->in[2];
    const int n = rows_of(a), m = w->param->rows, r = w->param->cols;
    const int64_t count = tn_tensor_count(p);
    tn_real *room = tn_op_scratch(a, count); /* [N,r]: c P, then dP */
    if (!room) return;
    if (tn_op_wants(a, 2)) {
        tn_k->scale(count, o->c, p->real, room);
        tn_thin_outer(n, m, r, a->out->grad, room, sum_of(a, 2), w->grad);
    }
    if (tn_op_wants(a, 1)) {
        tn_thin_gather(n, m, r, a->out->grad, w->real, room);
        tn_k->scale(count, o->c, room, room);
        tn_op_deliver(a, 1, 0, count, room);
    }
    tn_op_pass_on(a, 0);
}

static const up_options one = {.c = 1}, two = {.c = 2}, infinite = {.c = (tn_real)INFINITY};
const tn_op_sample tn_op_lora_up_samples[] = {
    {.dims = {{1, 1}, {1, 1}, {1, 1}}, OPTIONS(one)},
    {.dims = {{7, 33}, {7, 5}, {33, 5}}, OPTIONS(two)},
    {.dims = {{2, 3, 300}, {2, 3, 16}, {300, 16}}, OPTIONS(two)},
    {.dims = {{300, 70}, {300, 33}, {70, 33}}, OPTIONS(two)}, /* several strips, and tails */
    {.dims = {{5, 66}, {5, 300}, {66, 300}}, OPTIONS(two)},   /* several depths */
    {.dims = {{4, 8}, {4, 3}, {9, 3}}, OPTIONS(one), .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {4, 3}, {8, 4}}, OPTIONS(one), .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {5, 3}, {8, 3}}, OPTIONS(one), .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {4, 3}, {8, 3}}, OPTIONS(infinite), .expect = TN_E_RANGE},
    TN_SAMPLES_END};
