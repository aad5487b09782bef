/* SPDX-License-Identifier: MIT */
#include "formats/checksum.h"

#include "core/arena.h"

#include <stdio.h>

/* Without its forced inlining, which gcc refuses under -Og; at -O3 the speed is the same (30 GB/s in pieces). */
#define XXH_NO_INLINE_HINTS 1
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MAP_PIECE = 256 << 10 };

struct tn_checksum {
    XXH3_state_t *state; /* on the 64-byte boundary inside `room` that xxHash asks for */
    unsigned char room[sizeof(XXH3_state_t) + 64];
};

uint64_t tn_checksum64(const void *data, size_t len) { return XXH3_64bits(data, len); }

/* The first look at a piece brings pages before it back, so in the end all go once more. */
static void add_map(XXH3_state_t *state, XXH_errorcode (*add)(XXH3_state_t *, const void *, size_t), const tn_map *map,
                    size_t begin, size_t end) {
    for (size_t at = begin, next; at < end; at = next) {
        next = TN_MIN(at + MAP_PIECE, end);
        add(state, map->data + at, next - at);
        tn_map_drop(map, at, next);
    }
    tn_map_drop(map, begin, end);
}

uint64_t tn_checksum64_map(const tn_map *map, size_t begin, size_t len) {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    add_map(&state, XXH3_64bits_update, map, begin, begin + len);
    return XXH3_64bits_digest(&state);
}

tn_checksum *tn_checksum_create(void) {
    tn_checksum *sum = tn_heap_zalloc(1, sizeof *sum);
    if (!sum) return NULL;
    sum->state = (XXH3_state_t *)TN_ROUND_UP((uintptr_t)sum->room, 64);
    XXH3_128bits_reset(sum->state);
    return sum;
}

void tn_checksum_add(tn_checksum *sum, const void *data, size_t len) { XXH3_128bits_update(sum->state, data, len); }

void tn_checksum_add_map(tn_checksum *sum, const tn_map *map, size_t begin, size_t end) {
    add_map(sum->state, XXH3_128bits_update, map, begin, end);
}

void tn_checksum_hex(const tn_checksum *sum, char hex[33]) {
    XXH128_hash_t hash = XXH3_128bits_digest(sum->state);
    snprintf(hex, 33, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

void tn_checksum_free(tn_checksum *sum) { tn_heap_free(sum); }
