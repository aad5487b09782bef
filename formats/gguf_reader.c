/* SPDX-License-Identifier: MIT
 * gguf_reader.c - from bytes to keys and tensors: everything the lookups rely on is checked here, once. */
#include "formats/checksum.h"
#include "formats/gguf_priv.h"

#include <stdio.h>
#include <string.h>

/* Beyond any model; they keep the tables small whatever a file claims. */
enum { MAX_KEYS = 1 << 16, MAX_TENSORS = 1 << 16 };
enum { LEAST_KEY_RECORD = 8 + 1 + 4 + 1, LEAST_TENSOR_RECORD = 8 + 1 + 4 + 4 + 8 };

#define TAG "gguf"

typedef struct cursor {
    tn_gguf *file;
    size_t at;
} cursor;

static size_t left(const cursor *c) { return c->file->map.size - c->at; }

/* The next `bytes` bytes. */
static tn_status take(cursor *c, uint64_t bytes, const char *what, const unsigned char **out) {
    if (bytes > left(c))
        return TN_FAIL(CORRUPT, "%s: is cut short: %s at byte %zu needs %llu bytes, %zu are left", c->file->path, what,
                       c->at, (unsigned long long)bytes, left(c));
    *out = c->file->map.data + c->at;
    c->at += (size_t)bytes;
    return TN_OK;
}

static tn_status take_number(cursor *c, size_t bytes, const char *what, uint64_t *value) {
    const unsigned char *p = NULL;
    TN_TRY(take(c, bytes, what, &p));
    *value = tn_gguf_number(p, bytes);
    return TN_OK;
}

static tn_status take_string(cursor *c, uint64_t max, const char *what, const char **text, size_t *len) {
    const unsigned char *p = NULL;
    uint64_t bytes;
    TN_TRY(take_number(c, 8, what, &bytes));
    if (bytes > max)
        return TN_FAIL(CORRUPT, "%s: %s before byte %zu has %llu bytes, at most %llu are possible", c->file->path, what,
                       c->at, (unsigned long long)bytes, (unsigned long long)max);
    TN_TRY(take(c, bytes, what, &p));
    *text = (const char *)p;
    *len = (size_t)bytes;
    return TN_OK;
}

/* A name that is not empty, has no NUL inside and is new; it gets the next number of `index`. */
static tn_status take_name(cursor *c, uint64_t max, const char *what, tn_name_index *index) {
    const char *text;
    size_t len;
    TN_TRY(take_string(c, max, what, &text, &len));
    if (len == 0 || memchr(text, '\0', len))
        return TN_FAIL(CORRUPT, "%s: %s number %lld is empty or holds a zero byte", c->file->path, what,
                       (long long)index->count);
    char *name;
    TN_TAKE(name, c->file->arena, len + 1, TAG);
    memcpy(name, text, len);
    name[len] = '\0';
    if (tn_name_index_find(index, name) >= 0)
        return TN_FAIL(CORRUPT, "%s: %s \"%.100s\" is there twice", c->file->path, what, name);
    return tn_name_index_add(index, name);
}

/* ---- keys ---- */

static tn_status take_kind(cursor *c, const char *name, tn_gguf_kind *kind) {
    uint64_t id;
    TN_TRY(take_number(c, 4, "a value's kind", &id));
    if (id > TN_GGUF_LAST_KIND)
        return TN_FAIL(CORRUPT, "%s: key \"%.100s\" has value kind %llu, which the format does not have", c->file->path,
                       name, (unsigned long long)id);
    *kind = (tn_gguf_kind)id;
    return TN_OK;
}

static tn_status take_strings(cursor *c, tn_gguf_key *key) {
    uint64_t *starts;
    TN_TAKE(starts, c->file->arena, (key->count + TN_GGUF_STRIDE - 1) / TN_GGUF_STRIDE, TAG);
    size_t begin = c->at;
    for (int64_t i = 0; i < key->count; i++) {
        const char *text;
        size_t len;
        if (i % TN_GGUF_STRIDE == 0) starts[i / TN_GGUF_STRIDE] = c->at - begin;
        TN_TRY(take_string(c, TN_GGUF_MAX_STRING, "a text of an array", &text, &len));
    }
    key->starts = starts;
    return TN_OK;
}

