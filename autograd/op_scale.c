/* SPDX-License-Identifier: MIT
 * op_scale.c -  y = s x                 x, y of one shape, s a constant
 *               dx = s dy */
#include "autograd/op_page.h"

#include <math.h>

typedef struct scale_options {
    tn_real s;
} scale_options;

tn_tensor *tn_scale(tn_tape *t, tn_tensor *x, tn_real s) {
    scale_options options = {s};
    return tn_tape_apply(t, TN_OP_scale, &x, &options, sizeof options);
}

tn_status tn_op_scale_check(tn_op_args *a) {
    const scale_options *o = a->options;
    if (!isfinite(o->s)) return TN_FAIL(RANGE, "scale: factor %g is not finite", (double)o->s);
    return tn_op_check_same(a, "scale", 1);
}

static void forward_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    const scale_options *o = a->options;
    tn_k->scale(end - i, o->s, a->in[0]->real + i, a->out->real + i);
}

static void backward_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    const scale_options *o = a->options;
    if (tn_op_wants(a, 0)) tn_k->axpy(end - i, o->s, a->out->grad + i, a->in[0]->grad + i);
}

void tn_op_scale_forward(const tn_op_args *a) { tn_op_runs(a, forward_run); }
void tn_op_scale_backward(const tn_op_args *a) { tn_op_runs(a, backward_run); }

static const scale_options third = {(tn_real)(-1.0 / 3)}, infinite = {(tn_real)INFINITY};
const tn_op_sample tn_op_scale_samples[] = {
    {.dims = {{1}}, .options = &third, .options_size = sizeof third},
    {.dims = {{5, 3, 11}}, .options = &third, .options_size = sizeof third},
    {.dims = {{3, 6001}}, .options = &third, .options_size = sizeof third}, /* more than one run */
    {.dims = {{4}}, .options = &infinite, .options_size = sizeof infinite, .expect = TN_E_RANGE},
    TN_SAMPLES_END};
