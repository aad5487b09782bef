/* SPDX-License-Identifier: MIT
 * op_norm_quant.c -  y = w h r,  r = (mean(h^2) + eps)^-1/2,  q = clamp(rint(s y), -128, 127),  s = 127 / max|y|
 *   norm_quant       h = x             x, q [N,C]  w [C]  aux r [N]
 *   gate_norm_quant  h = f(u) v        u, v, q [N,C]; f of op_gate.c
 * Backward is that of the chain, row by row: straight through q onto y, then h (made again from u and v), then u, v.
 * Frozen residuals (tape.h): as op_act_quant.c, of y.
 * Kept: y stays beside its codes, for readers of numbers; their gradient and that of readers of codes are one. */
#include "autograd/op_page.h"

#include <math.h>
#include <string.h>

typedef struct quant_options {
    tn_real eps;
    tn_gate gate;
    bool keeps; /* y, beside the codes */
} quant_options;

typedef struct quant_aux {
    bool gated;
    tn_real *r;        /* [N] */
    tn_real *residual; /* [N,C], or NULL */
    tn_real *work;     /* scratch of forward: rows h and y for each worker */
} quant_aux;

enum { FORWARD_ROWS = 2, BACKWARD_ROWS = 3 }; /* work rows of a worker */

static int cols_of(const tn_op_args *a) { return tn_tensor_cols(a->in[0]); }
static int gain_of(const tn_op_args *a) { return ((const quant_aux *)a->aux)->gated ? 2 : 1; }

/* ---- check ---- */

static tn_status check_gain(const tn_op_args *a, const char *op, int input) {
    const quant_options *o = a->options;
    const tn_param *w = tn_op_float_param(a, op, input, false);
    if (!w) return TN_E_DTYPE;
    if (w->rows != 1 || w->cols != cols_of(a))
        return TN_FAIL(SHAPE, "%s: gain %s [%d,%d] does not fit rows of %d", op, w->name, w->rows, w->cols, cols_of(a));
    if (!(o->eps > 0) || !isfinite(o->eps)) return TN_FAIL(RANGE, "%s: eps %g, expected > 0", op, (double)o->eps);
    return TN_OK;
}

static tn_status check_result(tn_op_args *a, bool gated) {
    tn_residual_mode mode = tn_tape_residual_mode(a->tape);
    const tn_tensor *x = a->in[0];
    int64_t n = tn_tensor_rows(x), work = (int64_t)tn_par_threads() * cols_of(a);
    quant_aux *aux;
    TN_TAKE0(aux, tn_tape_step(a->tape), 1, "tape");
    a->aux = aux;
    aux->gated = gated;
    if (mode != TN_RESIDUAL_OFF && !(aux->residual = tn_tape_residual(a->tape, tn_tensor_count(x))))
        return tn_tape_fail(a->tape, TN_E_MISMATCH);
    a->out = tn_op_result(a, mode == TN_RESIDUAL_REPLAY ? TN_REAL : TN_CODES, x->n_dims, x->dims);
    if (!a->out) return TN_E_NOMEM;
    if (((const quant_options *)a->options)->keeps && a->out->codes)
        TN_TAKE(a->out->real, tn_tape_step(a->tape), tn_tensor_count(x), "activations");
    TN_TAKE(aux->r, tn_op_keeps(a) ? tn_tape_step(a->tape) : tn_tape_scratch(a->tape), n, "activations");
    TN_TRY(tn_op_reserve(a, work * BACKWARD_ROWS + tn_op_block_count(n) * cols_of(a)));
    TN_TAKE(aux->work, tn_tape_scratch(a->tape), work * FORWARD_ROWS, "op scratch");
    return TN_OK;
}

/* ---- rows ---- */

static tn_real *work_rows(tn_real *work, int rows, int c) { return work + (int64_t)tn_par_worker() * rows * c; }

/* Row i of h: in place, or made in `room`. */
static const tn_real *inner_row(const tn_op_args *a, int64_t i, tn_real *room) {
    const quant_aux *aux = a->aux;
    const quant_options *o = a->options;
    int c = cols_of(a);
    const tn_real *u = a->in[0]->real + i * c;
    if (!aux->gated) return u;
    (o->gate == TN_GATE_SILU ? tn_k->silu_gate : tn_k->relu2_gate)(c, u, a->in[1]->real + i * c, room);
    return room;
}

static void code_row(const tn_op_args *a, int64_t i, const tn_real *y) {
    const quant_aux *aux = a->aux;
    int c = cols_of(a);
    if (a->out->codes)
        tn_op_code_row(a, i, y, aux->residual);
    else
        tn_k->add(c, y, aux->residual + i * c, a->out->real + i * c);
}

