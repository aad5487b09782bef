/* SPDX-License-Identifier: MIT
 * op_bitlinear.c -  Y = ((q T') / s) a;  bitlinear_add: Y = X0 + ((q T') / s) a
 *                   q [N,k] int8 with s [N]   T [m,k] in {-1,0,1} with scale a   Y [N,m]
 *                   dX = a dY T,  dW = dY' (q / s)        straight through both quantisers, onto X and the latent W
 *                   on exact integers when the tape says so (kernels/backward.h), else in f32
 * lambda < 1: Y = X V', V = W + lambda (a T - W), both real;  dX = dY V,  dW = dY' X.
 * Frozen residuals (tape.h): KEEP stores V - W; REPLAY uses V = W + stored. A frozen ternary weight has no W: V = a T,
 * dX goes through its panels, and there is no dW.
 * For backward only references to the codes and the states are held. */
#include "autograd/op_page.h"
#include "kernels/backward.h"
#include "kernels/gemm.h"

#include <string.h>

/* Reals of scratch for one slice of an expanded operand: the slices depend on the shapes alone. */
enum { SLICE = 1 << 20, SLICE_ROWS_MIN = 64 };

typedef struct bit_aux {
    tn_real *residual; /* [m,k] to fill (KEEP) or to add (REPLAY), or NULL */
    tn_real *replayed; /* [m,k] V of a replay, or NULL */
    const tn_real *v;  /* [m,k] V of a real product; NULL when the product is of codes and states */
    void *packed;      /* V of a replay, packed */
    int8_t *room;      /* [m,k] of a replay of states that are not kept, or NULL */
} bit_aux;

/* bitlinear_add has X0 in front of the inputs of bitlinear. */
static bool has_base(const tn_op_args *a) { return a->in[2] != NULL; }
static int codes_at(const tn_op_args *a) { return has_base(a) ? 1 : 0; }
static int weights_at(const tn_op_args *a) { return codes_at(a) + 1; }
static tn_tensor *codes_of(const tn_op_args *a) { return a->in[codes_at(a)]; }
static tn_param *weights_of(const tn_op_args *a) { return a->in[weights_at(a)]->param; }

/* Products of the same codes: each op but the last leaves its own to the last one. */
typedef struct bit_group {
    int size, count;
    tn_ternary_out outs[TN_BITLINEAR_GROUP];
} bit_group;
typedef struct bit_options {
    bit_group *group; /* or NULL */
} bit_options;

tn_tensor *tn_bitlinear(tn_tape *t, tn_tensor *x, tn_param *w) {
    return tn_tape_apply(t, TN_OP_bitlinear, (tn_tensor *const[]){x, &w->tensor}, NULL, 0);
}

void tn_bitlinear_group(tn_tape *t, tn_tensor *x, tn_param *const *w, int count, tn_tensor **y) {
    bit_group group = {.size = count};
    const bit_options options = {&group};
    TN_ASSERT(count <= TN_BITLINEAR_GROUP);
    for (int i = 0; i < count; i++)
        y[i] = tn_tape_apply(t, TN_OP_bitlinear, (tn_tensor *const[]){x, &w[i]->tensor}, &options, sizeof options);
}

tn_tensor *tn_bitlinear_add(tn_tape *t, tn_tensor *x, tn_tensor *codes, tn_param *w) {
    return tn_tape_apply(t, TN_OP_bitlinear_add, (tn_tensor *const[]){x, codes, &w->tensor}, NULL, 0);
}

static int slice_rows(int cols) { return TN_MAX(SLICE / cols, SLICE_ROWS_MIN); }

