/* SPDX-License-Identifier: MIT
 * rows_priv.h - what telling rows apart (rows.c) and taking them apart (row_parts.c) share. */
#ifndef TN_DATA_ROWS_PRIV_H
#define TN_DATA_ROWS_PRIV_H
#include "core/buf.h"
#include "data/rows.h"

/* A row and what belongs to it. Starts as {.options = ...}; reset before each row, release at the end. */
typedef struct tn_row_parts {
    const tn_row_options *options;
    tn_row row;
    json_t *messages[2]; /* behind said */
    tn_buf text[2];
    int32_t *ids;
    bool *wanted;
    size_t ids_cap, wanted_cap;
} tn_row_parts;

void tn_row_parts_reset(tn_row_parts *parts);
void tn_row_parts_release(tn_row_parts *parts);

/* Fill parts->row from an object that has the keys of the kind. Fails, about the row: TN_E_CORRUPT; TN_E_NOMEM. */
tn_status tn_row_parts_read(tn_row_parts *parts, tn_row_kind kind, const json_t *object);

/* Their name of our key. */
const char *tn_row_field(const tn_row_options *options, const char *key);
static inline json_t *tn_row_get(const tn_row_options *options, const json_t *object, const char *key) {
    return json_object_get(object, tn_row_field(options, key));
}

#endif
