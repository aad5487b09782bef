/* SPDX-License-Identifier: MIT */
#include "formats/name_index.h"

#include "core/arena.h"
#include "formats/checksum.h"

#include <string.h>

/* The slot that holds `name`, or the free one where it belongs. */
static uint32_t *slot_of(const tn_name_index *index, const char *name) {
    uint64_t mask = (uint64_t)index->capacity * 2 - 1;
    uint64_t at = tn_checksum64(name, strlen(name)) & mask;
    while (index->slots[at] && strcmp(index->names[index->slots[at] - 1], name) != 0) at = (at + 1) & mask;
    return &index->slots[at];
}

static tn_status grow(tn_name_index *index) {
    int64_t capacity = index->capacity ? 2 * index->capacity : 64;
    const char **names = tn_heap_resize(index->names, (size_t)capacity * sizeof *names);
    if (!names) return TN_E_NOMEM;
    index->names = names;
    uint32_t *slots = tn_heap_zalloc((size_t)capacity * 2, sizeof *slots);
    if (!slots) return TN_E_NOMEM;
    tn_heap_free(index->slots);
    index->slots = slots;
    index->capacity = capacity;
    for (int64_t i = 0; i < index->count; i++) *slot_of(index, names[i]) = (uint32_t)i + 1;
    return TN_OK;
}

tn_status tn_name_index_add(tn_name_index *index, const char *name) {
    if (index->count == index->capacity) TN_TRY(grow(index));
    uint32_t *slot = slot_of(index, name);
    TN_ASSERT(*slot == 0 && index->count < UINT32_MAX);
    index->names[index->count++] = name;
    *slot = (uint32_t)index->count;
    return TN_OK;
}

int64_t tn_name_index_find(const tn_name_index *index, const char *name) {
    return index->count ? (int64_t)*slot_of(index, name) - 1 : -1;
}

void tn_name_index_release(tn_name_index *index) {
    tn_heap_free(index->names);
    tn_heap_free(index->slots);
    *index = (tn_name_index){0};
}
