/* SPDX-License-Identifier: MIT */
#include "data/batches.h"

#include "core/rng.h"
#include "data/shuffle.h"

#include <inttypes.h>

/* Index of the random number of one epoch that is the offset of its grid. */
enum { OFFSET_INDEX = 0 };
/* Documents of padding: short, so that they cost no attention to speak of. */
enum { PADDING = 64 };

tn_status tn_batches_init(tn_batches *batches, const tn_store *store, int64_t first, int64_t count, int context,
                          uint64_t seed, bool shuffle) {
    TN_ASSERT(context > 0 && first >= 0 && count >= 0 && count <= tn_store_n_tokens(store) - first);
    if (count <= context)
        return TN_FAIL(RANGE,
                       "%s: context longer than the data: %" PRId64 " tokens, expected at least %d (context + 1)",
                       tn_store_name(store), count, context + 1);
    *batches = (tn_batches){
        .store = store, .first = first, .count = count, .context = context, .seed = seed, .shuffle = shuffle};
    return TN_OK;
}

void tn_batches_init_documents(tn_batches *batches, const tn_row_packing *packing, int64_t first, int64_t count,
                               uint64_t seed, bool shuffle, bool document_mask) {
    const tn_store *store = tn_row_packing_store(packing);
    int64_t begin = tn_store_doc_offset(store, first);
    *batches = (tn_batches){.store = store,
                            .first = begin,
                            .count = tn_store_doc_offset(store, first + count) - begin,
                            .context = tn_row_packing_context(packing),
                            .seed = seed,
                            .shuffle = shuffle,
                            .packing = packing,
                            .document_mask = document_mask};
}

tn_epoch tn_batches_epoch(const tn_batches *b) {
    const bool compares = tn_store_kind(b->store) == TN_ROW_PREFERENCE;
    return (tn_epoch){.rows = tn_batches_per_epoch(b),
                      .documents = b->packing != NULL,
                      .answers = compares ? tn_store_n_documents(b->store) : 0};
}

/* ---- windows ---- */

/* Places where a grid may start: all below T when the range can spare them, else what is left beside one window. */
static int64_t n_offsets(const tn_batches *b) {
    int64_t spare = b->count - b->context * tn_batches_per_epoch(b);
    return b->shuffle ? TN_MIN(spare, (int64_t)b->context) : 1;
}

/* The same for every offset of the grid, so that a cursor alone says epoch and window. */
int64_t tn_batches_per_epoch(const tn_batches *b) {
    if (b->packing) return tn_row_packing_rows(b->packing);
    int64_t targets = b->shuffle ? b->count - b->context : b->count - 1;
    return TN_MAX(targets / b->context, (int64_t)1);
}

/* First token of the window at `cursor`. */
static int64_t window_at(const tn_batches *b, int64_t cursor) {
    int64_t n = tn_batches_per_epoch(b), epoch = cursor / n, i = cursor % n;
    if (!b->shuffle) return b->first + i * b->context;
    tn_rng rng = tn_rng_make(b->seed, TN_PURPOSE_SHUFFLE, (uint32_t)epoch);
    int64_t offset = (int64_t)tn_rng_below(&rng, OFFSET_INDEX, (uint64_t)n_offsets(b));
    return b->first + offset + (int64_t)tn_shuffled(&rng, 0, (uint64_t)n, (uint64_t)i) * b->context;
}

/* One row of a batch. */
static tn_batch row_of(const tn_batches *b, const tn_batch *batch, int64_t row) {
    int64_t at = row * b->context;
    return (tn_batch){batch->tokens + at, batch->targets + at, batch->first ? batch->first + at : NULL};
}

static void clear_tail(const tn_batches *b, const tn_batch *row, int64_t from) {
    for (int64_t i = from; i < b->context; i++) {
        row->tokens[i] = 0;
        row->targets[i] = TN_NO_TARGET;
    }
}

static void cover_window(const tn_batches *b, int64_t window, const tn_batch *row) {
    int64_t at = window * b->context;
    int64_t filled = TN_MIN(TN_MAX(b->count - 1 - at, (int64_t)0), (int64_t)b->context);
    if (filled) {
        tn_store_get(b->store, b->first + at, filled, row->tokens);
        tn_store_get(b->store, b->first + at + 1, filled, row->targets);
    }
    clear_tail(b, row, filled);
}

/* ---- documents ---- */

static void put_piece(const tn_batches *b, const tn_piece *piece, const tn_batch *row) {
    const uint8_t *mask = tn_store_mask(b->store);
    int64_t first = tn_store_doc_offset(b->store, piece->document) + piece->from;
    tn_store_get(b->store, first, piece->inputs, row->tokens + piece->begin);
    tn_store_get(b->store, first + 1, piece->inputs, row->targets + piece->begin);
    for (int i = 0; i < piece->inputs; i++) {
        if (mask && !mask[first + 1 + i]) row->targets[piece->begin + i] = TN_NO_TARGET;
        row->first[piece->begin + i] = b->document_mask ? piece->begin : 0;
    }
}

static void put_pieces(const tn_batches *b, tn_row_packing_cursor at, const tn_batch *row) {
    tn_piece piece;
    int end = 0;
    while (tn_row_packing_next(&at, &piece)) {
        put_piece(b, &piece, row);
        end = piece.begin + piece.inputs;
    }
    clear_tail(b, row, end);
    for (int i = end; i < b->context; i++) row->first[i] = b->document_mask ? i - (i - end) % PADDING : 0;
}

tn_row_packing_cursor tn_batches_row(const tn_batches *b, int64_t cursor) {
    int64_t n = tn_row_packing_rows(b->packing);
    return tn_row_packing_begin(b->packing, b->seed, cursor / n, cursor % n, b->shuffle);
}

tn_row_packing_cursor tn_batches_cover_row(const tn_batches *b, int64_t row) {
    if (row >= tn_row_packing_rows(b->packing)) return (tn_row_packing_cursor){.packing = b->packing};
    return tn_row_packing_begin(b->packing, 0, 0, row, true);
}

static void cover_documents(const tn_batches *b, int64_t number, const tn_batch *row) {
    if (number < tn_row_packing_rows(b->packing)) {
        put_pieces(b, tn_batches_cover_row(b, number), row);
        return;
    }
    clear_tail(b, row, 0);
    for (int i = 0; i < b->context; i++) row->first[i] = i - i % PADDING;
}

/* ---- both ---- */

void tn_batches_get(const tn_batches *b, int64_t cursor, int rows, const tn_batch *out) {
    TN_ASSERT(cursor >= 0 && rows >= 0);
    for (int64_t i = 0; i < rows; i++) {
        tn_batch row = row_of(b, out, i);
        if (b->packing) {
            put_pieces(b, tn_batches_row(b, cursor + i), &row);
            continue;
        }
        int64_t first = window_at(b, cursor + i);
        tn_store_get(b->store, first, b->context, row.tokens);
        tn_store_get(b->store, first + 1, b->context, row.targets);
    }
}

int64_t tn_batches_cover_count(const tn_batches *b) {
    return b->packing ? tn_row_packing_rows(b->packing) : (b->count - 1 + b->context - 1) / b->context;
}

void tn_batches_cover(const tn_batches *b, int64_t row, int rows, const tn_batch *out) {
    TN_ASSERT(row >= 0 && rows >= 0);
    for (int64_t i = 0; i < rows; i++) {
        tn_batch at = row_of(b, out, i);
        if (b->packing)
            cover_documents(b, row + i, &at);
        else
            cover_window(b, row + i, &at);
    }
}
