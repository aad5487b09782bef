/* SPDX-License-Identifier: MIT
 * op_attention.c -  per head: P = softmax(Q K' / sqrt D + causal), O = P V
 *                   q, o [B,T,H*D]  k, v [B,T,G*D]  aux lse [B,H,T]
 *                   dV = P' dO, dP = dO V', dS = P (dP - rowsum(dO O)), dQ = dS K / sqrt D, dK = dS' Q / sqrt D
 * Query head h reads kv head h G / H (docs/math.md, "Attention"). With caches, the rows of k and v are appended to
 * theirs first and the queries of a run see all that its cache holds. No [T,T] matrix exists: the kernels work on tiles
 * with an online softmax. */
#include "autograd/op_page.h"

#include <math.h>
#include <string.h>

typedef struct attention_options {
    int n_head, n_kv_head;
    const tn_kv_rows *runs;
    int n_runs; /* 0 = no caches */
} attention_options;

tn_tensor *tn_attention(tn_tape *t, tn_tensor *q, tn_tensor *k, tn_tensor *v, int n_head, int n_kv_head,
                        const tn_kv_rows *runs, int n_runs) {
    attention_options options = {n_head, n_kv_head, runs, n_runs};
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

static tn_status check_caches(const tn_op_args *a) {
    const attention_options *o = a->options;
    const tn_tensor *q = a->in[0];
    if (q->dims[0] != 1) return TN_FAIL(SHAPE, "attention: caches serve rows [1,T,..], not %d times T", q->dims[0]);
    if (tn_op_keeps(a)) return TN_FAIL(NOGRAD, "attention: there is no gradient through a cache");
    int64_t rows = 0;
    for (int i = 0; i < o->n_runs; i++) {
        const tn_kv *kv = o->runs[i].kv;
        rows += o->runs[i].rows;
        if (o->runs[i].rows > kv->capacity - kv->length)
            return TN_FAIL(RANGE, "attention: the cache holds %d of %d positions, no room for %d more", kv->length,
                           kv->capacity, o->runs[i].rows);
    }
    if (rows != q->dims[1])
        return TN_FAIL(SHAPE, "attention: %d rows, but runs of %lld altogether", q->dims[1], (long long)rows);
    return TN_OK;
}

tn_status tn_op_attention_check(tn_op_args *a) {
    const attention_options *o = a->options;
    TN_TRY(check_shapes(a));
    if (o->n_runs) TN_TRY(check_caches(a));
    TN_TRY(tn_op_rows_result(a, a->in[0]->dims[2]));
    if (!tn_op_keeps(a)) return TN_OK;
    tn_real *lse;
    TN_TAKE(lse, tn_tape_step(a->tape), tn_tensor_rows(a->out) * o->n_head, "activations");
    a->aux = lse;
    return tn_op_reserve_grads(a, 3);
}

/* One sequence of this pass: its rows, which stand together. */
typedef struct sequence {
    int number;
    int64_t row; /* the first, of the flat [B,T] */
    int rows;
    const tn_kv *kv; /* or NULL */
} sequence;

static sequence sequence_at(const tn_op_args *a, int number, int64_t row) {
    const attention_options *o = a->options;
    if (!o->n_runs) return (sequence){number, row, a->in[0]->dims[1], NULL};
    return (sequence){number, row, o->runs[number].rows, o->runs[number].kv};
}

static int n_sequences(const tn_op_args *a) {
    const attention_options *o = a->options;
    return o->n_runs ? o->n_runs : a->in[0]->dims[0];
}

/* Queries first.. of head h of a sequence, all they may see, and where their results go. */
static tn_attention_rows rows_of(const tn_op_args *a, sequence s, int h, int first, int n_queries) {
    const attention_options *o = a->options;
    const tn_tensor *q = a->in[0], *k = a->in[1];
    int64_t d = q->dims[2] / o->n_head, kv_head = (int64_t)h * o->n_kv_head / o->n_head;
    int64_t query = (s.row + first) * q->dims[2] + h * d, key = s.row * k->dims[2] + kv_head * d;
    tn_real *lse = a->aux;
    return (tn_attention_rows){
        .n_queries = n_queries,
        .first = first + (s.kv ? s.kv->length : 0),
        .d = (int)d,
        .scale = 1 / (tn_real)sqrt((double)d),
        .q = q->real + query,
        .q_stride = q->dims[2],
        .k = s.kv ? s.kv->k + kv_head * d : k->real + key,
        .v = s.kv ? s.kv->v + kv_head * d : a->in[2]->real + key,
        .kv_stride = k->dims[2],
        .o = a->out->real + query,
        .o_stride = q->dims[2],
        .lse = lse ? lse + s.row * o->n_head + (int64_t)h * s.rows + first : NULL,
    };
}

static int query_blocks(sequence s) { return (s.rows + TN_QUERY_STRETCH - 1) / TN_QUERY_STRETCH; }

static int64_t items_of(const tn_op_args *a, sequence s) {
    const attention_options *o = a->options;
    return (int64_t)o->n_head * query_blocks(s);
}

/* Items of each sequence in turn: [H, query blocks]. */
static void forward_items(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    sequence s = sequence_at(a, 0, 0);
    int64_t from = 0; /* the first item of s */
    for (int64_t i = begin; i < end; i++) {
        while (i - from >= items_of(a, s)) {
            from += items_of(a, s);
            s = sequence_at(a, s.number + 1, s.row + s.rows);
        }
        int item = (int)(i - from), h = item / query_blocks(s), first = item % query_blocks(s) * TN_QUERY_STRETCH;
        tn_attention_rows rows = rows_of(a, s, h, first, TN_MIN(TN_QUERY_STRETCH, s.rows - first));
        tn_k->attention_rows(&rows);
    }
}

static void append(const tn_op_args *a, sequence s) {
    int64_t width = a->in[1]->dims[2], from = s.row * width, to = s.kv->length * width;
    memcpy(s.kv->k + to, a->in[1]->real + from, (size_t)(s.rows * width) * sizeof(tn_real));
    memcpy(s.kv->v + to, a->in[2]->real + from, (size_t)(s.rows * width) * sizeof(tn_real));
}

void tn_op_attention_forward(const tn_op_args *a) {
    int64_t items = 0, row = 0;
    for (int i = 0; i < n_sequences(a); i++) {
        sequence s = sequence_at(a, i, row);
        if (s.kv) append(a, s);
        items += items_of(a, s);
        row += s.rows;
    }
    tn_par_for(items, 1, forward_items, (void *)(uintptr_t)a);
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
            int b = (int)(i / o->n_kv_head), n_time = a->in[0]->dims[1];
            int h = (int)(i % o->n_kv_head) * group + j;
            tn_attention_back back = {.forward = rows_of(a, sequence_at(a, b, (int64_t)b * n_time), h, 0, n_time)};
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

static const attention_options one = {1, 1, NULL, 0}, plain = {3, 3, NULL, 0}, grouped = {4, 2, NULL, 0},
                               shared = {6, 1, NULL, 0}, uneven = {4, 3, NULL, 0};
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
