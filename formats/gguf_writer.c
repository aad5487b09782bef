/* SPDX-License-Identifier: MIT
 * gguf_writer.c - keys and tensor records are gathered in memory; they go out with the first tensor's data (or at
 * commit), then the data follows as it comes. The checksum is taken on the way and filled in at the end. */
#include "formats/checksum.h"
#include "formats/gguf_priv.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TAG "gguf"

struct tn_gguf_writer {
    tn_atomic atomic;
    int fd;
    tn_arena *arena; /* keeps the names */
    tn_name_index keys, tensors;
    tn_buf key_records, tensor_records;
    int64_t *sizes; /* bytes of each tensor's data */
    uint64_t data_bytes;
    tn_gguf_kind element; /* of the array being put */
    int64_t elements_left;
    int64_t written; /* tensors whose data was put */
    uint64_t filled; /* bytes of the next one that were put */
    size_t head_bytes;
    bool dry;   /* nothing is written */
    bool plain; /* no checksum */
    bool head_written, broken;
    size_t checksum_at; /* in the file */
    tn_checksum *sum;
};

static const char *path_of(const tn_gguf_writer *w) { return w->atomic.path; }

void tn_gguf_discard(tn_gguf_writer *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    tn_atomic_abort(&w->atomic);
    tn_name_index_release(&w->keys);
    tn_name_index_release(&w->tensors);
    tn_buf_release(&w->key_records);
    tn_buf_release(&w->tensor_records);
    tn_heap_free(w->sizes);
    tn_checksum_free(w->sum);
    tn_arena_free(w->arena);
    tn_heap_free(w);
}

static tn_status begin(tn_gguf_writer *w, const char *path) {
    w->arena = tn_arena_create("gguf writer");
    w->sum = tn_checksum_create();
    w->dry = !path;
    if (!w->arena || !w->sum) return TN_E_NOMEM;
    if (w->dry) return TN_OK;
    TN_TRY(tn_atomic_begin(&w->atomic, path));
    w->fd = open(w->atomic.temp, O_WRONLY | O_CLOEXEC);
    return w->fd < 0 ? tn_fail_errno(path, "write") : TN_OK;
}

tn_status tn_gguf_create(tn_gguf_writer **out, const char *path) {
    *out = NULL;
    tn_gguf_writer *w = tn_heap_zalloc(1, sizeof *w);
    if (!w) return TN_E_NOMEM;
    w->fd = -1;
    tn_status status = begin(w, path);
    if (status)
        tn_gguf_discard(w);
    else
        *out = w;
    return status;
}

void tn_gguf_without_checksum(tn_gguf_writer *w) {
    TN_ASSERT(!w->head_written);
    w->plain = true;
}

/* ---- records ---- */

static tn_status append_number(tn_buf *buf, uint64_t value, size_t bytes) {
    unsigned char p[8];
    for (size_t i = 0; i < bytes; i++) p[i] = (unsigned char)(value >> (8 * i));
    return tn_buf_append(buf, p, bytes);
}

static tn_status append_f32(tn_buf *buf, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return append_number(buf, bits, 4);
}

static tn_status append_string(tn_buf *buf, const char *text, size_t len) {
    TN_TRY(append_number(buf, len, 8));
    return tn_buf_append(buf, text, len);
}

static tn_status check_text(const tn_gguf_writer *w, size_t len) {
    if (len <= TN_GGUF_MAX_STRING) return TN_OK;
    return TN_FAIL(RANGE, "%s: a text of %zu bytes does not fit in a GGUF file", path_of(w), len);
}

static tn_status add_name(tn_gguf_writer *w, tn_name_index *index, const char *name, size_t max, const char *what) {
    size_t len = strlen(name);
    if (w->head_written) return TN_FAIL(ARG, "%s: %s %.100s comes after the data", path_of(w), what, name);
    if (len == 0 || len > max)
        return TN_FAIL(RANGE, "%s: %s \"%.100s\" has %zu bytes, expected 1 to %zu", path_of(w), what, name, len, max);
    if (tn_name_index_find(index, name) >= 0)
        return TN_FAIL(ARG, "%s: %s %.100s was put already", path_of(w), what, name);
    char *copy = tn_arena_strdup(w->arena, name, TAG);
    return copy ? tn_name_index_add(index, copy) : TN_E_NOMEM;
}

static tn_status put_key(tn_gguf_writer *w, const char *key, tn_gguf_kind kind) {
    if (w->elements_left)
        return TN_FAIL(ARG, "%s: key %.100s comes before the last %lld elements of an array", path_of(w), key,
                       (long long)w->elements_left);
    TN_TRY(add_name(w, &w->keys, key, TN_GGUF_MAX_KEY, "key"));
    TN_TRY(append_string(&w->key_records, key, strlen(key)));
    return append_number(&w->key_records, (uint64_t)kind, 4);
}

tn_status tn_gguf_put_u32(tn_gguf_writer *w, const char *key, uint32_t value) {
    TN_TRY(put_key(w, key, TN_GGUF_U32));
    return append_number(&w->key_records, value, 4);
}

