/* SPDX-License-Identifier: MIT
 * op_mul.c -  y = a b, elementwise      a, b, y of one shape
 *             da = b dy,  db = a dy */
#include "autograd/op_page.h"

tn_tensor *tn_mul(tn_tape *t, tn_tensor *a, tn_tensor *b) {
    return tn_tape_apply(t, TN_OP_mul, (tn_tensor *const[]){a, b}, NULL, 0);
}

tn_status tn_op_mul_check(tn_op_args *a) { return tn_op_check_same(a, "mul", 2); }

static void forward_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    tn_k->mul(end - i, a->in[0]->real + i, a->in[1]->real + i, a->out->real + i);
}

static void backward_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    const tn_real *dy = a->out->grad + i;
    if (tn_op_wants(a, 0)) tn_k->mul_accumulate(end - i, a->in[1]->real + i, dy, a->in[0]->grad + i);
    if (tn_op_wants(a, 1)) tn_k->mul_accumulate(end - i, a->in[0]->real + i, dy, a->in[1]->grad + i);
}

void tn_op_mul_forward(const tn_op_args *a) { tn_op_runs(a, forward_run); }
void tn_op_mul_backward(const tn_op_args *a) { tn_op_runs(a, backward_run); }

const tn_op_sample tn_op_mul_samples[] = {{.dims = {{1}, {1}}},
                                          {.dims = {{7, 33}, {7, 33}}},
                                          {.dims = {{2, 3, 5, 7}, {2, 3, 5, 7}}},
                                          {.dims = {{3, 6001}, {3, 6001}}}, /* more than one run */
                                          {.dims = {{4, 8}, {8, 4}}, .expect = TN_E_SHAPE},
                                          TN_SAMPLES_END};
