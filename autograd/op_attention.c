/* SPDX-License-Identifier: MIT
 * op_attention.c -  per head: P = softmax(Q K' / sqrt D + causal), O = P V
 *                   q, o [B,T,H*D]  k, v [B,T,G*D]  aux lse [B,H,T]
 *                   dV = P' dO, dP = dO V', dS = P (dP - rowsum(dO O)), dQ = dS K / sqrt D, dK = dS' Q / sqrt D
 * Query head h reads kv head h G / H (docs/math.md, "Attention"). Runs are sequences that share the rows of a pass:
 * the causal mask is each one's own. With caches, the rows of k and v are appended to theirs first and the queries of a
 * run see all that its cache holds. No [T,T] matrix exists: the kernels work on tiles
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

static bool has_caches(const attention_options *o) { return o->n_runs && o->runs[0].kv; }

static tn_status check_cache(const tn_op_args *a, const tn_kv_rows *run) {
    const attention_options *o = a->options;
    const tn_kv *kv = run->kv;
    if (kv->n_head != o->n_kv_head || kv->d * kv->n_head != a->in[1]->dims[2])
        return TN_FAIL(SHAPE, "attention: a cache of %d heads of %d for keys of %d heads in %d numbers", kv->n_head,
                       kv->d, o->n_kv_head, a->in[1]->dims[2]);
    if (run->rows > kv->capacity - kv->length)
        return TN_FAIL(RANGE, "attention: the cache holds %d of %d positions, no room for %d more", kv->length,
                       kv->capacity, run->rows);
    return TN_OK;
}

static tn_status check_runs(const tn_op_args *a) {
    const attention_options *o = a->options;
    const tn_tensor *q = a->in[0];
    if (has_caches(o) && q->dims[0] != 1)
        return TN_FAIL(SHAPE, "attention: caches serve rows [1,T,..], not %d times T", q->dims[0]);
    if (has_caches(o) && tn_op_keeps(a)) return TN_FAIL(NOGRAD, "attention: there is no gradient through a cache");
    int64_t rows = 0;
    for (int i = 0; i < o->n_runs; i++) {
        rows += o->runs[i].rows;
        if (o->runs[i].rows < 1 || !o->runs[i].kv != !has_caches(o))
            return TN_FAIL(SHAPE,
                           "attention: run %d has %d rows and %s cache, expected rows, and caches in all or none", i,
                           o->runs[i].rows, o->runs[i].kv ? "a" : "no");
        if (o->runs[i].kv) TN_TRY(check_cache(a, &o->runs[i]));
    }
    if (rows != tn_tensor_rows(q))
        return TN_FAIL(SHAPE, "attention: %lld rows, but runs of %lld altogether", (long long)tn_tensor_rows(q),
                       (long long)rows);
    return TN_OK;
}

tn_status tn_op_attention_check(tn_op_args *a) {
    const attention_options *o = a->options;
    TN_TRY(check_shapes(a));
    if (o->n_runs) TN_TRY(check_runs(a));
    TN_TRY(tn_op_rows_result(a, a->in[0]->dims[2]));
    if (!tn_op_keeps(a)) return TN_OK;
    tn_real *lse;
    TN_TAKE(lse, tn_tape_step(a->tape), tn_tensor_rows(a->out) * o->n_head, "activations");
    a->aux = lse;
    return tn_op_reserve_grads(a, 3);
}

/* One sequence of this pass, a document or a continuation: its rows, which stand together. */
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

/* Queries first.. of head h of a sequence without a cache, all they may see, and where their results go. */
static tn_attention_rows rows_of(const tn_op_args *a, sequence s, int h, int first, int n_queries) {
    const attention_options *o = a->options;
    const tn_tensor *q = a->in[0], *k = a->in[1];
    int64_t d = q->dims[2] / o->n_head, kv_head = (int64_t)h * o->n_kv_head / o->n_head;
    int64_t query = (s.row + first) * q->dims[2] + h * d, key = s.row * k->dims[2] + kv_head * d;
    tn_real *lse = a->aux;
    return (tn_attention_rows){
        .n_queries = n_queries,
        .first = first,
        .d = (int)d,
        .scale = 1 / (tn_real)sqrt((double)d),
        .q = q->real + query,
        .q_stride = q->dims[2],
        .k = k->real + key,
        .v = a->in[2]->real + key,
        .kv_stride = k->dims[2],
        .o = a->out->real + query,
        .o_stride = q->dims[2],
        .lse = lse ? lse + s.row * o->n_head + (int64_t)h * s.rows + first : NULL,
    };
}

