/* SPDX-License-Identifier: MIT
 * safetensors_writer.c - tensors are announced in memory; the first data settles their order and writes the header, and
 * every piece then goes to its own place. */
#include "formats/json_text.h"
#include "formats/safetensors_priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TAG "safetensors"

typedef struct announced {
    tn_safetensor tensor;
    uint64_t begin, filled; /* in the data */
} announced;

struct tn_safetensors_writer {
    tn_atomic atomic;
    int fd;
    tn_arena *arena; /* keeps the names */
    tn_name_index names, notes;
    const char **note_values;
    announced *tensors;     /* [names.count] */
    uint64_t data_at, size; /* of the data */
    bool placed, broken;
};

static const char *path_of(const tn_safetensors_writer *w) { return w->atomic.path; }

void tn_safetensors_discard(tn_safetensors_writer *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    tn_atomic_abort(&w->atomic);
    tn_name_index_release(&w->names);
    tn_name_index_release(&w->notes);
    tn_heap_free(w->note_values);
    tn_heap_free(w->tensors);
    tn_arena_free(w->arena);
    tn_heap_free(w);
}

static tn_status begin(tn_safetensors_writer *w, const char *path) {
    w->arena = tn_arena_create("safetensors writer");
    if (!w->arena) return TN_E_NOMEM;
    TN_TRY(tn_atomic_begin(&w->atomic, path));
    w->fd = open(w->atomic.temp, O_WRONLY | O_CLOEXEC);
    return w->fd < 0 ? tn_fail_errno(path, "write") : TN_OK;
}

tn_status tn_safetensors_create(tn_safetensors_writer **out, const char *path) {
    *out = NULL;
    tn_safetensors_writer *w = tn_heap_zalloc(1, sizeof *w);
    if (!w) return TN_E_NOMEM;
    w->fd = -1;
    tn_status status = begin(w, path);
    if (status)
        tn_safetensors_discard(w);
    else
        *out = w;
    return status;
}

/* ---- announcing ---- */

static tn_status add_name(tn_safetensors_writer *w, tn_name_index *index, const char *name) {
    if (w->placed) return TN_FAIL(ARG, "%s: %.100s comes after the data", path_of(w), name);
    if (!name[0] || strcmp(name, TN_SAFETENSORS_NOTES) == 0 || tn_name_index_find(index, name) >= 0)
        return TN_FAIL(ARG, "%s: \"%.100s\" is no name for a tensor, or was given already", path_of(w), name);
    const char *copy = tn_arena_strdup(w->arena, name, TAG);
    return copy ? tn_name_index_add(index, copy) : TN_E_NOMEM;
}

tn_status tn_safetensors_note(tn_safetensors_writer *w, const char *key, const char *value) {
    const char **values = tn_heap_resize(w->note_values, (size_t)(w->notes.count + 1) * sizeof *values);
    if (!values) return TN_E_NOMEM;
    w->note_values = values;
    values[w->notes.count] = tn_arena_strdup(w->arena, value, TAG);
    if (!values[w->notes.count]) return TN_E_NOMEM;
    return add_name(w, &w->notes, key);
}

tn_status tn_safetensors_announce(tn_safetensors_writer *w, const char *name, tn_safetensor_type type, int n_dims,
                                  const int64_t *shape, int *number) {
    TN_ASSERT(n_dims >= 0 && n_dims <= TN_SAFETENSOR_DIMS);
    announced *list = tn_heap_resize(w->tensors, (size_t)(w->names.count + 1) * sizeof *list);
    if (!list) return TN_E_NOMEM;
    w->tensors = list;
    announced *a = &list[w->names.count];
    *a = (announced){.tensor = {.type = type, .n_dims = n_dims}};
    for (int i = 0; i < n_dims; i++) a->tensor.shape[i] = shape[i];
    if (tn_safetensor_bytes(type, n_dims, shape, &a->tensor.bytes))
        return TN_FAIL(SHAPE, "%s: tensor %.100s %s", path_of(w), name, tn_error_message());
    TN_TRY(add_name(w, &w->names, name));
    *number = (int)w->names.count - 1;
    a->tensor.name = w->names.names[*number];
    return TN_OK;
}

/* ---- the header ---- */

/* Falling types, then rising names. */
static int by_place(const void *a, const void *b) {
    const tn_safetensor *x = &(*(announced *const *)a)->tensor, *y = &(*(announced *const *)b)->tensor;
    if (x->type != y->type) return x->type > y->type ? -1 : 1;
    return strcmp(x->name, y->name);
}

static tn_status append_text(tn_buf *out, const char *text) {
    json_t *value = json_string(text);
    tn_status status = tn_json_text_put(value, out);
    json_decref(value);
    return status;
}

