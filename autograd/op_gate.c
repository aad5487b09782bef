/* SPDX-License-Identifier: MIT
 * op_gate.c -  h = f(u) v          u (gate), v (up), h of one shape
 *              du = f'(u) v dh,  dv = f(u) dh
 * relu2_gate   f(u) = max(u, 0)^2,  f'(u) = 2 max(u, 0)
 * silu_gate    f(u) = u sigma(u),   f'(u) = sigma(u) (1 + u (1 - sigma(u))),  sigma(u) = 1 / (1 + exp(-u)) */
#include "autograd/op_page.h"

typedef void gate_kernel(int64_t n, const tn_real *u, const tn_real *v, tn_real *h);
typedef void gate_back_kernel(int64_t n, const tn_real *u, const tn_real *v, const tn_real *dh, tn_real *du,
                              tn_real *dv);

static tn_status check(tn_op_args *a, const char *op) {
    TN_TRY(tn_op_check_same(a, op, 2));
    return tn_op_reserve_grads(a, 2); /* the kernel writes both, wanted or not */
}

typedef struct gate {
    const tn_op_args *a;
    gate_kernel *forward;
    gate_back_kernel *backward;
    tn_real *du, *dv;
} gate;

static void forward_run(void *context, int64_t i, int64_t end) {
    const gate *g = context;
    const tn_op_args *a = g->a;
    g->forward(end - i, a->in[0]->real + i, a->in[1]->real + i, a->out->real + i);
}

static void forward(const tn_op_args *a, gate_kernel *kernel) {
    gate g = {.a = a, .forward = kernel};
    tn_par_for(tn_tensor_count(a->out), TN_OP_RUN, forward_run, &g);
}

static void backward_run(void *context, int64_t i, int64_t end) {
    const gate *g = context;
    const tn_op_args *a = g->a;
    g->backward(end - i, a->in[0]->real + i, a->in[1]->real + i, a->out->grad + i, g->du + i, g->dv + i);
}

static void backward(const tn_op_args *a, gate_back_kernel *kernel) {
    gate g = {.a = a, .backward = kernel, .du = tn_op_grad(a, 0), .dv = tn_op_grad(a, 1)};
    if (g.du && g.dv) tn_par_for(tn_tensor_count(a->out), TN_OP_RUN, backward_run, &g);
}

/* ---- relu2_gate ---- */

tn_tensor *tn_relu2_gate(tn_tape *t, tn_tensor *u, tn_tensor *v) {
    return tn_tape_apply(t, TN_OP_relu2_gate, (tn_tensor *const[]){u, v}, NULL, 0);
}

tn_status tn_op_relu2_gate_check(tn_op_args *a) { return check(a, "relu2_gate"); }
void tn_op_relu2_gate_forward(const tn_op_args *a) { forward(a, tn_k->relu2_gate); }
void tn_op_relu2_gate_backward(const tn_op_args *a) { backward(a, tn_k->relu2_gate_back); }

const tn_op_sample tn_op_relu2_gate_samples[] = {
    {.dims = {{1}, {1}}, .domain = TN_DOMAIN_APART},
    {.dims = {{7, 33}, {7, 33}}, .domain = TN_DOMAIN_APART},
    {.dims = {{3, 6001}, {3, 6001}}, .domain = TN_DOMAIN_APART}, /* more than one run */
    {.dims = {{4, 8}, {4, 9}}, .expect = TN_E_SHAPE},
    TN_SAMPLES_END};

/* ---- silu_gate ---- */

tn_tensor *tn_silu_gate(tn_tape *t, tn_tensor *u, tn_tensor *v) {
    return tn_tape_apply(t, TN_OP_silu_gate, (tn_tensor *const[]){u, v}, NULL, 0);
}

tn_status tn_op_silu_gate_check(tn_op_args *a) { return check(a, "silu_gate"); }
void tn_op_silu_gate_forward(const tn_op_args *a) { forward(a, tn_k->silu_gate); }
void tn_op_silu_gate_backward(const tn_op_args *a) { backward(a, tn_k->silu_gate_back); }

const tn_op_sample tn_op_silu_gate_samples[] = {{.dims = {{1}, {1}}},
                                                {.dims = {{7, 33}, {7, 33}}},
                                                {.dims = {{3, 6001}, {3, 6001}}}, /* more than one run */
                                                {.dims = {{4, 8}, {4, 9}}, .expect = TN_E_SHAPE},
                                                TN_SAMPLES_END};
