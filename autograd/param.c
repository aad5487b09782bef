/* SPDX-License-Identifier: MIT */
#include "autograd/param.h"

#include "core/par.h"
#include "kernels/backward.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { MIN_BLOCK = 1 << 14, BLOCK_STEP = 256 };

int64_t tn_param_count(const tn_param *param) { return (int64_t)param->rows * param->cols; }

int64_t tn_param_block_size(int64_t count) {
    int64_t share = (count + TN_PARAM_BLOCKS - 1) / TN_PARAM_BLOCKS;
    return TN_MAX((int64_t)MIN_BLOCK, TN_ROUND_UP(share, BLOCK_STEP));
}

static int64_t blocks_in(int64_t count) {
    return (count + tn_param_block_size(count) - 1) / tn_param_block_size(count);
}

static tn_status take_states(tn_param *param, tn_arena *arena, tn_param_use use) {
    int m = param->rows, k = param->cols;
    param->packing = use == TN_PARAM_FROZEN ? tn_k->run_packing : TN_PACKING_PAIRS;
    if (use != TN_PARAM_FROZEN) TN_TAKE0(param->states, arena, tn_param_count(param), "ternary states");
    /* Not cleared: all of it is written, and that is when pages are taken. */
    param->packed_states = tn_arena_alloc(arena, tn_pack_ternary_bytes(param->packing, m, k), "packed ternary");
    if (!param->packed_states) return TN_E_NOMEM;
    if (use != TN_PARAM_TRAINED) return TN_OK;
    TN_TAKE0(param->block_sums, arena, blocks_in(tn_param_count(param)), "ternary states");
    param->packed_turned = tn_arena_zalloc(arena, 1, tn_pack_ternary_turned_bytes(m, k), "packed ternary");
    return param->packed_turned ? TN_OK : TN_E_NOMEM;
}

tn_status tn_param_take_value(tn_param *param, tn_arena *arena) {
    TN_TAKE0(param->tensor.real, arena, tn_param_count(param), "weights");
    if (param->quantizer != TN_QUANT_NONE || !param->product) return TN_OK;
    /* Not cleared: a run that never asks for logits then never touches it. */
    param->packed_real = tn_arena_alloc(arena, tn_pack_real_bytes(param->rows, param->cols), "packed floats");
    param->packed = param->packed_real;
    return param->packed ? TN_OK : TN_E_NOMEM;
}

tn_status tn_param_train(tn_param *param, tn_arena *arena) {
    TN_ASSERT(param->quantizer == TN_QUANT_NONE && param->tensor.real);
    if (!param->tensor.grad) TN_TAKE0(param->tensor.grad, arena, tn_param_count(param), "gradients");
    param->tensor.needs_grad = param->grad_empty = true;
    return TN_OK;
}

tn_status tn_param_init(tn_param *param, tn_arena *arena, tn_param_use use) {
    bool quantized = param->quantizer != TN_QUANT_NONE, trained = use == TN_PARAM_TRAINED;
    bool frozen = use == TN_PARAM_FROZEN || use == TN_PARAM_KEPT;
    tn_tensor *x = &param->tensor;
    bool vector = param->rows == 1 && !param->product && !quantized;
    *x = (tn_tensor){.dtype = TN_REAL, .n_dims = vector ? 1 : 2, .dims = {param->rows, param->cols}};
    if (vector) x->dims[0] = param->cols;
    x->param = param;
    x->needs_grad = trained;
    param->lambda = 1;
    param->grad_empty = trained;
    if (!(frozen && (quantized || param->tabular))) TN_TRY(tn_param_take_value(param, arena));
    if (trained) TN_TAKE0(x->grad, arena, tn_param_count(param), "gradients");
    if (quantized) {
        TN_TRY(take_states(param, arena, use));
        param->packed = param->packed_states;
    }
    return TN_OK;
}

void tn_param_put_states(tn_param *param, int first_row, int rows, const int8_t *states) {
    TN_ASSERT(param->packed_states && !param->tensor.real);
    tn_pack_ternary_rows(param->packing, param->rows, param->cols, first_row, rows, states, param->packed_states);
    if (param->states)
        memcpy(param->states + (int64_t)first_row * param->cols, states, (size_t)rows * (size_t)param->cols);
}