static void forward_rows(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    const quant_aux *aux = a->aux;
    const quant_options *o = a->options;
    int c = cols_of(a);
    tn_real *room = work_rows(aux->work, FORWARD_ROWS, c);
    for (int64_t i = begin; i < end; i++) {
        tn_real *y = o->keeps && a->out->codes ? a->out->real + i * c : room + c;
        aux->r[i] = tn_k->rms_row(c, inner_row(a, i, room), a->in[gain_of(a)]->real, o->eps, y);
        code_row(a, i, y);
    }
}

/* ---- backward ---- */

typedef struct row_grads {
    const tn_op_args *a;
    tn_real *work, *partial; /* partial [blocks, C]: the gain's gradient; or NULL */
    int64_t rows;
} row_grads;

/* dh of row i lands in `dh`, cleared before. */
static void split_gate(const tn_op_args *a, int64_t i, const tn_real *dh, tn_real *spare) {
    const quant_options *o = a->options;
    int c = cols_of(a);
    tn_real *to[2] = {spare, spare};
    for (int input = 0; input < 2; input++)
        if (tn_op_wants(a, input)) to[input] = tn_op_grad_run(a, input, i * c, c);
    (o->gate == TN_GATE_SILU ? tn_k->silu_gate_back : tn_k->relu2_gate_back)(c, a->in[0]->real + i * c,
                                                                             a->in[1]->real + i * c, dh, to[0], to[1]);
}

/* dh += the gradient of the norm in row i, or NULL; partial += that of its gain, or NULL. */
static void back_norm(const tn_op_args *a, int64_t i, const tn_real *h, tn_real *dh, tn_real *partial) {
    const quant_aux *aux = a->aux;
    int c = cols_of(a);
    const tn_real *dy = a->out->grad + i * c, *w = a->in[gain_of(a)]->real;
    if (dh && partial)
        tn_k->rms_row_back(c, h, w, dy, aux->r[i], dh, partial);
    else if (dh)
        tn_k->rms_row_dx(c, h, w, dy, aux->r[i], dh);
    else if (partial)
        tn_k->rms_row_dw(c, h, dy, aux->r[i], partial);
}

static void back_row(const row_grads *g, int64_t i, tn_real *partial) {
    const tn_op_args *a = g->a;
    const quant_aux *aux = a->aux;
    int c = cols_of(a);
    tn_real *room = work_rows(g->work, BACKWARD_ROWS, c), *dh = room + c, *spare = dh + c;
    const tn_real *h = inner_row(a, i, room);
    if (!aux->gated) {
        back_norm(a, i, h, tn_op_wants(a, 0) ? tn_op_grad_run(a, 0, i * c, c) : NULL, partial);
        return;
    }
    const bool inward = tn_op_wants(a, 0) || tn_op_wants(a, 1);
    if (inward) memset(dh, 0, (size_t)c * sizeof *dh);
    back_norm(a, i, h, inward ? dh : NULL, partial);
    if (inward) split_gate(a, i, dh, spare);
}

static void back_blocks(void *context, int64_t begin, int64_t end) {
    const row_grads *g = context;
    int64_t step = tn_op_block_rows(g->rows), c = cols_of(g->a);
    for (int64_t block = begin; block < end; block++) {
        tn_real *partial = g->partial ? g->partial + block * c : NULL;
        if (partial) memset(partial, 0, (size_t)c * sizeof *partial);
        for (int64_t i = block * step; i < TN_MIN(g->rows, (block + 1) * step); i++) back_row(g, i, partial);
    }
}

static void backward(const tn_op_args *a) {
    int c = cols_of(a);
    row_grads g = {.a = a, .rows = tn_tensor_rows(a->in[0])};
    int64_t blocks = tn_op_block_count(g.rows);
    g.work = tn_op_scratch(a, (int64_t)tn_par_threads() * BACKWARD_ROWS * c);
    if (tn_op_wants(a, gain_of(a))) g.partial = tn_op_scratch(a, blocks * c);
    if (!g.work || (tn_op_wants(a, gain_of(a)) && !g.partial)) return;
    memset(g.work, 0, (size_t)tn_par_threads() * BACKWARD_ROWS * (size_t)c * sizeof *g.work); /* `spare` is added to */
    tn_par_for(blocks, 1, back_blocks, &g);
    if (g.partial) tn_op_add_partials(a, gain_of(a), g.partial, blocks, c);
}

/* ---- norm_quant ---- */

