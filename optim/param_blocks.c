/* SPDX-License-Identifier: MIT */
#include "optim/param_blocks.h"

static int64_t blocks_of(const tn_param *param) {
    return (tn_param_count(param) + TN_BLOCK_ELEMENTS - 1) / TN_BLOCK_ELEMENTS;
}

tn_status tn_param_blocks_init(tn_param_blocks *blocks, tn_arena *arena, tn_param *const *params, int n_params) {
    *blocks = (tn_param_blocks){.params = params, .n_params = n_params};
    int64_t total = 0;
    for (int i = 0; i < n_params; i++) total += blocks_of(params[i]);
    TN_TAKE(blocks->list, arena, total, "block table");
    for (int i = 0; i < n_params; i++) {
        int64_t size = tn_param_count(params[i]);
        for (int64_t first = 0; first < size; first += TN_BLOCK_ELEMENTS)
            blocks->list[blocks->count++] =
                (tn_param_block){i, first, TN_MIN(size - first, (int64_t)TN_BLOCK_ELEMENTS)};
    }
    return TN_OK;
}
