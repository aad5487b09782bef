/* SPDX-License-Identifier: MIT
 * gguf_split.c - files in parts, as llama.cpp's gguf-split cuts them: NAME-00001-of-00003.gguf and so on. Each part is
 * a GGUF file with tensors of its own and the keys split.no (from 0), split.count and split.tensors.count; the first
 * one has all other keys too. */
#include "formats/gguf_priv.h"

#include <stdio.h>
#include <string.h>

#define TAG "gguf"

enum { MAX_PARTS = 1024, PATH_SIZE = 4096 };

static tn_status read_number(const tn_gguf *file, const char *key, int64_t least, int64_t most, int64_t *value) {
    TN_TRY(tn_gguf_get_int(file, key, value));
    if (*value >= least && *value <= most) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: %s is %lld, expected %lld to %lld", file->path, key, (long long)*value,
                   (long long)least, (long long)most);
}

/* "-00002-of-00003.gguf" */
static void suffix_of(char out[64], int64_t number, int64_t count) {
    snprintf(out, 64, "-%05lld-of-%05lld.gguf", (long long)number + 1, (long long)count);
}

/* The path of another part, from that of part `no`. */
static tn_status path_of_part(const tn_gguf *file, int64_t no, int64_t count, int64_t wanted, char path[PATH_SIZE]) {
    char suffix[64];
    suffix_of(suffix, no, count);
    const size_t len = strlen(file->path), tail = strlen(suffix);
    if (len < tail || strcmp(file->path + len - tail, suffix) != 0)
        return TN_FAIL(MISMATCH,
                       "%s: is part %lld of %lld, and its name should end in %s, so that the others are found",
                       file->path, (long long)no + 1, (long long)count, suffix);
    suffix_of(suffix, wanted, count);
    if (len >= PATH_SIZE) return TN_FAIL(RANGE, "%.60s...: path is too long", file->path);
    memcpy(path, file->path, len - tail);
    snprintf(path + len - tail, PATH_SIZE - (len - tail), "%s", suffix);
    return TN_OK;
}

static tn_status open_part(const tn_gguf *known, int64_t no, int64_t count, int64_t wanted, tn_gguf **out) {
    char path[PATH_SIZE];
    int64_t found_no, found_count;
    TN_TRY(path_of_part(known, no, count, wanted, path));
    tn_status status = tn_gguf_open_one(out, path);
    if (status == TN_E_MISSING)
        return TN_FAIL(MISSING, "%s: part %lld of %lld is not beside %s", path, (long long)wanted + 1, (long long)count,
                       known->path);
    TN_TRY(status);
    status = read_number(*out, "split.count", 1, MAX_PARTS, &found_count);
    if (!status) status = read_number(*out, "split.no", 0, found_count - 1, &found_no);
    if (!status && (found_no != wanted || found_count != count))
        status = TN_FAIL(MISMATCH, "%s: says it is part %lld of %lld, expected part %lld of %lld", path,
                         (long long)found_no + 1, (long long)found_count, (long long)wanted + 1, (long long)count);
    if (status) tn_gguf_close(*out);
    return status;
}

/* The tensors of the parts behind those of the first. */
static tn_status join_tensors(tn_gguf *file) {
    int64_t total = file->tensor_names.count, promised = 0;
    for (int i = 0; i < file->n_parts; i++) total += file->parts[i]->tensor_names.count;
    TN_TRY(read_number(file, "split.tensors.count", 0, INT32_MAX, &promised));
    if (promised != total)
        return TN_FAIL(MISMATCH, "%s: the parts hold %lld tensors, split.tensors.count says %lld", file->path,
                       (long long)total, (long long)promised);
    tn_gguf_tensor *all;
    TN_TAKE(all, file->arena, total, TAG);
    int64_t n = file->tensor_names.count;
    if (n) memcpy(all, file->tensors, (size_t)n * sizeof *all);
    for (int i = 0; i < file->n_parts; i++)
        for (int64_t j = 0; j < file->parts[i]->tensor_names.count; j++) {
            const tn_gguf_tensor *t = &file->parts[i]->tensors[j];
            if (tn_name_index_find(&file->tensor_names, t->name) >= 0)
                return TN_FAIL(CORRUPT, "%s: tensor %s is in an earlier part too", t->path, t->name);
            TN_TRY(tn_name_index_add(&file->tensor_names, t->name));
            all[n++] = *t;
        }
    file->tensors = all;
    return TN_OK;
}

static tn_status gather(tn_gguf *first, int64_t count) {
    TN_TAKE0(first->parts, first->arena, count, TAG);
    for (int64_t wanted = 1; wanted < count; wanted++) {
        TN_TRY(open_part(first, 0, count, wanted, &first->parts[first->n_parts]));
        first->n_parts++;
    }
    return join_tensors(first);
}

tn_status tn_gguf_gather(tn_gguf **file) {
    int64_t count, no;
    if (!tn_gguf_has(*file, "split.count")) return TN_OK;
    TN_TRY(read_number(*file, "split.count", 0, MAX_PARTS, &count));
    if (count < 2) return TN_OK;
    TN_TRY(read_number(*file, "split.no", 0, count - 1, &no));
    if (no > 0) {
        tn_gguf *first = NULL;
        TN_TRY(open_part(*file, no, count, 0, &first));
        tn_gguf_close(*file);
        *file = first;
    }
    return gather(*file, count);
}
