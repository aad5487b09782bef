/* SPDX-License-Identifier: MIT
 * ternary_rows.h - a block of rows of codes times panels of states, the inside of the forward product and of dX. A
 * panel of 2-bit states is opened to bytes once for all rows of the block where that pays; sums are exact either way.
 * Private to kernels/. */
#ifndef TN_KERNELS_TERNARY_ROWS_H
#define TN_KERNELS_TERNARY_ROWS_H
#include "kernels/kernels_priv.h"
#include "kernels/triples.h"

enum {
    TN_BLOCK_ROWS = 264, /* rows of a block at most: a multiple of every tile's rows */
    TN_BLOCK_STEPS = 128 /* of four states: an opened piece of a panel takes half of a first-level cache */
};

/* Words of a group of a panel, and of a panel of k states an output. */
static inline int tn_ternary_group(tn_packing packing) {
    return packing == TN_PACKING_TRIPLES ? (int)TN_TRIPLE_GROUP : (int)TN_TERNARY_GROUP;
}
static inline int tn_ternary_group_words(tn_packing packing) {
    const int width = tn_k->ternary_panel_width;
    return packing == TN_PACKING_TRIPLES ? TN_TRIPLE_ROWS * width / 4 : width;
}
static inline size_t tn_ternary_panel_words(tn_packing packing, int k) {
    const int group = tn_ternary_group(packing);
    return (size_t)((k + group - 1) / group) * (size_t)tn_ternary_group_words(packing);
}

typedef struct tn_ternary_room {
    const int8_t *q; /* [rows, k], q_stride apart; borrowed */
    int64_t q_stride;
    int rows, k;
    tn_packing packing;
    int tile_rows;
    bool opens;
    int32_t starts[TN_BLOCK_ROWS];
    int32_t acc[TN_BLOCK_ROWS * TN_TERNARY_WIDTH_MAX]; /* [rows][ternary_panel_width] */
    uint32_t bytes[TN_BLOCK_STEPS * TN_TERNARY_WIDTH_MAX];
} tn_ternary_room;

/* Rows [rows, k], 1 <= rows <= TN_BLOCK_ROWS, to meet panels of that packing. */
void tn_ternary_rows_begin(tn_ternary_room *room, tn_packing packing, int rows, int k, const int8_t *q,
                           int64_t q_stride);
/* rows x panel, handed over tile by tile while it is in the cache: the sums of `rows` rows from `row` of the block on.
 */
typedef void tn_ternary_store(void *context, const int32_t *sums, int row, int rows);
void tn_ternary_rows_multiply(tn_ternary_room *room, const uint32_t *panel, tn_ternary_store *store, void *context);

#endif