static tn_tensor *apply_norm(tn_tape *t, tn_tensor *x, tn_param *w, quant_options options) {
    return tn_tape_apply(t, TN_OP_norm_quant, (tn_tensor *const[]){x, &w->tensor}, &options, sizeof options);
}

tn_tensor *tn_norm_quant(tn_tape *t, tn_tensor *x, tn_param *w, tn_real eps) {
    return apply_norm(t, x, w, (quant_options){.eps = eps});
}

tn_tensor *tn_norm_quant_kept(tn_tape *t, tn_tensor *x, tn_param *w, tn_real eps) {
    return apply_norm(t, x, w, (quant_options){.eps = eps, .keeps = true});
}

tn_status tn_op_norm_quant_check(tn_op_args *a) {
    TN_TRY(tn_op_need(a, "norm_quant", 0, TN_REAL));
    TN_TRY(check_gain(a, "norm_quant", 1));
    return check_result(a, false);
}

void tn_op_norm_quant_forward(const tn_op_args *a) {
    tn_op_each_row(a, tn_tensor_rows(a->in[0]), cols_of(a), forward_rows);
}
void tn_op_norm_quant_backward(const tn_op_args *a) { backward(a); }

static const quant_options usual = {.eps = (tn_real)1e-5}, silu = {.eps = (tn_real)1e-5, .gate = TN_GATE_SILU},
                           zero = {.eps = 0};
#define OPTIONS(o) .options = &(o), .options_size = sizeof(o)
const tn_op_sample tn_op_norm_quant_samples[] = {{.dims = {{1, 2}, {2}}, OPTIONS(usual)},
                                                 {.dims = {{7, 33}, {33}}, OPTIONS(usual)},
                                                 {.dims = {{2, 600, 5}, {5}}, OPTIONS(usual)}, /* many blocks in dw */
                                                 {.dims = {{3, 129}, {129}}, OPTIONS(usual)},
                                                 {.dims = {{4, 8}, {4}}, OPTIONS(usual), .expect = TN_E_SHAPE},
                                                 {.dims = {{4, 8}, {8}}, OPTIONS(zero), .expect = TN_E_RANGE},
                                                 TN_SAMPLES_END};

/* ---- gate_norm_quant ---- */

static tn_tensor *apply_gate(tn_tape *t, tn_tensor *u, tn_tensor *v, tn_param *w, quant_options options) {
    return tn_tape_apply(t, TN_OP_gate_norm_quant, (tn_tensor *const[]){u, v, &w->tensor}, &options, sizeof options);
}

tn_tensor *tn_gate_norm_quant(tn_tape *t, tn_tensor *u, tn_tensor *v, tn_param *w, tn_real eps, tn_gate gate) {
    return apply_gate(t, u, v, w, (quant_options){.eps = eps, .gate = gate});
}

tn_tensor *tn_gate_norm_quant_kept(tn_tape *t, tn_tensor *u, tn_tensor *v, tn_param *w, tn_real eps, tn_gate gate) {
    return apply_gate(t, u, v, w, (quant_options){.eps = eps, .gate = gate, .keeps = true});
}

tn_status tn_op_gate_norm_quant_check(tn_op_args *a) {
    char shape[2][64];
    for (int i = 0; i < 2; i++) TN_TRY(tn_op_need(a, "gate_norm_quant", i, TN_REAL));
    if (!tn_tensor_same_shape(a->in[0], a->in[1]))
        return TN_FAIL(SHAPE, "gate_norm_quant: shapes %s and %s differ", tn_tensor_shape(a->in[0], shape[0]),
                       tn_tensor_shape(a->in[1], shape[1]));
    TN_TRY(check_gain(a, "gate_norm_quant", 2));
    return check_result(a, true);
}

void tn_op_gate_norm_quant_forward(const tn_op_args *a) {
    tn_op_each_row(a, tn_tensor_rows(a->in[0]), cols_of(a), forward_rows);
}
void tn_op_gate_norm_quant_backward(const tn_op_args *a) { backward(a); }

const tn_op_sample tn_op_gate_norm_quant_samples[] = {
    {.dims = {{7, 33}, {7, 33}, {33}}, .domain = TN_DOMAIN_APART, OPTIONS(usual)},
    {.dims = {{7, 33}, {7, 33}, {33}}, OPTIONS(silu)},
    {.dims = {{2, 600, 5}, {2, 600, 5}, {5}}, .domain = TN_DOMAIN_APART, OPTIONS(usual)},
    {.dims = {{4, 8}, {4, 9}, {8}}, OPTIONS(usual), .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {4, 8}, {9}}, OPTIONS(usual), .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {4, 8}, {8}}, OPTIONS(zero), .expect = TN_E_RANGE},
    TN_SAMPLES_END};
