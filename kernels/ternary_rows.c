/* SPDX-License-Identifier: MIT */
#include "kernels/ternary_rows.h"

void tn_ternary_rows_begin(tn_ternary_room *room, int rows, int k, const int8_t *q, int64_t q_stride) {
    room->q = q;
    room->q_stride = q_stride;
    room->rows = rows;
    room->k = k;
    room->opens = tn_k->ternary_opens && rows >= 4 * tn_k->ternary_tile_rows && k % 4 == 0;
    for (int r = 0; r < rows && room->opens; r++) room->starts[r] = -tn_k->sum_codes(k, q + r * q_stride);
}

static void multiply_closed(tn_ternary_room *room, const uint32_t *panel, tn_ternary_store *store, void *context) {
    for (int row = 0, rows; row < room->rows; row += rows) {
        rows = TN_MIN(tn_k->ternary_tile_rows, room->rows - row);
        tn_k->ternary_panel(rows, room->k, room->q + row * room->q_stride, room->q_stride, panel, room->acc);
        store(context, room->acc, row, rows);
    }
}

void tn_ternary_rows_multiply(tn_ternary_room *room, const uint32_t *panel, tn_ternary_store *store, void *context) {
    const int width = tn_k->ternary_panel_width, steps = room->k / 4;
    if (!room->opens) {
        multiply_closed(room, panel, store, context);
        return;
    }
    for (int first = 0; first < steps; first += TN_BLOCK_STEPS) {
        const int count = TN_MIN((int)TN_BLOCK_STEPS, steps - first);
        tn_k->ternary_bytes((count + 3) / 4, panel + (int64_t)first / 4 * width, room->bytes);
        for (int row = 0, rows; row < room->rows; row += rows) {
            rows = TN_MIN(tn_k->ternary_tile_rows, room->rows - row);
            int32_t *acc = room->acc + row * width;
            tn_k->byte_panel(rows, count, room->q + row * room->q_stride + 4 * first, room->q_stride, room->bytes,
                             first ? NULL : room->starts + row, acc);
            if (first + count == steps) store(context, acc, row, rows);
        }
    }
}
