/* SPDX-License-Identifier: MIT
 * gguf_priv.h - what reader, lookups and writer of GGUF share. */
#ifndef TN_FORMATS_GGUF_PRIV_H
#define TN_FORMATS_GGUF_PRIV_H
#include "core/arena.h"
#include "core/fs.h"
#include "formats/gguf.h"
#include "formats/name_index.h"

#define TN_GGUF_VERSION_KEY  "tern.version"
#define TN_GGUF_CHECKSUM_KEY "tern.checksum"

enum {
    TN_GGUF_HEAD = 24, /* bytes before the first key: magic, version, two counts */
    TN_GGUF_ALIGNMENT = 32,
    TN_GGUF_CHECKSUM_LEN = 32,
    TN_GGUF_MAX_KEY = 65535,
    TN_GGUF_MAX_TENSOR_NAME = 63,
    TN_GGUF_MAX_STRING = 1 << 30,
    TN_GGUF_MAX_ARRAY = 1 << 30,
    TN_GGUF_MAX_DIMS = 4,
    TN_GGUF_STRIDE = 16,
    TN_GGUF_LAST_KIND = TN_GGUF_F64
};

typedef struct tn_gguf_key {
    tn_gguf_kind kind, element;
    int64_t count;              /* elements of an array */
    const unsigned char *value; /* in the map: the scalar, a string's length, an array's first element */
    const uint64_t *starts;     /* arrays of strings: where every TN_GGUF_STRIDE-th begins, counted from `value` */
} tn_gguf_key;

struct tn_gguf {
    char *path;
    tn_map map;
    tn_arena *arena;
    tn_name_index key_names, tensor_names;
    tn_gguf_key *keys;       /* [key_names.count] */
    tn_gguf_tensor *tensors; /* [tensor_names.count], those of the parts too */
    tn_gguf **parts;         /* [n_parts] of a file in parts: all but the first, which this is; in the arena */
    int n_parts;
};

/* One file, whether or not it is a part of a larger one. */
tn_status tn_gguf_open_one(tn_gguf **out, const char *path);
/* When *file is a part: make it the first, with all that the others hold. On failure it is still to be closed. */
tn_status tn_gguf_gather(tn_gguf **file);

size_t tn_gguf_kind_bytes(tn_gguf_kind kind); /* as in gguf_kind.def */

/* An unsigned little-endian number of `bytes` bytes. */
static inline uint64_t tn_gguf_number(const unsigned char *p, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

#endif