static int query_blocks(sequence s) { return (s.rows + TN_QUERY_STRETCH - 1) / TN_QUERY_STRETCH; }

/* Heads of queries in an item. One position over a cache takes all that share a head of keys, or half of them where
 * that gives every thread as much to do; several positions go head by head. */
static int heads_at_once(const tn_op_args *a, sequence s) {
    const attention_options *o = a->options;
    int group = o->n_head / o->n_kv_head;
    if (!s.kv || s.rows > 1) return 1;
    return o->n_kv_head % tn_par_threads() && group % 2 == 0 ? group / 2 : group;
}

static int64_t items_of(const tn_op_args *a, sequence s) {
    const attention_options *o = a->options;
    return (int64_t)o->n_head / heads_at_once(a, s) * query_blocks(s);
}

static size_t tile_row_bytes(const tn_kv *kv) { return (size_t)kv->n_head * tn_kv_tile_bytes(kv->type, kv->d); }

size_t tn_kv_bytes(tn_kv_type type, int n_head, int d, int positions) {
    return (size_t)((positions + TN_KEY_TILE - 1) / TN_KEY_TILE) * (size_t)n_head * tn_kv_tile_bytes(type, d);
}

/* The tile of a position and a head of keys. */
static char *tile_of(const tn_kv *kv, int position, int head) {
    return (char *)kv->tiles + (size_t)(position / TN_KEY_TILE) * tile_row_bytes(kv) +
           (size_t)head * tn_kv_tile_bytes(kv->type, kv->d);
}

void tn_kv_save(const tn_kv *kv, int position, void *rows) {
    for (int h = 0; h < kv->n_head; h++)
        tn_k->kv_save(kv->type, kv->d, position % TN_KEY_TILE, tile_of(kv, position, h),
                      (char *)rows + (size_t)h * tn_kv_row_bytes(kv->type, kv->d));
}

void tn_kv_restore(tn_kv *kv, int position, const void *rows) {
    for (int h = 0; h < kv->n_head; h++)
        tn_k->kv_restore(kv->type, kv->d, position % TN_KEY_TILE,
                         (const char *)rows + (size_t)h * tn_kv_row_bytes(kv->type, kv->d), tile_of(kv, position, h));
}

static void attend_cache(const tn_op_args *a, sequence s, int h, int first, int n_queries) {
    const attention_options *o = a->options;
    int64_t stride = a->in[0]->dims[2], at = (s.row + first) * stride + (int64_t)h * s.kv->d;
    tn_k->attention_cached(&(tn_attention_cached){
        .n_queries = n_queries,
        .heads = heads_at_once(a, s),
        .first = s.kv->length + first,
        .d = s.kv->d,
        .scale = 1 / (tn_real)sqrt((double)s.kv->d),
        .type = s.kv->type,
        .tiles = tile_of(s.kv, 0, h * o->n_kv_head / o->n_head),
        .tile_stride = (int64_t)tile_row_bytes(s.kv),
        .q = a->in[0]->real + at,
        .o = a->out->real + at,
        .stride = stride,
    });
}

/* Items of each sequence in turn: [heads, query blocks]. */
static void forward_items(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    sequence s = sequence_at(a, 0, 0);
    int64_t from = 0; /* the first item of s */
    for (int64_t i = begin; i < end; i++) {
        while (i - from >= items_of(a, s)) {
            from += items_of(a, s);
            s = sequence_at(a, s.number + 1, s.row + s.rows);
        }
        int item = (int)(i - from), h = item / query_blocks(s) * heads_at_once(a, s),
            first = item % query_blocks(s) * TN_QUERY_STRETCH, n = TN_MIN(TN_QUERY_STRETCH, s.rows - first);
        if (s.kv) {
            attend_cache(a, s, h, first, n);
        } else {
            tn_attention_rows rows = rows_of(a, s, h, first, n);
            tn_k->attention_rows(&rows);
        }
    }
}

/* Rows of all sequences, of which those with a cache go there. */
static void append_heads(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    int64_t width = a->in[1]->dims[2];
    sequence s = sequence_at(a, 0, 0);
    for (int i = 0; i < n_sequences(a); i++, s = i < n_sequences(a) ? sequence_at(a, i, s.row + s.rows) : s)
        for (int row = 0; row < s.rows && s.kv; row++)
            for (int64_t head = begin; head < end; head++) {
                int position = s.kv->length + row;
                int64_t from = (s.row + row) * width + head * s.kv->d;
                tn_k->kv_put(s.kv->type, s.kv->d, position % TN_KEY_TILE, a->in[1]->real + from, a->in[2]->real + from,
                             tile_of(s.kv, position, (int)head));
            }
}

