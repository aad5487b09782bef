/* SPDX-License-Identifier: MIT
 * op_linear.c -  y = x w'               x [N,k]  w [m,k] float  y [N,m]
 *                dx = dy w,  dw = dy' x         w may be a table: then there is no dw
 * aux: room for decoding a table, or NULL */
#include "autograd/op_page.h"
#include "kernels/gemm.h"

enum { SLICE = 1 << 20 /* numbers of a table that backward decodes at a time */ };

static int slice_rows(const tn_param *w) { return TN_MIN(w->rows, TN_MAX(SLICE / w->cols, 1)); }

tn_tensor *tn_linear(tn_tape *t, tn_tensor *x, tn_param *w) {
    return tn_tape_apply(t, TN_OP_linear, (tn_tensor *const[]){x, &w->tensor}, NULL, 0);
}

tn_status tn_op_linear_check(tn_op_args *a) {
    TN_TRY(tn_op_need(a, "linear", 0, TN_REAL));
    const tn_param *w = tn_op_tabular_param(a, "linear", 1, true);
    if (!w) return TN_E_DTYPE;
    char shape[64];
    if (tn_tensor_cols(a->in[0]) != w->cols)
        return TN_FAIL(SHAPE, "linear: x %s does not fit %s [%d,%d]", tn_tensor_shape(a->in[0], shape), w->name,
                       w->rows, w->cols);
    if (w->table.data) {
        tn_real *room;
        TN_TAKE(room, tn_tape_scratch(a->tape), tn_gemm_table_room(w->cols), "op scratch");
        a->aux = room;
        TN_TRY(tn_op_reserve(a, (int64_t)slice_rows(w) * w->cols));
    }
    return tn_op_rows_result(a, w->rows);
}

void tn_op_linear_forward(const tn_op_args *a) {
    tn_param *w = a->in[1]->param;
    int n = (int)tn_tensor_rows(a->in[0]);
    if (w->table.data) {
        tn_gemm_table(n, w->rows, w->cols, a->in[0]->real, &w->table, a->out->real, a->aux);
        return;
    }
    tn_param_pack(w);
    tn_gemm_real(n, w->rows, w->cols, a->in[0]->real, w->packed, a->out->real);
}

typedef struct slice {
    const tn_param *w;
    int first;
    tn_real *rows;
} slice;

static void decode_rows(void *context, int64_t begin, int64_t end) {
    const slice *s = context;
    tn_table_rows(&s->w->table, s->w->cols, s->first + begin, end - begin, s->rows + begin * s->w->cols);
}

/* dx += dy w, over slices of w's rows in order. */
static void backward_table(const tn_op_args *a) {
    const tn_param *w = a->in[1]->param;
    const int n = (int)tn_tensor_rows(a->in[0]), m = w->rows, k = w->cols, step = slice_rows(w);
    slice s = {.w = w, .rows = tn_op_scratch(a, (int64_t)step * k)};
    for (; s.rows && s.first < m; s.first += step) {
        const int count = TN_MIN(step, m - s.first);
        tn_par_for(count, TN_MAX(TN_OP_RUN / k, 1), decode_rows, &s);
        tn_product(TN_AS_IS, TN_AS_IS, n, k, count, 1, a->out->grad + s.first, m, s.rows, k,
                   s.first ? 1 : tn_op_beta(a, 0), a->in[0]->grad, k);
    }
}

void tn_op_linear_backward(const tn_op_args *a) {
    const tn_tensor *x = a->in[0], *w = a->in[1];
    const tn_real *dy = a->out->grad;
    int n = (int)tn_tensor_rows(x), m = w->param->rows, k = w->param->cols;
    if (w->param->table.data) {
        if (tn_op_wants(a, 0)) backward_table(a);
        return;
    }
    if (tn_op_wants(a, 0)) tn_product(TN_AS_IS, TN_AS_IS, n, k, m, 1, dy, m, w->real, k, tn_op_beta(a, 0), x->grad, k);
    if (tn_op_wants(a, 1))
        tn_product(TN_TRANSPOSED, TN_AS_IS, m, k, n, 1, dy, m, x->real, k, tn_op_beta(a, 1), w->grad, k);
}

const tn_op_sample tn_op_linear_samples[] = {{.dims = {{1, 1}, {1, 1}}},
                                             {.dims = {{7, 33}, {5, 33}}},
                                             {.dims = {{2, 3, 5, 17}, {40, 17}}},
                                             {.dims = {{130, 70}, {67, 70}}}, /* several tiles and tails each way */
                                             {.dims = {{4, 8}, {3, 9}}, .expect = TN_E_SHAPE},
                                             TN_SAMPLES_END};
