/* SPDX-License-Identifier: MIT
 * attention.h - arguments of the attention kernels: causal softmax attention with online softmax (Milakov 2018; Dao
 * 2022) over key tiles of a constant size that start at absolute positions 0, TN_KEY_TILE, ...; so a query's result
 * does not depend on which other queries are computed with it, nor on how a prompt was cut. */
#ifndef TN_KERNELS_ATTENTION_H
#define TN_KERNELS_ATTENTION_H
#include "core/compiler.h"

enum {
    TN_KEY_TILE = 64,
    TN_QUERY_STRETCH = 256, /* queries that share a tile of keys: fewer at a time cost speed alone */
    TN_HEAD_DIM_MAX = 256
};

typedef struct tn_attention_rows {
    int n_queries;    /* rows of q, o */
    int first;        /* absolute position of query 0; query i sees keys 0..first+i */
    int d;            /* head dimension, 1..TN_HEAD_DIM_MAX */
    tn_real scale;    /* 1/sqrt(d) */
    const tn_real *q; /* [n_queries, d], rows q_stride apart */
    int64_t q_stride;
    const tn_real *k, *v; /* [first + n_queries, d], rows kv_stride apart */
    int64_t kv_stride;
    tn_real *o; /* [n_queries, d], rows o_stride apart, overwritten */
    int64_t o_stride;
    tn_real *lse; /* [n_queries] log sum exp of the scaled scores, or NULL */
} tn_attention_rows;

/* ---- over a cache of keys and values ---- */

/* What a number of a cache is: a tn_real (the truth: the bits of attention_rows), an f16, or a byte with a unit for
 * each position and head, its largest number / 127. Rounding is of each position alone, so that how a prompt was cut
 * changes no bit with any of them. */
typedef enum tn_kv_type { TN_KV_F32, TN_KV_F16, TN_KV_Q8_0, TN_KV_TYPES } tn_kv_type;

static inline const char *tn_kv_type_name(tn_kv_type type) {
    static const char *const names[] = {[TN_KV_F32] = "f32", [TN_KV_F16] = "f16", [TN_KV_Q8_0] = "q8_0"};
    return names[type];
}

/* A tile holds TN_KEY_TILE positions of one head: k [d][TN_KEY_TILE], v [TN_KEY_TILE][d rounded up to 16], and for
 * Q8_0 the units. Bytes of one, a multiple of TN_ALIGN. */
static inline size_t tn_kv_tile_bytes(tn_kv_type type, int d) {
    const size_t numbers = TN_KEY_TILE * ((size_t)d + (size_t)TN_ROUND_UP(d, 16));
    if (type == TN_KV_F32) return numbers * sizeof(tn_real);
    return type == TN_KV_F16 ? numbers * 2 : numbers + 2 * TN_KEY_TILE * sizeof(tn_real);
}

/* Bytes of one position of one head as kv_save gives it: k [d], v [d], and for Q8_0 the unit of each. */
static inline size_t tn_kv_row_bytes(tn_kv_type type, int d) {
    static const size_t sizes[] = {[TN_KV_F32] = sizeof(tn_real), [TN_KV_F16] = 2, [TN_KV_Q8_0] = 1};
    return 2 * (size_t)d * sizes[type] + (type == TN_KV_Q8_0 ? 2 * sizeof(tn_real) : 0);
}

/* The query heads that share one head of keys. */
typedef struct tn_attention_cached {
    int n_queries; /* positions */
    int heads;     /* of queries, 1..TN_QUERY_STRETCH; d apart in q and o */
    int first;     /* absolute position of query 0; query i sees positions 0..first+i */
    int d;         /* 1..TN_HEAD_DIM_MAX */
    tn_real scale; /* 1/sqrt(d) */
    tn_kv_type type;
    const void *tiles; /* of positions 0, TN_KEY_TILE, ..., tile_stride bytes apart */
    int64_t tile_stride;
    const tn_real *q;
    tn_real *o;     /* overwritten */
    int64_t stride; /* from a position to the next in q and o */
} tn_attention_cached;

/* dV += P^T dO, dP = dO V^T, dS = P (dP - rowsum(dO O)), dQ += scale dS K, dK += scale dS^T Q; queries in ascending
 * order. */
typedef struct tn_attention_back {
    tn_attention_rows forward; /* as it was, o and lse filled */
    const tn_real *d_o;        /* rows o_stride apart */
    tn_real *dq;               /* rows q_stride apart */
    tn_real *dk, *dv;          /* rows kv_stride apart */
} tn_attention_back;

#endif