static tn_status take_array(cursor *c, const char *name, tn_gguf_key *key) {
    uint64_t count;
    TN_TRY(take_kind(c, name, &key->element));
    TN_TRY(take_number(c, 8, "an array's length", &count));
    if (key->element == TN_GGUF_ARRAY)
        return TN_FAIL(CORRUPT, "%s: key \"%.100s\" is an array of arrays", c->file->path, name);
    size_t least = tn_gguf_kind_bytes(key->element);
    if (count > TN_GGUF_MAX_ARRAY || count > left(c) / least)
        return TN_FAIL(CORRUPT, "%s: key \"%.100s\" has %llu elements, more than the file holds", c->file->path, name,
                       (unsigned long long)count);
    key->count = (int64_t)count;
    key->value = c->file->map.data + c->at;
    if (key->element == TN_GGUF_STRING) return take_strings(c, key);
    c->at += (size_t)count * least;
    return TN_OK;
}

static tn_status take_value(cursor *c, const char *name, tn_gguf_key *key) {
    if (key->kind == TN_GGUF_ARRAY) return take_array(c, name, key);
    key->value = c->file->map.data + c->at;
    if (key->kind == TN_GGUF_STRING) {
        const char *text;
        size_t len;
        return take_string(c, TN_GGUF_MAX_STRING, name, &text, &len);
    }
    TN_TRY(take(c, tn_gguf_kind_bytes(key->kind), name, &key->value));
    if (key->kind == TN_GGUF_BOOL && *key->value > 1)
        return TN_FAIL(CORRUPT, "%s: key \"%.100s\" is a truth value of %d", c->file->path, name, *key->value);
    return TN_OK;
}

static tn_status read_keys(cursor *c, uint64_t count) {
    tn_gguf *file = c->file;
    if (count > MAX_KEYS || count > left(c) / LEAST_KEY_RECORD)
        return TN_FAIL(CORRUPT, "%s: claims %llu keys, more than it holds", file->path, (unsigned long long)count);
    TN_TAKE0(file->keys, file->arena, count, TAG);
    for (uint64_t i = 0; i < count; i++) {
        TN_TRY(take_name(c, TN_GGUF_MAX_KEY, "key", &file->key_names));
        TN_TRY(take_kind(c, file->key_names.names[i], &file->keys[i].kind));
        TN_TRY(take_value(c, file->key_names.names[i], &file->keys[i]));
    }
    return TN_OK;
}

/* ---- the checksum of Tern's own files ---- */

/* Either key makes the file ours, so that damage to the name of one of them cannot hide it. */
static bool is_own(const tn_gguf *file) {
    return tn_gguf_has(file, TN_GGUF_VERSION_KEY) || tn_gguf_has(file, TN_GGUF_CHECKSUM_KEY);
}

static tn_status sum_without(const tn_gguf *file, size_t hole, char hex[33]) {
    char zeros[TN_GGUF_CHECKSUM_LEN];
    memset(zeros, '0', sizeof zeros);
    tn_checksum *sum = tn_checksum_create();
    if (!sum) return TN_E_NOMEM;
    tn_checksum_add_map(sum, &file->map, 0, hole);
    tn_checksum_add(sum, zeros, sizeof zeros);
    tn_checksum_add_map(sum, &file->map, hole + sizeof zeros, file->map.size);
    tn_checksum_hex(sum, hex);
    tn_checksum_free(sum);
    return TN_OK;
}

