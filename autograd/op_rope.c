/* SPDX-License-Identifier: MIT
 * op_rope.c -  per head, the pairs (i, i + d/2) turn by the angle position * theta^(-2i/d) / slowdown[i]
 *              y1 = x1 cos - x2 sin,  y2 = x2 cos + x1 sin              x, y [B,T,H*d]
 *              dx: the same turn backwards (the rotation is orthogonal) */
#include "autograd/op_page.h"

#include <math.h>

typedef struct rope_options {
    const tn_rope_table *table;
    const int *positions; /* [B,T], or NULL: t */
    bool in_place;
} rope_options;

tn_status tn_rope_table_init(tn_rope_table *table, tn_arena *arena, int n_positions, int d) {
    if (n_positions < 1 || d < 2 || d % 2)
        return TN_FAIL(RANGE, "rope: %d positions, head of %d; expected >= 1, even", n_positions, d);
    *table = (tn_rope_table){.n_positions = n_positions, .d = d};
    TN_TAKE(table->cosine, arena, (int64_t)n_positions * (d / 2), "rope table");
    TN_TAKE(table->sine, arena, (int64_t)n_positions * (d / 2), "rope table");
    return TN_OK;
}

typedef struct fill {
    const tn_rope_table *table;
    double theta;
    const float *slowdown;
} fill;

/* Items: positions. */
static void fill_positions(void *context, int64_t begin, int64_t end) {
    const fill *f = context;
    const int half = f->table->d / 2;
    for (int i = 0; i < half; i++) {
        double frequency = pow(f->theta, -2.0 * i / f->table->d);
        if (f->slowdown) frequency /= (double)f->slowdown[i];
        for (int64_t position = begin; position < end; position++) {
            f->table->cosine[position * half + i] = (tn_real)cos((double)position * frequency);
            f->table->sine[position * half + i] = (tn_real)sin((double)position * frequency);
        }
    }
}

void tn_rope_table_fill(tn_rope_table *table, double theta, const float *slowdown) {
    fill f = {table, theta, slowdown};
    TN_ASSERT(theta > 0);
    tn_par_for(table->n_positions, 256, fill_positions, &f);
}

tn_tensor *tn_rope(tn_tape *t, tn_tensor *x, const tn_rope_table *table, const int *positions) {
    rope_options options = {table, positions, false};
    return tn_tape_apply(t, TN_OP_rope, &x, &options, sizeof options);
}

tn_tensor *tn_rope_in_place(tn_tape *t, tn_tensor *x, const tn_rope_table *table, const int *positions) {
    rope_options options = {table, positions, true};
    return tn_tape_apply(t, TN_OP_rope, &x, &options, sizeof options);
}

/* Of a row of the flat [B,T]. */
static int position(const rope_options *o, int64_t row, int n_time) {
    return o->positions ? o->positions[row] : (int)(row % n_time);
}

tn_status tn_op_rope_check(tn_op_args *a) {
    const rope_options *o = a->options;
    const tn_tensor *x = a->in[0];
    TN_TRY(tn_op_need(a, "rope", 0, TN_REAL));
    char shape[64];
    if (x->n_dims != 3 || x->dims[2] % o->table->d)
        return TN_FAIL(SHAPE, "rope: x %s is not [B,T,H*%d]", tn_tensor_shape(x, shape), o->table->d);
    int64_t rows = o->positions ? tn_tensor_rows(x) : x->dims[1];
    for (int64_t i = 0; i < rows; i++) {
        int at = position(o, i, x->dims[1]);
        if (at < 0 || at >= o->table->n_positions)
            return TN_FAIL(RANGE, "rope: position %d, the table has 0..%d", at, o->table->n_positions - 1);
    }
    if (!o->in_place) return tn_op_rows_result(a, x->dims[2]);
    a->out = tn_op_result_over(a, x->n_dims, x->dims);
    return a->out ? TN_OK : TN_E_NOMEM;
}

typedef void turn_kernel(int d, const tn_real *x, const tn_real *cosine, const tn_real *sine, int sign, tn_real *y);

/* Heads begin..end of the flat [B,T,H]. */
static void turn(const tn_op_args *a, int64_t begin, int64_t end, turn_kernel *kernel, const tn_real *from, int sign,
                 tn_real *to) {
    const rope_options *o = a->options;
    const tn_rope_table *table = o->table;
    int d = table->d, n_head = a->out->dims[2] / d, n_time = a->out->dims[1];
    for (int64_t i = begin; i < end; i++) {
        int64_t angle = (int64_t)position(o, i / n_head, n_time) * (d / 2);
        kernel(d, from + i * d, table->cosine + angle, table->sine + angle, sign, to + i * d);
    }
}

static void forward_heads(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    turn(a, begin, end, tn_k->rope_row, a->in[0]->real, 1, a->out->real);
}

static void backward_heads(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    bool adds = a->write[0] == TN_WRITE_ADD;
    turn(a, begin, end, adds ? tn_k->rope_row_add : tn_k->rope_row, a->out->grad, -1, a->in[0]->grad);
}

static void each_head(const tn_op_args *a, tn_par_body *body) {
    const rope_options *o = a->options;
    tn_op_each_row(a, tn_tensor_count(a->out) / o->table->d, o->table->d, body);
}

void tn_op_rope_forward(const tn_op_args *a) { each_head(a, forward_heads); }
void tn_op_rope_backward(const tn_op_args *a) {
    if (tn_op_wants(a, 0)) each_head(a, backward_heads);
}

/* Exact turns, five positions of a head of four. */
static tn_real cosines[] = {1, 1, (tn_real).6, (tn_real).8, 0, (tn_real).28, (tn_real)-.6, 0, -1, (tn_real).96};
static tn_real sines[] = {0, 0, (tn_real).8, (tn_real).6, 1, (tn_real).96, (tn_real).8, -1, 0, (tn_real)-.28};
static const tn_rope_table small = {.n_positions = 5, .d = 4, .cosine = cosines, .sine = sines};
static const tn_rope_table pair = {.n_positions = 10, .d = 2, .cosine = cosines, .sine = sines};
static const int mixed[] = {4, 0, 2, 1, 1, 3}, beyond[] = {0, 1, 5};
static const rope_options start = {&small, NULL, false}, placed = {&small, mixed, false},
                          outside = {&small, beyond, false}, narrow = {&pair, NULL, false}, over = {&small, NULL, true};
const tn_op_sample tn_op_rope_samples[] = {
    {.dims = {{1, 1, 2}}, .options = &narrow, .options_size = sizeof narrow},
    {.dims = {{3, 5, 12}}, .options = &start, .options_size = sizeof start},
    {.dims = {{2, 3, 4}}, .options = &placed, .options_size = sizeof placed},
    {.dims = {{3, 5, 12}}, .options = &over, .options_size = sizeof over},
    {.dims = {{2, 3, 6}}, .options = &start, .options_size = sizeof start, .expect = TN_E_SHAPE},
    {.dims = {{3, 4}}, .options = &start, .options_size = sizeof start, .expect = TN_E_SHAPE},
    {.dims = {{1, 6, 4}}, .options = &start, .options_size = sizeof start, .expect = TN_E_RANGE},
    {.dims = {{1, 3, 4}}, .options = &outside, .options_size = sizeof outside, .expect = TN_E_RANGE},
    TN_SAMPLES_END};
