/* SPDX-License-Identifier: MIT */
#include "autograd/grad_pool.h"

typedef struct tn_grad_piece {
    tn_real *at;
    int64_t count;
    bool taken;
    struct tn_grad_piece *next;
} piece;

void tn_grad_pool_reset(tn_grad_pool *pool) {
    tn_arena_reset(pool->arena);
    pool->pieces = NULL;
}

/* The smallest free piece that fits. */
static piece *best_fit(const tn_grad_pool *pool, int64_t count) {
    piece *best = NULL;
    for (piece *p = pool->pieces; p; p = p->next)
        if (!p->taken && p->count >= count && (!best || p->count < best->count)) best = p;
    return best;
}

static piece *add_piece(tn_grad_pool *pool, int64_t count) {
    piece *p = tn_arena_alloc(pool->arena, sizeof *p, "activation gradients");
    if (!p) return NULL;
    tn_real *at = tn_arena_array(pool->arena, (size_t)count, sizeof *at, "activation gradients");
    if (!at) return NULL;
    *p = (piece){.at = at, .count = count, .next = pool->pieces};
    return pool->pieces = p;
}

tn_real *tn_grad_pool_take(tn_grad_pool *pool, int64_t count) {
    piece *p = best_fit(pool, count);
    if (!p) p = add_piece(pool, count);
    if (!p) return NULL;
    p->taken = true;
    return p->at;
}

void tn_grad_pool_give(tn_grad_pool *pool, const tn_real *at) {
    for (piece *p = pool->pieces; p; p = p->next)
        if (p->at == at) p->taken = false;
}
