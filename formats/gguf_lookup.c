/* SPDX-License-Identifier: MIT
 * gguf_lookup.c - lookups in an open GGUF file. The reader has checked every length. */
#include "formats/gguf_priv.h"

#include <string.h>

const char *tn_gguf_path(const tn_gguf *file) { return file->path; }
int64_t tn_gguf_n_keys(const tn_gguf *file) { return file->key_names.count; }
int64_t tn_gguf_n_tensors(const tn_gguf *file) { return file->tensor_names.count; }
bool tn_gguf_has(const tn_gguf *file, const char *key) { return tn_name_index_find(&file->key_names, key) >= 0; }

const char *tn_gguf_key_at(const tn_gguf *file, int64_t i, tn_gguf_kind *kind, tn_gguf_kind *element, int64_t *count) {
    TN_ASSERT(i >= 0 && i < file->key_names.count);
    const tn_gguf_key *key = &file->keys[i];
    if (kind) *kind = key->kind;
    if (element) *element = key->kind == TN_GGUF_ARRAY ? key->element : key->kind;
    if (count) *count = key->kind == TN_GGUF_ARRAY ? key->count : 1;
    return file->key_names.names[i];
}

const tn_gguf_tensor *tn_gguf_tensor_at(const tn_gguf *file, int64_t i) {
    TN_ASSERT(i >= 0 && i < file->tensor_names.count);
    return &file->tensors[i];
}

const tn_gguf_tensor *tn_gguf_find(const tn_gguf *file, const char *name) {
    int64_t i = tn_name_index_find(&file->tensor_names, name);
    return i < 0 ? NULL : &file->tensors[i];
}

static bool drop_from(const tn_gguf *file, const unsigned char *data, size_t begin, size_t end) {
    const size_t at = (size_t)((uintptr_t)data - (uintptr_t)file->map.data);
    if (at >= file->map.size) return false;
    tn_map_drop(&file->map, at + begin, at + end);
    return true;
}

void tn_gguf_drop(const tn_gguf *file, const tn_gguf_tensor *tensor, size_t begin, size_t end) {
    TN_ASSERT(begin <= end && end <= tensor->bytes);
    bool done = drop_from(file, tensor->data, begin, end);
    for (int i = 0; !done && i < file->n_parts; i++) done = drop_from(file->parts[i], tensor->data, begin, end);
}

void tn_gguf_drop_all(const tn_gguf *file) {
    tn_map_drop(&file->map, 0, file->map.size);
    for (int i = 0; i < file->n_parts; i++) tn_gguf_drop_all(file->parts[i]);
}

typedef struct kind_row {
    const char *name;
    size_t bytes;
} kind_row;

static const kind_row kinds[] = {
#define GGUF_KIND(name, bytes) {#name, bytes},
#include "formats/gguf_kind.def"
#undef GGUF_KIND
};

const char *tn_gguf_kind_name(tn_gguf_kind kind) { return kinds[kind].name; }
size_t tn_gguf_kind_bytes(tn_gguf_kind kind) { return kinds[kind].bytes; }

static tn_status find_key(const tn_gguf *file, const char *name, const tn_gguf_key **key) {
    int64_t i = tn_name_index_find(&file->key_names, name);
    if (i < 0) return TN_FAIL(MISSING, "%s: has no key \"%.100s\"", file->path, name);
    *key = &file->keys[i];
    return TN_OK;
}

static tn_status wrong_kind(const tn_gguf *file, const char *name, tn_gguf_kind found, const char *expected) {
    return TN_FAIL(CORRUPT, "%s: key \"%.100s\" is of kind %s, expected %s", file->path, name, tn_gguf_kind_name(found),
                   expected);
}

/* ---- one value of a kind ---- */

static int64_t sign_extend(uint64_t value, int bits) {
    uint64_t sign = (uint64_t)1 << (bits - 1);
    return (int64_t)((value ^ sign) - sign);
}

static tn_status to_int(const tn_gguf *file, const char *name, tn_gguf_kind kind, const unsigned char *p,
                        int64_t *value) {
    switch (kind) {
    case TN_GGUF_U8: *value = p[0]; return TN_OK;
    case TN_GGUF_I8: *value = sign_extend(p[0], 8); return TN_OK;
    case TN_GGUF_U16: *value = (int64_t)tn_gguf_number(p, 2); return TN_OK;
    case TN_GGUF_I16: *value = sign_extend(tn_gguf_number(p, 2), 16); return TN_OK;
    case TN_GGUF_U32: *value = (int64_t)tn_gguf_number(p, 4); return TN_OK;
    case TN_GGUF_I32: *value = sign_extend(tn_gguf_number(p, 4), 32); return TN_OK;
    case TN_GGUF_I64: *value = (int64_t)tn_gguf_number(p, 8); return TN_OK;
    case TN_GGUF_U64:
        if (tn_gguf_number(p, 8) > INT64_MAX)
            return TN_FAIL(CORRUPT, "%s: key \"%.100s\" is %llu, too large to be true", file->path, name,
                           (unsigned long long)tn_gguf_number(p, 8));
        *value = (int64_t)tn_gguf_number(p, 8);
        return TN_OK;
    default: return wrong_kind(file, name, kind, "an integer");
    }
}

