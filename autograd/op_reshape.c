/* SPDX-License-Identifier: MIT
 * op_reshape.c -  y = x under other dimensions, over the same numbers;  dx = dy */
#include "autograd/op_page.h"

#include <string.h>

typedef struct reshape_options {
    int n_dims, dims[4];
} reshape_options;

tn_tensor *tn_reshape(tn_tape *t, tn_tensor *x, int n_dims, const int *dims) {
    TN_ASSERT(n_dims >= 1 && n_dims <= 4);
    reshape_options options = {.n_dims = n_dims};
    memcpy(options.dims, dims, (size_t)n_dims * sizeof *dims);
    return tn_tape_apply(t, TN_OP_reshape, &x, &options, sizeof options);
}

tn_status tn_op_reshape_check(tn_op_args *a) {
    const reshape_options *o = a->options;
    TN_TRY(tn_op_need(a, "reshape", 0, TN_REAL));
    char from[64], to[64];
    a->out = tn_op_result_over(a, o->n_dims, o->dims);
    if (!a->out) return TN_E_NOMEM;
    if (tn_tensor_count(a->out) != tn_tensor_count(a->in[0]))
        return TN_FAIL(SHAPE, "reshape: %s does not hold as many numbers as %s", tn_tensor_shape(a->in[0], from),
                       tn_tensor_shape(a->out, to));
    return TN_OK;
}

void tn_op_reshape_forward(const tn_op_args *a) { (void)a; }

void tn_op_reshape_backward(const tn_op_args *a) { tn_op_pass_on(a, 0); }

static const reshape_options flat = {1, {231}}, cube = {3, {2, 3, 5}};
const tn_op_sample tn_op_reshape_samples[] = {
    {.dims = {{7, 33}}, .options = &flat, .options_size = sizeof flat},
    {.dims = {{6, 5}}, .options = &cube, .options_size = sizeof cube},
    {.dims = {{7, 5}}, .options = &cube, .options_size = sizeof cube, .expect = TN_E_SHAPE},
    TN_SAMPLES_END};
