/* SPDX-License-Identifier: MIT
 * batches.h - rows of T tokens with their targets, in an order that is a function of (seed, epoch, index). The cursor
 * is one number, so a run resumes in the middle of an epoch. Rows are either windows    T+1 tokens each over a range of
 * a store, one running text. An epoch visits every window of its grid once; the grid starts at a fresh offset below T
 * each epoch. Validation walks the plain grid, once, in order. documents  as a packing lays them out. An epoch visits
 * every row once. */
#ifndef TN_DATA_BATCHES_H
#define TN_DATA_BATCHES_H
#include "data/row_packing.h"

enum { TN_NO_TARGET = -100 }; /* label of a position that has no loss */

typedef struct tn_batches {
    const tn_store *store;
    int64_t first, count; /* the range of tokens */
    int context;          /* T */
    uint64_t seed;
    bool shuffle;
    const tn_row_packing *packing; /* borrowed; NULL = windows */
    bool document_mask;            /* documents that share a row do not see each other */
} tn_batches;

/* Rows of T numbers each. */
typedef struct tn_batch {
    int32_t *tokens;
    int32_t *targets; /* the token after each, or TN_NO_TARGET */
    int32_t *first; /* of documents: the place in the row where the document of a token begins; windows do not use it */
} tn_batch;

/* How long a pass over the data is. */
typedef struct tn_epoch {
    int64_t rows;
    bool documents;  /* its batches have `first` */
    int64_t answers; /* documents of preferences in the whole store, which are known by their number there; else 0 */
} tn_epoch;

/* Windows. Fails: TN_E_RANGE "context longer than the data" when the range holds fewer than T+1 tokens. */
tn_status tn_batches_init(tn_batches *batches, const tn_store *store, int64_t first, int64_t count, int context,
                          uint64_t seed, bool shuffle);
/* The documents [first, first + count) of a packing made of these. */
void tn_batches_init_documents(tn_batches *batches, const tn_row_packing *packing, int64_t first, int64_t count,
                               uint64_t seed, bool shuffle, bool document_mask);

tn_epoch tn_batches_epoch(const tn_batches *batches);
int64_t tn_batches_per_epoch(const tn_batches *batches); /* rows in an epoch */
/* Rows cursor .. cursor+rows-1. What is left of a row behind its documents has tokens 0, no targets, and is cut into
 * documents of its own, short ones. */
void tn_batches_get(const tn_batches *batches, int64_t cursor, int rows, const tn_batch *out);

/* Validation. Windows do not overlap and cover the whole range; every token but the first is a target exactly once; the
 * last window may be short, its tail is TN_NO_TARGET (tokens there are 0). Rows of documents come in an order that does
 * not depend on seed or epoch, so that any number of them is a fair sample. Rows past the last are empty. */
int64_t tn_batches_cover_count(const tn_batches *batches);
void tn_batches_cover(const tn_batches *batches, int64_t row, int rows, const tn_batch *out);

/* What stands in row `cursor`, for losses that look at documents (the pairs of preferences, labels). Documents only. */
tn_row_packing_cursor tn_batches_row(const tn_batches *batches, int64_t cursor);
/* The same of a row of validation; one past the last is empty. */
tn_row_packing_cursor tn_batches_cover_row(const tn_batches *batches, int64_t row);

#endif
