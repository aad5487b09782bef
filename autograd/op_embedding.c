/* SPDX-License-Identifier: MIT
 * op_embedding.c -  y_i = E[id_i]       ids [..] (up to three dimensions), E [V,C], y [..,C]
 *                   dE[v] = sum over i with id_i = v of dy_i, in the order of i */
#include "autograd/op_page.h"

#include <string.h>

enum { COLUMNS = 64 }; /* one worker's share of the table in the backward pass */

tn_tensor *tn_embedding(tn_tape *t, tn_tensor *ids, tn_param *table) {
    return tn_tape_apply(t, TN_OP_embedding, (tn_tensor *const[]){ids, &table->tensor}, NULL, 0);
}

tn_status tn_op_embedding_check(tn_op_args *a) {
    const tn_tensor *ids = a->in[0];
    TN_TRY(tn_op_need(a, "embedding", 0, TN_IDS));
    const tn_param *table = tn_op_tabular_param(a, "embedding", 1, false);
    if (!table) return TN_E_DTYPE;
    if (ids->n_dims > 3) return TN_FAIL(SHAPE, "embedding: ids have %d dimensions, expected 1 to 3", ids->n_dims);
    int64_t n = tn_tape_is_dry(a->tape) ? 0 : tn_tensor_count(ids);
    for (int64_t i = 0; i < n; i++)
        if (ids->ids[i] < 0 || ids->ids[i] >= table->rows)
            return TN_FAIL(RANGE, "embedding: id %d at position %lld is outside 0..%d", ids->ids[i], (long long)i,
                           table->rows - 1);
    int dims[4] = {0};
    memcpy(dims, ids->dims, (size_t)ids->n_dims * sizeof *dims);
    dims[ids->n_dims] = table->cols;
    a->out = tn_op_result(a, TN_REAL, ids->n_dims + 1, dims);
    return a->out ? TN_OK : TN_E_NOMEM;
}

static void forward_rows(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    int64_t c = tn_tensor_cols(a->out);
    for (int64_t i = begin; i < end; i++) {
        tn_real *y = a->out->real + i * c;
        const tn_real *row = tn_param_rows(a->in[1]->param, a->in[0]->ids[i], 1, y);
        if (row != y) memcpy(y, row, (size_t)c * sizeof *y);
    }
}

void tn_op_embedding_forward(const tn_op_args *a) {
    tn_op_each_row(a, tn_tensor_rows(a->out), tn_tensor_cols(a->out), forward_rows);
}

/* Shares are ranges of columns: a row that occurs twice is added to in the order of the ids, whoever works. */
static void backward_columns(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    int64_t c = tn_tensor_cols(a->out), n = tn_tensor_rows(a->out);
    for (int64_t i = 0; i < n; i++)
        tn_k->accumulate(end - begin, a->out->grad + i * c + begin, a->in[1]->grad + a->in[0]->ids[i] * c + begin);
}

void tn_op_embedding_backward(const tn_op_args *a) {
    if (tn_op_wants(a, 1)) tn_par_for(tn_tensor_cols(a->out), COLUMNS, backward_columns, (void *)(uintptr_t)a);
}

const tn_op_sample tn_op_embedding_samples[] = {
    {.dims = {{1}, {1, 1}}, .ids_below = 1},
    {.dims = {{3, 17}, {11, 33}}, .ids_below = 11}, /* repeats are certain */
    {.dims = {{2, 2, 2}, {300, 130}}, .ids_below = 300},
    {.dims = {{40}, {5, 8}}, .ids_below = 1000, .expect = TN_E_RANGE},
    {.dims = {{1, 1, 2, 2}, {5, 8}}, .ids_below = 5, .expect = TN_E_SHAPE},
    TN_SAMPLES_END};
