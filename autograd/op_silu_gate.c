/* SPDX-License-Identifier: MIT
 * op_silu_gate.c -  h = u sigma(u) v,  sigma(u) = 1 / (1 + exp(-u))          u (gate), v (up), h of one shape
 *                   du = sigma(u) (1 + u (1 - sigma(u))) v dh,  dv = u sigma(u) dh */
#include "autograd/op_page.h"

tn_tensor *tn_silu_gate(tn_tape *t, tn_tensor *u, tn_tensor *v) {
    return tn_tape_apply(t, TN_OP_silu_gate, (tn_tensor *const[]){u, v}, NULL, 0);
}

tn_status tn_op_silu_gate_check(tn_op_args *a) {
    TN_TRY(tn_op_check_same(a, "silu_gate", 2));
    return tn_op_reserve_grads(a, 2); /* the kernel writes both, wanted or not */
}

static void forward_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    tn_k->silu_gate(end - i, a->in[0]->real + i, a->in[1]->real + i, a->out->real + i);
}

typedef struct gate_grads {
    const tn_op_args *a;
    tn_real *du, *dv;
} gate_grads;

static void backward_run(void *context, int64_t i, int64_t end) {
    const gate_grads *g = context;
    const tn_op_args *a = g->a;
    tn_k->silu_gate_back(end - i, a->in[0]->real + i, a->in[1]->real + i, a->out->grad + i, g->du + i, g->dv + i);
}

void tn_op_silu_gate_forward(const tn_op_args *a) { tn_op_runs(a, forward_run); }

void tn_op_silu_gate_backward(const tn_op_args *a) {
    gate_grads g = {.a = a, .du = tn_op_grad(a, 0), .dv = tn_op_grad(a, 1)};
    if (g.du && g.dv) tn_par_for(tn_tensor_count(a->out), TN_OP_RUN, backward_run, &g);
}

const tn_op_sample tn_op_silu_gate_samples[] = {{.dims = {{1}, {1}}},
                                                {.dims = {{7, 33}, {7, 33}}},
                                                {.dims = {{3, 6001}, {3, 6001}}}, /* more than one run */
                                                {.dims = {{4, 8}, {4, 9}}, .expect = TN_E_SHAPE},
                                                TN_SAMPLES_END};