tn_status tn_param_put_table(tn_param *param, tn_table table) {
    TN_ASSERT(param->tabular && !param->tensor.real && table.data);
    TN_TRY(tn_table_check(table.type, param->cols));
    param->table = table;
    return TN_OK;
}

int64_t tn_param_table_bytes(const tn_param *param) {
    if (!param->table.data) return 0;
    return (int64_t)tn_table_row_bytes(param->table.type, param->cols) * param->rows;
}

int64_t tn_param_packed_bytes(const tn_param *param) {
    if (param->quantizer != TN_QUANT_NONE || !param->packed_real) return 0;
    return (int64_t)tn_pack_real_bytes(param->rows, param->cols);
}

const tn_real *tn_param_rows(const tn_param *param, int first, int rows, tn_real *room) {
    if (param->tensor.real) return param->tensor.real + (int64_t)first * param->cols;
    tn_table_rows(&param->table, param->cols, first, rows, room);
    return room;
}

const int8_t *tn_param_states(const tn_param *param, int first, int rows, int8_t *room) {
    if (param->states) return param->states + (int64_t)first * param->cols;
    tn_unpack_ternary_rows(param->packing, param->cols, first, rows, param->packed_states, room);
    return room;
}

tn_real *tn_param_grad(tn_param *param) {
    tn_real *grad = param->tensor.grad;
    if (grad && param->grad_empty) memset(grad, 0, sizeof(tn_real) * (size_t)tn_param_count(param));
    param->grad_empty = false;
    return grad;
}

tn_status tn_param_allow_mixing(tn_param *param, tn_arena *arena) {
    if (param->quantizer == TN_QUANT_NONE || !param->tensor.real || param->mixed) return TN_OK;
    TN_TAKE0(param->mixed, arena, tn_param_count(param), "mixed weights");
    param->packed_real = tn_arena_zalloc(arena, 1, tn_pack_real_bytes(param->rows, param->cols), "mixed weights");
    return param->packed_real ? TN_OK : TN_E_NOMEM;
}

/* One pass over a matrix in blocks whose size depends on the matrix alone; partial sums are added in block order. */
typedef struct pass {
    const tn_real *value;
    int8_t *states;
    tn_real *mixed;
    int64_t count, block;
    tn_real factor; /* inverse scale, mean, or scale: what the pass needs */
    tn_real lambda;
    double sums[TN_PARAM_BLOCKS];
} pass;

static void run_pass(pass *p, tn_par_body *body) { tn_par_for(blocks_in(p->count), 1, body, p); }

static double total(const pass *p) {
    double sum = 0;
    for (int64_t i = 0; i < blocks_in(p->count); i++) sum += p->sums[i];
    return sum;
}

/* Elements of block i: [first, first + *n). */
static int64_t block_range(const pass *p, int64_t i, int64_t *n) {
    int64_t first = i * p->block;
    *n = TN_MIN(p->block, p->count - first);
    return first;
}

static void sum_blocks(void *context, int64_t begin, int64_t end) {
    pass *p = context;
    for (int64_t i = begin, n; i < end; i++) {
        int64_t first = block_range(p, i, &n);
        p->sums[i] = tn_k->sum(n, p->value + first);
    }
}

static void sum_abs_blocks(void *context, int64_t begin, int64_t end) {
    pass *p = context;
    for (int64_t i = begin, n; i < end; i++) {
        int64_t first = block_range(p, i, &n);
        p->sums[i] = tn_k->sum_abs(n, p->value + first);
    }
}

static void ternarize_blocks(void *context, int64_t begin, int64_t end) {
    pass *p = context;
    for (int64_t i = begin, n; i < end; i++) {
        int64_t first = block_range(p, i, &n);
        tn_k->ternarize(n, p->value + first, p->factor, p->states + first);
    }
}

static void binarize_blocks(void *context, int64_t begin, int64_t end) {
    pass *p = context;
    for (int64_t i = begin, n; i < end; i++) {
        int64_t first = block_range(p, i, &n);
        tn_k->binarize(n, p->value + first, p->factor, p->states + first);
    }
}