static tn_status verify_checksum(const tn_gguf *file) {
    tn_gguf_text expected;
    char found[33];
    if (!is_own(file)) return TN_OK;
    if (tn_gguf_get_text(file, TN_GGUF_CHECKSUM_KEY, &expected) || expected.len != TN_GGUF_CHECKSUM_LEN)
        return TN_FAIL(CORRUPT, "%s: is damaged: its checksum is missing", file->path);
    TN_TRY(sum_without(file, (size_t)((const unsigned char *)expected.data - file->map.data), found));
    if (memcmp(found, expected.data, TN_GGUF_CHECKSUM_LEN) != 0)
        return TN_FAIL(CORRUPT, "%s: is damaged: its checksum does not match its contents", file->path);
    return TN_OK;
}

/* ---- tensors ---- */

static tn_status read_shape(cursor *c, tn_gguf_tensor *t) {
    uint64_t n_dims, size;
    TN_TRY(take_number(c, 4, "a tensor's rank", &n_dims));
    if (n_dims > TN_GGUF_MAX_DIMS)
        return TN_FAIL(CORRUPT, "%s: tensor %s has %llu dimensions, at most %d are possible", c->file->path, t->name,
                       (unsigned long long)n_dims, TN_GGUF_MAX_DIMS);
    t->n_dims = (int)n_dims;
    int64_t elements = 1;
    for (int i = 0; i < TN_GGUF_MAX_DIMS; i++) {
        t->ne[i] = 1;
        if (i >= t->n_dims) continue;
        TN_TRY(take_number(c, 8, "a tensor's size", &size));
        if (size > INT64_MAX / 8 || (size > 0 && elements > INT64_MAX / 8 / (int64_t)size))
            return TN_FAIL(CORRUPT, "%s: tensor %s has an impossible shape", c->file->path, t->name);
        t->ne[i] = (int64_t)size;
        elements *= TN_MAX(t->ne[i], 1); /* a zero must not hide what the other sizes would overflow */
    }
    return TN_OK;
}

/* `offset` is where the tensor must begin in the data section; it moves on to where the next one must. */
static tn_status read_tensor(cursor *c, tn_gguf_tensor *t, uint64_t alignment, uint64_t *offset) {
    uint64_t type, at;
    TN_TRY(read_shape(c, t));
    TN_TRY(take_number(c, 4, "a tensor's type", &type));
    TN_TRY(take_number(c, 8, "a tensor's offset", &at));
    t->type = (int)(int32_t)(uint32_t)type;
    tn_status status = tn_ggml_type_bytes(t->type, t->ne[0], t->ne[1] * t->ne[2] * t->ne[3], &t->bytes);
    if (status == TN_E_UNSUPPORTED)
        return TN_FAIL(UNSUPPORTED, "%s: %s: %s", c->file->path, t->name, tn_error_message());
    if (status) return TN_FAIL(CORRUPT, "%s: tensor %s: %s", c->file->path, t->name, tn_error_message());
    if (at != *offset)
        return TN_FAIL(CORRUPT, "%s: tensor %s begins at offset %llu, expected %llu", c->file->path, t->name,
                       (unsigned long long)at, (unsigned long long)*offset);
    if (t->bytes > c->file->map.size || at > c->file->map.size - t->bytes)
        return TN_FAIL(CORRUPT, "%s: is cut short: tensor %s of %zu bytes does not fit in it", c->file->path, t->name,
                       t->bytes);
    *offset = TN_ROUND_UP(at + t->bytes, alignment);
    return TN_OK;
}

/* The padding behind the last tensor may be absent. */
static tn_status place_tensors(cursor *c, uint64_t alignment) {
    tn_gguf *file = c->file;
    uint64_t begin = TN_ROUND_UP((uint64_t)c->at, alignment);
    for (int64_t i = 0; i < file->tensor_names.count; i++) {
        tn_gguf_tensor *t = &file->tensors[i];
        if (begin > file->map.size || t->bytes > file->map.size - begin)
            return TN_FAIL(CORRUPT, "%s: is cut short: tensor %s of %zu bytes begins at byte %llu of %zu", file->path,
                           t->name, t->bytes, (unsigned long long)begin, file->map.size);
        t->data = file->map.data + begin;
        t->path = file->path;
        begin += TN_ROUND_UP((uint64_t)t->bytes, alignment);
    }
    return TN_OK;
}