static tn_status check_operands(const tn_op_args *a, bool replay) {
    const tn_tensor *x = codes_of(a);
    const tn_param *w = weights_of(a);
    if (!w || w->quantizer == TN_QUANT_NONE)
        return TN_FAIL(DTYPE, "bitlinear: %s is no quantised parameter", w ? w->name : "the last input");
    bool real = replay || w->lambda < 1;
    TN_TRY(tn_op_need(a, "bitlinear", codes_at(a), real ? TN_REAL : TN_CODES));
    char shape[64];
    if (tn_tensor_cols(x) != w->cols)
        return TN_FAIL(SHAPE, "bitlinear: x %s does not fit %s [%d,%d]", tn_tensor_shape(x, shape), w->name, w->rows,
                       w->cols);
    return TN_OK;
}

static tn_status prepare_residual(const tn_op_args *a, bit_aux *aux, bool replay) {
    const tn_param *w = weights_of(a);
    int64_t count = tn_param_count(w);
    bool latent = w->tensor.real != NULL;
    if (latent && !(aux->residual = tn_tape_residual(a->tape, count))) return tn_tape_fail(a->tape, TN_E_MISMATCH);
    if (!replay) return TN_OK;
    TN_TAKE(aux->replayed, tn_tape_step(a->tape), count, "activations");
    aux->v = aux->replayed;
    if (!w->states) TN_TAKE(aux->room, tn_tape_scratch(a->tape), count, "op scratch");
    aux->packed = tn_arena_alloc(tn_tape_scratch(a->tape), tn_pack_real_bytes(w->rows, w->cols), "op scratch");
    return aux->packed ? TN_OK : TN_E_NOMEM;
}

/* Whether backward multiplies integers. */
static bool on_integers(const tn_op_args *a) {
    const bit_aux *aux = a->aux;
    const tn_param *w = weights_of(a);
    return !aux->v && w->rows <= TN_FIXED_M_MAX && tn_tape_backward_arithmetic(a->tape) == TN_BACKWARD_INT16;
}

/* Scratch is counted in reals. */
static int64_t reals_of(size_t bytes) { return (int64_t)(bytes / sizeof(tn_real) + 1); }

static int64_t dx_scratch(const tn_op_args *a) {
    const tn_param *w = weights_of(a);
    const int n = (int)tn_tensor_rows(codes_of(a));
    return reals_of(w->packed_turned ? tn_ternary_dx_scratch(n, w->rows)
                                     : tn_ternary_dx_packed_scratch(n, w->rows, w->cols));
}
static int64_t dw_scratch(const tn_op_args *a) {
    const tn_param *w = weights_of(a);
    return reals_of(tn_ternary_dw_scratch((int)tn_tensor_rows(codes_of(a)), w->rows, w->cols));
}

/* Numbers, and bytes behind them, of a slice of states. */
static int64_t state_count(const tn_param *w) { return (int64_t)TN_MIN(w->rows, slice_rows(w->cols)) * w->cols; }
static int64_t state_scratch(const tn_param *w) { return state_count(w) + reals_of((size_t)state_count(w)); }

static tn_status reserve_scratch(const tn_op_args *a) {
    const tn_param *w = weights_of(a);
    const bool moves = w->tensor.needs_grad;
    if (on_integers(a)) return tn_op_reserve(a, moves ? TN_MAX(dx_scratch(a), dw_scratch(a)) : dx_scratch(a));
    int64_t rows = moves ? TN_MIN(tn_tensor_rows(codes_of(a)), slice_rows(w->rows + w->cols)) : 0;
    return tn_op_reserve(a, TN_MAX(state_scratch(w), rows * ((int64_t)w->rows + w->cols)));
}