tn_status tn_gguf_put_f32(tn_gguf_writer *w, const char *key, float value) {
    TN_TRY(put_key(w, key, TN_GGUF_F32));
    return append_f32(&w->key_records, value);
}

tn_status tn_gguf_put_bool(tn_gguf_writer *w, const char *key, bool value) {
    TN_TRY(put_key(w, key, TN_GGUF_BOOL));
    return append_number(&w->key_records, value, 1);
}

tn_status tn_gguf_put_text(tn_gguf_writer *w, const char *key, const char *text, size_t len) {
    TN_TRY(check_text(w, len));
    TN_TRY(put_key(w, key, TN_GGUF_STRING));
    return append_string(&w->key_records, text, len);
}

tn_status tn_gguf_puts(tn_gguf_writer *w, const char *key, const char *text) {
    return tn_gguf_put_text(w, key, text, strlen(text));
}

tn_status tn_gguf_put_array(tn_gguf_writer *w, const char *key, tn_gguf_kind element, int64_t count) {
    if (count < 0 || count > TN_GGUF_MAX_ARRAY)
        return TN_FAIL(RANGE, "%s: key %.100s: an array of %lld elements does not fit in a GGUF file", path_of(w), key,
                       (long long)count);
    TN_TRY(put_key(w, key, TN_GGUF_ARRAY));
    TN_TRY(append_number(&w->key_records, (uint64_t)element, 4));
    TN_TRY(append_number(&w->key_records, (uint64_t)count, 8));
    w->element = element;
    w->elements_left = count;
    return TN_OK;
}

static tn_status begin_element(tn_gguf_writer *w, tn_gguf_kind kind) {
    if (w->elements_left == 0 || w->element != kind)
        return TN_FAIL(ARG, "%s: an array element too many, or of another kind than announced", path_of(w));
    w->elements_left--;
    return TN_OK;
}

tn_status tn_gguf_put_element_text(tn_gguf_writer *w, const char *text, size_t len) {
    TN_TRY(check_text(w, len));
    TN_TRY(begin_element(w, TN_GGUF_STRING));
    return append_string(&w->key_records, text, len);
}

tn_status tn_gguf_put_element_i32(tn_gguf_writer *w, int32_t value) {
    TN_TRY(begin_element(w, TN_GGUF_I32));
    return append_number(&w->key_records, (uint32_t)value, 4);
}

tn_status tn_gguf_put_element_f32(tn_gguf_writer *w, float value) {
    TN_TRY(begin_element(w, TN_GGUF_F32));
    return append_f32(&w->key_records, value);
}

static tn_status tensor_size(const tn_gguf_writer *w, const char *name, int type, int n_dims, const int64_t *ne,
                             size_t *bytes) {
    if (n_dims < 1 || n_dims > TN_GGUF_MAX_DIMS)
        return TN_FAIL(ARG, "%s: tensor %.100s has %d dimensions, expected 1 to %d", path_of(w), name, n_dims,
                       TN_GGUF_MAX_DIMS);
    int64_t rows = 1;
    for (int i = 0; i < n_dims; i++) {
        if (ne[i] < 1 || ne[i] > INT64_MAX / 8 / rows)
            return TN_FAIL(SHAPE, "%s: tensor %.100s: size %lld of dimension %d is impossible", path_of(w), name,
                           (long long)ne[i], i);
        if (i > 0) rows *= ne[i];
    }
    tn_status status = tn_ggml_type_bytes(type, ne[0], rows, bytes);
    if (!status) return TN_OK;
    return tn_fail_at(status, __FILE__, __LINE__, "%s: tensor %.100s: %s", path_of(w), name, tn_error_message());
}

tn_status tn_gguf_announce(tn_gguf_writer *w, const char *name, int type, int n_dims, const int64_t *ne) {
    size_t bytes;
    TN_TRY(tensor_size(w, name, type, n_dims, ne, &bytes));
    int64_t *sizes = tn_heap_resize(w->sizes, (size_t)(w->tensors.count + 1) * sizeof *sizes);
    if (!sizes) return TN_E_NOMEM;
    w->sizes = sizes;
    TN_TRY(add_name(w, &w->tensors, name, TN_GGUF_MAX_TENSOR_NAME, "tensor"));
    sizes[w->tensors.count - 1] = (int64_t)bytes;
    TN_TRY(append_string(&w->tensor_records, name, strlen(name)));
    TN_TRY(append_number(&w->tensor_records, (uint64_t)n_dims, 4));
    for (int i = 0; i < n_dims; i++) TN_TRY(append_number(&w->tensor_records, (uint64_t)ne[i], 8));
    TN_TRY(append_number(&w->tensor_records, (uint32_t)type, 4));
    TN_TRY(append_number(&w->tensor_records, w->data_bytes, 8));
    w->data_bytes += TN_ROUND_UP((uint64_t)bytes, TN_GGUF_ALIGNMENT);
    return TN_OK;
}

/* ---- to the disk ---- */

