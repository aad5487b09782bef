/* SPDX-License-Identifier: MIT */
#include "kernels/ternary_rows.h"

void tn_ternary_rows_begin(tn_ternary_room *room, tn_packing packing, int rows, int k, const int8_t *q,
                           int64_t q_stride) {
    const bool triples = packing == TN_PACKING_TRIPLES;
    room->q = q;
    room->q_stride = q_stride;
    room->rows = rows;
    room->k = k;
    room->packing = packing;
    room->tile_rows = triples ? tn_k->triple_tile_rows : tn_k->ternary_tile_rows;
    room->opens = (triples ? tn_k->triples_are_fast : tn_k->ternary_opens) && rows >= 4 * room->tile_rows && k % 4 == 0;
    for (int r = 0; r < rows && room->opens; r++) room->starts[r] = -tn_k->sum_codes(k, q + r * q_stride);
}

static void multiply_closed(tn_ternary_room *room, const uint32_t *panel, tn_ternary_store *store, void *context) {
    const bool triples = room->packing == TN_PACKING_TRIPLES;
    for (int row = 0, rows; row < room->rows; row += rows) {
        const int8_t *q = room->q + row * room->q_stride;
        rows = TN_MIN(room->tile_rows, room->rows - row);
        (triples ? tn_k->triple_panel : tn_k->ternary_panel)(rows, room->k, q, room->q_stride, panel, room->acc);
        store(context, room->acc, row, rows);
    }
}

/* Opens the groups of `count` steps from `first` on, the first of a group. */
static void open_steps(tn_ternary_room *room, const uint32_t *panel, int first, int count) {
    const int steps = tn_ternary_group(room->packing) / 4, groups = (count + steps - 1) / steps;
    panel += (int64_t)first / steps * tn_ternary_group_words(room->packing);
    (room->packing == TN_PACKING_TRIPLES ? tn_k->triple_bytes : tn_k->ternary_bytes)(groups, panel, room->bytes);
}

void tn_ternary_rows_multiply(tn_ternary_room *room, const uint32_t *panel, tn_ternary_store *store, void *context) {
    const int width = tn_k->ternary_panel_width, steps = room->k / 4, group = tn_ternary_group(room->packing) / 4;
    if (!room->opens) {
        multiply_closed(room, panel, store, context);
        return;
    }
    for (int first = 0, count; first < steps; first += count) {
        count = TN_MIN(TN_BLOCK_STEPS / group * group, steps - first);
        open_steps(room, panel, first, count);
        for (int row = 0, rows; row < room->rows; row += rows) {
            rows = TN_MIN(tn_k->ternary_tile_rows, room->rows - row);
            int32_t *acc = room->acc + row * width;
            tn_k->byte_panel(rows, count, room->q + row * room->q_stride + 4 * first, room->q_stride, room->bytes,
                             first ? NULL : room->starts + row, acc);
            if (first + count == steps) store(context, acc, row, rows);
        }
    }
}
