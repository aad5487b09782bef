/* SPDX-License-Identifier: MIT
 * param_blocks.h - all elements of a list of parameters, cut into blocks (tn_param_block_size): the tn_par_for items of
 * optimizer steps and of the norm. The cut depends on shapes only, so the number of threads changes no sum. */
#ifndef TN_OPTIM_PARAM_BLOCKS_H
#define TN_OPTIM_PARAM_BLOCKS_H
#include "autograd/param.h"

typedef struct tn_param_block {
    int param; /* index in the list */
    int index; /* among the blocks of the parameter */
    int64_t first, count;
} tn_param_block;

typedef struct tn_param_blocks {
    tn_param *const *params; /* borrowed */
    int n_params;
    tn_param_block *list;
    int64_t count;
} tn_param_blocks;

tn_status tn_param_blocks_init(tn_param_blocks *blocks, tn_arena *arena, tn_param *const *params, int n_params);

#endif
