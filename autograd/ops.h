/* SPDX-License-Identifier: MIT
 * ops.h - differentiable arithmetic. Each call runs an op on a tape and returns its result (empty after a failure).
 * Activations are [.., C]: the leading dimensions are rows. The formulas stand in ops.def, the derivatives on each
 * page. */
#ifndef TN_AUTOGRAD_OPS_H
#define TN_AUTOGRAD_OPS_H
#include "autograd/tape.h"
#include "kernels/attention.h"

tn_tensor *tn_add(tn_tape *t, tn_tensor *a, tn_tensor *b); /* same shape */
tn_tensor *tn_mul(tn_tape *t, tn_tensor *a, tn_tensor *b);
tn_tensor *tn_scale(tn_tape *t, tn_tensor *x, tn_real s);
/* The same numbers under other dimensions with the same count, without a copy. Not for codes. */
tn_tensor *tn_reshape(tn_tape *t, tn_tensor *x, int n_dims, const int *dims);
/* ids [B,T], table [V,C] -> [B,T,C]. Fails: TN_E_RANGE for an id outside 0..V-1. */
tn_tensor *tn_embedding(tn_tape *t, tn_tensor *ids, tn_param *table);
/* Over runs of w's length, which must divide the last dimension (a gain per head for QK-norm). eps > 0. */
tn_tensor *tn_rms_norm(tn_tape *t, tn_tensor *x, tn_param *w, tn_real eps);
/* x [..,k], w [m,k] float -> [..,m] */
tn_tensor *tn_linear(tn_tape *t, tn_tensor *x, tn_param *w);
/* Per row absmax to int8: CODES. With lambda < 1: REAL, x + lambda (q(x) - x), and bitlinear then uses w's `mixed`
 * floats. */
tn_tensor *tn_act_quant(tn_tape *t, tn_tensor *x, tn_real lambda);
/* x: what tn_act_quant returned; w quantised, refreshed with the same lambda -> [..,m]. Shared by q, k, v and by gate,
 * up. */
tn_tensor *tn_bitlinear(tn_tape *t, tn_tensor *x, tn_param *w);
/* The same of several matrices in one hand-over to the threads: y[i] = tn_bitlinear(t, x, w[i]). All fully quantised.
 */
enum { TN_BITLINEAR_GROUP = 4 };
void tn_bitlinear_group(tn_tape *t, tn_tensor *x, tn_param *const *w, int count, tn_tensor **y);

/* x + tn_bitlinear(codes, w), the end of a branch beside the residual stream. x [..,m]. */
tn_tensor *tn_bitlinear_add(tn_tape *t, tn_tensor *x, tn_tensor *codes, tn_param *w);
/* tn_act_quant(tn_rms_norm(x, w), 1) and the same of tn_relu2_gate or tn_silu_gate, the same bits in one pass: neither
 * the gated nor the normed row is stored. w [C] covers the whole row. -> CODES */
tn_tensor *tn_norm_quant(tn_tape *t, tn_tensor *x, tn_param *w, tn_real eps);
typedef enum tn_gate { TN_GATE_RELU2, TN_GATE_SILU } tn_gate;
tn_tensor *tn_gate_norm_quant(tn_tape *t, tn_tensor *u, tn_tensor *v, tn_param *w, tn_real eps, tn_gate gate);
/* The same with the normed row stored after all, as `real` of the result: for readers of both. */
tn_tensor *tn_norm_quant_kept(tn_tape *t, tn_tensor *x, tn_param *w, tn_real eps);
tn_tensor *tn_gate_norm_quant_kept(tn_tape *t, tn_tensor *u, tn_tensor *v, tn_param *w, tn_real eps, tn_gate gate);

/* Tables for positions 0..n_positions-1: cosine and sine [n_positions, d/2] of position * theta^(-2i/d) / slowdown[i],
 * from double. */
typedef struct tn_rope_table {
    int n_positions, d;
    tn_real *cosine, *sine;
} tn_rope_table;
tn_status tn_rope_table_init(tn_rope_table *table, tn_arena *arena, int n_positions, int d); /* memory */
/* slowdown [d/2] or NULL: ones. theta > 0. Parallel inside. */
void tn_rope_table_fill(tn_rope_table *table, double theta, const float *slowdown);
/* x [B,T,H*d]; row (b,t) is at position positions[b T + t], NULL: t; they are borrowed until the next begin. Half-split
 * pairs (i, i+d/2), "NEOX". */
tn_tensor *tn_rope(tn_tape *t, tn_tensor *x, const tn_rope_table *table, const int *positions);
/* The same over the numbers of x, which are gone afterwards: for a result that nothing else reads, neither another op
 * nor the backward of the op that made it. */
tn_tensor *tn_rope_in_place(tn_tape *t, tn_tensor *x, const tn_rope_table *table, const int *positions);

/* The keys and values of one layer of one sequence: tiles [positions / TN_KEY_TILE][n_head], kernels/attention.h. What
 * is held lies at the beginning, so that pages are taken as it grows. */
