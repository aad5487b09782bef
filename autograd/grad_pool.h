/* SPDX-License-Identifier: MIT
 * grad_pool.h - memory for the gradients of activations, which live for a part of the backward pass: from the first
 * op that writes one to the op that made the activation. Pieces are given back and used again within a pass; the shapes
 * of a network repeat, so the best fit wastes next to nothing. Life: reset at the start of every pass. */
#ifndef TN_AUTOGRAD_GRAD_POOL_H
#define TN_AUTOGRAD_GRAD_POOL_H
#include "core/arena.h"

typedef struct tn_grad_pool {
    tn_arena *arena; /* borrowed; the pool's alone */
    struct tn_grad_piece *pieces;
} tn_grad_pool;

void tn_grad_pool_reset(tn_grad_pool *pool);
/* A piece of at least `count` numbers, not cleared. NULL when memory is out. */
tn_real *tn_grad_pool_take(tn_grad_pool *pool, int64_t count);
void tn_grad_pool_give(tn_grad_pool *pool, const tn_real *piece);

#endif