/* mixed = W + lambda (s T - W) */
static void mix_blocks(void *context, int64_t begin, int64_t end) {
    pass *p = context;
    for (int64_t i = begin, n; i < end; i++) {
        int64_t first = block_range(p, i, &n);
        const tn_real *w = p->value + first;
        const int8_t *states = p->states + first;
        tn_real *mixed = p->mixed + first;
        for (int64_t j = 0; j < n; j++) mixed[j] = w[j] + p->lambda * (p->factor * (tn_real)states[j] - w[j]);
    }
}

static pass pass_over(const tn_real *value, int8_t *states, int64_t count) {
    return (pass){.value = value, .states = states, .count = count, .block = tn_param_block_size(count)};
}

/* `sums`: sum |W| of each block, or NULL when they are still to be made. */
static void quantize(tn_quantizer quantizer, pass *p, const double *sums, tn_real *scale) {
    TN_ASSERT(quantizer != TN_QUANT_NONE);
    if (sums)
        memcpy(p->sums, sums, sizeof *sums * (size_t)blocks_in(p->count));
    else
        run_pass(p, sum_abs_blocks);
    *scale = (tn_real)(total(p) / (double)p->count);
    if (!(*scale >= (tn_real)1e-5)) *scale = (tn_real)1e-5; /* W1: clamp, not "+ eps" */
    if (quantizer == TN_QUANT_ABSMEAN_TERNARY) {
        p->factor = 1 / *scale; /* W2: one rounding */
        run_pass(p, ternarize_blocks);
    } else {
        run_pass(p, sum_blocks);
        p->factor = (tn_real)(total(p) / (double)p->count);
        run_pass(p, binarize_blocks);
    }
}

void tn_param_quantize(tn_quantizer quantizer, int rows, int cols, const tn_real *value, int8_t *states,
                       tn_real *scale) {
    pass p = pass_over(value, states, (int64_t)rows * cols);
    quantize(quantizer, &p, NULL, scale);
}

void tn_param_pack(tn_param *param) {
    if (param->stale) tn_pack_real(param->rows, param->cols, param->tensor.real, param->packed_real);
    param->stale = false;
}

void tn_param_refresh(tn_param *param, tn_real lambda) {
    if (!param->tensor.real) return;
    if (param->quantizer == TN_QUANT_NONE) {
        param->stale = param->product;
        if (!param->tensor.grad) tn_param_pack(param);
        return;
    }
    TN_ASSERT(lambda >= 1 || param->mixed);
    pass p = pass_over(param->tensor.real, param->states, tn_param_count(param));
    quantize(param->quantizer, &p, param->sums_known ? param->block_sums : NULL, &param->scale);
    param->sums_known = false;
    param->lambda = lambda;
    if (lambda >= 1) {
        tn_pack_ternary(param->packing, param->rows, param->cols, param->states, param->packed_states);
        if (param->packed_turned) tn_pack_ternary_turned(param->rows, param->cols, param->states, param->packed_turned);
        param->packed = param->packed_states;
        return;
    }
    p.mixed = param->mixed;
    p.factor = param->scale;
    p.lambda = lambda;
    run_pass(&p, mix_blocks);
    tn_pack_real(param->rows, param->cols, param->mixed, param->packed_real);
    param->packed = param->packed_real;
}

typedef struct refresh {
    tn_param *const *params;
    tn_real lambda;
} refresh;

static bool is_large(const tn_param *param) { return tn_param_count(param) >= 1 << 20; }

static void refresh_small(void *context, int64_t begin, int64_t end) {
    const refresh *r = context;
    for (int64_t i = begin; i < end; i++)
        if (!is_large(r->params[i])) tn_param_refresh(r->params[i], r->lambda);
}

/* Each pass over a small matrix is shorter than it takes to gather the threads three times for it; and one thread finds
 * the states that it packs in its own cache. */
void tn_params_refresh(tn_param *const *params, int n_params, tn_real lambda) {
    refresh r = {params, lambda};
    for (int i = 0; i < n_params; i++)
        if (is_large(params[i])) tn_param_refresh(params[i], lambda);
    tn_par_for(n_params, 1, refresh_small, &r);
}
