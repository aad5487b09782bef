/* SPDX-License-Identifier: MIT */
#include "tests/op_rig.h"

#include "kernels/kernels.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { STREAM_DIRECTION = 10, STREAM_SEED = 20 };

static double uniform(uint32_t stream, int64_t i) {
    tn_rng rng = tn_rng_make(1, TN_PURPOSE_TEST, stream);
    return 2 * tn_rng_uniform(&rng, (uint64_t)i) - 1;
}

static double draw(tn_domain domain, uint32_t stream, int64_t i) {
    if (domain == TN_DOMAIN_UNIT) return uniform(stream, i);
    tn_rng rng = tn_rng_make(1, TN_PURPOSE_TEST, stream);
    double x = tn_rng_normal(&rng, (uint64_t)i);
    return domain == TN_DOMAIN_APART ? x + copysign(0.1, x) : x;
}

static void init_param(tn_rig *rig, tn_rig_input *in) {
    in->param = (tn_param){.name = "weight",
                           .rows = in->n_dims == 2 ? in->dims[0] : 1,
                           .cols = in->dims[in->n_dims - 1],
                           .quantizer = in->letter == 't' ? TN_QUANT_ABSMEAN_TERNARY : TN_QUANT_NONE,
                           .product = in->n_dims == 2};
    assert_ok(tn_param_init(&in->param, rig->arena, TN_PARAM_TRAINED));
    in->grad = in->param.tensor.grad;
}

/* What a row of codes stands for: the values a replay starts from. */
static void round_to_codes(tn_rig *rig, tn_rig_input *in) {
    int k = in->dims[in->n_dims - 1];
    int8_t *q = tn_arena_array(rig->arena, (size_t)k, 1, "test");
    for (int64_t i = 0; i < in->count; i += k)
        tn_k->dequantize_row(k, q, tn_k->quantize_row(k, in->base + i, q), in->base + i);
}

static void init_input(tn_rig *rig, int number) {
    tn_rig_input *in = &rig->in[number];
    in->letter = rig->op->inputs[number];
    memcpy(in->dims, rig->sample->dims[number], sizeof in->dims);
    in->count = 1;
    while (in->n_dims < 4 && in->dims[in->n_dims]) in->count *= in->dims[in->n_dims++];
    size_t count = (size_t)in->count;
    in->base = tn_arena_array(rig->arena, count, sizeof *in->base, "test");
    in->direction = tn_arena_array(rig->arena, count, sizeof *in->direction, "test");
    in->ids = tn_arena_array(rig->arena, count, sizeof *in->ids, "test");
    tn_rng rng = tn_rng_make(1, TN_PURPOSE_TEST, (uint32_t)number);
    for (int64_t i = 0; i < in->count; i++) {
        in->ids[i] =
            rig->sample->ids_below ? (int32_t)tn_rng_below(&rng, (uint64_t)i, (uint64_t)rig->sample->ids_below) : 0;
        if (in->letter == 'i') continue;
        in->base[i] = (tn_real)draw(rig->sample->domain, (uint32_t)number, i);
        in->direction[i] = (tn_real)uniform((uint32_t)(STREAM_DIRECTION + number), i);
    }
    if (in->letter == 'p' || in->letter == 't') init_param(rig, in);
    if (in->letter == 'q') round_to_codes(rig, in);
}

void tn_rig_init(tn_rig *rig, const tn_op *op, const tn_op_sample *sample) {
    *rig = (tn_rig){.op = op, .sample = sample, .n_inputs = (int)strlen(op->inputs)};
    assert_non_null(rig->arena = tn_arena_create("test"));
    assert_non_null(rig->tape = tn_tape_create());
    for (int i = 0; i < rig->n_inputs; i++) init_input(rig, i);
}

void tn_rig_release(tn_rig *rig) {
    tn_tape_free(rig->tape);
    tn_arena_free(rig->arena);
}

static tn_real *moved_values(tn_rig *rig, const tn_rig_input *in, double step) {
    tn_real *values = tn_arena_array(tn_tape_step(rig->tape), (size_t)in->count, sizeof *values, "test");
    for (int64_t i = 0; i < in->count; i++) values[i] = in->base[i] + (tn_real)step * in->direction[i];
    return values;
}

