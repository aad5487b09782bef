/* SPDX-License-Identifier: MIT
 * op_attention.c -  per head: P = softmax(Q K' / sqrt D + causal), O = P V
 *                   q, o [B,T,H*D]  k, v [B,T,G*D]  aux lse [B,H,T]
 *                   dV = P' dO, dP = dO V', dS = P (dP - rowsum(dO O)), dQ = dS K / sqrt D, dK = dS' Q / sqrt D
 * Query head h reads kv head h G / H (docs/math.md, "Attention"). With a cache, k and v are appended to it first and
 * the queries see all it holds. No [T,T] matrix exists: the kernels work on tiles with an online softmax. */
#include "autograd/op_page.h"

#include <math.h>
#include <string.h>

typedef struct attention_options {
    int n_head, n_kv_head;
    tn_kv *kv; /* or NULL */
} attention_options;

tn_tensor *tn_attention(tn_tape *t, tn_tensor *q, tn_tensor *k, tn_tensor *v, int n_head, int n_kv_head, tn_kv *kv) {
    attention_options options = {n_head, n_kv_head, kv};
    return tn_tape_apply(t, TN_OP_attention, (tn_tensor *const[]){q, k, v}, &options, sizeof options);
}

static tn_status check_shapes(const tn_op_args *a) {
    const attention_options *o = a->options;
    const tn_tensor *q = a->in[0], *k = a->in[1], *v = a->in[2];
    for (int i = 0; i < 3; i++) TN_TRY(tn_op_need(a, "attention", i, TN_REAL));
    if (o->n_head < 1 || o->n_kv_head < 1 || o->n_head % o->n_kv_head)
        return TN_FAIL(SHAPE, "attention: %d heads are not shared evenly by %d kv heads", o->n_head, o->n_kv_head);
    char shape[2][64];
    if (q->n_dims != 3 || k->n_dims != 3 || q->dims[0] != k->dims[0] || q->dims[1] != k->dims[1] ||
        !tn_tensor_same_shape(k, v) || q->dims[2] % o->n_head || k->dims[2] % o->n_kv_head ||
        q->dims[2] / o->n_head != k->dims[2] / o->n_kv_head)
        return TN_FAIL(SHAPE, "attention: q %s and k, v %s do not fit %d and %d heads of one size",
                       tn_tensor_shape(q, shape[0]), tn_tensor_shape(k, shape[1]), o->n_head, o->n_kv_head);
    if (q->dims[2] / o->n_head > TN_HEAD_DIM_MAX)
        return TN_FAIL(SHAPE, "attention: heads of %d, at most %d", q->dims[2] / o->n_head, TN_HEAD_DIM_MAX);
    return TN_OK;
}

static tn_status check_cache(const tn_op_args *a, const tn_kv *kv) {
    const tn_tensor *q = a->in[0];
    if (q->dims[0] != 1) return TN_FAIL(SHAPE, "attention: a cache serves one sequence, not %d", q->dims[0]);
    if (tn_op_keeps(a)) return TN_FAIL(NOGRAD, "attention: there is no gradient through a cache");
    if (q->dims[1] > kv->capacity - kv->length)
        return TN_FAIL(RANGE, "attention: the cache holds %d of %d positions, no room for %d more", kv->length,
                       kv->capacity, q->dims[1]);
    return TN_OK;
}

tn_status tn_op_attention_check(tn_op_args *a) {
    const attention_options *o = a->options;
    TN_TRY(check_shapes(a));
    if (o->kv) TN_TRY(check_cache(a, o->kv));
    TN_TRY(tn_op_rows_result(a, a->in[0]->dims[2]));
    if (!tn_op_keeps(a)) return TN_OK;
    tn_real *lse;
    TN_TAKE(lse, tn_tape_step(a->tape), tn_tensor_rows(a->out) * o->n_head, "activations");
    a->aux = lse;
    return tn_op_reserve_grads(a, 3);
}

/* Queries first.. of head h of sequence b, all they may see, and where their results go. */
static tn_attention_rows rows_of(const tn_op_args *a, int64_t b, int h, int first, int n_queries) {
    const attention_options *o = a->options;
    const tn_tensor *q = a->in[0], *k = a->in[1];
    int64_t n_time = q->dims[1], d = q->dims[2] / o->n_head, kv_head = (int64_t)h * o->n_kv_head / o->n_head;
    int64_t query = (b * n_time + first) * q->dims[2] + h * d, key = b * n_time * k->dims[2] + kv_head * d;
    tn_real *lse = a->aux;
    return (tn_attention_rows){
        .n_queries = n_queries,
        .first = first + (o->kv ? o->kv->length : 0),
        .d = (int)d,
        .scale = 1 / (tn_real)sqrt((double)d),
        .q = q->real + query,
        .q_stride = q->dims[2],
        .k = o->kv ? o->kv->k + kv_head * d : k->real + key,
        .v = o->kv ? o->kv->v + kv_head * d : a->in[2]->real + key,
        .kv_stride = k->dims[2],
        .o = a->out->real + query,
        .o_stride = q->dims[2],
        .lse = lse ? lse + (b * o->n_head + h) * n_time + first : NULL,
    };
}

