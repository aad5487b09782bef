/* SPDX-License-Identifier: MIT */
#include "data/text_map.h"

#include "core/arena.h"
#include "formats/checksum.h"

#include <string.h>

enum { FIRST_SLOTS = 64 };

static bool is_full(size_t count, size_t n_slots) { return count + 1 > n_slots - n_slots / 4; }

/* The slot that holds the text, or the free one where it belongs. n_slots > 0. */
static tn_text_slot *text_slot(const tn_text_map *map, const char *text, size_t len) {
    size_t i = tn_checksum64(text, len);
    for (;; i++) {
        tn_text_slot *slot = &map->slots[i & (map->n_slots - 1)];
        if (!slot->text || (slot->len == len && memcmp(slot->text, text, len) == 0)) return slot;
    }
}

int32_t tn_text_map_find(const tn_text_map *map, const char *text, size_t len) {
    if (!map->count) return -1;
    const tn_text_slot *slot = text_slot(map, text, len);
    return slot->text ? slot->value : -1;
}

static tn_status text_map_grow(tn_text_map *map) {
    tn_text_map grown = {.n_slots = map->n_slots ? 2 * map->n_slots : FIRST_SLOTS, .count = map->count};
    grown.slots = tn_heap_zalloc(grown.n_slots, sizeof *grown.slots);
    if (!grown.slots) return TN_E_NOMEM;
    for (size_t i = 0; i < map->n_slots; i++)
        if (map->slots[i].text) *text_slot(&grown, map->slots[i].text, map->slots[i].len) = map->slots[i];
    tn_heap_free(map->slots);
    *map = grown;
    return TN_OK;
}

tn_status tn_text_map_put(tn_text_map *map, const char *text, size_t len, int32_t value) {
    TN_ASSERT(len <= UINT32_MAX && value >= 0);
    if (is_full(map->count, map->n_slots)) TN_TRY(text_map_grow(map));
    tn_text_slot *slot = text_slot(map, text, len);
    TN_ASSERT(!slot->text);
    *slot = (tn_text_slot){text, (uint32_t)len, value};
    map->count++;
    return TN_OK;
}

void tn_text_map_release(tn_text_map *map) {
    tn_heap_free(map->slots);
    *map = (tn_text_map){0};
}

static tn_pair_slot *pair_slot(const tn_pair_map *map, int32_t left, int32_t right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key = (key ^ key >> 29) * 0x9E3779B97F4A7C15u; /* Fibonacci hashing; its upper half depends on all of the key */
    size_t i = key >> 32;
    for (;; i++) {
        tn_pair_slot *slot = &map->slots[i & (map->n_slots - 1)];
        if (slot->value < 0 || (slot->left == left && slot->right == right)) return slot;
    }
}

int32_t tn_pair_map_find(const tn_pair_map *map, int32_t left, int32_t right) {
    return map->count ? pair_slot(map, left, right)->value : -1;
}

const tn_pair_slot *tn_pair_map_slot(const tn_pair_map *map, int32_t left, int32_t right) {
    const tn_pair_slot *slot = map->count ? pair_slot(map, left, right) : NULL;
    return slot && slot->value >= 0 ? slot : NULL;
}

static tn_status pair_map_grow(tn_pair_map *map) {
    tn_pair_map grown = {.n_slots = map->n_slots ? 2 * map->n_slots : FIRST_SLOTS, .count = map->count};
    grown.slots = tn_heap_zalloc(grown.n_slots, sizeof *grown.slots);
    if (!grown.slots) return TN_E_NOMEM;
    for (size_t i = 0; i < grown.n_slots; i++) grown.slots[i].value = -1;
    for (size_t i = 0; i < map->n_slots; i++)
        if (map->slots[i].value >= 0) *pair_slot(&grown, map->slots[i].left, map->slots[i].right) = map->slots[i];
    tn_heap_free(map->slots);
    *map = grown;
    return TN_OK;
}

tn_status tn_pair_map_put(tn_pair_map *map, int32_t left, int32_t right, int32_t value, int32_t merged) {
    TN_ASSERT(value >= 0);
    if (is_full(map->count, map->n_slots)) TN_TRY(pair_map_grow(map));
    tn_pair_slot *slot = pair_slot(map, left, right);
    TN_ASSERT(slot->value < 0);
    *slot = (tn_pair_slot){left, right, value, merged};
    map->count++;
    return TN_OK;
}

void tn_pair_map_release(tn_pair_map *map) {
    tn_heap_free(map->slots);
    *map = (tn_pair_map){0};
}