tn_status tn_op_bitlinear_check(tn_op_args *a) {
    tn_residual_mode mode = tn_tape_residual_mode(a->tape);
    bool replay = mode == TN_RESIDUAL_REPLAY;
    TN_TRY(check_operands(a, replay));
    const tn_param *w = weights_of(a);
    bit_aux *aux;
    TN_TAKE0(aux, tn_tape_step(a->tape), 1, "tape");
    a->aux = aux;
    if (w->lambda < 1) aux->v = w->mixed;
    if (mode != TN_RESIDUAL_OFF) TN_TRY(prepare_residual(a, aux, replay));
    TN_TRY(reserve_scratch(a));
    int dims[4] = {0};
    memcpy(dims, codes_of(a)->dims, sizeof dims);
    dims[codes_of(a)->n_dims - 1] = w->rows;
    a->out = tn_op_result(a, TN_REAL, codes_of(a)->n_dims, dims);
    return a->out ? TN_OK : TN_E_NOMEM;
}

tn_status tn_op_bitlinear_add_check(tn_op_args *a) {
    char shape[2][64];
    TN_TRY(tn_op_need(a, "bitlinear_add", 0, TN_REAL));
    TN_TRY(tn_op_bitlinear_check(a));
    if (!tn_tensor_same_shape(a->in[0], a->out))
        return TN_FAIL(SHAPE, "bitlinear_add: shapes %s and %s differ", tn_tensor_shape(a->in[0], shape[0]),
                       tn_tensor_shape(a->out, shape[1]));
    return TN_OK;
}

static void keep_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    const bit_aux *aux = a->aux;
    const tn_param *w = weights_of(a);
    tn_real *residual = aux->residual + i;
    if (aux->v)
        tn_k->scale(end - i, 1, aux->v + i, residual);
    else
        tn_k->expand_states(end - i, w->states + i, w->scale, residual);
    tn_k->axpy(end - i, -1, weights_of(a)->tensor.real + i, residual);
}

static void replay_run(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    const bit_aux *aux = a->aux;
    tn_k->add(end - i, weights_of(a)->tensor.real + i, aux->residual + i, aux->replayed + i);
}

/* Rows of states as numbers. */
typedef struct expansion {
    const tn_param *w;
    int64_t first; /* row of T */
    tn_real scale;
    tn_real *y;   /* [rows, k] */
    int8_t *room; /* [rows, k], for states that are not kept */
} expansion;

static void expand_rows(void *context, int64_t begin, int64_t end) {
    const expansion *e = context;
    const int64_t k = e->w->cols;
    int8_t *room = e->room ? e->room + begin * k : NULL;
    tn_k->expand_states((end - begin) * k, tn_param_states(e->w, (int)(e->first + begin), (int)(end - begin), room),
                        e->scale, e->y + begin * k);
}

static void replay_states(const tn_op_args *a) {
    const bit_aux *aux = a->aux;
    expansion e = {.w = weights_of(a), .scale = weights_of(a)->scale, .y = aux->replayed, .room = aux->room};
    tn_par_for(e.w->rows, TN_MAX(TN_OP_RUN / e.w->cols, 1), expand_rows, &e);
}

static void multiply_codes(const tn_op_args *a) {
    const bit_options *options = a->options;
    const tn_tensor *x = codes_of(a);
    const tn_param *w = weights_of(a);
    bit_group alone = {.size = 1}, *group = options && options->group ? options->group : &alone;
    group->outs[group->count++] = (tn_ternary_out){.m = w->rows,
                                                   .packing = w->packing,
                                                   .packed = w->packed,
                                                   .a = w->scale,
                                                   .base = has_base(a) ? a->in[0]->real : NULL,
                                                   .y = a->out->real};
    if (group->count == group->size)
        tn_gemm_ternary_each((int)tn_tensor_rows(x), w->cols, x->codes, x->row_scale, group->outs, group->count);
}

