/* SPDX-License-Identifier: MIT */
#include "formats/gguf.h"

#include <stdio.h>

typedef struct ggml_type {
    const char *name;
    int id;
    int64_t values, bytes, tail;
} ggml_type;

static const ggml_type types[] = {
#define GGML_TYPE(name, id, values, bytes, tail) {#name, id, values, bytes, tail},
#include "formats/ggml_type.def"
#undef GGML_TYPE
};

static const ggml_type *find_type(int id) {
    for (size_t i = 0; i < TN_COUNT(types); i++)
        if (types[i].id == id) return &types[i];
    return NULL;
}

const char *tn_ggml_type_name(int type) {
    static TN_THREAD_LOCAL char unknown[24];
    const ggml_type *row = find_type(type);
    if (row) return row->name;
    snprintf(unknown, sizeof unknown, "type %d", type);
    return unknown;
}

tn_status tn_ggml_type_bytes(int type, int64_t cols, int64_t rows, size_t *bytes) {
    const ggml_type *row = find_type(type);
    if (!row) return TN_FAIL(UNSUPPORTED, "tensor type id %d is not one that Tern reads or writes", type);
    if (cols < 0 || rows < 0 || (rows > 0 && cols > INT64_MAX / 8 / rows))
        return TN_FAIL(SHAPE, "a tensor of %lld rows of %lld values has no valid size", (long long)rows,
                       (long long)cols);
    if (cols % row->values)
        return TN_FAIL(SHAPE, "%s packs rows in blocks of %lld values, and rows of %lld values do not fill them",
                       row->name, (long long)row->values, (long long)cols);
    *bytes = (size_t)(cols / row->values * rows * row->bytes + row->tail);
    return TN_OK;
}
