/* SPDX-License-Identifier: MIT
 * bodies_attention.h - causal attention of one head, forward and backward, by blocks of queries and tiles of keys.
 * Every number a query gets is its own chain (scores over ascending d, outputs over ascending keys, tiles in order from
 * absolute position 0), so its bits do not depend on the block it is computed in. Included once by every isa_*.c.
 * Contracts: attention.h. */
#include "kernels/attention.h"

enum { QUERY_BLOCK = 32, HEAD_PAD = TN_HEAD_DIM_MAX };

/* Rows inside hold `pitch` reals: d rounded up to whole lanes, the rest zero. Bounded, so it lives on the stack. */
typedef struct attention_scratch {
    tn_real k_turned[HEAD_PAD * TN_KEY_TILE]; /* [d][key] */
    tn_real v[TN_KEY_TILE * HEAD_PAD];
    tn_real q[QUERY_BLOCK * HEAD_PAD], o[QUERY_BLOCK * HEAD_PAD];
    tn_real scores[QUERY_BLOCK * TN_KEY_TILE];
    tn_real max[QUERY_BLOCK], total[QUERY_BLOCK * LANES]; /* 16 sums a query, added up at the end */
} attention_scratch;

/* A block of queries against a tile of keys. */
typedef struct attention_tile {
    int pitch;
    int64_t position;    /* of the block's query 0 */
    int queries, active; /* queries [active, queries) see at least the first key */
    int64_t key;         /* position of the first key */
    int keys;            /* keys that some query of the block sees */
} attention_tile;

static int visible_keys(const attention_tile *t, int query) {
    return (int)TN_MIN(t->position + query + 1 - t->key, (int64_t)TN_KEY_TILE);
}

static attention_tile tile_at(const tn_attention_rows *a, int query, int queries, int64_t key) {
    attention_tile t = {
        .pitch = TN_ROUND_UP(a->d, LANES), .position = (int64_t)a->first + query, .queries = queries, .key = key};
    t.active = (int)TN_MAX(key - t.position, (int64_t)0);
    t.keys = visible_keys(&t, queries - 1);
    return t;
}

/* dst[rows][pitch] = s src[rows][d], padded with zeros */
static void copy_rows(tn_real *dst, int pitch, const tn_real *src, int64_t stride, int rows, int d, tn_real s) {
    for (int r = 0; r < rows; r++) {
        scale(d, s, src + r * stride, dst + r * pitch);
        for (int i = d; i < pitch; i++) dst[r * pitch + i] = 0;
    }
}

/* dst[d][TN_KEY_TILE] = src[keys][d] turned, zeros beyond `keys` */
static void turn_rows(tn_real *dst, const tn_real *src, int64_t stride, int keys, int d) {
    const int whole_keys = keys / PART_LANES * PART_LANES, whole_d = d / PART_LANES * PART_LANES;
    for (int key = 0; key < whole_keys; key += PART_LANES)
        for (int i = 0; i < whole_d; i += PART_LANES)
            vp_turn(dst + i * TN_KEY_TILE + key, TN_KEY_TILE, src + key * stride + i, stride);
    for (int i = 0; i < d; i++) {
        tn_real *row = dst + i * TN_KEY_TILE;
        for (int key = i < whole_d ? whole_keys : 0; key < keys; key++) row[key] = src[key * stride + i];
        for (int key = keys; key < TN_KEY_TILE; key++) row[key] = 0;
    }
}

/* out[query][key] = left[query] . right[key] for the active queries; `right` turned */
static void dot_tile(const attention_tile *t, int d, const tn_real *left, const tn_real *right, tn_real *out) {
    memset(out, 0, sizeof(tn_real) * (size_t)(t->queries * TN_KEY_TILE));
    product_add(&(product){.rows = t->queries - t->active,
                           .cols = TN_ROUND_UP(t->keys, LANES),
                           .inner = d,
                           .a = left + t->active * t->pitch,
                           .a_row = t->pitch,
                           .a_step = 1,
                           .b = right,
                           .b_row = TN_KEY_TILE,
                           .c = out + t->active * TN_KEY_TILE,
                           .c_row = TN_KEY_TILE});
}

/* What one query has summed so far, for a new maximum: everything shrinks by exp(old - new). */
static void shrink_sums(tn_real shrink, tn_real *total, tn_real *o, int pitch) {
    const vr factor = vr_set(shrink);
    vr_store(total, vr_mul(vr_load(total), factor));
    for (int i = 0; i < pitch; i += LANES) vr_store(o + i, vr_mul(vr_load(o + i), factor));
}