void tn_op_bitlinear_forward(const tn_op_args *a) {
    const bit_aux *aux = a->aux;
    const tn_tensor *x = codes_of(a);
    const tn_param *w = weights_of(a);
    int n = (int)tn_tensor_rows(x), m = w->rows, k = w->cols;
    bool keep = aux->residual && !aux->replayed;
    if (keep) tn_par_for(tn_param_count(w), TN_OP_RUN, keep_run, (void *)(uintptr_t)a);
    if (aux->replayed) {
        if (aux->residual)
            tn_par_for(tn_param_count(w), TN_OP_RUN, replay_run, (void *)(uintptr_t)a);
        else
            replay_states(a);
        tn_pack_real(m, k, aux->replayed, aux->packed);
        tn_gemm_real(n, m, k, x->real, aux->packed, a->out->real);
    } else if (aux->v) {
        tn_gemm_real(n, m, k, x->real, w->packed, a->out->real);
    } else {
        multiply_codes(a);
    }
}

static void add_base(void *context, int64_t i, int64_t end) {
    const tn_op_args *a = context;
    tn_k->accumulate(end - i, a->in[0]->real + i, a->out->real + i);
}

void tn_op_bitlinear_add_forward(const tn_op_args *a) {
    const bit_aux *aux = a->aux;
    tn_op_bitlinear_forward(a);
    if (aux->v) tn_op_runs(a, add_base); /* the ternary product has added it in passing */
}

static void backward_real(const tn_op_args *a, const tn_real *v) {
    const tn_tensor *x = codes_of(a);
    const tn_param *w = weights_of(a);
    const tn_real *dy = a->out->grad;
    int n = (int)tn_tensor_rows(x), m = w->rows, k = w->cols, at = codes_at(a);
    if (tn_op_wants(a, at)) tn_product(TN_AS_IS, TN_AS_IS, n, k, m, 1, dy, m, v, k, tn_op_beta(a, at), x->grad, k);
    if (tn_op_wants(a, at + 1))
        tn_product(TN_TRANSPOSED, TN_AS_IS, m, k, n, 1, dy, m, x->real, k, tn_op_beta(a, at + 1), w->tensor.grad, k);
}

/* dX += a (dY T), over slices of T's rows in order. */
static void backward_dx(const tn_op_args *a) {
    const tn_param *w = weights_of(a);
    int n = (int)tn_tensor_rows(codes_of(a)), m = w->rows, k = w->cols, step = TN_MIN(m, slice_rows(k));
    expansion e = {.w = w, .scale = 1, .y = tn_op_scratch(a, state_scratch(w))};
    if (e.y) e.room = (int8_t *)(e.y + state_count(w));
    for (; e.y && e.first < m; e.first += step) {
        int count = TN_MIN(step, m - (int)e.first);
        tn_par_for(count, TN_MAX(TN_OP_RUN / k, 1), expand_rows, &e);
        tn_product(TN_AS_IS, TN_AS_IS, n, k, count, w->scale, a->out->grad + e.first, m, e.y, k,
                   e.first ? 1 : tn_op_beta(a, codes_at(a)), codes_of(a)->grad, k);
    }
}

typedef struct slice {
    const tn_op_args *a;
    int64_t first;         /* row of q */
    tn_real *codes, *rows; /* q [rows, k] and dY / s [rows, m] */
} slice;

/* The row scale goes into dY first, so that the product runs on the exact integers q. */
static void expand_code_rows(void *context, int64_t begin, int64_t end) {
    const slice *p = context;
    const tn_tensor *x = codes_of(p->a), *y = p->a->out;
    int m = tn_tensor_cols(y), k = tn_tensor_cols(x);
    for (int64_t i = begin; i < end; i++) {
        int64_t row = p->first + i;
        tn_k->dequantize_row(k, x->codes + row * k, 1, p->codes + i * k);
        tn_k->scale(m, 1 / x->row_scale[row], y->grad + row * m, p->rows + i * m);
    }
}