static tn_tensor *param_tensor(tn_rig_input *in, const tn_real *values, bool wanted) {
    tn_tensor *x = &in->param.tensor;
    memcpy(x->real, values, (size_t)in->count * sizeof *values);
    memset(in->grad, 0, (size_t)in->count * sizeof *in->grad);
    x->grad = wanted ? in->grad : NULL;
    x->needs_grad = wanted;
    tn_param_refresh(&in->param, 1);
    return x;
}

static tn_tensor *codes_tensor(tn_rig *rig, tn_tensor *x) {
    int64_t rows = tn_tensor_rows(x);
    int k = tn_tensor_cols(x);
    x->dtype = TN_CODES;
    x->codes = tn_arena_array(tn_tape_step(rig->tape), (size_t)(rows * k), 1, "test");
    x->row_scale = tn_arena_array(tn_tape_step(rig->tape), (size_t)rows, sizeof(tn_real), "test");
    for (int64_t i = 0; i < rows; i++) x->row_scale[i] = tn_k->quantize_row(k, x->real + i * k, x->codes + i * k);
    x->real = NULL;
    return x;
}

static tn_tensor *make_tensor(tn_rig *rig, tn_rig_input *in, double step, bool wanted) {
    if (in->letter == 'i') return tn_tape_ids(rig->tape, in->n_dims, in->dims, in->ids);
    tn_real *values = moved_values(rig, in, step);
    if (in->letter == 'p' || in->letter == 't') return param_tensor(in, values, wanted);
    tn_tensor *x = tn_tape_real(rig->tape, in->n_dims, in->dims, values, wanted);
    bool codes = in->letter == 'q' && tn_tape_residual_mode(rig->tape) != TN_RESIDUAL_REPLAY;
    return codes ? codes_tensor(rig, x) : x;
}

void tn_rig_start(tn_rig *rig, tn_residual_mode mode, double step, unsigned moved, unsigned wanted) {
    tn_rng rng = tn_rng_make(1, TN_PURPOSE_DROPOUT, 0);
    tn_tape_residuals(rig->tape, mode);
    tn_tape_begin(rig->tape, TN_TAPE_RECORD, &rng);
    tn_arena_reset(tn_tape_scratch(rig->tape));
    rig->args = (tn_op_args){.tape = rig->tape, .options = rig->sample->options};
    for (int i = 0; i < rig->n_inputs; i++) {
        rig->in[i].tensor = make_tensor(rig, &rig->in[i], moved >> i & 1 ? step : 0, wanted >> i & 1);
        rig->args.in[i] = rig->in[i].tensor;
    }
    assert_ok(tn_tape_status(rig->tape));
}

void tn_rig_forward(tn_rig *rig) {
    assert_ok(rig->op->check(&rig->args));
    tn_tensor *out = rig->args.out;
    if (out->needs_grad) out->grad = tn_arena_array(rig->arena, (size_t)tn_tensor_count(out), sizeof(tn_real), "test");
    rig->op->forward(&rig->args);
    tn_arena_reset(tn_tape_scratch(rig->tape));
    assert_ok(tn_tape_status(rig->tape));
}

tn_real tn_rig_seed(int64_t i) { return (tn_real)uniform(STREAM_SEED, i); }

void tn_rig_backward(tn_rig *rig) {
    tn_tensor *out = rig->args.out;
    assert_non_null(out->grad);
    for (int64_t i = 0; i < tn_tensor_count(out); i++) out->grad[i] = tn_rig_seed(i);
    rig->op->backward(&rig->args);
    tn_arena_reset(tn_tape_scratch(rig->tape));
    assert_ok(tn_tape_status(rig->tape));
}

tn_real *tn_rig_result(tn_rig *rig, int64_t *count) {
    const tn_tensor *out = rig->args.out;
    int k = tn_tensor_cols(out);
    *count = tn_tensor_count(out);
    tn_real *values = tn_arena_array(rig->arena, (size_t)*count, sizeof *values, "test");
    for (int64_t i = 0; i < tn_tensor_rows(out); i++) {
        if (out->dtype == TN_CODES)
            tn_k->dequantize_row(k, out->codes + i * k, out->row_scale[i], values + i * k);
        else
            memcpy(values + i * k, out->real + i * k, (size_t)k * sizeof *values);
    }
    return values;
}

tn_real *tn_rig_grad(const tn_rig *rig, int input) { return rig->in[input].tensor->grad; }
