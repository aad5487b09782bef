/* SPDX-License-Identifier: MIT
 * memory_table.h - memory by purpose: the peaks of arenas, added up under the names of their tags. */
#ifndef TN_TRAIN_MEMORY_TABLE_H
#define TN_TRAIN_MEMORY_TABLE_H
#include "core/arena.h"

enum { TN_MEMORY_ROWS = 48 };

typedef struct tn_memory_row {
    const char *name; /* "optimizer"; borrowed, a string literal */
    int64_t bytes;
} tn_memory_row;

/* Zeroed before the first call. */
typedef struct tn_memory_table {
    tn_memory_row rows[TN_MEMORY_ROWS];
    int count;
    int64_t total;
} tn_memory_table;

/* What goes under a name that no row is left for is in the total alone. */
void tn_memory_table_add(tn_memory_table *table, const char *name, int64_t bytes);
void tn_memory_table_add_arena(tn_memory_table *table, const tn_arena *arena);
void tn_memory_table_sort(tn_memory_table *table); /* largest first */

#endif
