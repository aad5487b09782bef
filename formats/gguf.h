/* SPDX-License-Identifier: MIT
 * gguf.h - GGUF version 3 (docs/format.md): keys, tensors, one reader over a memory map, one atomic writer.
 * Strict writer, strict reader where safety asks for it: every length is checked against the file before use.
 * GGUF has no checksum, so Tern's files carry one in two keys behind all others: `tern.version` (u32 1) and
 * `tern.checksum`, 32 hex digits, the XXH3-128 of the whole file with these digits taken as '0'. The reader compares it
 * at open; a file with the first key but not the second is damaged too. Other runtimes ignore both; a tool that changes
 * such a file must take both out.
 * Numbers are little-endian; tensor data is handed out as it lies in the file, so the host must be too. */
#ifndef TN_FORMATS_GGUF_H
#define TN_FORMATS_GGUF_H
#include "core/buf.h"

/* TN_GGUF_U8 ... from the rows of formats/gguf_kind.def; the values are the ids of the format. */
typedef enum tn_gguf_kind {
#define GGUF_KIND(name, bytes) TN_GGUF_##name,
#include "formats/gguf_kind.def"
#undef GGUF_KIND
} tn_gguf_kind;

const char *tn_gguf_kind_name(tn_gguf_kind kind); /* "U32" */

/* Tensor types Tern reads and writes: TN_GGML_F32 ... from the rows of formats/ggml_type.def. */
typedef enum tn_ggml_type {
#define GGML_TYPE(name, id, values, bytes, tail) TN_GGML_##name = id,
#include "formats/ggml_type.def"
} tn_ggml_type;

const char *tn_ggml_type_name(int type); /* "I2_S"; "type 77" for an id that nobody gave */
/* Values that are packed together, of which a row has a whole number; 1 for a type Tern does not handle. */
int64_t tn_ggml_type_block(int type);
/* Bytes of a tensor of `rows` rows of `cols` values.
 * Fails: TN_E_UNSUPPORTED, TN_E_SHAPE when cols do not fill blocks. */
tn_status tn_ggml_type_bytes(int type, int64_t cols, int64_t rows, size_t *bytes);

/* ---- reading ---- */
typedef struct tn_gguf tn_gguf;

typedef struct tn_gguf_tensor {
    const char *name;
    int type; /* the file's id */
    int n_dims;
    int64_t ne[4];             /* ne[0] is contiguous */
    const unsigned char *data; /* in the map of */
    const char *path;          /* this file: the whole, or a part */
    size_t bytes;
} tn_gguf_tensor;

typedef struct tn_gguf_text {
    const char *data; /* not terminated */
    size_t len;
} tn_gguf_text;

/* A file that is cut into parts (NAME-00001-of-00003.gguf and so on, keys split.no, split.count) is opened by any of
 * them: it has the keys of the first and the tensors of all.
 * Fails: TN_E_MISSING (also for a part, which is named), TN_E_FORMAT (no GGUF, or a version other than 2..3),
 * TN_E_CORRUPT (what is wrong, and where; also a checksum that does not match), TN_E_MISMATCH (parts of different
 * files), TN_E_UNSUPPORTED (a tensor of a type that is not in ggml_type.def). */
tn_status tn_gguf_open(tn_gguf **out, const char *path);
void tn_gguf_close(tn_gguf *file);
const char *tn_gguf_path(const tn_gguf *file); /* of the first part */
/* Let go of the memory of bytes [begin, end) of a tensor's data: what is looked at again is read again. */
void tn_gguf_drop(const tn_gguf *file, const tn_gguf_tensor *tensor, size_t begin, size_t end);
void tn_gguf_drop_all(const tn_gguf *file); /* keys too */