void tn_op_attention_forward(const tn_op_args *a) {
    const attention_options *o = a->options;
    int64_t items = 0, row = 0;
    for (int i = 0; i < n_sequences(a); i++) {
        sequence s = sequence_at(a, i, row);
        items += items_of(a, s);
        row += s.rows;
    }
    if (has_caches(o)) /* a few rows are not worth waking threads */
        tn_par_for(o->n_kv_head, row < 16 ? o->n_kv_head : 1, append_heads, (void *)(uintptr_t)a);
    tn_par_for(items, 1, forward_items, (void *)(uintptr_t)a);
}

typedef struct attention_grads {
    const tn_op_args *a;
    tn_real *dq, *dk, *dv;
} attention_grads;

/* Items of the flat [sequences, G]: one owner for each kv head, its query heads in ascending order. */
static void backward_items(void *context, int64_t begin, int64_t end) {
    const attention_grads *g = context;
    const tn_op_args *a = g->a;
    const attention_options *o = a->options;
    int group = o->n_head / o->n_kv_head;
    sequence s = sequence_at(a, 0, 0);
    for (int64_t i = begin; i < end; i++) {
        while (s.number < i / o->n_kv_head) s = sequence_at(a, s.number + 1, s.row + s.rows);
        for (int j = 0; j < group; j++) {
            int h = (int)(i % o->n_kv_head) * group + j;
            tn_attention_back back = {.forward = rows_of(a, s, h, 0, s.rows)};
            back.d_o = a->out->grad + (back.forward.o - a->out->real);
            back.dq = g->dq + (back.forward.q - a->in[0]->real);
            back.dk = g->dk + (back.forward.k - a->in[1]->real);
            back.dv = g->dv + (back.forward.v - a->in[2]->real);
            tn_k->attention_rows_back(&back);
        }
    }
}

void tn_op_attention_backward(const tn_op_args *a) {
    const attention_options *o = a->options;
    attention_grads g = {.a = a, .dq = tn_op_grad(a, 0), .dk = tn_op_grad(a, 1), .dv = tn_op_grad(a, 2)};
    if (!g.dq || !g.dk || !g.dv) return;
    tn_par_for((int64_t)n_sequences(a) * o->n_kv_head, 1, backward_items, &g);
}

static const attention_options one = {1, 1, NULL, 0}, plain = {3, 3, NULL, 0}, grouped = {4, 2, NULL, 0},
                               shared = {6, 1, NULL, 0}, uneven = {4, 3, NULL, 0};
/* Documents in two rows of nine, and in one of several query blocks. */
static const tn_kv_rows pieces[] = {{NULL, 4}, {NULL, 5}, {NULL, 1}, {NULL, 8}}, halves[] = {{NULL, 66}, {NULL, 65}};
static const attention_options packed = {4, 2, pieces, 4}, long_packed = {6, 1, halves, 2},
                               short_runs = {4, 2, pieces, 3};
#define OPTIONS(o) .options = &(o), .options_size = sizeof(o)
const tn_op_sample tn_op_attention_samples[] = {
    {.dims = {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}}, OPTIONS(one)},
    {.dims = {{2, 7, 15}, {2, 7, 15}, {2, 7, 15}}, OPTIONS(plain)},
    {.dims = {{2, 9, 32}, {2, 9, 16}, {2, 9, 16}}, OPTIONS(grouped)},
    {.dims = {{1, 131, 36}, {1, 131, 6}, {1, 131, 6}}, OPTIONS(shared)}, /* several query blocks and key tiles */
    {.dims = {{2, 9, 32}, {2, 9, 16}, {2, 9, 16}}, OPTIONS(packed)},
    {.dims = {{1, 131, 36}, {1, 131, 6}, {1, 131, 6}}, OPTIONS(long_packed)},
    {.dims = {{2, 9, 32}, {2, 9, 16}, {2, 9, 16}}, OPTIONS(short_runs), .expect = TN_E_SHAPE},
    {.dims = {{2, 9, 32}, {2, 9, 32}, {2, 9, 32}}, OPTIONS(grouped), .expect = TN_E_SHAPE},
    {.dims = {{2, 9, 32}, {2, 8, 16}, {2, 8, 16}}, OPTIONS(grouped), .expect = TN_E_SHAPE},
    {.dims = {{2, 9, 24}, {2, 9, 18}, {2, 9, 18}}, OPTIONS(uneven), .expect = TN_E_SHAPE},
    {.dims = {{1, 2, 257}, {1, 2, 257}, {1, 2, 257}}, OPTIONS(one), .expect = TN_E_SHAPE},
    TN_SAMPLES_END};
