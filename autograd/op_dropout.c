/* SPDX-License-Identifier: MIT
 * op_dropout.c -  y = x keep / (1 - p)       x, y of one shape, keep in {0,1} drawn with P(keep = 0) = p
 *                 dx = dy keep / (1 - p)
 * The mask is a function of (the tape's rng, site, element): backward draws it again instead of storing it. */
#include "autograd/op_page.h"

typedef struct dropout_options {
    tn_real p;
    uint32_t site;
} dropout_options;

typedef struct dropout_aux {
    tn_rng rng;
    uint32_t threshold; /* drawn words below it drop; 0 = keep all */
    tn_real gain;       /* 1 / (1 - p) */
} dropout_aux;

tn_tensor *tn_dropout(tn_tape *t, tn_tensor *x, tn_real p, uint32_t site) {
    dropout_options options = {p, site};
    bool idle = p >= 0 && (p <= 0 || !tn_tape_recording(t) || !tn_tape_rng(t));
    return idle ? x : tn_tape_apply(t, TN_OP_dropout, &x, &options, sizeof options);
}

tn_status tn_op_dropout_check(tn_op_args *a) {
    const dropout_options *o = a->options;
    if (!(o->p >= 0 && o->p < 1)) return TN_FAIL(RANGE, "dropout: p %g is outside [0,1)", (double)o->p);
    dropout_aux *aux;
    TN_TAKE0(aux, tn_tape_step(a->tape), 1, "tape");
    a->aux = aux;
    aux->gain = 1;
    if (tn_tape_recording(a->tape) && tn_tape_rng(a->tape)) {
        aux->rng = *tn_tape_rng(a->tape);
        aux->threshold = (uint32_t)((double)o->p * 0x1p32);
        aux->gain = 1 / (1 - o->p);
    }
    return tn_op_check_same(a, "dropout", 1);
}

/* to += or = keep * gain * from. Runs start at multiples of four, the words of one draw. */
static void mask_run(const tn_op_args *a, const tn_real *from, int64_t begin, int64_t end, bool add, tn_real *to) {
    const dropout_options *o = a->options;
    const dropout_aux *aux = a->aux;
    uint32_t words[4] = {0};
    for (int64_t i = begin; i < end; i++) {
        if (i % 4 == 0) tn_rng_words(&aux->rng, (uint64_t)o->site << 32 | (uint64_t)(i / 4), words);
        tn_real kept = words[i % 4] < aux->threshold ? 0 : aux->gain * from[i];
        to[i] = add ? to[i] + kept : kept;
    }
}

static void forward_run(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    mask_run(a, a->in[0]->real, begin, end, false, a->out->real);
}

static void backward_run(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    mask_run(a, a->out->grad, begin, end, true, a->in[0]->grad);
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
