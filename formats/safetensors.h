/* SPDX-License-Identifier: MIT
 * safetensors.h - files of named tensors (docs/format.md, "safetensors"): a reader over memory maps, an atomic writer.
 * The reader takes one file, or the index of a model that is cut into shards. It believes nothing: tensors must fill
 * the data of each file from its first byte to its last without a gap or an overlap. Numbers are little-endian and
 * handed out as they lie in the file, at any address: read them with memcpy. */
#ifndef TN_FORMATS_SAFETENSORS_H
#define TN_FORMATS_SAFETENSORS_H
#include "core/status.h"

/* TN_SAFETENSOR_BOOL ... from the rows of formats/safetensors_type.def. */
typedef enum tn_safetensor_type {
#define SAFETENSOR_TYPE(name, bits) TN_SAFETENSOR_##name,
#include "formats/safetensors_type.def"
#undef SAFETENSOR_TYPE
    TN_SAFETENSOR_TYPES
} tn_safetensor_type;

const char *tn_safetensor_type_name(tn_safetensor_type type); /* "BF16" */

enum { TN_SAFETENSOR_DIMS = 8 };

/* ---- reading ---- */
typedef struct tn_safetensors tn_safetensors;

typedef struct tn_safetensor {
    const char *name;
    tn_safetensor_type type;
    int n_dims;                        /* 0: one element */
    int64_t shape[TN_SAFETENSOR_DIMS]; /* the last one is contiguous */
    const unsigned char *data;         /* in the map of */
    const char *path;                  /* this file */
    size_t bytes;
    int shard; /* number of that file */
} tn_safetensor;

/* `path` names a file of tensors or, when it ends in ".json", an index whose "weight_map" says which file beside it has
 * which tensor; it must name every tensor of these files, each once.
 * Fails: TN_E_MISSING (also for a shard, which is named), TN_E_FORMAT (no header of JSON), TN_E_CORRUPT (what is wrong,
 * and where), TN_E_MISMATCH (index and shards), TN_E_UNSUPPORTED (an element type or a rank that is not known). */
tn_status tn_safetensors_open(tn_safetensors **out, const char *path);
void tn_safetensors_close(tn_safetensors *file);             /* NULL is fine */
const char *tn_safetensors_path(const tn_safetensors *file); /* as it was opened */

int64_t tn_safetensors_count(const tn_safetensors *file);
const tn_safetensor *tn_safetensors_at(const tn_safetensors *file, int64_t i);          /* by shard and offset */
const tn_safetensor *tn_safetensors_find(const tn_safetensors *file, const char *name); /* NULL when absent */
/* A value of "__metadata__", of the first shard that has it; NULL when absent. */
const char *tn_safetensors_get_note(const tn_safetensors *file, const char *key);
/* "[2560, 640]" */
const char *tn_safetensor_shape(const tn_safetensor *tensor, char out[128]);

/* Let go of the memory of bytes [begin, end) of a tensor's data, or of all: what is looked at again is read again. */
void tn_safetensors_drop(const tn_safetensors *file, const tn_safetensor *tensor, size_t begin, size_t end);
void tn_safetensors_drop_all(const tn_safetensors *file);

/* ---- writing: tensors announced, then their data in any order, then commit ----
 * The file holds tensors by falling element type, then by name, as the format's own writer sorts them, whatever the
 * order of calls. It appears under `path` at commit. A name given twice, data before its announcement or of another
 * length is TN_E_ARG. After a failed call the writer can only be discarded. */
typedef struct tn_safetensors_writer tn_safetensors_writer;

tn_status tn_safetensors_create(tn_safetensors_writer **out, const char *path);
/* A pair for "__metadata__"; what PyTorch is to load needs "format": "pt". */
tn_status tn_safetensors_note(tn_safetensors_writer *w, const char *key, const char *value);
/* `number` receives what put_piece takes: 0, 1, ... in the order of calls. */
tn_status tn_safetensors_announce(tn_safetensors_writer *w, const char *name, tn_safetensor_type type, int n_dims,
                                  const int64_t *shape, int *number);
/* The next bytes of that tensor. */
tn_status tn_safetensors_put_piece(tn_safetensors_writer *w, int number, const void *data, size_t bytes);
/* The writer is gone afterwards, also on failure (then so is the file). `bytes` may be NULL. */
tn_status tn_safetensors_commit(tn_safetensors_writer *w, int64_t *bytes);
void tn_safetensors_discard(tn_safetensors_writer *w); /* NULL is fine */

#endif