/* The softmax of one query takes in a tile: scores become p = exp(s - max), total grows by their sums, lane by lane. */
static void soften_row(tn_real *scores, int visible, tn_real *max, tn_real *total, tn_real *o, int pitch) {
    for (int key = visible; key < TN_KEY_TILE; key++) scores[key] = -(tn_real)INFINITY;
    const tn_real old = *max, new = TN_MAX(old, row_max(TN_KEY_TILE, scores));
    if (new != old) shrink_sums(real_exp(old - new), total, o, pitch); /* else by exp(0), which is 1 */
    *max = new;
    const vr top = vr_set(new);
    vr sums = vr_load(total);
    for (int key = 0; key < TN_KEY_TILE; key += LANES) {
        const vr p = vr_exp(vr_sub(vr_load(scores + key), top));
        vr_store(scores + key, p);
        sums = vr_add(sums, p);
    }
    vr_store(total, sums);
}

/* o += p v. Queries that see the whole tile go together; the others, on the diagonal, stop at their own last key, so
 * that what lies in the future is not even multiplied by zero. */
static void weigh_values(const attention_tile *t, const tn_real *p, const tn_real *v, int64_t v_stride, tn_real *o) {
    const int64_t first_whole = TN_MAX(t->key + TN_KEY_TILE - 1 - t->position, (int64_t)t->active);
    const int whole = (int)TN_MIN(first_whole, (int64_t)t->queries);
    for (int row = t->active, rows; row < t->queries; row += rows) {
        rows = row < whole ? 1 : t->queries - whole;
        product_add(&(product){.rows = rows,
                               .cols = t->pitch,
                               .inner = visible_keys(t, row),
                               .a = p + row * TN_KEY_TILE,
                               .a_row = TN_KEY_TILE,
                               .a_step = 1,
                               .b = v,
                               .b_row = v_stride,
                               .c = o + row * t->pitch,
                               .c_row = t->pitch});
    }
}

/* Rows of a key tile as product_add wants them: in place when d is whole lanes, else a padded copy in `scratch`. */
static const tn_real *padded_rows(const attention_tile *t, const tn_real *rows, int64_t *stride, int d,
                                  tn_real *scratch) {
    if (d == t->pitch) return rows;
    copy_rows(scratch, t->pitch, rows, *stride, t->keys, d, 1);
    *stride = t->pitch;
    return scratch;
}

static void attend_block(const tn_attention_rows *a, int query, int queries, attention_scratch *s) {
    const int pitch = TN_ROUND_UP(a->d, LANES);
    copy_rows(s->q, pitch, a->q + query * a->q_stride, a->q_stride, queries, a->d, a->scale);
    memset(s->o, 0, sizeof(tn_real) * (size_t)(queries * pitch));
    memset(s->total, 0, sizeof s->total);
    for (int i = 0; i < queries; i++) s->max[i] = -(tn_real)INFINITY;
    for (int64_t key = 0; key < (int64_t)a->first + query + queries; key += TN_KEY_TILE) {
        const attention_tile t = tile_at(a, query, queries, key);
        int64_t v_stride = a->kv_stride;
        const tn_real *v = padded_rows(&t, a->v + key * a->kv_stride, &v_stride, a->d, s->v);
        turn_rows(s->k_turned, a->k + key * a->kv_stride, a->kv_stride, t.keys, a->d);
        dot_tile(&t, a->d, s->q, s->k_turned, s->scores);
        for (int i = t.active; i < queries; i++)
            soften_row(s->scores + i * TN_KEY_TILE, visible_keys(&t, i), &s->max[i], s->total + i * LANES,
                       s->o + i * pitch, pitch);
        weigh_values(&t, s->scores, v, v_stride, s->o);
    }
    for (int i = 0; i < queries; i++) {
        const tn_real total = vr_sum(vr_load(s->total + i * LANES));
        scale(a->d, 1 / total, s->o + i * pitch, a->o + (query + i) * a->o_stride);
        if (a->lse) a->lse[query + i] = s->max[i] + real_log(total);
    }
}

static void attention_rows(const tn_attention_rows *a) {
    TN_ASSERT(a->d >= 1 && a->d <= TN_HEAD_DIM_MAX);
    attention_scratch s;
    for (int query = 0; query < a->n_queries; query += QUERY_BLOCK)
        attend_block(a, query, TN_MIN(a->n_queries - query, (int)QUERY_BLOCK), &s);
}

/* ---- backward ---- */
typedef struct attention_back_scratch {
    tn_real k_turned[HEAD_PAD * TN_KEY_TILE], v_turned[HEAD_PAD * TN_KEY_TILE];
    tn_real k[TN_KEY_TILE * HEAD_PAD], dk[TN_KEY_TILE * HEAD_PAD], dv[TN_KEY_TILE * HEAD_PAD];
    tn_real q[QUERY_BLOCK * HEAD_PAD], d_o[QUERY_BLOCK * HEAD_PAD], dq[QUERY_BLOCK * HEAD_PAD];
    tn_real p[QUERY_BLOCK * TN_KEY_TILE], ds[QUERY_BLOCK * TN_KEY_TILE];
    tn_real pull[QUERY_BLOCK]; /* rowsum(dO O) */
} attention_back_scratch;