/* dW += (dY / s)' q, over slices of tokens in order. */
static void backward_dw(const tn_op_args *a) {
    const tn_param *w = weights_of(a);
    int m = w->rows, k = w->cols;
    int64_t n = tn_tensor_rows(codes_of(a)), step = TN_MIN(n, slice_rows(m + k));
    slice p = {.a = a, .codes = tn_op_scratch(a, step * ((int64_t)m + k))};
    if (!p.codes) return;
    p.rows = p.codes + step * k;
    for (p.first = 0; p.first < n; p.first += step) {
        int count = (int)TN_MIN(step, n - p.first);
        tn_par_for(count, TN_MAX(TN_OP_RUN / (m + k), 1), expand_code_rows, &p);
        tn_product(TN_TRANSPOSED, TN_AS_IS, m, k, count, 1, p.rows, m, p.codes, k,
                   p.first ? 1 : tn_op_beta(a, weights_at(a)), w->tensor.grad, k);
    }
}

static tn_sum sum_of(const tn_op_args *a, int input) {
    return a->write[input] == TN_WRITE_SET ? TN_SUM_SET : TN_SUM_ADD;
}

static void integer_dx(const tn_op_args *a) {
    const tn_tensor *x = codes_of(a);
    const tn_param *w = weights_of(a);
    const int n = (int)tn_tensor_rows(x);
    void *scratch = tn_op_scratch(a, dx_scratch(a));
    if (!scratch) return;
    if (w->packed_turned)
        tn_ternary_dx(n, w->rows, w->cols, a->out->grad, w->packed_turned, w->scale, sum_of(a, codes_at(a)), x->grad,
                      scratch);
    else
        tn_ternary_dx_packed(n, w->rows, w->cols, a->out->grad, w->packing, w->packed, w->scale, sum_of(a, codes_at(a)),
                             x->grad, scratch);
}

static void integer_dw(const tn_op_args *a) {
    const tn_tensor *x = codes_of(a);
    const tn_param *w = weights_of(a);
    void *scratch = tn_op_scratch(a, dw_scratch(a));
    if (!scratch) return;
    tn_ternary_dw((int)tn_tensor_rows(x), w->rows, w->cols, a->out->grad, x->codes, x->row_scale,
                  sum_of(a, weights_at(a)), w->tensor.grad, scratch);
}

void tn_op_bitlinear_backward(const tn_op_args *a) {
    const bit_aux *aux = a->aux;
    if (aux->v) {
        backward_real(a, aux->v);
        return;
    }
    bool integers = on_integers(a);
    tn_arena_mark mark = tn_arena_get_mark(tn_tape_scratch(a->tape));
    if (tn_op_wants(a, codes_at(a))) (integers ? integer_dx : backward_dx)(a);
    tn_arena_rewind(tn_tape_scratch(a->tape), &mark);
    if (tn_op_wants(a, weights_at(a))) (integers ? integer_dw : backward_dw)(a);
}

void tn_op_bitlinear_add_backward(const tn_op_args *a) {
    tn_op_bitlinear_backward(a);
    tn_op_pass_on(a, 0);
}

const tn_op_sample tn_op_bitlinear_samples[] = {
    {.dims = {{1, 1}, {1, 1}}},
    {.dims = {{7, 33}, {5, 33}}},
    {.dims = {{2, 3, 17}, {40, 17}}},
    {.dims = {{70, 130}, {67, 130}}},     /* several tiles and tails each way */
    {.dims = {{66, 16400}, {65, 16400}}}, /* two slices of states and two of codes */
    {.dims = {{4, 8}, {3, 9}}, .expect = TN_E_SHAPE},
    TN_SAMPLES_END};

const tn_op_sample tn_op_bitlinear_add_samples[] = {{.dims = {{7, 5}, {7, 33}, {5, 33}}},
                                                    {.dims = {{2, 3, 40}, {2, 3, 17}, {40, 17}}},
                                                    {.dims = {{70, 67}, {70, 130}, {67, 130}}},
                                                    {.dims = {{4, 4}, {4, 8}, {3, 8}}, .expect = TN_E_SHAPE},
                                                    {.dims = {{4, 3}, {4, 8}, {3, 9}}, .expect = TN_E_SHAPE},
                                                    TN_SAMPLES_END};
