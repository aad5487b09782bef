/* SPDX-License-Identifier: MIT
 * batches.h - windows of T+1 tokens over a range of a store, in an order that is a function of (seed, epoch, index).
 * An epoch visits every window of its grid once; the grid starts at a fresh offset below T each epoch. The cursor is
 * one number, so a run resumes in the middle of an epoch. Validation walks the plain grid, once, in order. */
#ifndef TN_DATA_BATCHES_H
#define TN_DATA_BATCHES_H
#include "data/token_store.h"

enum { TN_NO_TARGET = -100 }; /* label of a position that has no loss */

typedef struct tn_batches {
    const tn_store *store;
    int64_t first, count; /* the range of tokens */
    int context;          /* T */
    uint64_t seed;
    bool shuffle;
} tn_batches;

/* Fails: TN_E_RANGE "context longer than the data" when the range holds fewer than T+1 tokens. */
tn_status tn_batches_init(tn_batches *batches, const tn_store *store, int64_t first, int64_t count, int context,
                          uint64_t seed, bool shuffle);
int64_t tn_batches_per_epoch(const tn_batches *batches); /* windows in an epoch */
/* Rows cursor .. cursor+rows-1: tokens [rows, T], targets [rows, T] (each the token after it). */
void tn_batches_get(const tn_batches *batches, int64_t cursor, int rows, int32_t *tokens, int32_t *targets);
/* Validation: non-overlapping windows cover the whole range; every token but the first is a target exactly once; the
 * last window may be short, its tail is TN_NO_TARGET (tokens there are 0). Windows: tn_batches_cover_count(). */
int64_t tn_batches_cover_count(const tn_batches *batches);
void tn_batches_cover(const tn_batches *batches, int64_t window, int rows, int32_t *tokens, int32_t *targets);

#endif
