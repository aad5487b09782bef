/* SPDX-License-Identifier: MIT
 * op_act_quant.c -  per row: s = 127 / max(max|x|, 1e-5), q = clamp(rint(s x), -128, 127)
 *                   x [N,k]  q int8 [N,k]  s [N]
 *                   dx = dq                straight through, nothing through the maximum
 * lambda < 1 (warm-up of the quantisation): y = x + lambda (q/s - x), real, with the same slope.
 * Frozen residuals (tape.h): KEEP stores y - x, where y is what the codes stand for; REPLAY computes y = x + stored. */
#include "autograd/op_page.h"

#include <string.h>

typedef struct act_quant_options {
    tn_real lambda;
} act_quant_options;

typedef struct act_quant_aux {
    tn_real *residual; /* [N,k], or NULL */
    int8_t *codes;     /* [N,k] scratch of a real result */
} act_quant_aux;

tn_tensor *tn_act_quant(tn_tape *t, tn_tensor *x, tn_real lambda) {
    act_quant_options options = {lambda};
    return tn_tape_apply(t, TN_OP_act_quant, &x, &options, sizeof options);
}

tn_status tn_op_act_quant_check(tn_op_args *a) {
    const act_quant_options *o = a->options;
    tn_residual_mode mode = tn_tape_residual_mode(a->tape);
    tn_tensor *x = a->in[0];
    TN_TRY(tn_op_need(a, "act_quant", 0, TN_REAL));
    if (!(o->lambda >= 0 && o->lambda <= 1))
        return TN_FAIL(RANGE, "act_quant: lambda %g is outside 0..1", (double)o->lambda);
    act_quant_aux *aux;
    TN_TAKE0(aux, tn_tape_step(a->tape), 1, "tape");
    a->aux = aux;
    if (mode != TN_RESIDUAL_OFF && !(aux->residual = tn_tape_residual(a->tape, tn_tensor_count(x))))
        return tn_tape_fail(a->tape, TN_E_MISMATCH);
    bool codes = o->lambda >= 1 && mode != TN_RESIDUAL_REPLAY;
    if (!codes) TN_TAKE(aux->codes, tn_tape_scratch(a->tape), tn_tensor_count(x), "op scratch");
    a->out = tn_op_result(a, codes ? TN_CODES : TN_REAL, x->n_dims, x->dims);
    return a->out ? TN_OK : TN_E_NOMEM;
}

static void code_rows(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    const act_quant_aux *aux = a->aux;
    int k = tn_tensor_cols(a->out);
    for (int64_t i = begin; i < end; i++) tn_op_code_row(a, i, a->in[0]->real + i * k, aux->residual);
}

static void mix_rows(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    const act_quant_options *o = a->options;
    const act_quant_aux *aux = a->aux;
    int k = tn_tensor_cols(a->out);
    for (int64_t i = begin; i < end; i++) {
        const tn_real *x = a->in[0]->real + i * k;
        tn_real *y = a->out->real + i * k;
        tn_real s = tn_k->quantize_row(k, x, aux->codes + i * k);
        tn_k->dequantize_row(k, aux->codes + i * k, s, y);
        for (int j = 0; j < k; j++) y[j] = x[j] + o->lambda * (y[j] - x[j]);
        for (int j = 0; aux->residual && j < k; j++) aux->residual[i * k + j] = y[j] - x[j];
    }
}

static void replay_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    const act_quant_aux *aux = a->aux;
    tn_k->add(end - i, a->in[0]->real + i, aux->residual + i, a->out->real + i);
}

void tn_op_act_quant_forward(const tn_op_args *a) {
    bool replay = tn_tape_residual_mode(a->tape) == TN_RESIDUAL_REPLAY;
    if (replay)
        tn_op_runs(a, replay_run);
    else
        tn_op_each_row(a, tn_tensor_rows(a->out), tn_tensor_cols(a->out), a->out->codes ? code_rows : mix_rows);
}

void tn_op_act_quant_backward(const tn_op_args *a) { tn_op_pass_on(a, 0); }

static const act_quant_options full = {1}, half = {(tn_real)0.5}, none = {0}, beyond = {2};
const tn_op_sample tn_op_act_quant_samples[] = {
    {.dims = {{1}}, .options = &full, .options_size = sizeof full},
    {.dims = {{7, 33}}, .options = &full, .options_size = sizeof full},
    {.dims = {{2, 9, 130}}, .options = &full, .options_size = sizeof full},
    {.dims = {{5, 31}}, .options = &half, .options_size = sizeof half},
    {.dims = {{5, 31}}, .options = &none, .options_size = sizeof none},
    {.dims = {{5, 31}}, .options = &beyond, .options_size = sizeof beyond, .expect = TN_E_RANGE},
    TN_SAMPLES_END};
