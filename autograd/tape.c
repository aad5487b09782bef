/* SPDX-License-Identifier: MIT */
#include "autograd/op_page.h"

#include "autograd/grad_pool.h"
#include "core/clock.h"

#include <string.h>

const tn_op tn_ops[TN_OP_COUNT] = {
#define OP(name, inputs, gradient, fresh, tolerance, formula)                                                          \
    {#name,                                                                                                            \
     inputs,                                                                                                           \
     formula,                                                                                                          \
     TN_GRADIENT_##gradient,                                                                                           \
     TN_FRESH_##fresh,                                                                                                 \
     tolerance,                                                                                                        \
     tn_op_##name##_check,                                                                                             \
     tn_op_##name##_forward,                                                                                           \
     tn_op_##name##_backward,                                                                                          \
     tn_op_##name##_samples},
#include "autograd/ops.def"
#undef OP
};

/* A stretch of the forward pass that keeps its input alone and is run again in backward. */
typedef struct segment {
    tn_segment_body *body;
    void *context;
} segment;

typedef struct node {
    const tn_op *op; /* NULL: args.aux is a segment, from in[0] to out */
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
    bool skims; /* inside the first run of a segment: nothing is kept */
    bool again; /* inside the second */
    bool rests; /* at the end of that */
    tn_grad_pool pool;
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
    tape->pool.arena = dry ? tn_arena_create_virtual("gradients") : tn_arena_create("gradients");
    tape->next_residual = &tape->first_residual;
    if (tape->step && tape->scratch && tape->kept && tape->pool.arena) return tape;
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
    tn_arena_free(tape->pool.arena);
    tn_heap_free(tape);
}

tn_status tn_tape_reserve(tn_tape *tape, const tn_tape *rehearsed) {
    TN_TRY(tn_arena_reserve(tape->step, tn_arena_peak(rehearsed->step)));
    TN_TRY(tn_arena_reserve(tape->scratch, tn_arena_peak(rehearsed->scratch)));
    return tn_arena_reserve(tape->pool.arena, tn_arena_peak(rehearsed->pool.arena));
}

void tn_tape_begin(tn_tape *tape, tn_tape_mode mode, const tn_rng *rng) {
    tn_arena_reset(tape->step);
    tn_grad_pool_reset(&tape->pool);
    tape->mode = mode;
    tape->skims = tape->again = tape->rests = false;
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
const tn_arena *tn_tape_gradients(const tn_tape *tape) { return tape->pool.arena; }
tn_tensor *tn_tape_empty(tn_tape *tape) { return &tape->empty; }
const tn_rng *tn_tape_rng(const tn_tape *tape) { return tape->has_rng ? &tape->rng : NULL; }
bool tn_tape_recording(const tn_tape *tape) { return tape->mode == TN_TAPE_RECORD; }
bool tn_tape_keeping(const tn_tape *tape) { return tape->mode == TN_TAPE_RECORD && !tape->skims; }
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

static tn_tensor *new_tensor(tn_op_args *a, tn_dtype dtype, int n_dims, const int *dims) {
    tn_tensor *out = tn_arena_zalloc(a->tape->step, 1, sizeof *out, "tape");
    if (!out) return NULL;
    out->dtype = dtype;
    out->n_dims = n_dims;
    memcpy(out->dims, dims, (size_t)n_dims * sizeof *dims);
    for (int i = 0; i < TN_OP_INPUTS && a->in[i]; i++) out->needs_grad |= a->in[i]->needs_grad;
    out->needs_grad &= tn_tape_keeping(a->tape);
    return out;
}

tn_tensor *tn_op_result(tn_op_args *a, tn_dtype dtype, int n_dims, const int *dims) {
    tn_arena *step = a->tape->step;
    tn_tensor *out = new_tensor(a, dtype, n_dims, dims);
    if (!out) return NULL;
    size_t count = (size_t)tn_tensor_count(out), rows = (size_t)tn_tensor_rows(out);
    bool ok = true;
    if (dtype == TN_CODES) {
        ok = (out->codes = tn_arena_array(step, count, sizeof *out->codes, "activations")) != NULL &&
             (out->row_scale = tn_arena_array(step, rows, sizeof *out->row_scale, "activations")) != NULL;
    } else {
        ok = (out->real = tn_arena_array(step, count, sizeof *out->real, "activations")) != NULL;
    }
    return ok ? out : NULL;
}

tn_tensor *tn_op_result_over(tn_op_args *a, int n_dims, const int *dims) {
    tn_tensor *out = new_tensor(a, a->in[0]->dtype, n_dims, dims);
    if (!out) return NULL;
    out->real = a->in[0]->real;
    out->ids = a->in[0]->ids;
    return out;
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
    if (!args->out->needs_grad) return TN_OK;
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
    if (!tape->dry && !tape->rests) run_forward(&args, id);
    tn_arena_reset(tape->scratch);
    return tape->status ? &tape->empty : args.out;
}

/* ---- segments ---- */

static tn_tensor *leaf(tn_tape *tape, tn_dtype dtype, int n_dims, const int *dims);

/* What receives the result. Nothing will ask for x again in a pass that records nothing. */
static tn_tensor *result_of_segment(tn_tape *tape, tn_tensor *x) {
    if (!tn_tape_recording(tape)) return x;
    tn_tensor *out = leaf(tape, TN_REAL, x->n_dims, x->dims);
    if (out) out->real = tn_arena_array(tape->step, (size_t)tn_tensor_count(x), sizeof *out->real, "activations");
    if (!out || !out->real) return NULL;
    out->needs_grad = tn_tape_keeping(tape);
    return out;
}

/* The first run: what the body makes is dropped but for the numbers of its result, which go to `out`. */
static tn_status skim(tn_tape *tape, const segment *s, tn_tensor *x, tn_tensor *out) {
    tn_arena_mark mark = tn_arena_get_mark(tape->step);
    tape->skims = true;
    const tn_tensor *y = s->body(s->context, tape, x);
    tape->skims = false;
    if (tape->status) return tape->status;
    if (!tn_tensor_same_shape(y, x)) return TN_FAIL(SHAPE, "segment: the result must have the shape of the input");
    if (!tape->dry) memcpy(out->real, y->real, (size_t)tn_tensor_count(y) * sizeof *y->real);
    tn_arena_rewind(tape->step, &mark);
    return TN_OK;
}

tn_tensor *tn_tape_segment(tn_tape *tape, tn_segment_body *body, const void *context, size_t context_size,
                           tn_tensor *x) {
    if (tape->status) return &tape->empty;
    segment *s = tn_arena_alloc(tape->step, sizeof *s, "tape");
    void *copy = tn_arena_alloc(tape->step, context_size, "tape");
    if (!s || !copy) return fail(tape, TN_E_NOMEM);
    *s = (segment){body, memcpy(copy, context, context_size)};
    if (tape->skims || tape->residual_mode != TN_RESIDUAL_OFF) return body(s->context, tape, x);
    const tn_op_args args = {.tape = tape, .in = {x}, .out = result_of_segment(tape, x), .aux = s};
    tn_status status = args.out ? skim(tape, s, x, args.out) : TN_E_NOMEM;
    if (!status) status = record(tape, NULL, &args);
    return status ? fail(tape, status) : args.out;
}

void tn_tape_rest(tn_tape *tape) { tape->rests = tape->again; }

/* ---- backward ---- */

static void clear_run(void *context, int64_t begin, int64_t end) {
    memset((tn_real *)context + begin, 0, (size_t)(end - begin) * sizeof(tn_real));
}

/* Finds or makes the gradient of input i and says what is in it. */
static tn_status open_gradient(node *n, int i) {
    tn_tape *tape = n->args.tape;
    tn_tensor *x = n->args.in[i];
    tn_op_fresh fresh = n->op->fresh;
    n->args.write[i] = TN_WRITE_ADD;
    if (x->param ? !x->param->grad_empty : x->grad != NULL) return TN_OK;
    if (!x->grad && i == 0 && fresh == TN_FRESH_HANDS) {
        x->grad = n->args.out->grad;
        n->args.write[i] = TN_WRITE_HANDED;
        return TN_OK;
    }
    if (!x->grad) x->grad = tn_grad_pool_take(&tape->pool, tn_tensor_count(x));
    if (!x->grad) return TN_E_NOMEM;
    if (fresh == TN_FRESH_ADDS && !tape->dry)
        tn_par_for(tn_tensor_count(x), TN_OP_RUN, clear_run, x->grad);
    else if (fresh != TN_FRESH_ADDS)
        n->args.write[i] = TN_WRITE_SET;
    return TN_OK;
}

static tn_status open_gradients(node *n) {
    for (int i = 0; i < TN_OP_INPUTS; i++) {
        const tn_tensor *x = n->args.in[i];
        if (!x || !x->needs_grad || (x->param && !x->grad)) continue;
        TN_TRY(open_gradient(n, i));
    }
    return TN_OK;
}

/* A parameter's gradient holds something now; the result's has served. */
static void close_gradients(node *n) {
    tn_tape *tape = n->args.tape;
    for (int i = 0; i < TN_OP_INPUTS; i++) {
        const tn_tensor *x = n->args.in[i];
        if (x && x->param && x->grad && !tape->dry) x->param->grad_empty = false;
    }
    if (n->args.write[0] != TN_WRITE_HANDED) tn_grad_pool_give(&tape->pool, n->args.out->grad);
    n->args.out->grad = NULL;
}

static tn_status run_op_back(node *n) {
    tn_tape *tape = n->args.tape;
    double begin = tape->times ? tn_clock_seconds() : 0;
    TN_TRY(open_gradients(n));
    if (!tape->dry) n->op->backward(&n->args);
    close_gradients(n);
    tn_arena_reset(tape->scratch);
    if (tape->times) tape->times->backward[n->op - tn_ops] += tn_clock_seconds() - begin;
    return tape->status;
}

static tn_status run_nodes_back(tn_tape *tape, node *last);

/* Run the body again, this time recorded, from a stand-in for x, and backwards. */
static tn_status run_segment_back(node *n) {
    tn_tape *tape = n->args.tape;
    const segment *s = n->args.aux;
    tn_tensor *x = n->args.in[0];
    tn_arena_mark mark = tn_arena_get_mark(tape->step);
    node *before = tape->last;
    tn_tensor *start = leaf(tape, TN_REAL, x->n_dims, x->dims);
    if (!start) return TN_E_NOMEM;
    start->real = x->real;
    start->needs_grad = x->needs_grad;
    start->grad = x->grad;
    tape->last = NULL;
    tape->again = true;
    tn_tensor *y = s->body(s->context, tape, start);
    tape->again = tape->rests = false;
    if (!tape->status && y->needs_grad) {
        y->grad = n->args.out->grad;
        (void)tn_tape_fail(tape, run_nodes_back(tape, tape->last));
    }
    x->grad = start->grad;
    n->args.out->grad = NULL;
    tape->last = before;
    tn_arena_rewind(tape->step, &mark);
    return tape->status;
}

/* A result without a gradient was not used on the way to the loss. */
static tn_status run_nodes_back(tn_tape *tape, node *last) {
    for (node *n = last; n && !tape->status; n = n->before)
        if (n->args.out->grad) TN_TRY(n->op ? run_op_back(n) : run_segment_back(n));
    return tape->status;
}

tn_status tn_tape_backward(tn_tape *tape, tn_tensor *loss) {
    if (tape->status) return tape->status;
    if (tape->mode != TN_TAPE_RECORD || !loss->needs_grad || !tape->last)
        return TN_FAIL(NOGRAD, "backward: the loss does not depend on anything that is trained");
    if (tn_tensor_count(loss) != 1) return TN_FAIL(SHAPE, "backward: the loss must be one number");
    if (tape->ran_backward) return TN_FAIL(ARG, "backward: this pass was already run backwards");
    tape->ran_backward = true;
    loss->grad = tn_grad_pool_take(&tape->pool, 1);
    if (!loss->grad) return tn_tape_fail(tape, TN_E_NOMEM);
    if (!tape->dry) loss->grad[0] = 1;
    return tn_tape_fail(tape, run_nodes_back(tape, tape->last));
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

tn_tensor *tn_tape_constant(tn_tape *tape, const tn_tensor *x) {
    if (tape->status) return &tape->empty;
    tn_tensor *y = tn_arena_alloc(tape->step, sizeof *y, "tape");
    if (!y) return fail(tape, TN_E_NOMEM);
    *y = *x;
    y->grad = NULL;
    y->needs_grad = false;
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
