/* SPDX-License-Identifier: MIT
 * The seal: XXH3-64 over a whole finished file, in 16 bytes behind the end that HDF5 knows of; the library and h5py do
 * not look there. The sums inside a file leave the gaps between its parts unwatched, and a damaged file is best found
 * before a library parses it. */
#include "formats/hdf5_priv.h"

#include "formats/checksum.h"

#include <string.h>

enum { MARK = 8, SEAL = 16 };
static const char mark[MARK + 1] = "TernSeal";

static void encode(uint64_t sum, unsigned char out[SEAL]) {
    memcpy(out, mark, MARK);
    for (int i = 0; i < 8; i++) out[MARK + i] = (unsigned char)(sum >> (8 * i));
}

tn_status tn_h5_seal(const char *path) {
    tn_map map;
    unsigned char seal[SEAL];
    TN_TRY(tn_map_init(&map, path));
    encode(tn_checksum64_map(&map, 0, map.size), seal);
    tn_map_release(&map);
    return tn_file_append(path, seal, sizeof seal);
}

tn_status tn_h5_check_seal(const tn_h5 *file, const tn_map *map, bool *sealed) {
    const unsigned char *data = map->data;
    size_t size = map->size;
    *sealed = size >= SEAL && memcmp(data + size - SEAL, mark, MARK) == 0;
    if (!*sealed) return TN_OK;
    unsigned char seal[SEAL];
    encode(tn_checksum64_map(map, 0, size - SEAL), seal);
    if (memcmp(seal, data + size - SEAL, SEAL) == 0) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: is damaged: its checksum does not match its content", file->path);
}
