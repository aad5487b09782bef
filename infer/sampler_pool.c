/* SPDX-License-Identifier: MIT
 * sampler_pool.c - candidates in an order that is settled from the front. A vocabulary is long, and most picks end
 * among the first few dozen tokens, so nothing sorts all of it. */
#include "infer/sampler_priv.h"

#include <math.h>

bool tn_more_likely(const tn_candidate *a, const tn_candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

tn_status tn_pool_reserve(tn_pool *pool, int count) {
    TN_GROW(pool->list, &pool->cap, (size_t)count);
    return TN_OK;
}

static inline void swap(tn_candidate *a, tn_candidate *b) {
    tn_candidate keep = *a;
    *a = *b;
    *b = keep;
}

/* Restore the heap below `at`: a parent comes after its children, so the root is the last of the kept. */
static inline void sift_down(tn_candidate *heap, int n, int at, tn_candidate_order *before) {
    for (;;) {
        int last = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < n; child++)
            if (before(&heap[last], &heap[child])) last = child;
        if (last == at) return;
        swap(&heap[at], &heap[last]);
        at = last;
    }
}

static inline void make_heap(tn_candidate *heap, int n, tn_candidate_order *before) {
    for (int i = n / 2; i-- > 0;) sift_down(heap, n, i, before);
}

/* The first k of list [n] come to its front, in order: they make a heap, each better one of the rest trades places with
 * its root, and in the end the roots go to the back one by one. */
static inline void settle(tn_candidate *list, int n, int k, tn_candidate_order *before) {
    make_heap(list, k, before);
    for (int i = k; i < n; i++) {
        if (!before(&list[i], &list[0])) continue;
        swap(&list[i], &list[0]);
        sift_down(list, k, 0, before);
    }
    for (int left = k - 1; left > 0; left--) {
        swap(&list[0], &list[left]);
        sift_down(list, left, 0, before);
    }
}

void tn_pool_sort(tn_pool *pool, int count) {
    count = TN_MIN(count, pool->n);
    if (count <= pool->sorted) return;
    settle(pool->list + pool->sorted, pool->n - pool->sorted, count - pool->sorted, tn_more_likely);
    pool->sorted = count;
    pool->by_id = false;
}

const tn_candidate *tn_pool_at(tn_pool *pool, int i) {
    if (i >= pool->sorted) tn_pool_sort(pool, TN_MAX(64, 4 * i));
    return &pool->list[i];
}

void tn_pool_order(tn_pool *pool, int count, tn_candidate_order *before) {
    settle(pool->list, pool->n, TN_MIN(count, pool->n), before);
    pool->sorted = 0;
    pool->by_id = false;
}

void tn_pool_push_best(tn_pool *pool, int keep, tn_candidate next) {
    if (pool->n < keep) {
        pool->list[pool->n++] = next;
        if (pool->n == keep) make_heap(pool->list, keep, tn_more_likely);
    } else if (tn_more_likely(&next, &pool->list[0])) {
        pool->list[0] = next;
        sift_down(pool->list, keep, 0, tn_more_likely);
    }
}

void tn_pool_softmax(tn_pool *pool) {
    double sum = 0, best = tn_pool_at(pool, 0)->logit;
    for (int i = 0; i < pool->n; i++) sum += pool->list[i].p = exp(pool->list[i].logit - best);
    for (int i = 0; i < pool->n; i++) pool->list[i].p /= sum;
}

double tn_pool_entropy(const tn_pool *pool) {
    double sum = 0;
    for (int i = 0; i < pool->n; i++)
        if (pool->list[i].p > 0) sum -= pool->list[i].p * log(pool->list[i].p);
    return sum;
}

void tn_pool_keep(tn_pool *pool, double least) {
    int kept = 0;
    for (int i = 0; i < pool->n; i++)
        if (pool->list[i].logit >= least) pool->list[kept++] = pool->list[i];
    pool->n = kept;
    pool->sorted = TN_MIN(pool->sorted, kept);
}

tn_candidate *tn_pool_find(tn_pool *pool, int32_t id) {
    int low = 0, high = pool->n;
    if (!pool->by_id) {
        while (low < high && pool->list[low].id != id) low++;
        return low < high ? &pool->list[low] : NULL;
    }
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (pool->list[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < pool->n && pool->list[low].id == id ? &pool->list[low] : NULL;
}
