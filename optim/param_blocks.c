/* SPDX-License-Identifier: MIT */
#include "optim/param_blocks.h"

/* Writes them into `list` unless it is NULL; returns how many. */
static int64_t cut(const tn_param *param, int number, tn_param_block *list) {
    int64_t size = tn_param_count(param), step = tn_param_block_size(size), n = 0;
    for (int64_t first = 0; first < size; first += step, n++)
        if (list) list[n] = (tn_param_block){number, (int)n, first, TN_MIN(size - first, step)};
    return n;
}

tn_status tn_param_blocks_init(tn_param_blocks *blocks, tn_arena *arena, tn_param *const *params, int n_params) {
    *blocks = (tn_param_blocks){.params = params, .n_params = n_params};
    int64_t total = 0;
    for (int i = 0; i < n_params; i++) total += cut(params[i], i, NULL);
    TN_TAKE(blocks->list, arena, total, "block table");
    for (int i = 0; i < n_params; i++) blocks->count += cut(params[i], i, blocks->list + blocks->count);
    return TN_OK;
}
