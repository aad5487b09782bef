/* SPDX-License-Identifier: MIT
 * bodies_attention.h - causal attention of one head, forward and backward, by blocks of queries and tiles of keys.
 * Every number a query gets is its own chain (scores over ascending d, outputs over ascending keys, tiles in order from
 * absolute position 0), so its bits do not depend on the block it is computed in. Included once by every isa_*.c.
 * Contracts: attention.h. */
#include "kernels/attention.h"
#include "kernels/half_lanes.h"

/* A tile of keys is brought into shape once for a stretch of queries, and meets them block by block. */
enum { QUERY_BLOCK = 64, STRETCH = TN_QUERY_STRETCH, HEAD_PAD = TN_HEAD_DIM_MAX };

/* Rows inside hold `pitch` reals: d rounded up to whole lanes, the rest zero. Bounded, so it lives on the stack;
 * aligned lest a load straddle two lines. */
typedef struct attention_scratch {
    _Alignas(TN_ALIGN) tn_real k_turned[HEAD_PAD * TN_KEY_TILE]; /* [d][key] */
    tn_real v[TN_KEY_TILE * HEAD_PAD];
    tn_real q[STRETCH * HEAD_PAD], o[STRETCH * HEAD_PAD];
    tn_real scores[QUERY_BLOCK * TN_KEY_TILE];
    tn_real max[STRETCH], total[STRETCH * LANES]; /* 16 sums a query, added up at the end */
} attention_scratch;

/* Rows `stride` apart, `pitch` reals of each readable. */
typedef struct attention_view {
    const tn_real *at;
    int64_t stride;
} attention_view;

/* A block of queries against a tile of keys. */
typedef struct attention_tile {
    int pitch;
    int64_t position;    /* of the block's query 0 */
    int queries, active; /* queries [active, queries) see at least the first key */
    int64_t key;         /* position of the first key */
    int keys;            /* keys that some query of the block sees */
    bool level;          /* all queries are at one position */
} attention_tile;

static int visible_keys(const attention_tile *t, int query) {
    return (int)TN_MIN(t->position + (t->level ? 0 : query) + 1 - t->key, (int64_t)TN_KEY_TILE);
}

/* Queries of one head at positions from `position` on, or of several heads at that one. */
typedef struct attention_queries {
    int d, count;
    int64_t position;
    bool level;
} attention_queries;

static attention_tile tile_at(const attention_queries *q, int query, int queries, int64_t key) {
    attention_tile t = {.pitch = TN_ROUND_UP(q->d, LANES),
                        .position = q->position + (q->level ? 0 : query),
                        .queries = queries,
                        .key = key,
                        .level = q->level};
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
    turn(keys, d, src, stride, dst, TN_KEY_TILE);
    for (int i = 0; i < d && keys < TN_KEY_TILE; i++)
        memset(dst + i * TN_KEY_TILE + keys, 0, sizeof(tn_real) * (size_t)(TN_KEY_TILE - keys));
}

/* out[query][key] = left[query] . right[key] for the active queries and the keys that some query of a group of rows
 * sees; `right` turned. What lies beyond is not written. */
static void dot_tile(const attention_tile *t, int d, attention_view left, const tn_real *right, tn_real *out) {
    for (int row = t->active, rows; row < t->queries; row += rows) {
        rows = product_rows(t->queries - row);
        const int cols = TN_ROUND_UP(visible_keys(t, row + rows - 1), LANES);
        product_add(&(product){.rows = rows,
                               .cols = cols,
                               .inner = d,
                               .a = left.at + row * left.stride,
                               .a_row = left.stride,
                               .a_step = 1,
                               .b = right,
                               .b_row = TN_KEY_TILE,
                               .c = out + row * TN_KEY_TILE,
                               .c_row = TN_KEY_TILE,
                               .fresh = true});
    }
}

/* What one query has summed so far, for a new maximum: everything shrinks by exp(old - new). */
static void shrink_sums(tn_real shrink, tn_real *total, tn_real *o, int pitch) {
    const vr factor = vr_set(shrink);
    vr_store(total, vr_mul(vr_load(total), factor));
    for (int i = 0; i < pitch; i += LANES) vr_store(o + i, vr_mul(vr_load(o + i), factor));
}

VR_INLINE vr visible_scores(const tn_real *scores, int visible) {
    const vr x = vr_load(scores);
    return visible >= LANES ? x : vr_keep_first(x, visible, -(tn_real)INFINITY);
}