static tn_status write_at(const tn_gguf_writer *w, const void *data, size_t bytes, int64_t at) {
    return w->dry ? TN_OK : tn_fd_write(w->fd, path_of(w), data, bytes, at);
}

/* Append, in the file and in the checksum. */
static tn_status append(tn_gguf_writer *w, const void *data, size_t bytes) {
    tn_checksum_add(w->sum, data, bytes);
    w->broken = true; /* unless it gets there */
    TN_TRY(write_at(w, data, bytes, -1));
    w->broken = false;
    return TN_OK;
}

/* Zeros behind `bytes` bytes, up to the alignment. */
static tn_status append_padding(tn_gguf_writer *w, uint64_t bytes) {
    static const char zeros[TN_GGUF_ALIGNMENT];
    return append(w, zeros, (size_t)(TN_ROUND_UP(bytes, TN_GGUF_ALIGNMENT) - bytes));
}

static tn_status put_own_keys(tn_gguf_writer *w) {
    char zeros[TN_GGUF_CHECKSUM_LEN];
    memset(zeros, '0', sizeof zeros);
    TN_TRY(tn_gguf_put_u32(w, TN_GGUF_VERSION_KEY, 1));
    TN_TRY(tn_gguf_put_text(w, TN_GGUF_CHECKSUM_KEY, zeros, sizeof zeros));
    w->checksum_at = TN_GGUF_HEAD + w->key_records.len - sizeof zeros;
    return TN_OK;
}

static tn_status append_head(tn_gguf_writer *w, tn_buf *head) {
    TN_TRY(tn_buf_append(head, "GGUF\3\0\0\0", 8));
    TN_TRY(append_number(head, (uint64_t)w->tensors.count, 8));
    TN_TRY(append_number(head, (uint64_t)w->keys.count, 8));
    TN_TRY(tn_buf_append(head, w->key_records.data, w->key_records.len));
    return tn_buf_append(head, w->tensor_records.data, w->tensor_records.len);
}

static tn_status write_head(tn_gguf_writer *w) {
    tn_buf head = {0};
    if (w->head_written) return TN_OK;
    if (w->elements_left)
        return TN_FAIL(ARG, "%s: an array lacks its last %lld elements", path_of(w), (long long)w->elements_left);
    if (!w->plain) TN_TRY(put_own_keys(w));
    w->head_written = true;
    tn_status status = append_head(w, &head);
    if (!status) status = append(w, head.data, head.len);
    if (!status) status = append_padding(w, head.len);
    if (status) w->broken = true;
    w->head_bytes = TN_ROUND_UP(head.len, TN_GGUF_ALIGNMENT);
    tn_buf_release(&head);
    return status;
}

tn_status tn_gguf_file_bytes(tn_gguf_writer *w, int64_t *bytes) {
    TN_TRY(write_head(w));
    *bytes = (int64_t)(w->head_bytes + w->data_bytes);
    return TN_OK;
}

/* With `whole` the piece must be all of the next tensor. */
static tn_status put_bytes(tn_gguf_writer *w, const void *data, size_t bytes, bool whole) {
    TN_TRY(write_head(w));
    if (w->written == w->tensors.count) return TN_FAIL(ARG, "%s: data for a tensor that was not announced", path_of(w));
    const uint64_t size = (uint64_t)w->sizes[w->written];
    if (bytes > size - w->filled || (whole && bytes != size))
        return TN_FAIL(ARG, "%s: tensor %s got %llu bytes of data, expected %llu", path_of(w),
                       w->tensors.names[w->written], (unsigned long long)(w->filled + bytes), (unsigned long long)size);
    TN_TRY(append(w, data, bytes));
    w->filled += bytes;
    if (w->filled < size) return TN_OK;
    w->filled = 0;
    w->written++;
    return append_padding(w, size);
}

tn_status tn_gguf_put_data(tn_gguf_writer *w, const void *data, size_t bytes) {
    return put_bytes(w, data, bytes, true);
}
tn_status tn_gguf_put_piece(tn_gguf_writer *w, const void *data, size_t bytes) {
    return put_bytes(w, data, bytes, false);
}

static tn_status finish(tn_gguf_writer *w) {
    char hex[33];
    if (w->broken) return TN_FAIL(IO, "%s: cannot write: an earlier write failed", path_of(w));
    TN_TRY(write_head(w));
    if (w->written != w->tensors.count)
        return TN_FAIL(ARG, "%s: %lld tensors lack their data", path_of(w), (long long)(w->tensors.count - w->written));
    tn_checksum_hex(w->sum, hex);
    if (!w->plain) TN_TRY(write_at(w, hex, TN_GGUF_CHECKSUM_LEN, (int64_t)w->checksum_at));
    if (w->dry) return TN_OK;
    int closed = close(w->fd);
    w->fd = -1;
    if (closed != 0) return tn_fail_errno(path_of(w), "write");
    return tn_atomic_commit(&w->atomic);
}

tn_status tn_gguf_commit(tn_gguf_writer *w) {
    tn_status status = finish(w);
    tn_gguf_discard(w);
    return status;
}
