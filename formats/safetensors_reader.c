/* SPDX-License-Identifier: MIT
 * safetensors_reader.c - from bytes to tensors: everything that users of a tensor rely on is checked here, once. */
#include "formats/json_text.h"
#include "formats/safetensors_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG "safetensors"

typedef struct type_row {
    const char *name;
    int bits;
} type_row;

static const type_row types[] = {
#define SAFETENSOR_TYPE(name, bits) {#name, bits},
#include "formats/safetensors_type.def"
#undef SAFETENSOR_TYPE
};

const char *tn_safetensor_type_name(tn_safetensor_type type) { return types[type].name; }

tn_status tn_safetensor_bytes(tn_safetensor_type type, int n_dims, const int64_t *shape, size_t *bytes) {
    int64_t elements = 1, most = INT64_MAX / 64, sizes = 1;
    for (int i = 0; i < n_dims; i++) {
        const int64_t size = TN_MAX(shape[i], 1); /* a zero must not hide what the other sizes would overflow */
        if (shape[i] < 0 || size > most / sizes) return TN_FAIL(SHAPE, "has an impossible shape");
        sizes *= size;
        elements *= shape[i];
    }
    if (elements * types[type].bits % 8)
        return TN_FAIL(SHAPE, "has %lld elements of %d bits, which fill no whole bytes", (long long)elements,
                       types[type].bits);
    *bytes = (size_t)(elements * types[type].bits / 8);
    return TN_OK;
}

const char *tn_safetensor_shape(const tn_safetensor *tensor, char out[128]) {
    size_t len = (size_t)snprintf(out, 128, "[");
    for (int i = 0; i < tensor->n_dims && len < 100; i++)
        len += (size_t)snprintf(out + len, 128 - len, "%s%lld", i ? ", " : "", (long long)tensor->shape[i]);
    snprintf(out + len, 128 - len, "]");
    return out;
}

/* ---- one entry of a header ---- */

typedef struct entry {
    tn_safetensor tensor;
    uint64_t begin, end;
} entry;

/* One file while its header is read. */
typedef struct reading {
    tn_safetensors *file;
    const char *path;
    const unsigned char *data; /* behind the header */
    size_t size;               /* of the data */
    entry *entries;            /* [count], in the arena */
    int64_t count;
} reading;

static tn_status read_type(const reading *r, const json_t *object, tn_safetensor *t) {
    const char *name = json_string_value(json_object_get(object, "dtype"));
    if (!name) return TN_FAIL(CORRUPT, "%s: tensor %s has no \"dtype\"", r->path, t->name);
    for (int i = 0; i < TN_SAFETENSOR_TYPES; i++)
        if (strcmp(name, types[i].name) == 0) return t->type = (tn_safetensor_type)i, TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: tensor %s has the unknown element type \"%.40s\"", r->path, t->name, name);
}

static tn_status read_shape(const reading *r, const json_t *object, tn_safetensor *t) {
    const json_t *list = json_object_get(object, "shape");
    const size_t n = json_array_size(list);
    if (!json_is_array(list)) return TN_FAIL(CORRUPT, "%s: tensor %s has no \"shape\"", r->path, t->name);
    if (n > TN_SAFETENSOR_DIMS)
        return TN_FAIL(UNSUPPORTED, "%s: tensor %s has %zu dimensions, Tern reads at most %d", r->path, t->name, n,
                       TN_SAFETENSOR_DIMS);
    t->n_dims = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *size = json_array_get(list, i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return TN_FAIL(CORRUPT, "%s: tensor %s: dimension %zu is no whole number from 0 up", r->path, t->name, i);
        t->shape[i] = json_integer_value(size);
    }
    return TN_OK;
}

static tn_status read_offset(const reading *r, const json_t *list, size_t i, const char *name, uint64_t *offset) {
    const json_t *number = json_array_get(list, i);
    const json_int_t value = json_integer_value(number);
    if (!json_is_integer(number) || value < 0 || (uint64_t)value > r->size)
        return TN_FAIL(CORRUPT, "%s: tensor %s: data offset %zu is not a number from 0 to %zu, where the file ends",
                       r->path, name, i, r->size);
    *offset = (uint64_t)value;
    return TN_OK;
}

static tn_status read_place(const reading *r, const json_t *object, entry *e) {
    const json_t *list = json_object_get(object, "data_offsets");
    const tn_safetensor *t = &e->tensor;
    if (json_array_size(list) != 2)
        return TN_FAIL(CORRUPT, "%s: tensor %s: \"data_offsets\" is not a list of two", r->path, t->name);
    TN_TRY(read_offset(r, list, 0, t->name, &e->begin));
    TN_TRY(read_offset(r, list, 1, t->name, &e->end));
    char shape[128];
    if (e->end < e->begin || e->end - e->begin != t->bytes)
        return TN_FAIL(CORRUPT, "%s: tensor %s: bytes %llu to %llu are not the %zu of %s %s", r->path, t->name,
                       (unsigned long long)e->begin, (unsigned long long)e->end, t->bytes, types[t->type].name,
                       tn_safetensor_shape(t, shape));
    return TN_OK;
}

