/* SPDX-License-Identifier: MIT */
#include "optim/clip.h"

#include "core/par.h"
#include "kernels/kernels.h"

#include <math.h>

tn_status tn_clip_init(tn_clip *clip, tn_arena *arena, const tn_param_blocks *blocks) {
    clip->blocks = blocks;
    TN_TAKE(clip->squares, arena, blocks->count, "block table");
    return TN_OK;
}

static void sum_blocks(void *context, int64_t begin, int64_t end) {
    const tn_clip *clip = context;
    for (int64_t i = begin; i < end; i++) {
        const tn_param_block *block = &clip->blocks->list[i];
        const tn_real *grad = clip->blocks->params[block->param]->tensor.grad;
        clip->squares[i] = tn_k->sum_squares(block->count, grad + block->first);
    }
}

double tn_clip_norm(const tn_clip *clip) {
    for (int i = 0; i < clip->blocks->n_params; i++) (void)tn_param_grad(clip->blocks->params[i]);
    tn_par_for(clip->blocks->count, 1, sum_blocks, (void *)(uintptr_t)clip);
    double sum = 0;
    for (int64_t i = 0; i < clip->blocks->count; i++) sum += clip->squares[i];
    return sqrt(sum);
}

double tn_clip_scale(double norm, double max_norm) { return max_norm > 0 && norm > max_norm ? max_norm / norm : 1.0; }
