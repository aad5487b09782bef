/* SPDX-License-Identifier: MIT
 * op_add.c -  y = a + b                 a, b, y of one shape
 *             da = dy,  db = dy */
#include "autograd/op_page.h"

tn_tensor *tn_add(tn_tape *t, tn_tensor *a, tn_tensor *b) {
    return tn_tape_apply(t, TN_OP_add, (tn_tensor *const[]){a, b}, NULL, 0);
}

tn_status tn_op_add_check(tn_op_args *a) { return tn_op_check_same(a, "add", 2); }

static void forward_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    tn_k->add(end - i, a->in[0]->real + i, a->in[1]->real + i, a->out->real + i);
}

void tn_op_add_forward(const tn_op_args *a) { tn_op_runs(a, forward_run); }
void tn_op_add_backward(const tn_op_args *a) {
    for (int input = 0; input < 2; input++) tn_op_pass_on(a, input);
}

const tn_op_sample tn_op_add_samples[] = {
    {.dims = {{1}, {1}}},
    {.dims = {{7, 33}, {7, 33}}},
    {.dims = {{2, 3, 5, 7}, {2, 3, 5, 7}}},
    {.dims = {{3, 6001}, {3, 6001}}}, /* more than one run */
    {.dims = {{4, 8}, {4, 9}}, .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {32}}, .expect = TN_E_SHAPE}, /* the count alone is not enough */
    TN_SAMPLES_END};