static tn_status read_entry(const reading *r, const char *name, const json_t *object, entry *e) {
    tn_safetensor *t = &e->tensor;
    if (!name[0]) return TN_FAIL(CORRUPT, "%s: a tensor has no name", r->path);
    if (!json_is_object(object)) return TN_FAIL(CORRUPT, "%s: the entry of tensor %.100s is no object", r->path, name);
    *e = (entry){.tensor = {.path = r->path, .shard = r->file->n_shards - 1}};
    t->name = tn_arena_strdup(r->file->arena, name, TAG);
    if (!t->name) return TN_E_NOMEM;
    TN_TRY(read_type(r, object, t));
    TN_TRY(read_shape(r, object, t));
    if (tn_safetensor_bytes(t->type, t->n_dims, t->shape, &t->bytes))
        return TN_FAIL(CORRUPT, "%s: tensor %s %s", r->path, t->name, tn_error_message());
    TN_TRY(read_place(r, object, e));
    t->data = r->data + e->begin;
    return TN_OK;
}

static tn_status keep_note(tn_safetensors *file, const char *key, const char *value) {
    tn_safetensors_pair *pair = tn_arena_alloc(file->arena, sizeof *pair, TAG);
    if (!pair) return TN_E_NOMEM;
    *pair = (tn_safetensors_pair){tn_arena_strdup(file->arena, key, TAG), tn_arena_strdup(file->arena, value, TAG),
                                  NULL};
    if (!pair->key || !pair->value) return TN_E_NOMEM;
    *file->last_note = pair;
    file->last_note = &pair->next;
    return TN_OK;
}

static tn_status read_notes(const reading *r, const json_t *notes) {
    const char *key;
    json_t *value;
    if (!json_is_object(notes)) return TN_FAIL(CORRUPT, "%s: " TN_SAFETENSORS_NOTES " is no object", r->path);
    json_object_foreach((json_t *)(uintptr_t)notes, key, value) {
        if (!json_is_string(value))
            return TN_FAIL(CORRUPT, "%s: " TN_SAFETENSORS_NOTES ".%.80s is no text", r->path, key);
        TN_TRY(keep_note(r->file, key, json_string_value(value)));
    }
    return TN_OK;
}

/* ---- a whole header ---- */

static tn_status read_entries(reading *r, const json_t *header) {
    const char *name;
    json_t *value;
    TN_TAKE(r->entries, r->file->arena, json_object_size(header), TAG);
    json_object_foreach((json_t *)(uintptr_t)header, name, value) {
        if (strcmp(name, TN_SAFETENSORS_NOTES) == 0)
            TN_TRY(read_notes(r, value));
        else
            TN_TRY(read_entry(r, name, value, &r->entries[r->count++]));
    }
    return TN_OK;
}

static int by_offset(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static tn_status check_places(const reading *r) {
    uint64_t end = 0;
    for (int64_t i = 0; i < r->count; end = r->entries[i++].end) {
        const entry *e = &r->entries[i];
        if (e->begin != end)
            return TN_FAIL(CORRUPT, "%s: tensor %s begins at byte %llu of the data, %s at %llu", r->path,
                           e->tensor.name, (unsigned long long)e->begin,
                           e->begin < end ? "within another, which ends" : "behind a gap that begins",
                           (unsigned long long)end);
    }
    if (end == r->size) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: holds %zu bytes of data, its tensors only %llu", r->path, r->size,
                   (unsigned long long)end);
}

static tn_status keep_entries(const reading *r) {
    tn_safetensors *file = r->file;
    const int64_t count = file->names.count;
    tn_safetensor *list = tn_heap_resize(file->tensors, (size_t)(count + r->count + 1) * sizeof *list);
    if (!list) return TN_E_NOMEM;
    file->tensors = list;
    for (int64_t i = 0; i < r->count; i++) {
        const tn_safetensor *t = &r->entries[i].tensor, *other = tn_safetensors_find(file, t->name);
        if (other) return TN_FAIL(MISMATCH, "%s: tensor %s is in %s too", r->path, t->name, other->path);
        list[count + i] = *t;
        TN_TRY(tn_name_index_add(&file->names, t->name));
    }
    return TN_OK;
}