/* p = exp(s - lse) where the key is visible, else 0;  ds = p (dp - pull) */
static void soften_back_row(tn_real *p, tn_real *ds, int visible, tn_real lse, tn_real pull) {
    for (int key = visible; key < TN_KEY_TILE; key++) p[key] = -(tn_real)INFINITY, ds[key] = 0;
    for (int key = 0; key < TN_KEY_TILE; key += LANES) {
        const vr weight = vr_exp(vr_sub(vr_load(p + key), vr_set(lse)));
        vr_store(p + key, weight);
        vr_store(ds + key, vr_mul(weight, vr_sub(vr_load(ds + key), vr_set(pull))));
    }
}

/* grad[key] += sum over queries of weights[query][key] rows[query], rows and grad padded */
static void add_key_gradient(const attention_tile *t, const tn_real *weights, const tn_real *rows, tn_real *grad) {
    product_add(&(product){.rows = t->keys,
                           .cols = t->pitch,
                           .inner = t->queries - t->active,
                           .a = weights + t->active * TN_KEY_TILE,
                           .a_row = 1,
                           .a_step = TN_KEY_TILE,
                           .b = rows + t->active * t->pitch,
                           .b_row = t->pitch,
                           .c = grad,
                           .c_row = t->pitch});
}

static void back_tile(const tn_attention_back *b, const attention_tile *t, int query, attention_back_scratch *s) {
    const tn_attention_rows *a = &b->forward;
    const int64_t stride = a->kv_stride, at = t->key * stride;
    int64_t k_stride = stride;
    const tn_real *k = padded_rows(t, a->k + at, &k_stride, a->d, s->k);
    turn_rows(s->k_turned, a->k + at, stride, t->keys, a->d);
    turn_rows(s->v_turned, a->v + at, stride, t->keys, a->d);
    dot_tile(t, a->d, s->q, s->k_turned, s->p);
    dot_tile(t, a->d, s->d_o, s->v_turned, s->ds);
    for (int i = t->active; i < t->queries; i++)
        soften_back_row(s->p + i * TN_KEY_TILE, s->ds + i * TN_KEY_TILE, visible_keys(t, i), a->lse[query + i],
                        s->pull[i]);
    weigh_values(t, s->ds, k, k_stride, s->dq);
    copy_rows(s->dk, t->pitch, b->dk + at, stride, t->keys, a->d, 1);
    copy_rows(s->dv, t->pitch, b->dv + at, stride, t->keys, a->d, 1);
    add_key_gradient(t, s->ds, s->q, s->dk); /* q is scaled already */
    add_key_gradient(t, s->p, s->d_o, s->dv);
    for (int key = 0; key < t->keys; key++) {
        memcpy(b->dk + at + key * stride, s->dk + key * t->pitch, sizeof(tn_real) * (size_t)a->d);
        memcpy(b->dv + at + key * stride, s->dv + key * t->pitch, sizeof(tn_real) * (size_t)a->d);
    }
}

static void back_block(const tn_attention_back *b, int query, int queries, attention_back_scratch *s) {
    const tn_attention_rows *a = &b->forward;
    const int pitch = TN_ROUND_UP(a->d, LANES);
    copy_rows(s->q, pitch, a->q + query * a->q_stride, a->q_stride, queries, a->d, a->scale);
    copy_rows(s->d_o, pitch, b->d_o + query * a->o_stride, a->o_stride, queries, a->d, 1);
    memset(s->dq, 0, sizeof(tn_real) * (size_t)(queries * pitch));
    for (int i = 0; i < queries; i++) s->pull[i] = dot(a->d, s->d_o + i * pitch, a->o + (query + i) * a->o_stride);
    for (int64_t key = 0; key < (int64_t)a->first + query + queries; key += TN_KEY_TILE) {
        const attention_tile t = tile_at(a, query, queries, key);
        back_tile(b, &t, query, s);
    }
    for (int i = 0; i < queries; i++) axpy(a->d, a->scale, s->dq + i * pitch, b->dq + (query + i) * a->q_stride);
}

static void attention_rows_back(const tn_attention_back *b) {
    TN_ASSERT(b->forward.d >= 1 && b->forward.d <= TN_HEAD_DIM_MAX);
    attention_back_scratch s;
    for (int query = 0; query < b->forward.n_queries; query += QUERY_BLOCK)
        back_block(b, query, TN_MIN(b->forward.n_queries - query, (int)QUERY_BLOCK), &s);
}