/* Items of the flat [B, H, query blocks]. */
static void forward_items(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    const attention_options *o = a->options;
    int n_time = a->in[0]->dims[1];
    int64_t blocks = (n_time + TN_QUERY_STRETCH - 1) / TN_QUERY_STRETCH;
    for (int64_t i = begin; i < end; i++) {
        int first = (int)(i % blocks) * TN_QUERY_STRETCH, h = (int)(i / blocks % o->n_head);
        tn_attention_rows rows = rows_of(a, i / blocks / o->n_head, h, first, TN_MIN(TN_QUERY_STRETCH, n_time - first));
        tn_k->attention_rows(&rows);
    }
}

void tn_op_attention_forward(const tn_op_args *a) {
    const attention_options *o = a->options;
    const tn_tensor *q = a->in[0], *k = a->in[1];
    if (o->kv) {
        int64_t at = (int64_t)o->kv->length * k->dims[2];
        memcpy(o->kv->k + at, k->real, (size_t)tn_tensor_count(k) * sizeof(tn_real));
        memcpy(o->kv->v + at, a->in[2]->real, (size_t)tn_tensor_count(k) * sizeof(tn_real));
    }
    int64_t blocks = (q->dims[1] + TN_QUERY_STRETCH - 1) / TN_QUERY_STRETCH;
    tn_par_for((int64_t)q->dims[0] * o->n_head * blocks, 1, forward_items, (void *)(uintptr_t)a);
}

typedef struct attention_grads {
    const tn_op_args *a;
    tn_real *dq, *dk, *dv;
} attention_grads;

/* Items of the flat [B, G]: one owner for each kv head, its query heads in ascending order. */
static void backward_items(void *context, int64_t begin, int64_t end) {
    const attention_grads *g = context;
    const tn_op_args *a = g->a;
    const attention_options *o = a->options;
    int group = o->n_head / o->n_kv_head;
    for (int64_t i = begin; i < end; i++)
        for (int j = 0; j < group; j++) {
            int64_t b = i / o->n_kv_head;
            int h = (int)(i % o->n_kv_head) * group + j;
            tn_attention_back back = {.forward = rows_of(a, b, h, 0, a->in[0]->dims[1])};
            back.d_o = a->out->grad + (back.forward.o - a->out->real);
            back.dq = g->dq + (back.forward.q - a->in[0]->real);
            back.dk = g->dk + (back.forward.k - a->in[1]->real);
            back.dv = g->dv + (back.forward.v - a->in[2]->real);
            tn_k->attention_rows_back(&back);
        }
}

void tn_op_attention_backward(const tn_op_args *a) {
    const attention_options *o = a->options;
    attention_grads g = {.a = a, .dq = tn_op_grad(a, 0), .dk = tn_op_grad(a, 1), .dv = tn_op_grad(a, 2)};
    if (!g.dq || !g.dk || !g.dv) return;
    tn_par_for((int64_t)a->in[0]->dims[0] * o->n_kv_head, 1, backward_items, &g);
}

static const attention_options one = {1, 1, NULL}, plain = {3, 3, NULL}, grouped = {4, 2, NULL}, shared = {6, 1, NULL},
                               uneven = {4, 3, NULL};
#define OPTIONS(o) .options = &(o), .options_size = sizeof(o)
const tn_op_sample tn_op_attention_samples[] = {
    {.dims = {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}}, OPTIONS(one)},
    {.dims = {{2, 7, 15}, {2, 7, 15}, {2, 7, 15}}, OPTIONS(plain)},
    {.dims = {{2, 9, 32}, {2, 9, 16}, {2, 9, 16}}, OPTIONS(grouped)},
    {.dims = {{1, 131, 36}, {1, 131, 6}, {1, 131, 6}}, OPTIONS(shared)}, /* several query blocks and key tiles */
    {.dims = {{2, 9, 32}, {2, 9, 32}, {2, 9, 32}}, OPTIONS(grouped), .expect = TN_E_SHAPE},
    {.dims = {{2, 9, 32}, {2, 8, 16}, {2, 8, 16}}, OPTIONS(grouped), .expect = TN_E_SHAPE},
    {.dims = {{2, 9, 24}, {2, 9, 18}, {2, 9, 18}}, OPTIONS(uneven), .expect = TN_E_SHAPE},
    {.dims = {{1, 2, 257}, {1, 2, 257}, {1, 2, 257}}, OPTIONS(one), .expect = TN_E_SHAPE},
    TN_SAMPLES_END};
