/* SPDX-License-Identifier: MIT
 * rows.h - training data row by row: JSONL, or one JSON list, whose rows tell by their keys what they are
 * (row_kinds.def), and plain texts, each file one row. Which files: data/text_source.h.
 *
 * The first row fixes the kind of a file. A row that has the keys of two unrelated kinds could mean either and is
 * refused unless the kind is given. Keys that a kind does not know are left alone. Every fault is one sentence with
 * file and line, the field, what was found and what was expected; a row that has one ends the reading, or is left out,
 * counted, and the first ones told in the log.
 *
 * A message has a role (system, user, assistant, tool) and a content (a string, text parts, or null beside tool_calls);
 * "weight" 0 or 1, or "train" true or false, on it or on a part says whether an answer is learnt. */
#ifndef TN_DATA_ROWS_H
#define TN_DATA_ROWS_H
#include "data/data_report.h"

#include <jansson.h>

typedef enum tn_row_kind {
#define ROW_KIND(id, name, keys, more_keys) TN_ROW_##id,
#include "data/row_kinds.def"
#undef ROW_KIND
    TN_ROW_KINDS
} tn_row_kind;

extern const char *const tn_row_kind_names[TN_ROW_KINDS]; /* "chat" */

/* What a file's rows may be: found out from the first, of any kind, or TN_ROWS_OF + a tn_row_kind. */
enum { TN_ROWS_AUTO, TN_ROWS_MIXED, TN_ROWS_OF };

/* Zeros are the defaults. */
typedef struct tn_row_options {
    int kind;
    bool skips_bad;
    const char *const *fields; /* "ours=theirs": what this data calls a key, "messages=dialog", "role=speaker" */
    int n_fields;
} tn_row_options;

/* One conversation, or one text, and where what is to be learnt of it begins. */
typedef struct tn_said {
    const json_t *messages; /* array of messages as above, under our names; NULL = a text */
    const char *text;
    size_t len;
    size_t answer; /* messages, or bytes, of the prompt; 0 = there is none */
} tn_said;

typedef struct tn_row {
    tn_row_kind kind;
    const char *path;
    int64_t line; /* 0 = a plain text */
    tn_said said[2];
    int n_said;          /* 0 = tokens; 2 = what was chosen, what was rejected, with the same prompt */
    const json_t *tools; /* array, or NULL */
    int label;           /* KTO: whether the completion is wanted */
    const int32_t *ids;  /* [n_ids] tokens without those that were masked; not checked against a vocabulary */
    const bool *wanted;  /* [n_ids] whether each is learnt */
    size_t n_ids;
} tn_row;

/* All of a row is borrowed for the call. A failure stops the reading and is returned; one that is about the row itself
 * (TN_E_CORRUPT, TEXT, ARG, RANGE, SHAPE, FORMAT, MISMATCH, UNSUPPORTED, EMPTY) gets file and line in front and is a
 * bad row like any other. */
typedef tn_status tn_row_visit(void *context, const tn_row *row);

/* Rows, bad and empty ones are counted in `report`, which has an entry for the file at hand when `visit` is called.
 * Fails: what tn_each_file and tn_text_source_* give; TN_E_CORRUPT for a bad row; TN_E_EMPTY for a file without rows;
 * TN_E_CONFIG for fields that are no keys. */
tn_status tn_read_rows(const char *const *paths, int n_paths, const tn_row_options *options, tn_data_report *report,
                       tn_row_visit *visit, void *context);

/* Whether an answer is learnt as "weight" and "train" of a message, or of a text part, say it. */
bool tn_message_is_learnt(const json_t *message_or_part);

#endif
