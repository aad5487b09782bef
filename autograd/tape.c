/* SPDX-License-Identifier: MIT */
#include "autograd/op.h"

#include "core/clock.h"

#include <string.h>

const tn_op tn_ops[TN_OP_COUNT] = {
#define OP(name, inputs, gradient, tolerance, formula)                                                                 \
    {#name,                                                                                                            \
     inputs,                                                                                                           \
     formula,                                                                                                          \
     TN_GRADIENT_##gradient,                                                                                           \
     tolerance,                                                                                                        \
     tn_op_##name##_check,                                                                                             \
     tn_op_##name##_forward,                                                                                           \
     tn_op_##name##_backward,                                                                                          \
     tn_op_##name##_samples},
#include "autograd/ops.def"
#undef OP
};

typedef struct node {
    const tn_op *op;
    tn_op_args args;
    struct node *before; /* the node recorded just before this one */
} node;

typedef struct residual {
    tn_real *values;
    int64_t count;
    struct residual *next;
} residual;

struct tn_tape {
    tn_arena *step, *scratch, *kept; /* kept: residuals, which outlive a pass */
    tn_tape_mode mode;
    bool dry, ran_backward;
    tn_status status;
    node *last;
    tn_rng rng;
    bool has_rng;
    tn_backward backward;
    tn_op_times *times; /* or NULL */
    tn_residual_mode residual_mode;
    residual *first_residual, **next_residual;
    tn_tensor empty;
};

static tn_tape *create(bool dry) {
    tn_tape *tape = tn_heap_zalloc(1, sizeof *tape);
    if (!tape) return NULL;
    tape->dry = dry;
    tape->step = dry ? tn_arena_create_virtual("step") : tn_arena_create("step");
    tape->scratch = dry ? tn_arena_create_virtual("scratch") : tn_arena_create("scratch");
    tape->kept = tn_arena_create("residuals");
    tape->next_residual = &tape->first_residual;
    if (tape->step && tape->scratch && tape->kept) return tape;
    tn_tape_free(tape);
    return NULL;
}

tn_tape *tn_tape_create(void) { return create(false); }
tn_tape *tn_tape_create_dry(void) { return create(true); }

void tn_tape_free(tn_tape *tape) {
    if (!tape) return;
    tn_arena_free(tape->step);
    tn_arena_free(tape->scratch);
    tn_arena_free(tape->kept);
    tn_heap_free(tape);
}

void tn_tape_begin(tn_tape *tape, tn_tape_mode mode, const tn_rng *rng) {
    tn_arena_reset(tape->step);
    tape->mode = mode;
    tape->status = TN_OK;
    tape->ran_backward = false;
    tape->last = NULL;
    tape->has_rng = rng != NULL;
    if (rng) tape->rng = *rng;
    if (tape->residual_mode == TN_RESIDUAL_KEEP) {
        tn_arena_reset(tape->kept);
        tape->first_residual = NULL;
    }
    tape->next_residual = &tape->first_residual;
}

tn_status tn_tape_status(const tn_tape *tape) { return tape->status; }
tn_arena *tn_tape_step(tn_tape *tape) { return tape->step; }
tn_arena *tn_tape_scratch(tn_tape *tape) { return tape->scratch; }
tn_tensor *tn_tape_empty(tn_tape *tape) { return &tape->empty; }
const tn_rng *tn_tape_rng(const tn_tape *tape) { return tape->has_rng ? &tape->rng : NULL; }
bool tn_tape_recording(const tn_tape *tape) { return tape->mode == TN_TAPE_RECORD; }
bool tn_tape_is_dry(const tn_tape *tape) { return tape->dry; }

void tn_tape_set_backward(tn_tape *tape, tn_backward arithmetic) {
    tape->backward = sizeof(tn_real) == 8 ? TN_BACKWARD_F32 : arithmetic;
}
tn_backward tn_tape_backward_arithmetic(const tn_tape *tape) { return tape->backward; }
void tn_tape_set_times(tn_tape *tape, tn_op_times *times) { tape->times = times; }

tn_status tn_tape_fail(tn_tape *tape, tn_status status) {
    if (!tape->status) tape->status = status;
    return tape->status;
}

static tn_tensor *fail(tn_tape *tape, tn_status status) {
    (void)tn_tape_fail(tape, status);
    return &tape->empty;
}

/* ---- ops ---- */

tn_tensor *tn_op_result(tn_op_args *a, tn_dtype dtype, int n_dims, const int *dims) {
    tn_arena *step = a->tape->step;
    tn_tensor *out = tn_arena_zalloc(step, 1, sizeof *out, "tape");
    if (!out) return NULL;
    out->dtype = dtype;
    out->n_dims = n_dims;
    memcpy(out->dims, dims, (size_t)n_dims * sizeof *dims);
    for (int i = 0; i < TN_OP_INPUTS && a->in[i]; i++) out->needs_grad |= a->in[i]->needs_grad;
    size_t count = (size_t)tn_tensor_count(out), rows = (size_t)tn_tensor_rows(out);
    bool ok = true;
    if (dtype == TN_CODES) {
        ok = (out->codes = tn_arena_array(step, count, sizeof *out->codes, "activations")) != NULL &&
             (out->row_scale = tn_arena_array(step, rows, sizeof *out->row_scale, "activations")) != NULL;
    } else {
        ok = (out->real = tn_arena_array(step, count, sizeof *out->real, "activations")) != NULL;
    }
    out->needs_grad &= tn_tape_recording(a->tape);
    if (ok && out->needs_grad)
        ok = (out->grad = tn_arena_array(step, count, sizeof *out->grad, "activation gradients")) != NULL;
    return ok ? out : NULL;
}

static tn_status prepare(tn_tape *tape, const tn_op *op, tn_op_args *args, const void *options, size_t options_size) {
    if (options_size) {
        void *copy = tn_arena_alloc(tape->step, options_size, "tape");
        if (!copy) return TN_E_NOMEM;
        args->options = memcpy(copy, options, options_size);
    }
    return op->check(args);
}

static tn_status record(tn_tape *tape, const tn_op *op, const tn_op_args *args) {
    if (tape->mode != TN_TAPE_RECORD || !args->out->needs_grad) return TN_OK;
    node *n = tn_arena_alloc(tape->step, sizeof *n, "tape");
    if (!n) return TN_E_NOMEM;
    *n = (node){.op = op, .args = *args, .before = tape->last};
    tape->last = n;
    return TN_OK;
}

static void run_forward(const tn_op_args *args, tn_op_id id) {
    double begin = args->tape->times ? tn_clock_seconds() : 0;
    tn_ops[id].forward(args);
    if (args->tape->times) args->tape->times->forward[id] += tn_clock_seconds() - begin;
}

tn_tensor *tn_tape_apply(tn_tape *tape, tn_op_id id, tn_tensor *const *in, const void *options, size_t options_size) {
    if (tape->status) return &tape->empty;
    const tn_op *op = &tn_ops[id];
    tn_op_args args = {.tape = tape};
    for (size_t i = 0; i < strlen(op->inputs); i++) args.in[i] = in[i];
    tn_status status = prepare(tape, op, &args, options, options_size);
    if (!status) status = record(tape, op, &args);
    if (status) return fail(tape, status);
    if (!tape->dry) run_forward(&args, id);
    tn_arena_reset(tape->scratch);
    return tape->status ? &tape->empty : args.out;
}

/* ---- backward ---- */

static void clear_grad(const tn_tensor *x) { memset(x->grad, 0, (size_t)tn_tensor_count(x) * sizeof *x->grad); }

static void run_backward(const node *n) {
    tn_op_times *times = n->args.tape->times;
    double begin = times ? tn_clock_seconds() : 0;
    n->op->backward(&n->args);
    if (times) times->backward[n->op - tn_ops] += tn_clock_seconds() - begin;
}

tn_status tn_tape_backward(tn_tape *tape, tn_tensor *loss) {
    if (tape->status) return tape->status;
    if (tape->mode != TN_TAPE_RECORD || !loss->needs_grad || !loss->grad)
        return TN_FAIL(NOGRAD, "backward: the loss does not depend on anything that is trained");
    if (tn_tensor_count(loss) != 1) return TN_FAIL(SHAPE, "backward: the loss must be one number");
    if (tape->ran_backward) return TN_FAIL(ARG, "backward: this pass was already run backwards");
    tape->ran_backward = true;
    if (tape->dry) return TN_OK;
    for (node *n = tape->last; n; n = n->before) clear_grad(n->args.out);
    loss->grad[0] = 1;
    for (node *n = tape->last; n && !tape->status; n = n->before) {
        run_backward(n);
        tn_arena_reset(tape->scratch);
    }
    return tape->status;
}

/* ---- leaves ---- */

static tn_tensor *leaf(tn_tape *tape, tn_dtype dtype, int n_dims, const int *dims) {
    TN_ASSERT(n_dims >= 1 && n_dims <= 4);
    tn_tensor *x = tn_arena_zalloc(tape->step, 1, sizeof *x, "tape");
    if (!x) return NULL;
    x->dtype = dtype;
    x->n_dims = n_dims;
    memcpy(x->dims, dims, (size_t)n_dims * sizeof *dims);
    return x;
}

tn_tensor *tn_tape_real(tn_tape *tape, int n_dims, const int *dims, const tn_real *values, bool needs_grad) {
    if (tape->status) return &tape->empty;
    tn_tensor *x = leaf(tape, TN_REAL, n_dims, dims);
    if (!x) return fail(tape, TN_E_NOMEM);
    size_t count = (size_t)tn_tensor_count(x);
    x->real = tn_arena_array(tape->step, count, sizeof *x->real, "batch");
    x->needs_grad = needs_grad && tn_tape_recording(tape);
    if (x->needs_grad) x->grad = tn_arena_zalloc(tape->step, count, sizeof *x->grad, "activation gradients");
    if (!x->real || (x->needs_grad && !x->grad)) return fail(tape, TN_E_NOMEM);
    if (!tape->dry) memcpy(x->real, values, count * sizeof *x->real);
    return x;
}

tn_tensor *tn_tape_ids(tn_tape *tape, int n_dims, const int *dims, const int32_t *ids) {
    if (tape->status) return &tape->empty;
    tn_tensor *x = leaf(tape, TN_IDS, n_dims, dims);
    if (!x) return fail(tape, TN_E_NOMEM);
    size_t count = (size_t)tn_tensor_count(x);
    x->ids = tn_arena_array(tape->step, count, sizeof *x->ids, "batch");
    if (!x->ids) return fail(tape, TN_E_NOMEM);
    if (!tape->dry) memcpy(x->ids, ids, count * sizeof *x->ids);
    return x;
}

tn_tensor *tn_tape_reshape(tn_tape *tape, tn_tensor *x, int n_dims, const int *dims) {
    if (tape->status) return &tape->empty;
    tn_tensor *y = leaf(tape, x->dtype, n_dims, dims);
    if (!y) return fail(tape, TN_E_NOMEM);
    char from[64], to[64];
    if (tn_tensor_count(y) != tn_tensor_count(x))
        return fail(tape, TN_FAIL(SHAPE, "reshape: %s does not hold as many numbers as %s", tn_tensor_shape(x, from),
                                  tn_tensor_shape(y, to)));
    if (x->dtype == TN_CODES) return fail(tape, TN_FAIL(DTYPE, "reshape: codes keep their rows"));
    y->real = x->real;
    y->ids = x->ids;
    y->grad = x->grad;
    y->needs_grad = x->needs_grad;
    return y;
}

/* ---- residuals ---- */

void tn_tape_residuals(tn_tape *tape, tn_residual_mode mode) { tape->residual_mode = mode; }
tn_residual_mode tn_tape_residual_mode(const tn_tape *tape) { return tape->residual_mode; }

static residual *keep_residual(tn_tape *tape, int64_t count) {
    residual *r = tn_arena_zalloc(tape->kept, 1, sizeof *r, "residuals");
    if (!r) return NULL;
    r->values = tn_arena_array(tape->kept, (size_t)count, sizeof *r->values, "residuals");
    r->count = count;
    return r->values ? r : NULL;
}

tn_real *tn_tape_residual(tn_tape *tape, int64_t count) {
    if (tape->residual_mode == TN_RESIDUAL_KEEP) {
        *tape->next_residual = keep_residual(tape, count);
        if (!*tape->next_residual) (void)tn_tape_fail(tape, TN_E_NOMEM);
    }
    residual *r = *tape->next_residual;
    if (!r) return NULL;
    if (r->count != count) {
        (void)tn_tape_fail(tape, TN_FAIL(SHAPE, "residual of %lld values where %lld were kept", (long long)count,
                                         (long long)r->count));
        return NULL;
    }
    tape->next_residual = &r->next;
    return r->values;
}
