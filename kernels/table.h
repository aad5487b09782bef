/* SPDX-License-Identifier: MIT
 * table.h - rows of an embedding or head as GGUF files hold them (docs/format.md, "Tables"). What tn_table_row gives is
 * the truth of what a row stands for; whatever multiplies a table in another way must agree with it. Data may lie at
 * any address; it is little-endian, and so must the host be. */
#ifndef TN_KERNELS_TABLE_H
#define TN_KERNELS_TABLE_H
#include "core/status.h"

/* TN_TABLE_F32 ... from the rows of kernels/table_types.def. */
typedef enum tn_table_type {
#define TABLE_TYPE(name, word, values, bytes) TN_TABLE_##name,
#include "kernels/table_types.def"
#undef TABLE_TYPE
    TN_TABLE_TYPES
} tn_table_type;

typedef struct tn_table {
    tn_table_type type;
    const void *data; /* rows end to end, borrowed; NULL = there is no table */
} tn_table;

const char *tn_table_type_name(tn_table_type type); /* "Q6_K" */
/* Fails: TN_E_SHAPE when rows of `k` numbers do not fill blocks. */
tn_status tn_table_check(tn_table_type type, int64_t k);
/* Of a `k` that fills blocks, here and below. */
size_t tn_table_row_bytes(tn_table_type type, int64_t k);

/* y [k] = the numbers of one row. */
void tn_table_row(tn_table_type type, int64_t k, const void *row, tn_real *y);
/* The same of rows first..first+rows-1 of a table: y [rows, k]. */
void tn_table_rows(const tn_table *table, int64_t k, int64_t first, int64_t rows, tn_real *y);

/* Whether all numbers of a row are finite. */
bool tn_table_finite(tn_table_type type, int64_t k, const void *row);

/* x [k] as a row of that type, every rounding half to even. F16 and BF16: the nearest number; Q8_0: the scale
 * max|x| / 127 in f16; Q6_K: scales searched for the least square error.
 * Fails: TN_E_SHAPE; TN_E_RANGE for a number that is not finite or that the type cannot hold (F32 holds all). */
tn_status tn_table_encode_row(tn_table_type type, int64_t k, const tn_real *x, void *row);

#endif
