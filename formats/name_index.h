/* SPDX-License-Identifier: MIT
 * name_index.h - names numbered in the order they came, found by hash. Life: tn_name_index i = {0}; ... release. */
#ifndef TN_FORMATS_NAME_INDEX_H
#define TN_FORMATS_NAME_INDEX_H
#include "core/status.h"

typedef struct tn_name_index {
    const char **names; /* [count]; borrowed */
    int64_t count;
    uint32_t *slots;  /* number + 1 of a name, 0 = free; open addressing, at most half full */
    int64_t capacity; /* of names; there are twice as many slots, a power of two */
} tn_name_index;

/* Give `name` the next number. It must not be there yet. Fails: TN_E_NOMEM. */
tn_status tn_name_index_add(tn_name_index *index, const char *name);
int64_t tn_name_index_find(const tn_name_index *index, const char *name); /* its number, -1 when absent */
void tn_name_index_release(tn_name_index *index);

#endif