static tn_status read_header(reading *r, const char *text, size_t len) {
    json_error_t error;
    json_t *header = len && text[0] == '{' ? json_loadb(text, len, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (len && text[0] == '{' && !header)
        return TN_FAIL(CORRUPT, "%s: the header is damaged at its byte %d: %s", r->path, error.position, error.text);
    if (!header) return TN_FAIL(FORMAT, "%s: is not a safetensors file: its header does not begin with {", r->path);
    tn_status status = read_entries(r, header);
    json_decref(header);
    if (status) return status;
    if (r->count) qsort(r->entries, (size_t)r->count, sizeof *r->entries, by_offset);
    TN_TRY(check_places(r));
    return keep_entries(r);
}

static uint64_t header_length(const tn_map *map) {
    uint64_t length = 0;
    for (int i = 0; i < TN_SAFETENSORS_HEAD; i++) length |= (uint64_t)map->data[i] << (8 * i);
    return length;
}

tn_status tn_safetensors_add_shard(tn_safetensors *file, const char *path) {
    tn_safetensors_shard *shards = tn_heap_resize(file->shards, (size_t)(file->n_shards + 1) * sizeof *shards);
    if (!shards) return TN_E_NOMEM;
    file->shards = shards;
    tn_safetensors_shard *shard = &shards[file->n_shards];
    shard->path = tn_arena_strdup(file->arena, path, TAG);
    if (!shard->path) return TN_E_NOMEM;
    TN_TRY(tn_map_init(&shard->map, path));
    file->n_shards++;
    if (shard->map.size < TN_SAFETENSORS_HEAD)
        return TN_FAIL(FORMAT, "%s: is not a safetensors file: it has %zu bytes, expected at least 8", path,
                       shard->map.size);
    const uint64_t length = header_length(&shard->map), most = shard->map.size - TN_SAFETENSORS_HEAD;
    if (length > most || length > TN_SAFETENSORS_MAX_HEADER)
        return TN_FAIL(CORRUPT,
                       "%s: is cut short or no safetensors file: its header should have %llu bytes, at most %llu are "
                       "possible",
                       path, (unsigned long long)length,
                       (unsigned long long)TN_MIN(most, (uint64_t)TN_SAFETENSORS_MAX_HEADER));
    const unsigned char *text = shard->map.data + TN_SAFETENSORS_HEAD;
    reading r = {.file = file, .path = shard->path, .data = text + length, .size = (size_t)(most - length)};
    return read_header(&r, (const char *)text, (size_t)length);
}

/* ---- the model ---- */

static bool is_index(const char *path) {
    const size_t len = strlen(path);
    return len >= 5 && strcmp(path + len - 5, ".json") == 0;
}

static tn_status read_file(tn_safetensors *file) {
    return is_index(file->path) ? tn_safetensors_read_index(file) : tn_safetensors_add_shard(file, file->path);
}

tn_status tn_safetensors_open(tn_safetensors **out, const char *path) {
    *out = NULL;
    tn_safetensors *file = tn_heap_zalloc(1, sizeof *file);
    if (!file) return TN_E_NOMEM;
    file->last_note = &file->notes;
    file->path = tn_heap_strdup(path);
    file->arena = tn_arena_create(TAG);
    tn_status status = file->path && file->arena ? read_file(file) : TN_E_NOMEM;
    if (status)
        tn_safetensors_close(file);
    else
        *out = file;
    return status;
}

void tn_safetensors_close(tn_safetensors *file) {
    if (!file) return;
    for (int i = 0; i < file->n_shards; i++) tn_map_release(&file->shards[i].map);
    tn_heap_free(file->shards);
    tn_heap_free(file->tensors);
    tn_name_index_release(&file->names);
    tn_arena_free(file->arena);
    tn_heap_free(file->path);
    tn_heap_free(file);
}

const char *tn_safetensors_path(const tn_safetensors *file) { return file->path; }
int64_t tn_safetensors_count(const tn_safetensors *file) { return file->names.count; }
const tn_safetensor *tn_safetensors_at(const tn_safetensors *file, int64_t i) { return &file->tensors[i]; }

const tn_safetensor *tn_safetensors_find(const tn_safetensors *file, const char *name) {
    const int64_t i = tn_name_index_find(&file->names, name);
    return i < 0 ? NULL : &file->tensors[i];
}

const char *tn_safetensors_get_note(const tn_safetensors *file, const char *key) {
    for (const tn_safetensors_pair *pair = file->notes; pair; pair = pair->next)
        if (strcmp(pair->key, key) == 0) return pair->value;
    return NULL;
}

void tn_safetensors_drop(const tn_safetensors *file, const tn_safetensor *tensor, size_t begin, size_t end) {
    const tn_map *map = &file->shards[tensor->shard].map;
    const size_t base = (size_t)(tensor->data - map->data);
    tn_map_drop(map, base + begin, base + end);
}

void tn_safetensors_drop_all(const tn_safetensors *file) {
    for (int i = 0; i < file->n_shards; i++) tn_map_drop(&file->shards[i].map, 0, file->shards[i].map.size);
}
