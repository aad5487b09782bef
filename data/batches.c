/* SPDX-License-Identifier: MIT */
#include "data/batches.h"

#include "core/rng.h"

#include <inttypes.h>

/* Indices of the random numbers of one epoch: the offset of the grid, then those of the permutation. */
enum { OFFSET_INDEX = 0, ROUNDS = 8 };

/* Places where a grid may start: all below T when the range can spare them, else what is left beside one window. */
static int64_t n_offsets(const tn_batches *b) {
    int64_t spare = b->count - b->context * tn_batches_per_epoch(b);
    return b->shuffle ? TN_MIN(spare, (int64_t)b->context) : 1;
}

tn_status tn_batches_init(tn_batches *batches, const tn_store *store, int64_t first, int64_t count, int context,
                          uint64_t seed, bool shuffle) {
    TN_ASSERT(context > 0 && first >= 0 && count >= 0 && count <= tn_store_n_tokens(store) - first);
    if (count <= context)
        return TN_FAIL(RANGE,
                       "%s: context longer than the data: %" PRId64 " tokens, expected at least %d (context + 1)",
                       tn_store_name(store), count, context + 1);
    *batches = (tn_batches){store, first, count, context, seed, shuffle};
    return TN_OK;
}

/* The same for every offset of the grid, so that a cursor alone says epoch and window. */
int64_t tn_batches_per_epoch(const tn_batches *b) {
    int64_t targets = b->shuffle ? b->count - b->context : b->count - 1;
    return TN_MAX(targets / b->context, (int64_t)1);
}

/* A permutation of 0..n-1 that is computed, not stored: a Feistel network over the next even number of bits, keyed by
 * the epoch, walked until it lands below n (at most four steps on average). */
static uint64_t permute(const tn_rng *rng, uint64_t n, uint64_t i) {
    int half = 1;
    while (half < 31 && n > (uint64_t)1 << 2 * half) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 1; round <= ROUNDS; round++) {
            uint64_t next = left ^ (tn_rng_u64(rng, round << 32 | right) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

/* First token of the window at `cursor`. */
static int64_t window_at(const tn_batches *b, int64_t cursor) {
    int64_t n = tn_batches_per_epoch(b), epoch = cursor / n, i = cursor % n;
    if (!b->shuffle) return b->first + i * b->context;
    tn_rng rng = tn_rng_make(b->seed, TN_PURPOSE_SHUFFLE, (uint32_t)epoch);
    int64_t offset = (int64_t)tn_rng_below(&rng, OFFSET_INDEX, (uint64_t)n_offsets(b));
    return b->first + offset + (int64_t)permute(&rng, (uint64_t)n, (uint64_t)i) * b->context;
}

void tn_batches_get(const tn_batches *b, int64_t cursor, int rows, int32_t *tokens, int32_t *targets) {
    TN_ASSERT(cursor >= 0 && rows >= 0);
    for (int64_t row = 0; row < rows; row++) {
        int64_t at = window_at(b, cursor + row);
        tn_store_get(b->store, at, b->context, tokens + row * b->context);
        tn_store_get(b->store, at + 1, b->context, targets + row * b->context);
    }
}

int64_t tn_batches_cover_count(const tn_batches *b) { return (b->count - 1 + b->context - 1) / b->context; }

void tn_batches_cover(const tn_batches *b, int64_t window, int rows, int32_t *tokens, int32_t *targets) {
    TN_ASSERT(window >= 0 && rows >= 0);
    for (int64_t row = 0; row < rows; row++, tokens += b->context, targets += b->context) {
        int64_t at = (window + row) * b->context;
        int64_t filled = TN_MIN(TN_MAX(b->count - 1 - at, (int64_t)0), (int64_t)b->context);
        if (filled) {
            tn_store_get(b->store, b->first + at, filled, tokens);
            tn_store_get(b->store, b->first + at + 1, filled, targets);
        }
        for (int64_t i = filled; i < b->context; i++) {
            tokens[i] = 0;
            targets[i] = TN_NO_TARGET;
        }
    }
}
