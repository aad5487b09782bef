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
};

static const ggml_type *find_type(int id) {
    for (size_t i = 0; i < TN_COUNT(types); i++)
        if (types[i].id == id) return &types[i];
    return NULL;
}

typedef struct other_type {
    const char *name;
    int id;
} other_type;

static const other_type others[] = {
#define GGML_OTHER(name, id) {name, id},
#include "formats/ggml_type.def"
};

const char *tn_ggml_type_name(int type) {
    static TN_THREAD_LOCAL char unknown[24];
    const ggml_type *row = find_type(type);
    if (row) return row->name;
    for (size_t i = 0; i < TN_COUNT(others); i++)
        if (others[i].id == type) return others[i].name;
    snprintf(unknown, sizeof unknown, "type %d", type);
    return unknown;
}

#define ONE_NAME(name, id, values, bytes, tail) " " #name
static const char names_read[] =
#define GGML_TYPE ONE_NAME
#include "formats/ggml_type.def"
    ;

int64_t tn_ggml_type_block(int type) {
    const ggml_type *row = find_type(type);
    return row ? row->values : 1;
}

tn_status tn_ggml_type_bytes(int type, int64_t cols, int64_t rows, size_t *bytes) {
    const ggml_type *row = find_type(type);
    if (!row)
        return TN_FAIL(UNSUPPORTED, "tensor type id %d (%s) is not read here; those that are:%s", type,
                       tn_ggml_type_name(type), names_read);
    if (cols < 0 || rows < 0 || (rows > 0 && cols > INT64_MAX / 8 / rows))
        return TN_FAIL(SHAPE, "a tensor of %lld rows of %lld values has no valid size", (long long)rows,
                       (long long)cols);
    if (cols % row->values)
        return TN_FAIL(SHAPE, "%s packs rows in blocks of %lld values, and rows of %lld values do not fill them",
                       row->name, (long long)row->values, (long long)cols);
    *bytes = (size_t)(cols / row->values * rows * row->bytes + row->tail);
    return TN_OK;
}
