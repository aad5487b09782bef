/* SPDX-License-Identifier: MIT */
#include "optim/muon.h"

#include "core/par.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { NEWTON_SCHULZ_STEPS = 3, ROWS_AT_ONCE = 8 };

tn_status tn_muon_init(tn_muon *muon, tn_arena *arena, tn_param *const *params, int n_params) {
    int64_t largest = 0, shortest = 0, rows = 0;
    for (int i = 0; i < n_params; i++) {
        largest = TN_MAX(largest, tn_param_count(params[i]));
        shortest = TN_MAX(shortest, (int64_t)TN_MIN(params[i]->rows, params[i]->cols));
        rows = TN_MAX(rows, (int64_t)params[i]->rows);
    }
    TN_TAKE(muon->x, arena, largest, "optimizer scratch");
    TN_TAKE(muon->next, arena, largest, "optimizer scratch");
    TN_TAKE(muon->gram, arena, shortest * shortest, "optimizer scratch");
    TN_TAKE(muon->curve, arena, shortest * shortest, "optimizer scratch");
    TN_TAKE(muon->row_squares, arena, rows, "optimizer scratch");
    return TN_OK;
}

typedef struct matrix_step {
    const tn_muon *muon;
    tn_param *param;
    tn_real *b;
    tn_real momentum, grad_scale, step, keep; /* W = keep W - step X */
    const tn_real *x;
} matrix_step;

/* b = mu b + g, u = g + mu b, row by row; u lands in muon->x with unit RMS (a row of zeros stays one). */
static void momentum_rows(void *context, int64_t begin, int64_t end) {
    const matrix_step *s = context;
    int64_t k = s->param->cols;
    for (int64_t row = begin; row < end; row++) {
        tn_real *b = s->b + row * k, *u = s->muon->x + row * k;
        const tn_real *g = s->param->tensor.grad + row * k;
        for (int64_t j = 0; j < k; j++) {
            tn_real scaled = s->grad_scale * g[j];
            b[j] = s->momentum * b[j] + scaled;
            u[j] = scaled + s->momentum * b[j];
        }
        double rms = sqrt(tn_k->sum_squares(k, u) / (double)k);
        if (rms > 0) tn_k->scale(k, (tn_real)(1 / rms), u, u);
        s->muon->row_squares[row] = tn_k->sum_squares(k, u);
    }
}

static void scale_rows(void *context, int64_t begin, int64_t end) {
    const matrix_step *s = context;
    int64_t k = s->param->cols;
    tn_k->scale((end - begin) * k, s->step, s->muon->x + begin * k, s->muon->x + begin * k);
}

static void move_blocks(void *context, int64_t begin, int64_t end) {
    const matrix_step *s = context;
    int64_t size = tn_param_count(s->param), block = tn_param_block_size(size);
    for (int64_t b = begin; b < end; b++) {
        int64_t first = b * block, n = TN_MIN(size - first, block);
        tn_real *w = s->param->tensor.real + first;
        tn_k->scale(n, s->keep, w, w);
        tn_k->axpy(n, -s->step, s->x + first, w);
        if (s->param->block_sums) s->param->block_sums[b] = tn_k->sum_abs(n, w);
    }
}

/* Like the original, in bf16; in reals where that is as fast. */
typedef struct products {
    void (*multiply)(tn_op_of op_a, tn_op_of op_b, int m, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                     const tn_real *b, int64_t ldb, tn_real beta, tn_real *c, int64_t ldc);
    void (*square)(tn_op_of op, int n, int k, tn_real alpha, const tn_real *a, int64_t lda, tn_real beta, tn_real *c,
                   int64_t ldc);
} products;

static products choose_products(void) {
    if (tn_bf16_pays()) return (products){tn_product_bf16, tn_product_symmetric_bf16};
    return (products){tn_product, tn_product_symmetric};
}

/* X = 3.4445 X + (-4.775 A + 2.0315 A^2) X with A = X X', or the mirror image with A = X' X. Returns where X is. */
static tn_real *orthogonalize(const tn_muon *muon, int m, int k) {
    const tn_real c1 = (tn_real)3.4445, c3 = (tn_real)-4.775, c5 = (tn_real)2.0315;
    const products of = choose_products();
    const bool wide = m <= k;
    const int side = TN_MIN(m, k);
    tn_real *x = muon->x, *next = muon->next;
    for (int i = 0; i < NEWTON_SCHULZ_STEPS; i++) {
        of.square(wide ? TN_AS_IS : TN_TRANSPOSED, side, wide ? k : m, 1, x, k, 0, muon->gram, side);
        memcpy(muon->curve, muon->gram, sizeof(tn_real) * (size_t)side * (size_t)side);
        of.square(TN_AS_IS, side, side, c5, muon->gram, side, c3, muon->curve, side);
        memcpy(next, x, sizeof(tn_real) * (size_t)m * (size_t)k);
        if (wide)
            of.multiply(TN_AS_IS, TN_AS_IS, m, k, side, 1, muon->curve, side, x, k, c1, next, k);
        else
            of.multiply(TN_AS_IS, TN_AS_IS, m, k, side, 1, x, k, muon->curve, side, c1, next, k);
        tn_real *swap = x;
        x = next;
        next = swap;
    }
    return x;
}

void tn_muon_step(const tn_muon *muon, const tn_muon_rates *rates, tn_param *param, tn_real *b) {
    int m = param->rows, k = param->cols;
    matrix_step s = {.muon = muon,
                     .param = param,
                     .b = b,
                     .momentum = (tn_real)rates->momentum,
                     .grad_scale = (tn_real)rates->grad_scale};
    tn_par_for(m, ROWS_AT_ONCE, momentum_rows, &s);

    double squares = 0;
    for (int row = 0; row < m; row++) squares += muon->row_squares[row];
    s.step = squares > 0 ? (tn_real)(1 / sqrt(squares)) : 0;
    tn_par_for(m, ROWS_AT_ONCE, scale_rows, &s);

    s.x = orthogonalize(muon, m, k);
    s.step = (tn_real)(rates->learning_rate * sqrt(TN_MAX(1.0, (double)m / k)));
    s.keep = (tn_real)(1 - rates->learning_rate * rates->weight_decay);
    int64_t size = (int64_t)m * k, block = tn_param_block_size(size);
    tn_par_for((size + block - 1) / block, 1, move_blocks, &s);
}
