/* SPDX-License-Identifier: MIT
 * op_silu.c -  y = x sigma(x),  sigma(x) = 1 / (1 + exp(-x))          x, y of one shape
 *              dx = sigma(x) (1 + x (1 - sigma(x))) dy */
#include "autograd/op_page.h"

tn_tensor *tn_silu(tn_tape *t, tn_tensor *x) { return tn_tape_apply(t, TN_OP_silu, &x, NULL, 0); }

tn_status tn_op_silu_check(tn_op_args *a) { return tn_op_check_same(a, "silu", 1); }

static void forward_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    tn_k->silu(end - i, a->in[0]->real + i, a->out->real + i);
}

static void backward_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    tn_k->silu_du(end - i, a->in[0]->real + i, a->out->grad + i, a->in[0]->grad + i);
}

void tn_op_silu_forward(const tn_op_args *a) { tn_op_runs(a, forward_run); }
void tn_op_silu_backward(const tn_op_args *a) {
    if (tn_op_wants(a, 0)) tn_op_runs(a, backward_run);
}

const tn_op_sample tn_op_silu_samples[] = {{.dims = {{1}}},
                                           {.dims = {{7, 33}}},
                                           {.dims = {{2, 3, 5, 7}}},
                                           {.dims = {{3, 6001}}}, /* more than one run */
                                           TN_SAMPLES_END};
