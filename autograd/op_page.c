/* SPDX-License-Identifier: MIT */
#include "autograd/op_page.h"

#include <limits.h>
#include <string.h>

static const char *const dtype_names[] = {[TN_REAL] = "real", [TN_CODES] = "codes", [TN_IDS] = "ids"};

tn_status tn_op_need(const tn_op_args *a, const char *op, int input, tn_dtype dtype) {
    const tn_tensor *x = a->in[input];
    if (x->n_dims < 1) return TN_FAIL(SHAPE, "%s: input %d is empty", op, input);
    if (x->dtype != dtype)
        return TN_FAIL(DTYPE, "%s: input %d holds %s, expected %s", op, input, dtype_names[x->dtype],
                       dtype_names[dtype]);
    if (tn_tensor_rows(x) > INT_MAX) return TN_FAIL(RANGE, "%s: input %d has more than %d rows", op, input, INT_MAX);
    return TN_OK;
}

tn_param *tn_op_float_param(const tn_op_args *a, const char *op, int input, bool packed) {
    tn_param *param = a->in[input]->param;
    bool usable = param && param->quantizer == TN_QUANT_NONE && param->tensor.real && (!packed || param->packed);
    if (usable) return param;
    (void)TN_FAIL(DTYPE, "%s: input %d (%s) is no float %s", op, input, param ? param->name : "an activation",
                  packed ? "matrix packed for products" : "parameter");
    return NULL;
}

tn_param *tn_op_tabular_param(const tn_op_args *a, const char *op, int input, bool packed) {
    tn_param *param = a->in[input]->param;
    return param && param->table.data ? param : tn_op_float_param(a, op, input, packed);
}

tn_status tn_op_check_same(tn_op_args *a, const char *op, int n) {
    for (int i = 0; i < n; i++) TN_TRY(tn_op_need(a, op, i, TN_REAL));
    const tn_tensor *x = a->in[0];
    char shape[2][64];
    for (int i = 1; i < n; i++)
        if (!tn_tensor_same_shape(x, a->in[i]))
            return TN_FAIL(SHAPE, "%s: shapes %s and %s differ", op, tn_tensor_shape(x, shape[0]),
                           tn_tensor_shape(a->in[i], shape[1]));
    return tn_op_rows_result(a, tn_tensor_cols(x));
}

tn_status tn_op_rows_result(tn_op_args *a, int cols) {
    const tn_tensor *x = a->in[0];
    int dims[4] = {0};
    memcpy(dims, x->dims, (size_t)x->n_dims * sizeof *dims);
    dims[x->n_dims - 1] = cols;
    a->out = tn_op_result(a, TN_REAL, x->n_dims, dims);
    return a->out ? TN_OK : TN_E_NOMEM;
}

tn_real *tn_op_scratch(const tn_op_args *a, int64_t count) {
    tn_real *piece = tn_arena_array(tn_tape_scratch(a->tape), (size_t)count, sizeof *piece, "op scratch");
    if (!piece) (void)tn_tape_fail(a->tape, TN_E_NOMEM);
    return piece;
}

tn_status tn_op_reserve(const tn_op_args *a, int64_t count) {
    if (!tn_op_keeps(a)) return TN_OK;
    tn_arena *scratch = tn_tape_scratch(a->tape);
    tn_arena_mark mark = tn_arena_get_mark(scratch);
    /* Pieces start on lines of their own: room for the rounding of a few of them. */
    const tn_real *piece = tn_arena_array(scratch, (size_t)count + 64, sizeof *piece, "op scratch");
    tn_arena_rewind(scratch, &mark);
    return piece ? TN_OK : TN_E_NOMEM;
}

tn_status tn_op_reserve_grads(const tn_op_args *a, int n) {
    int64_t count = 0;
    for (int i = 0; i < n; i++)
        if (!a->in[i]->needs_grad) count += tn_tensor_count(a->in[i]);
    return count ? tn_op_reserve(a, count) : TN_OK;
}

