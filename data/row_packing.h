/* SPDX-License-Identifier: MIT
 * row_packing.h - documents of a store laid out in rows of T tokens. A document of n tokens takes n - 1 places: each
 * predicts the next, the last is only predicted. Which lengths share a row is found once; which documents of a length
 * stand there, and the order of rows, are functions of (seed, epoch). off        a row each bfd        the longest
 * first, each into the row that it fills best (Johnson 1973) bfd_split  the same, of pieces of documents that are too
 * long wrapped    end to end, cut where a row ends Preferences stay together: both documents stand in one row, chosen
 * first. Owns: the layout, about 40 bytes a document. The store is borrowed. */
#ifndef TN_DATA_ROW_PACKING_H
#define TN_DATA_ROW_PACKING_H
#include "core/rng.h"
#include "data/data_config.h"
#include "data/token_store.h"

typedef struct tn_row_packing tn_row_packing;

typedef struct tn_row_packing_options {
    int how;        /* TN_PACKING_OFF ..., AUTO = BFD */
    int context;    /* T, >= 2 */
    int max_length; /* tokens of a document, at most T of them count; 0 = T. WRAPPED: 0 = any */
    int overflow;   /* what becomes of a longer one: TN_OVERFLOW_CUT ... */
} tn_row_packing_options;

/* What a layout made of the documents. */
typedef struct tn_row_packing_report {
    int64_t documents, cut, too_long, zero_target; /* laid out; of these cut or split; left out; left out */
    int64_t rows, places, targets;                 /* places that are taken, of rows x T */
} tn_row_packing_report;

/* Documents [first, first + count). Fails: TN_E_EMPTY when nothing of them is to be learnt; TN_E_RANGE for a document
 * that is too long where overflow is error; TN_E_CONFIG for preferences that are to be split. */
tn_status tn_row_packing_create(tn_row_packing **out, const tn_store *store, int64_t first, int64_t count,
                                const tn_row_packing_options *options, tn_row_packing_report *report);
void tn_row_packing_free(tn_row_packing *packing); /* NULL is fine */

const tn_store *tn_row_packing_store(const tn_row_packing *packing);
int tn_row_packing_context(const tn_row_packing *packing);
int64_t tn_row_packing_rows(const tn_row_packing *packing);

/* A run of a document in a row: its tokens [from, from + inputs) stand from place `begin` on, and predict the tokens
 * behind them. */
typedef struct tn_piece {
    int64_t document, from;
    int begin, inputs;
} tn_piece;

/* On its way through a row. */
typedef struct tn_row_packing_cursor {
    const tn_row_packing *packing;
    tn_rng rng;
    bool shuffle;
    size_t item, end; /* places of items */
    int part, begin;
} tn_row_packing_cursor;

/* Row `row` in the layout of `epoch`; `shuffle` false: rows and documents as they were laid out. */
tn_row_packing_cursor tn_row_packing_begin(const tn_row_packing *packing, uint64_t seed, int64_t epoch, int64_t row,
                                           bool shuffle);
/* The next piece, from place 0 on, end to end; false when there is none. */
bool tn_row_packing_next(tn_row_packing_cursor *cursor, tn_piece *piece);

#endif
