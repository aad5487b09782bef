/* SPDX-License-Identifier: MIT
 * op_dropout.c -  y = x keep / (1 - p)       x, y of one shape, keep in {0,1} drawn with P(keep = 0) = p
 *                 dx = dy keep / (1 - p)
 * Backward draws the mask (dropout_mask.h) again instead of storing it. */
#include "autograd/dropout_mask.h"
#include "autograd/op_page.h"

typedef struct dropout_options {
    tn_real p;
    uint32_t site;
} dropout_options;

tn_tensor *tn_dropout(tn_tape *t, tn_tensor *x, tn_real p, uint32_t site) {
    dropout_options options = {p, site};
    bool idle = p >= 0 && (p <= 0 || !tn_tape_recording(t) || !tn_tape_rng(t));
    return idle ? x : tn_tape_apply(t, TN_OP_dropout, &x, &options, sizeof options);
}

tn_status tn_op_dropout_check(tn_op_args *a) {
    const dropout_options *o = a->options;
    tn_dropout_mask *mask;
    TN_TAKE0(mask, tn_tape_step(a->tape), 1, "tape");
    a->aux = mask;
    TN_TRY(tn_dropout_mask_init(mask, a->tape, "dropout", o->p, o->site));
    return tn_op_check_same(a, "dropout", 1);
}

static void forward_run(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    tn_dropout_mask_apply(a->aux, begin, end, a->in[0]->real + begin, false, a->out->real + begin);
}

static void backward_run(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    tn_dropout_mask_apply(a->aux, begin, end, a->out->grad + begin, true, a->in[0]->grad + begin);
}

void tn_op_dropout_forward(const tn_op_args *a) { tn_op_runs(a, forward_run); }
void tn_op_dropout_backward(const tn_op_args *a) {
    if (tn_op_wants(a, 0)) tn_op_runs(a, backward_run);
}

static const dropout_options none = {0, 0}, third = {(tn_real)(1.0 / 3), 7}, all = {1, 0};
const tn_op_sample tn_op_dropout_samples[] = {
    {.dims = {{1}}, .options = &none, .options_size = sizeof none},
    {.dims = {{7, 33}}, .options = &third, .options_size = sizeof third},
    {.dims = {{3, 6001}}, .options = &third, .options_size = sizeof third}, /* more than one run */
    {.dims = {{4}}, .options = &all, .options_size = sizeof all, .expect = TN_E_RANGE},
    TN_SAMPLES_END};