VR_INLINE vr highest_scores(const tn_real *scores, int visible) {
    vr highest = visible_scores(scores, visible);
    for (int key = LANES; key < visible; key += LANES)
        highest = vr_max(highest, visible_scores(scores + key, visible - key));
    return highest;
}

/* Scores become p = exp(s - max), and total grows by their sums, lane by lane. */
VR_INLINE void soften_row(tn_real *scores, int visible, tn_real max, tn_real *total) {
    const vr top = vr_set(max);
    vr sums = vr_load(total);
    for (int key = 0; key < visible; key += LANES) {
        const vr p = vr_exp_fused(vr_sub(visible_scores(scores + key, visible - key), top));
        vr_store(scores + key, p);
        sums = vr_add(sums, p);
    }
    vr_store(total, sums);
}

/* What a softmax subtracts from its scores need not be their maximum, as long as no exp grows large: so it moves up
 * when a score is above it by more than this, which is seldom past the first tile. */
static const tn_real MAX_SLACK = 8;

static void raise_max(int query, tn_real highest, int pitch, attention_scratch *s) {
    const tn_real old = s->max[query];
    s->max[query] = highest;
    if (old > -(tn_real)INFINITY) /* else nothing is there to shrink */
        shrink_sums(vp_exp_fused(vp_set(old - highest))[0], s->total + query * LANES, s->o + query * pitch, pitch);
}

/* The softmaxes of a block take in a tile. The maxima come first, so that no row waits for its own. */
static void soften_tile(const attention_tile *t, int block, attention_scratch *s) {
    const tn_real *max = s->max + block;
    tn_real *total = s->total + block * LANES;
    for (int i = t->active; i < t->queries; i++) {
        const int visible = visible_keys(t, i);
        const tn_real *scores = s->scores + i * TN_KEY_TILE;
        const vr highest =
            visible == TN_KEY_TILE ? highest_scores(scores, TN_KEY_TILE) : highest_scores(scores, visible);
        if (vr_any_above(highest, max[i] + MAX_SLACK)) raise_max(block + i, vr_reduce_max(highest), t->pitch, s);
    }
    for (int i = t->active; i < t->queries; i++) {
        const int visible = visible_keys(t, i);
        tn_real *scores = s->scores + i * TN_KEY_TILE;
        if (visible == TN_KEY_TILE)
            soften_row(scores, TN_KEY_TILE, max[i], total + i * LANES);
        else
            soften_row(scores, visible, max[i], total + i * LANES);
    }
}

/* o += p v for queries [first, last): all see the same keys, or each one more than the query before. */
static void weigh_rows(const attention_tile *t, int first, int last, bool slanted, const tn_real *p, attention_view v,
                       tn_real *o) {
    product_add(&(product){.rows = last - first,
                           .cols = t->pitch,
                           .inner = visible_keys(t, first),
                           .a = p + first * TN_KEY_TILE,
                           .a_row = TN_KEY_TILE,
                           .a_step = 1,
                           .b = v.at,
                           .b_row = v.stride,
                           .c = o + first * t->pitch,
                           .c_row = t->pitch,
                           .slanted = slanted});
}

/* On the diagonal what lies in the future is not even multiplied by zero. */
static void weigh_values(const attention_tile *t, const tn_real *p, attention_view v, tn_real *o) {
    const int64_t first_whole = TN_MAX(t->key + TN_KEY_TILE - 1 - t->position, (int64_t)t->active);
    const int whole = t->level ? 0 : (int)TN_MIN(first_whole, (int64_t)t->queries);
    if (t->active < whole) weigh_rows(t, t->active, whole, true, p, v, o);
    if (whole < t->queries) weigh_rows(t, whole, t->queries, false, p, v, o);
}

/* Rows as product_add wants them: in place when d is whole lanes, else a padded copy in `scratch`. */
static attention_view padded_rows(const tn_real *rows, int64_t stride, int n, int d, tn_real *scratch) {
    const int pitch = TN_ROUND_UP(d, LANES);
    if (d == pitch) return (attention_view){rows, stride};
    copy_rows(scratch, pitch, rows, stride, n, d, 1);
    return (attention_view){scratch, pitch};
}

/* Blocks of the queries that see a tile take it in; k turned. */
static void meet_tile(const attention_queries *q, int64_t key, const tn_real *k_turned, attention_view v,
                      attention_scratch *s) {
    for (int block = 0; block < q->count; block += QUERY_BLOCK) {
        const attention_tile t = tile_at(q, block, TN_MIN(q->count - block, (int)QUERY_BLOCK), key);
        if (t.active >= t.queries) continue;
        dot_tile(&t, q->d, (attention_view){s->q + block * t.pitch, t.pitch}, k_turned, s->scores);
        soften_tile(&t, block, s);
        weigh_values(&t, s->scores, v, s->o + block * t.pitch);
    }
}

