/* SPDX-License-Identifier: MIT
 * op_relu2.c -  y = max(x, 0)^2          x, y of one shape
 *               dx = 2 max(x, 0) dy */
#include "autograd/op_page.h"

tn_tensor *tn_relu2(tn_tape *t, tn_tensor *x) { return tn_tape_apply(t, TN_OP_relu2, &x, NULL, 0); }

tn_status tn_op_relu2_check(tn_op_args *a) { return tn_op_check_same(a, "relu2", 1); }

static void forward_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    tn_k->relu2(end - i, a->in[0]->real + i, a->out->real + i);
}

static void backward_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    tn_k->relu2_du(end - i, a->in[0]->real + i, a->out->grad + i, a->in[0]->grad + i);
}

void tn_op_relu2_forward(const tn_op_args *a) { tn_op_runs(a, forward_run); }
void tn_op_relu2_backward(const tn_op_args *a) {
    if (tn_op_wants(a, 0)) tn_op_runs(a, backward_run);
}

const tn_op_sample tn_op_relu2_samples[] = {{.dims = {{1}}, .domain = TN_DOMAIN_APART},
                                            {.dims = {{7, 33}}, .domain = TN_DOMAIN_APART},
                                            {.dims = {{2, 3, 5, 7}}, .domain = TN_DOMAIN_APART},
                                            {.dims = {{3, 6001}}, .domain = TN_DOMAIN_APART}, /* more than one run */
                                            TN_SAMPLES_END};