static tn_status read_alignment(const tn_gguf *file, uint64_t *alignment) {
    int64_t i = tn_name_index_find(&file->key_names, "general.alignment");
    *alignment = TN_GGUF_ALIGNMENT;
    if (i < 0) return TN_OK;
    if (file->keys[i].kind == TN_GGUF_U32) *alignment = tn_gguf_number(file->keys[i].value, 4);
    if (file->keys[i].kind == TN_GGUF_U32 && *alignment && (*alignment & (*alignment - 1)) == 0) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: general.alignment is not a power of two", file->path);
}

static tn_status read_tensors(cursor *c, uint64_t count) {
    tn_gguf *file = c->file;
    uint64_t alignment, offset = 0;
    TN_TRY(read_alignment(file, &alignment));
    if (count > MAX_TENSORS || count > left(c) / LEAST_TENSOR_RECORD)
        return TN_FAIL(CORRUPT, "%s: claims %llu tensors, more than it holds", file->path, (unsigned long long)count);
    TN_TAKE0(file->tensors, file->arena, count, TAG);
    for (uint64_t i = 0; i < count; i++) {
        TN_TRY(take_name(c, TN_GGUF_MAX_TENSOR_NAME, "tensor", &file->tensor_names));
        file->tensors[i].name = file->tensor_names.names[i];
        TN_TRY(read_tensor(c, &file->tensors[i], alignment, &offset));
    }
    return place_tensors(c, alignment);
}

/* ---- the file ---- */

static tn_status read_version(cursor *c) {
    const char *path = c->file->path;
    if (left(c) < 4 || memcmp(c->file->map.data, "GGUF", 4) != 0)
        return TN_FAIL(FORMAT, "%s: is not a GGUF file", path);
    c->at = 4;
    uint64_t version;
    TN_TRY(take_number(c, 4, "the version", &version));
    if (version && (version & 0xffff) == 0) return TN_FAIL(FORMAT, "%s: is a big-endian GGUF file", path);
    if (version < 2 || version > 3)
        return TN_FAIL(FORMAT, "%s: has GGUF version %llu, expected 2 or 3", path, (unsigned long long)version);
    return TN_OK;
}

static tn_status read_file(tn_gguf *file) {
    cursor c = {file, 0};
    uint64_t n_tensors, n_keys;
    TN_TRY(tn_map_init(&file->map, file->path));
    TN_TRY(read_version(&c));
    TN_TRY(take_number(&c, 8, "the number of tensors", &n_tensors));
    TN_TRY(take_number(&c, 8, "the number of keys", &n_keys));
    TN_TRY(read_keys(&c, n_keys));
    TN_TRY(verify_checksum(file));
    return read_tensors(&c, n_tensors);
}

tn_status tn_gguf_open_one(tn_gguf **out, const char *path) {
    *out = NULL;
    tn_gguf *file = tn_heap_zalloc(1, sizeof *file);
    if (!file) return TN_E_NOMEM;
    file->path = tn_heap_strdup(path);
    file->arena = tn_arena_create("gguf");
    tn_status status = file->path && file->arena ? read_file(file) : TN_E_NOMEM;
    if (status)
        tn_gguf_close(file);
    else
        *out = file;
    return status;
}

tn_status tn_gguf_open(tn_gguf **out, const char *path) {
    TN_TRY(tn_gguf_open_one(out, path));
    tn_status status = tn_gguf_gather(out);
    if (!status) return TN_OK;
    tn_gguf_close(*out);
    *out = NULL;
    return status;
}

void tn_gguf_close(tn_gguf *file) {
    if (!file) return;
    for (int i = 0; i < file->n_parts; i++) tn_gguf_close(file->parts[i]);
    tn_map_release(&file->map);
    tn_name_index_release(&file->key_names);
    tn_name_index_release(&file->tensor_names);
    tn_arena_free(file->arena);
    tn_heap_free(file->path);
    tn_heap_free(file);
}