/* From rows of q, scaled, to nothing summed so far. */
static void begin_queries(const attention_queries *q, const tn_real *rows, int64_t stride, tn_real factor,
                          attention_scratch *s) {
    const int pitch = TN_ROUND_UP(q->d, LANES);
    copy_rows(s->q, pitch, rows, stride, q->count, q->d, factor);
    memset(s->o, 0, sizeof(tn_real) * (size_t)(q->count * pitch));
    memset(s->total, 0, sizeof(tn_real) * (size_t)(q->count * LANES));
    for (int i = 0; i < q->count; i++) s->max[i] = -(tn_real)INFINITY;
}

static void end_queries(const attention_queries *q, tn_real *o, int64_t stride, tn_real *lse,
                        const attention_scratch *s) {
    const int pitch = TN_ROUND_UP(q->d, LANES);
    for (int i = 0; i < q->count; i++) {
        const tn_real total = vr_sum(vr_load(s->total + i * LANES));
        scale(q->d, 1 / total, s->o + i * pitch, o + i * stride);
        if (lse) lse[i] = s->max[i] + real_log(total);
    }
}

static void attend_stretch(const tn_attention_rows *a, int query, int queries, attention_scratch *s) {
    const attention_queries q = {.d = a->d, .count = queries, .position = (int64_t)a->first + query};
    begin_queries(&q, a->q + query * a->q_stride, a->q_stride, a->scale, s);
    for (int64_t key = 0; key < q.position + queries; key += TN_KEY_TILE) {
        const int keys = tile_at(&q, 0, queries, key).keys;
        const attention_view v = padded_rows(a->v + key * a->kv_stride, a->kv_stride, keys, a->d, s->v);
        turn_rows(s->k_turned, a->k + key * a->kv_stride, a->kv_stride, keys, a->d);
        meet_tile(&q, key, s->k_turned, v, s);
    }
    end_queries(&q, a->o + query * a->o_stride, a->o_stride, a->lse ? a->lse + query : NULL, s);
}

static void attention_rows(const tn_attention_rows *a) {
    TN_ASSERT(a->d >= 1 && a->d <= TN_HEAD_DIM_MAX);
    attention_scratch s;
    for (int query = 0; query < a->n_queries; query += STRETCH)
        attend_stretch(a, query, TN_MIN(a->n_queries - query, (int)STRETCH), &s);
}

/* ---- over a cache (attention.h): a tile has its keys turned already, its values padded ---- */

#include "kernels/bodies_kv.h"

static void kv_open_f16(const kv_tile *t, int d, int keys, const uint16_t *tile, attention_scratch *s) {
    const int cols = TN_ROUND_UP(keys, LANES), rows = keys * t->pitch;
    for (int i = 0; i < d; i++)
        for (int j = 0; j < cols; j += LANES)
            vr_store(s->k_turned + i * TN_KEY_TILE + j, vr_from_f16(tile + i * TN_KEY_TILE + j));
    for (int i = 0; i < rows; i += LANES) vr_store(s->v + i, vr_from_f16(tile + t->key_numbers + i));
}

static void kv_open_q8(const kv_tile *t, int d, int keys, const int8_t *tile, attention_scratch *s) {
    const tn_real *units = (const tn_real *)(const void *)(tile + t->key_numbers + t->value_numbers);
    for (int j = 0; j < keys; j += LANES) {
        const vr unit = vr_load(units + j);
        for (int i = 0; i < d; i++)
            vr_store(s->k_turned + i * TN_KEY_TILE + j, vr_mul(unit, vr_from_int8(tile + i * TN_KEY_TILE + j)));
    }
    for (int key = 0; key < keys; key++) {
        const vr unit = vr_set(units[TN_KEY_TILE + key]);
        const int8_t *row = tile + t->key_numbers + key * t->pitch;
        for (int i = 0; i < t->pitch; i += LANES)
            vr_store(s->v + key * t->pitch + i, vr_mul(unit, vr_from_int8(row + i)));
    }
}