typedef struct tn_kv {
    tn_kv_type type;
    int n_head, d; /* of keys */
    void *tiles;
    int capacity;
    int length; /* positions held before this call; the op appends its rows, the caller moves `length` on */
} tn_kv;
/* Bytes of the tiles of so many positions. */
size_t tn_kv_bytes(tn_kv_type type, int n_head, int d, int positions);
/* One position as files have it, n_head times tn_kv_row_bytes; and back. */
void tn_kv_save(const tn_kv *kv, int position, void *rows);
void tn_kv_restore(tn_kv *kv, int position, const void *rows);
/* A run of rows of one pass that belongs to one sequence: after what its cache holds, or, without one, from its
 * beginning. */
typedef struct tn_kv_rows {
    tn_kv *kv; /* NULL = none */
    int rows;  /* > 0 */
} tn_kv_rows;
/* q [B,T,n_head*d], k, v [B,T,n_kv_head*d] -> [B,T,n_head*d]; query head i reads kv head i * n_kv_head / n_head.
 * n_runs 0: B sequences, whose T positions are all there is. Else the B T rows are `runs` end to end, which are
 * borrowed until the next begin: none with a cache (documents that share rows), or all, each with its own; then B = 1,
 * forward only, and a full cache fails with TN_E_RANGE. */
tn_tensor *tn_attention(tn_tape *t, tn_tensor *q, tn_tensor *k, tn_tensor *v, int n_head, int n_kv_head,
                        const tn_kv_rows *runs, int n_runs);

tn_tensor *tn_relu2(tn_tape *t, tn_tensor *x);
tn_tensor *tn_silu(tn_tape *t, tn_tensor *x);
tn_tensor *tn_relu2_gate(tn_tape *t, tn_tensor *u, tn_tensor *v);
tn_tensor *tn_silu_gate(tn_tape *t, tn_tensor *u, tn_tensor *v);
/* p in [0,1). `site` tells dropouts of one pass apart; the mask is a function of (tape rng, site, index). Identity when
 * the tape is not recording, has no rng, or p = 0. */
tn_tensor *tn_dropout(tn_tape *t, tn_tensor *x, tn_real p, uint32_t site);

/* An adapter of rank r beside a matrix: y + c (drop(x) A) B', A [k,r], B [m,r] float. What it reads of x: */
typedef struct tn_lora_reading {
    bool raw;     /* of codes, the numbers that stay beside them (tn_norm_quant_kept); else what they stand for */
    tn_real drop; /* as tn_dropout, of x: p */
    uint32_t site;
} tn_lora_reading;
/* x [..,k] reals or codes -> [..,r]. */
tn_tensor *tn_lora_down(tn_tape *t, tn_tensor *x, tn_param *a, tn_lora_reading reading);
/* y [..,m] + c p B' for p [..,r], over the numbers of y, which are gone afterwards: for a result that nothing else
 * reads, neither another op nor the backward of the op that made it. */
tn_tensor *tn_lora_up(tn_tape *t, tn_tensor *y, tn_tensor *p, tn_param *b, tn_real c);
/* y as it is, with the gradients of p and b all the same: for a y that has c p B' inside (an adapter within the
 * quantiser of its matrix). */
tn_tensor *tn_lora_within(tn_tape *t, tn_tensor *y, tn_tensor *p, tn_param *b, tn_real c);

/* A model of the same vocabulary to learn from (Hinton 2015): each row's loss gets weight tau^2 KL(teacher || student),
 * of softmax(logits / tau). Its logits are made chunk by chunk, too; it gets no gradient. Borrowed until the next
 * begin. The products of a pass with a teacher are of floats where the tape asks for TN_BACKWARD_INT16. */
typedef struct tn_teacher {
    const tn_param *head;  /* [V, its width], float or a table; NULL: no teacher */
    const tn_real *hidden; /* [N, its width] what its head reads */
    tn_real temperature;   /* tau, > 0 */
    tn_real weight;        /* >= 0 */
    double *divergence;    /* receives the sum of KL over targets, in double; or NULL */
} tn_teacher;

typedef struct tn_loss_options {
    double divisor;  /* D: one for the whole optimizer step, > 0 */
    tn_real z_loss;  /* c, >= 0 */
    double *sum;     /* receives the sum of lse - z[y] over targets, in double; or NULL */
    bool final;      /* the pass ends here: backward will start from this result, and forward may prepare for it */
    double *row_nll; /* [N] receives lse - z[y] of each row with a target, the others are left alone; or NULL */
    /* [N] what each row's share of the result and of the gradients is multiplied by; NULL: ones. Borrowed until the
     * next begin. The result is made with what stands there in forward, the gradients with what stands there when they
     * are made: a pass that is not `final` may fill it in between, from row_nll. */
    const tn_real *row_weight;
    tn_teacher teacher;
} tn_loss_options;
/* Head and cross-entropy in one: logits are made chunk by chunk and never stored whole. x [..,C], w [V,C], targets
 * (negative = no loss, else < V) -> [1]. */
tn_tensor *tn_head_loss(tn_tape *t, tn_tensor *x, tn_param *w, tn_tensor *targets, tn_loss_options options);

#endif
