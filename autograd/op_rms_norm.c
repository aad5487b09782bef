/* SPDX-License-Identifier: MIT
 * op_rms_norm.c -  y = w x r,  r = (mean(x^2) + eps)^-1/2          x, y [N,C]  w [C]  aux r [N]
 *                  dx = r (w dy - x r^2 mean(w dy x)),  dw = sum_n dy x r
 * The last dimension of x may be several runs of C (a gain per head); N counts runs. */
#include "autograd/op_page.h"

#include <math.h>
#include <string.h>

typedef struct norm_options {
    tn_real eps;
} norm_options;

tn_tensor *tn_rms_norm(tn_tape *t, tn_tensor *x, tn_param *w, tn_real eps) {
    norm_options options = {eps};
    return tn_tape_apply(t, TN_OP_rms_norm, (tn_tensor *const[]){x, &w->tensor}, &options, sizeof options);
}

static int64_t runs_of(const tn_op_args *a) { return tn_tensor_count(a->in[0]) / tn_tensor_cols(a->in[1]); }

tn_status tn_op_rms_norm_check(tn_op_args *a) {
    const norm_options *o = a->options;
    TN_TRY(tn_op_need(a, "rms_norm", 0, TN_REAL));
    const tn_param *w = tn_op_float_param(a, "rms_norm", 1, false);
    if (!w) return TN_E_DTYPE;
    int cols = tn_tensor_cols(a->in[0]);
    if (w->rows != 1 || cols % w->cols)
        return TN_FAIL(SHAPE, "rms_norm: gain %s [%d,%d] does not divide rows of %d", w->name, w->rows, w->cols, cols);
    if (!(o->eps > 0) || !isfinite(o->eps)) return TN_FAIL(RANGE, "rms_norm: eps %g, expected > 0", (double)o->eps);
    TN_TRY(tn_op_rows_result(a, cols));
    tn_real *r;
    TN_TAKE(r, tn_op_keeps(a) ? tn_tape_step(a->tape) : tn_tape_scratch(a->tape), runs_of(a), "activations");
    a->aux = r;
    return w->tensor.needs_grad ? tn_op_reserve(a, tn_op_block_count(runs_of(a)) * w->cols) : TN_OK;
}

static void forward_rows(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    const norm_options *o = a->options;
    tn_real *r = a->aux;
    int c = tn_tensor_cols(a->in[1]);
    for (int64_t i = begin; i < end; i++)
        r[i] = tn_k->rms_row(c, a->in[0]->real + i * c, a->in[1]->real, o->eps, a->out->real + i * c);
}

void tn_op_rms_norm_forward(const tn_op_args *a) {
    tn_op_each_row(a, runs_of(a), tn_tensor_cols(a->in[1]), forward_rows);
}

static void dx_rows(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    const tn_tensor *x = a->in[0];
    const tn_real *r = a->aux;
    int c = tn_tensor_cols(a->in[1]);
    for (int64_t i = begin; i < end; i++)
        tn_k->rms_row_dx(c, x->real + i * c, a->in[1]->real, a->out->grad + i * c, r[i], x->grad + i * c);
}

typedef struct gain_sums {
    const tn_op_args *a;
    tn_real *partial; /* [blocks, C] */
    int64_t rows, blocks;
    int c;
} gain_sums;

static void dw_blocks(void *context, int64_t begin, int64_t end) {
    const gain_sums *s = context;
    const tn_real *x = s->a->in[0]->real, *dy = s->a->out->grad, *r = s->a->aux;
    int64_t step = tn_op_block_rows(s->rows);
    for (int64_t block = begin; block < end; block++)
        for (int64_t i = block * step; i < TN_MIN(s->rows, (block + 1) * step); i++)
            tn_k->rms_row_dw(s->c, x + i * s->c, dy + i * s->c, r[i], s->partial + block * s->c);
}

void tn_op_rms_norm_backward(const tn_op_args *a) {
    gain_sums s = {.a = a, .rows = runs_of(a), .blocks = tn_op_block_count(runs_of(a)), .c = tn_tensor_cols(a->in[1])};
    if (tn_op_wants(a, 0)) tn_op_each_row(a, s.rows, s.c, dx_rows);
    if (!tn_op_wants(a, 1) || !(s.partial = tn_op_scratch(a, s.blocks * s.c))) return;
    memset(s.partial, 0, (size_t)(s.blocks * s.c) * sizeof(tn_real));
    tn_par_for(s.blocks, 1, dw_blocks, &s);
    tn_op_add_partials(a, 1, s.partial, s.blocks, s.c);
}

static const norm_options usual = {(tn_real)1e-5}, zero = {0};
#define USUAL .options = &usual, .options_size = sizeof usual
const tn_op_sample tn_op_rms_norm_samples[] = {
    {.dims = {{1, 1}, {1}}, USUAL},
    {.dims = {{7, 33}, {33}}, USUAL},
    {.dims = {{2, 600, 5}, {5}}, USUAL}, /* many blocks in dw */
    {.dims = {{2, 3, 48}, {16}}, USUAL}, /* a gain per head */
    {.dims = {{3, 129}, {129}}, USUAL},  /* more than one share of columns */
    {.dims = {{4, 8}, {9}}, USUAL, .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {2, 8}}, USUAL, .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {8}}, .options = &zero, .options_size = sizeof zero, .expect = TN_E_RANGE},
    TN_SAMPLES_END};
