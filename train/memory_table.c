/* SPDX-License-Identifier: MIT */
#include "train/memory_table.h"

#include <string.h>

void tn_memory_table_add(tn_memory_table *table, const char *name, int64_t bytes) {
    table->total += bytes;
    int i = 0;
    while (i < table->count && strcmp(table->rows[i].name, name) != 0) i++;
    if (i == TN_MEMORY_ROWS) return;
    if (i == table->count) table->rows[table->count++] = (tn_memory_row){.name = name};
    table->rows[i].bytes += bytes;
}

void tn_memory_table_add_arena(tn_memory_table *table, const tn_arena *arena) {
    int count;
    const tn_arena_tag *tags = tn_arena_tags(arena, &count);
    for (int i = 0; i < count; i++) tn_memory_table_add(table, tags[i].name, (int64_t)tags[i].peak);
}

void tn_memory_table_sort(tn_memory_table *table) {
    tn_memory_row *rows = table->rows;
    for (int i = 1; i < table->count; i++)
        for (int j = i; j > 0 && rows[j].bytes > rows[j - 1].bytes; j--) {
            tn_memory_row swap = rows[j];
            rows[j] = rows[j - 1];
            rows[j - 1] = swap;
        }
}