int64_t tn_gguf_n_keys(const tn_gguf *file);
int64_t tn_gguf_n_tensors(const tn_gguf *file);
/* The key's name and kind; for arrays `element` and `count` too (any out pointer may be NULL). */
const char *tn_gguf_key_at(const tn_gguf *file, int64_t i, tn_gguf_kind *kind, tn_gguf_kind *element, int64_t *count);
bool tn_gguf_has(const tn_gguf *file, const char *key);
/* Any integer kind converts when it fits; F32/F64 to real.
 * Fails: TN_E_MISSING, TN_E_CORRUPT when it is of another kind; the message names file and key. */
tn_status tn_gguf_get_int(const tn_gguf *file, const char *key, int64_t *value);
tn_status tn_gguf_get_real(const tn_gguf *file, const char *key, double *value);
tn_status tn_gguf_get_bool(const tn_gguf *file, const char *key, bool *value);
tn_status tn_gguf_get_text(const tn_gguf *file, const char *key, tn_gguf_text *value);
/* Arrays; an element that is not there is TN_E_CORRUPT. */
tn_status tn_gguf_array(const tn_gguf *file, const char *key, tn_gguf_kind *element, int64_t *count);
tn_status tn_gguf_array_text(const tn_gguf *file, const char *key, int64_t i, tn_gguf_text *value); /* O(1) */
tn_status tn_gguf_array_int(const tn_gguf *file, const char *key, int64_t i, int64_t *value);
tn_status tn_gguf_array_real(const tn_gguf *file, const char *key, int64_t i, double *value);
const tn_gguf_tensor *tn_gguf_tensor_at(const tn_gguf *file, int64_t i);
const tn_gguf_tensor *tn_gguf_find(const tn_gguf *file, const char *name); /* NULL when absent */

/* ---- writing: keys in call order, tensors announced first, then written in that order, then commit ---- */
typedef struct tn_gguf_writer tn_gguf_writer;

/* The file appears under `path` at commit; with NULL there is no file, which is for tn_gguf_file_bytes. A call out of
 * order, a key or tensor name given twice, an array or a tensor with another number of elements or bytes than promised
 * is TN_E_ARG; a name too long for the format TN_E_RANGE. After a failed call the writer can only be discarded. */
tn_status tn_gguf_create(tn_gguf_writer **out, const char *path);
/* Leave the two `tern.` keys out, for byte-exact comparison with other writers. Before the first
 * tensor's data. */
void tn_gguf_without_checksum(tn_gguf_writer *w);
tn_status tn_gguf_put_u32(tn_gguf_writer *w, const char *key, uint32_t value);
tn_status tn_gguf_put_f32(tn_gguf_writer *w, const char *key, float value);
tn_status tn_gguf_put_bool(tn_gguf_writer *w, const char *key, bool value);
tn_status tn_gguf_put_text(tn_gguf_writer *w, const char *key, const char *text, size_t len);
tn_status tn_gguf_puts(tn_gguf_writer *w, const char *key, const char *text); /* up to its NUL */
/* Arrays of STRING, I32 or F32: begin, then `count` elements of that kind. */
tn_status tn_gguf_put_array(tn_gguf_writer *w, const char *key, tn_gguf_kind element, int64_t count);
tn_status tn_gguf_put_element_text(tn_gguf_writer *w, const char *text, size_t len);
tn_status tn_gguf_put_element_i32(tn_gguf_writer *w, int32_t value);
tn_status tn_gguf_put_element_f32(tn_gguf_writer *w, float value);
tn_status tn_gguf_announce(tn_gguf_writer *w, const char *name, int type, int n_dims, const int64_t *ne);
/* Exactly tn_ggml_type_bytes() bytes, in announced order; or the same in pieces. */
tn_status tn_gguf_put_data(tn_gguf_writer *w, const void *data, size_t bytes);
tn_status tn_gguf_put_piece(tn_gguf_writer *w, const void *data, size_t bytes);
/* Bytes of the file that the keys and announcements so far make. Afterwards neither can be added. */
tn_status tn_gguf_file_bytes(tn_gguf_writer *w, int64_t *bytes);
tn_status tn_gguf_commit(tn_gguf_writer *w); /* the writer is gone afterwards, also on failure (then so is the file) */
void tn_gguf_discard(tn_gguf_writer *w);

#endif