/* All that the queries see, tile by tile. */
static void meet_cache(const tn_attention_cached *a, const attention_queries *q, attention_scratch *s) {
    const kv_tile t = kv_tile_of(a->d);
    const int64_t last = q->position + (q->level ? 1 : q->count);
    const char *tile = a->tiles;
    for (int64_t key = 0; key < last; key += TN_KEY_TILE, tile += a->tile_stride) {
        const tn_real *k_turned = s->k_turned, *v = s->v;
        const int keys = tile_at(q, 0, q->count, key).keys;
        if (a->type == TN_KV_F32) {
            k_turned = (const tn_real *)(const void *)tile;
            v = k_turned + t.key_numbers;
        } else if (a->type == TN_KV_F16) {
            kv_open_f16(&t, a->d, keys, (const uint16_t *)(const void *)tile, s);
        } else {
            kv_open_q8(&t, a->d, keys, (const int8_t *)tile, s);
        }
        meet_tile(q, key, k_turned, (attention_view){v, t.pitch}, s);
    }
}

static void attention_cached(const tn_attention_cached *a) {
    TN_ASSERT(a->d >= 1 && a->d <= TN_HEAD_DIM_MAX && a->heads <= STRETCH);
    attention_scratch s;
    if (a->n_queries == 1) { /* one tile serves all heads */
        const attention_queries q = {.d = a->d, .count = a->heads, .position = a->first, .level = true};
        begin_queries(&q, a->q, a->d, a->scale, &s);
        meet_cache(a, &q, &s);
        end_queries(&q, a->o, a->d, NULL, &s);
        return;
    }
    for (int query = 0, count; query < a->n_queries; query += count) {
        count = TN_MIN(a->n_queries - query, (int)STRETCH);
        for (int head = 0; head < a->heads; head++) {
            const attention_queries q = {.d = a->d, .count = count, .position = (int64_t)a->first + query};
            const int64_t at = query * a->stride + head * a->d;
            begin_queries(&q, a->q + at, a->stride, a->scale, &s);
            meet_cache(a, &q, &s);
            end_queries(&q, a->o + at, a->stride, NULL, &s);
        }
    }
}

/* ---- backward ---- */
typedef struct attention_back_scratch {
    _Alignas(TN_ALIGN) tn_real k_turned[HEAD_PAD * TN_KEY_TILE], v_turned[HEAD_PAD * TN_KEY_TILE];
    tn_real k[TN_KEY_TILE * HEAD_PAD], key_rows[TN_KEY_TILE * HEAD_PAD];
    tn_real q[STRETCH * HEAD_PAD], d_o[STRETCH * HEAD_PAD], dq[STRETCH * HEAD_PAD];
    tn_real p[QUERY_BLOCK * TN_KEY_TILE], ds[QUERY_BLOCK * TN_KEY_TILE];
    tn_real pull[STRETCH]; /* rowsum(dO O) */
} attention_back_scratch;

/* p = exp(s - lse) where the key is visible, else 0;  ds = p (dp - pull) */
VR_INLINE void soften_back_row(tn_real *p, tn_real *ds, int visible, int keys, tn_real lse, tn_real pull) {
    const vr shift = vr_set(lse), back = vr_set(pull), zero = vr_set(0);
    int key = 0;
    for (; key < visible; key += LANES) {
        const vr weight = vr_exp_fused(vr_sub(visible_scores(p + key, visible - key), shift));
        const vr slope = vr_mul(weight, vr_sub(vr_load(ds + key), back));
        vr_store(p + key, weight);
        vr_store(ds + key, visible - key >= LANES ? slope : vr_keep_first(slope, visible - key, 0));
    }
    for (; key < keys; key += LANES) {
        vr_store(p + key, zero);
        vr_store(ds + key, zero);
    }
}

static void soften_back_tile(const attention_tile *t, const tn_real *lse, const tn_real *pull,
                             attention_back_scratch *s) {
    for (int i = t->active; i < t->queries; i++) {
        const int visible = visible_keys(t, i);
        tn_real *p = s->p + i * TN_KEY_TILE, *ds = s->ds + i * TN_KEY_TILE;
        if (visible == TN_KEY_TILE)
            soften_back_row(p, ds, TN_KEY_TILE, TN_KEY_TILE, lse[i], pull[i]);
        else
            soften_back_row(p, ds, visible, t->keys, lse[i], pull[i]);
    }
}

/* grad[key] += sum over queries of weights[query][key] rows[query], rows and grad padded. A group of keys begins with
 * the first query that sees one of them. */
