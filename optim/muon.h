/* SPDX-License-Identifier: MIT
 * muon.h - momentum, made orthogonal (Jordan 2024), for one matrix W [m,k]:
 *   b = mu b + g;  u = g + mu b;  rows of u to unit RMS;  X = u / |u|;
 *   three times  A = X X', X = 3.4445 X + (-4.775 A + 2.0315 A^2) X       (from the other side when m > k)
 *   of which A and A^2, their own transposes, are computed by half; in bf16 where tn_bf16_pays()
 *   W -= lr (sqrt(max(1, m/k)) X + decay W) */
#ifndef TN_OPTIM_MUON_H
#define TN_OPTIM_MUON_H
#include "autograd/param.h"

typedef struct tn_muon {
    tn_real *x, *next;     /* [largest matrix] */
    tn_real *gram, *curve; /* [largest short side, squared] */
    double *row_squares;   /* [most rows] */
} tn_muon;

typedef struct tn_muon_rates {
    double learning_rate, momentum, weight_decay, grad_scale;
} tn_muon_rates;

/* Scratch for all the matrices given. */
tn_status tn_muon_init(tn_muon *muon, tn_arena *arena, tn_param *const *params, int n_params);
/* One step of one matrix; `b` [m,k] is its slot. Leaves the gradient as it is, and sum |W| in block_sums. */
void tn_muon_step(const tn_muon *muon, const tn_muon_rates *rates, tn_param *param, tn_real *b);

#endif