static tn_status append_notes(const tn_safetensors_writer *w, tn_buf *out) {
    if (!w->notes.count) return TN_OK;
    TN_TRY(tn_buf_puts(out, "\"" TN_SAFETENSORS_NOTES "\":{"));
    for (int64_t i = 0; i < w->notes.count; i++) {
        if (i) TN_TRY(tn_buf_putc(out, ','));
        TN_TRY(append_text(out, w->notes.names[i]));
        TN_TRY(tn_buf_putc(out, ':'));
        TN_TRY(append_text(out, w->note_values[i]));
    }
    return tn_buf_putc(out, '}');
}

static tn_status append_entry(const announced *a, tn_buf *out) {
    const tn_safetensor *t = &a->tensor;
    if (out->len > 1) TN_TRY(tn_buf_putc(out, ','));
    TN_TRY(append_text(out, t->name));
    TN_TRY(tn_buf_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", tn_safetensor_type_name(t->type)));
    for (int i = 0; i < t->n_dims; i++) TN_TRY(tn_buf_printf(out, "%s%lld", i ? "," : "", (long long)t->shape[i]));
    return tn_buf_printf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)a->begin,
                         (unsigned long long)(a->begin + t->bytes));
}

/* The order of the file: every tensor gets its place, `header` the text of all. */
static tn_status place(tn_safetensors_writer *w, tn_buf *header) {
    const int64_t n = w->names.count;
    announced **order;
    TN_TAKE(order, w->arena, n, TAG);
    for (int64_t i = 0; i < n; i++) order[i] = &w->tensors[i];
    if (n) qsort(order, (size_t)n, sizeof *order, by_place);
    TN_TRY(tn_buf_putc(header, '{'));
    TN_TRY(append_notes(w, header));
    for (int64_t i = 0; i < n; i++) {
        order[i]->begin = w->size;
        w->size += order[i]->tensor.bytes;
        TN_TRY(append_entry(order[i], header));
    }
    TN_TRY(tn_buf_putc(header, '}'));
    while (header->len % 8) TN_TRY(tn_buf_putc(header, ' '));
    if (header->len <= TN_SAFETENSORS_MAX_HEADER) return TN_OK;
    return TN_FAIL(RANGE, "%s: a header of %zu bytes, at most %d are possible", path_of(w), header->len,
                   TN_SAFETENSORS_MAX_HEADER);
}

static tn_status write_header(tn_safetensors_writer *w) {
    tn_buf header = {0};
    unsigned char head[TN_SAFETENSORS_HEAD];
    if (w->placed) return TN_OK;
    w->placed = true;
    tn_status status = place(w, &header);
    for (int i = 0; i < TN_SAFETENSORS_HEAD; i++) head[i] = (unsigned char)((uint64_t)header.len >> (8 * i));
    if (!status) status = tn_fd_write(w->fd, path_of(w), head, sizeof head, 0);
    if (!status) status = tn_fd_write(w->fd, path_of(w), header.data, header.len, TN_SAFETENSORS_HEAD);
    w->data_at = TN_SAFETENSORS_HEAD + header.len;
    w->broken = status != TN_OK;
    tn_buf_release(&header);
    return status;
}

/* ---- the data ---- */

tn_status tn_safetensors_put_piece(tn_safetensors_writer *w, int number, const void *data, size_t bytes) {
    TN_ASSERT(number >= 0 && number < w->names.count);
    TN_TRY(write_header(w));
    announced *a = &w->tensors[number];
    if (bytes > a->tensor.bytes - a->filled)
        return TN_FAIL(ARG, "%s: tensor %s got %llu bytes of data, expected %zu", path_of(w), a->tensor.name,
                       (unsigned long long)a->filled + bytes, a->tensor.bytes);
    tn_status status = tn_fd_write(w->fd, path_of(w), data, bytes, (int64_t)(w->data_at + a->begin + a->filled));
    a->filled += bytes;
    if (status) w->broken = true;
    return status;
}

static tn_status finish(tn_safetensors_writer *w, int64_t *bytes) {
    if (w->broken) return TN_FAIL(IO, "%s: cannot write: an earlier write failed", path_of(w));
    TN_TRY(write_header(w));
    for (int64_t i = 0; i < w->names.count; i++)
        if (w->tensors[i].filled != w->tensors[i].tensor.bytes)
            return TN_FAIL(ARG, "%s: tensor %s got %llu bytes of data, expected %zu", path_of(w),
                           w->tensors[i].tensor.name, (unsigned long long)w->tensors[i].filled,
                           w->tensors[i].tensor.bytes);
    if (bytes) *bytes = (int64_t)(w->data_at + w->size);
    const int closed = close(w->fd);
    w->fd = -1;
    if (closed != 0) return tn_fail_errno(path_of(w), "write");
    return tn_atomic_commit(&w->atomic);
}

tn_status tn_safetensors_commit(tn_safetensors_writer *w, int64_t *bytes) {
    tn_status status = finish(w, bytes);
    tn_safetensors_discard(w);
    return status;
}