tn_real *tn_op_grad(const tn_op_args *a, int input) {
    if (tn_op_wants(a, input)) return a->in[input]->grad;
    int64_t count = tn_tensor_count(a->in[input]);
    tn_real *spare = tn_op_scratch(a, count);
    if (spare) memset(spare, 0, (size_t)count * sizeof *spare);
    return spare;
}

void tn_op_deliver(const tn_op_args *a, int input, int64_t at, int64_t n, const tn_real *values) {
    tn_real *grad = a->in[input]->grad + at;
    if (a->write[input] == TN_WRITE_SET)
        memcpy(grad, values, (size_t)n * sizeof *grad);
    else if (a->write[input] == TN_WRITE_ADD)
        tn_k->accumulate(n, values, grad);
}

typedef struct passing {
    const tn_op_args *a;
    int input;
} passing;

static void pass_run(void *context, int64_t begin, int64_t end) {
    const passing *p = context;
    tn_op_deliver(p->a, p->input, begin, end - begin, p->a->out->grad + begin);
}

void tn_op_pass_on(const tn_op_args *a, int input) {
    if (!tn_op_wants(a, input) || a->write[input] == TN_WRITE_HANDED) return;
    passing p = {a, input};
    tn_par_for(tn_tensor_count(a->out), TN_OP_RUN, pass_run, &p);
}

void tn_op_code_row(const tn_op_args *a, int64_t i, const tn_real *x, tn_real *residual) {
    int k = tn_tensor_cols(a->out);
    int8_t *q = a->out->codes + i * k;
    a->out->row_scale[i] = tn_k->quantize_row(k, x, q);
    if (!residual) return;
    tn_k->dequantize_row(k, q, a->out->row_scale[i], residual + i * k);
    tn_k->axpy(k, -1, x, residual + i * k);
}

tn_real *tn_op_grad_run(const tn_op_args *a, int input, int64_t at, int64_t n) {
    tn_real *grad = a->in[input]->grad + at;
    if (a->write[input] == TN_WRITE_SET) memset(grad, 0, (size_t)n * sizeof *grad);
    return grad;
}

bool tn_op_keeps(const tn_op_args *a) {
    if (!tn_tape_keeping(a->tape)) return false;
    for (int i = 0; i < TN_OP_INPUTS; i++)
        if (a->in[i] && a->in[i]->needs_grad) return true;
    return false;
}

enum { BLOCKS_MAX = 64, BLOCK_ROWS_MIN = 16, COLUMNS = 64 };

int64_t tn_op_block_rows(int64_t rows) { return TN_MAX((rows + BLOCKS_MAX - 1) / BLOCKS_MAX, BLOCK_ROWS_MIN); }
int64_t tn_op_block_count(int64_t rows) { return (rows + tn_op_block_rows(rows) - 1) / tn_op_block_rows(rows); }

typedef struct partials {
    const tn_op_args *a;
    int input, cols;
    const tn_real *values;
    int64_t blocks;
} partials;

static void add_columns(void *context, int64_t begin, int64_t end) {
    const partials *p = context;
    tn_real *grad = tn_op_grad_run(p->a, p->input, begin, end - begin);
    for (int64_t block = 0; block < p->blocks; block++)
        tn_k->accumulate(end - begin, p->values + block * p->cols + begin, grad);
}

void tn_op_add_partials(const tn_op_args *a, int input, const tn_real *partial, int64_t blocks, int cols) {
    partials p = {.a = a, .input = input, .cols = cols, .values = partial, .blocks = blocks};
    tn_par_for(cols, COLUMNS, add_columns, &p);
}

/* Loop bodies take their context without const because most contexts of other loops are written to. */
void tn_op_runs(const tn_op_args *a, tn_par_body *body) {
    tn_par_for(tn_tensor_count(a->out), TN_OP_RUN, body, (void *)(uintptr_t)a);
}

void tn_op_each_row(const tn_op_args *a, int64_t rows, int cols, tn_par_body *body) {
    tn_par_for(rows, TN_MAX(TN_OP_RUN / cols, 1), body, (void *)(uintptr_t)a);
}
