/* SPDX-License-Identifier: MIT
 * safetensors_priv.h - what the reader of one file and the reader of an index share, and what both share with the
 * writer. */
#ifndef TN_FORMATS_SAFETENSORS_PRIV_H
#define TN_FORMATS_SAFETENSORS_PRIV_H
#include "core/arena.h"
#include "core/fs.h"
#include "formats/name_index.h"
#include "formats/safetensors.h"

#define TN_SAFETENSORS_NOTES "__metadata__"

enum { TN_SAFETENSORS_HEAD = 8, TN_SAFETENSORS_MAX_HEADER = 100000000, TN_SAFETENSORS_MAX_SHARDS = 4096 };

typedef struct tn_safetensors_shard {
    const char *path;
    tn_map map;
} tn_safetensors_shard;

/* A pair of "__metadata__". */
typedef struct tn_safetensors_pair {
    const char *key, *value;
    struct tn_safetensors_pair *next;
} tn_safetensors_pair;

struct tn_safetensors {
    char *path;
    tn_arena *arena; /* names, paths, notes */
    tn_safetensors_pair *notes, **last_note;
    tn_name_index names;
    tn_safetensor *tensors; /* [names.count] on the heap */
    tn_safetensors_shard *shards;
    int n_shards;
};

/* Map `path` and add its tensors. Fails: as tn_safetensors_open. */
tn_status tn_safetensors_add_shard(tn_safetensors *file, const char *path);
tn_status tn_safetensors_read_index(tn_safetensors *file);

/* Bytes of a tensor. Fails: TN_E_SHAPE in words that follow a name: "has an impossible shape". */
tn_status tn_safetensor_bytes(tn_safetensor_type type, int n_dims, const int64_t *shape, size_t *bytes);

#endif
