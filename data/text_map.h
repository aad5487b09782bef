/* SPDX-License-Identifier: MIT
 * text_map.h - two hash maps with open addressing: text -> number, and pair of ids -> number. Nothing is ever removed.
 * Life: map = {0}; put, find ...; release. Texts are borrowed and must outlive the map. Numbers are >= 0. */
#ifndef TN_DATA_TEXT_MAP_H
#define TN_DATA_TEXT_MAP_H
#include "core/status.h"

typedef struct tn_text_slot {
    const char *text; /* NULL = free */
    uint32_t len;
    int32_t value;
} tn_text_slot;

typedef struct tn_text_map {
    tn_text_slot *slots;
    size_t n_slots, count; /* slots: a power of two, at most 3/4 in use */
} tn_text_map;

int32_t tn_text_map_find(const tn_text_map *map, const char *text, size_t len); /* -1 = absent */
/* Fails: TN_E_NOMEM. The text must be absent. */
tn_status tn_text_map_put(tn_text_map *map, const char *text, size_t len, int32_t value);
void tn_text_map_release(tn_text_map *map);

typedef struct tn_pair_slot {
    int32_t left, right;
    int32_t value; /* -1 = free */
    int32_t merged;
} tn_pair_slot;

typedef struct tn_pair_map {
    tn_pair_slot *slots;
    size_t n_slots, count;
} tn_pair_map;

int32_t tn_pair_map_find(const tn_pair_map *map, int32_t left, int32_t right);             /* -1 = absent */
const tn_pair_slot *tn_pair_map_slot(const tn_pair_map *map, int32_t left, int32_t right); /* NULL = absent */
/* Fails: TN_E_NOMEM. The pair must be absent. `merged` is a second number, for what the pair becomes. */
tn_status tn_pair_map_put(tn_pair_map *map, int32_t left, int32_t right, int32_t value, int32_t merged);
void tn_pair_map_release(tn_pair_map *map);

#endif