static tn_status to_real(const tn_gguf *file, const char *name, tn_gguf_kind kind, const unsigned char *p,
                         double *value) {
    if (kind == TN_GGUF_F32) {
        uint32_t bits = (uint32_t)tn_gguf_number(p, 4);
        float f;
        memcpy(&f, &bits, sizeof f);
        *value = (double)f;
        return TN_OK;
    }
    if (kind != TN_GGUF_F64) return wrong_kind(file, name, kind, "F32 or F64");
    uint64_t bits = tn_gguf_number(p, 8);
    memcpy(value, &bits, sizeof *value);
    return TN_OK;
}

static tn_gguf_text to_text(const unsigned char *p) {
    return (tn_gguf_text){(const char *)p + 8, (size_t)tn_gguf_number(p, 8)};
}

/* ---- by key ---- */

tn_status tn_gguf_get_int(const tn_gguf *file, const char *key, int64_t *value) {
    const tn_gguf_key *k = NULL;
    TN_TRY(find_key(file, key, &k));
    return to_int(file, key, k->kind, k->value, value);
}

tn_status tn_gguf_get_real(const tn_gguf *file, const char *key, double *value) {
    const tn_gguf_key *k = NULL;
    TN_TRY(find_key(file, key, &k));
    return to_real(file, key, k->kind, k->value, value);
}

tn_status tn_gguf_get_bool(const tn_gguf *file, const char *key, bool *value) {
    const tn_gguf_key *k = NULL;
    TN_TRY(find_key(file, key, &k));
    if (k->kind != TN_GGUF_BOOL) return wrong_kind(file, key, k->kind, "BOOL");
    *value = k->value[0] != 0;
    return TN_OK;
}

tn_status tn_gguf_get_text(const tn_gguf *file, const char *key, tn_gguf_text *value) {
    const tn_gguf_key *k = NULL;
    TN_TRY(find_key(file, key, &k));
    if (k->kind != TN_GGUF_STRING) return wrong_kind(file, key, k->kind, "STRING");
    *value = to_text(k->value);
    return TN_OK;
}

tn_status tn_gguf_array(const tn_gguf *file, const char *key, tn_gguf_kind *element, int64_t *count) {
    const tn_gguf_key *k = NULL;
    TN_TRY(find_key(file, key, &k));
    if (k->kind != TN_GGUF_ARRAY) return wrong_kind(file, key, k->kind, "ARRAY");
    if (element) *element = k->element;
    if (count) *count = k->count;
    return TN_OK;
}

/* The array that has an element `i`. */
static tn_status find_element(const tn_gguf *file, const char *name, int64_t i, const tn_gguf_key **key) {
    TN_TRY(find_key(file, name, key));
    if ((*key)->kind != TN_GGUF_ARRAY) return wrong_kind(file, name, (*key)->kind, "ARRAY");
    if (i < 0 || i >= (*key)->count)
        return TN_FAIL(CORRUPT, "%s: key \"%.100s\" has %lld elements, and element %lld is wanted", file->path, name,
                       (long long)(*key)->count, (long long)i);
    return TN_OK;
}

/* Lengths lead from the mark before it to the text. */
static tn_gguf_text text_at(const tn_gguf_key *key, int64_t i) {
    tn_gguf_text text = to_text(key->value + key->starts[i / TN_GGUF_STRIDE]);
    for (int64_t left = i % TN_GGUF_STRIDE; left > 0; left--)
        text = to_text((const unsigned char *)text.data + text.len);
    return text;
}

tn_status tn_gguf_array_text(const tn_gguf *file, const char *key, int64_t i, tn_gguf_text *value) {
    const tn_gguf_key *k = NULL;
    TN_TRY(find_element(file, key, i, &k));
    if (k->element != TN_GGUF_STRING) return wrong_kind(file, key, k->element, "STRING in the array");
    *value = text_at(k, i);
    return TN_OK;
}

static const unsigned char *element_at(const tn_gguf_key *key, int64_t i) {
    return key->value + (size_t)i * tn_gguf_kind_bytes(key->element);
}

tn_status tn_gguf_array_int(const tn_gguf *file, const char *key, int64_t i, int64_t *value) {
    const tn_gguf_key *k = NULL;
    TN_TRY(find_element(file, key, i, &k));
    if (k->element == TN_GGUF_STRING) return wrong_kind(file, key, k->element, "integers in the array");
    return to_int(file, key, k->element, element_at(k, i), value);
}

tn_status tn_gguf_array_real(const tn_gguf *file, const char *key, int64_t i, double *value) {
    const tn_gguf_key *k = NULL;
    TN_TRY(find_element(file, key, i, &k));
    if (k->element == TN_GGUF_STRING) return wrong_kind(file, key, k->element, "reals in the array");
    return to_real(file, key, k->element, element_at(k, i), value);
}