static void add_key_gradient(const attention_tile *t, const tn_real *weights, attention_view rows, tn_real *grad,
                             int64_t grad_stride) {
    for (int key = 0, keys; key < t->keys; key += keys) {
        keys = product_rows(t->keys - key);
        const int first = (int)TN_MAX(t->key + key - t->position, (int64_t)t->active);
        product_add(&(product){.rows = keys,
                               .cols = t->pitch,
                               .inner = t->queries - first,
                               .a = weights + first * TN_KEY_TILE + key,
                               .a_row = 1,
                               .a_step = TN_KEY_TILE,
                               .b = rows.at + first * rows.stride,
                               .b_row = rows.stride,
                               .c = grad + key * grad_stride,
                               .c_row = grad_stride});
    }
}

/* The same into rows of d reals, by way of padded ones where d is not whole lanes. */
static void add_key_rows(const attention_tile *t, int d, const tn_real *weights, attention_view rows, tn_real *grad,
                         int64_t stride, tn_real *scratch) {
    if (d == t->pitch) {
        add_key_gradient(t, weights, rows, grad, stride);
        return;
    }
    copy_rows(scratch, t->pitch, grad, stride, t->keys, d, 1);
    add_key_gradient(t, weights, rows, scratch, t->pitch);
    for (int key = 0; key < t->keys; key++)
        memcpy(grad + key * stride, scratch + key * t->pitch, sizeof(tn_real) * (size_t)d);
}

/* One block of the stretch that begins at `query`. */
static void back_block(const tn_attention_back *b, const attention_tile *t, int query, int block, attention_view k,
                       attention_view d_o, attention_back_scratch *s) {
    const tn_attention_rows *a = &b->forward;
    const int64_t at = t->key * a->kv_stride;
    const attention_view q = {s->q + block * t->pitch, t->pitch}; /* scaled */
    const attention_view d_o_block = {d_o.at + block * d_o.stride, d_o.stride};
    dot_tile(t, a->d, q, s->k_turned, s->p);
    dot_tile(t, a->d, d_o_block, s->v_turned, s->ds);
    soften_back_tile(t, a->lse + query + block, s->pull + block, s);
    weigh_values(t, s->ds, k, s->dq + block * t->pitch);
    add_key_rows(t, a->d, s->ds, q, b->dk + at, a->kv_stride, s->key_rows);
    add_key_rows(t, a->d, s->p, d_o_block, b->dv + at, a->kv_stride, s->key_rows);
}

static void back_tile(const tn_attention_back *b, int query, int queries, int64_t key, attention_view d_o,
                      attention_back_scratch *s) {
    const tn_attention_rows *a = &b->forward;
    const int64_t stride = a->kv_stride, at = key * stride;
    const attention_queries rows = {.d = a->d, .count = queries, .position = (int64_t)a->first + query};
    const attention_tile whole = tile_at(&rows, 0, queries, key);
    const attention_view k = padded_rows(a->k + at, stride, whole.keys, a->d, s->k);
    turn_rows(s->k_turned, a->k + at, stride, whole.keys, a->d);
    turn_rows(s->v_turned, a->v + at, stride, whole.keys, a->d);
    for (int block = 0; block < queries; block += QUERY_BLOCK) {
        const attention_tile t = tile_at(&rows, block, TN_MIN(queries - block, (int)QUERY_BLOCK), key);
        if (t.active < t.queries) back_block(b, &t, query, block, k, d_o, s);
    }
}

static void back_stretch(const tn_attention_back *b, int query, int queries, attention_back_scratch *s) {
    const tn_attention_rows *a = &b->forward;
    const int pitch = TN_ROUND_UP(a->d, LANES);
    copy_rows(s->q, pitch, a->q + query * a->q_stride, a->q_stride, queries, a->d, a->scale);
    const attention_view d_o = padded_rows(b->d_o + query * a->o_stride, a->o_stride, queries, a->d, s->d_o);
    memset(s->dq, 0, sizeof(tn_real) * (size_t)(queries * pitch));
    for (int i = 0; i < queries; i++) s->pull[i] = dot(a->d, d_o.at + i * d_o.stride, a->o + (query + i) * a->o_stride);
    for (int64_t key = 0; key < (int64_t)a->first + query + queries; key += TN_KEY_TILE)
        back_tile(b, query, queries, key, d_o, s);
    for (int i = 0; i < queries; i++) axpy(a->d, a->scale, s->dq + i * pitch, b->dq + (query + i) * a->q_stride);
}

static void attention_rows_back(const tn_attention_back *b) {
    TN_ASSERT(b->forward.d >= 1 && b->forward.d <= TN_HEAD_DIM_MAX);
    attention_back_scratch s;
    for (int query = 0; query < b->forward.n_queries; query += STRETCH)
        back_stretch(b, query, TN_MIN(b->forward.n_queries - query, (int)STRETCH), &s);
}
