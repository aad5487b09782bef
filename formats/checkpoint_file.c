/* SPDX-License-Identifier: MIT */
#include "formats/checkpoint_file.h"

#include "core/arena.h"
#include "core/fs.h"
#include "formats/checksum.h"
#include "formats/hdf5_file.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define FORMAT     "tern-checkpoint"
#define PARAMS     "params"
#define OPTIM      "optim"
#define REFERENCES "references"
#define CHECKSUMS  "checksums"

enum { FORMAT_VERSION = 1, MAX_NAME = 200, MAX_DATASET_PATH = 2 * MAX_NAME + 16, MAX_CHECKSUM_BYTES = 64 << 20 };

static const char *const text_paths[] = {
    [TN_CKPT_CONFIG] = "config", [TN_CKPT_TOKENIZER] = "tokenizer_json", [TN_CKPT_STATE] = "state"};

struct tn_ckpt {
    tn_h5 *file;
    tn_buf sums; /* when writing: the JSON of /checksums so far, without its end */
};

static bool is_name(const char *name) {
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t len = strlen(name);
    return len > 0 && len <= MAX_NAME && name[0] != '.' && strspn(name, allowed) == len;
}

static tn_status bad_name(const tn_ckpt *ckpt, const char *name) {
    return TN_FAIL(ARG, "%s: \"%.60s\" is no name for a part of a checkpoint: expected 1 to %d of A-Z a-z 0-9 _ . -",
                   tn_ckpt_path(ckpt), name, MAX_NAME);
}

static tn_status param_path(const tn_ckpt *ckpt, const char *name, char path[MAX_DATASET_PATH]) {
    if (!is_name(name)) return bad_name(ckpt, name);
    snprintf(path, MAX_DATASET_PATH, PARAMS "/%s", name);
    return TN_OK;
}

static tn_status slot_path(const tn_ckpt *ckpt, const char *slot, const char *name, char path[MAX_DATASET_PATH]) {
    if (!is_name(slot)) return bad_name(ckpt, slot);
    if (!is_name(name)) return bad_name(ckpt, name);
    snprintf(path, MAX_DATASET_PATH, OPTIM "/%s/%s", slot, name);
    return TN_OK;
}

const char *tn_ckpt_path(const tn_ckpt *ckpt) { return tn_h5_path(ckpt->file); }

static tn_ckpt *handle_create(void) { return tn_heap_zalloc(1, sizeof(tn_ckpt)); }

void tn_ckpt_close(tn_ckpt *ckpt) {
    if (!ckpt) return;
    tn_h5_close(ckpt->file);
    tn_buf_release(&ckpt->sums);
    tn_heap_free(ckpt);
}

/* ---- writing ---- */

static tn_status begin(tn_ckpt *ckpt, const char *path) {
    TN_TRY(tn_h5_create(&ckpt->file, path));
    TN_TRY(tn_h5_set_text(ckpt->file, "format", FORMAT));
    return tn_h5_set_int(ckpt->file, "format_version", FORMAT_VERSION);
}

tn_status tn_ckpt_create(tn_ckpt **out, const char *path) {
    *out = NULL;
    tn_ckpt *ckpt = handle_create();
    if (!ckpt) return TN_E_NOMEM;
    tn_status status = begin(ckpt, path);
    if (status)
        tn_ckpt_close(ckpt);
    else
        *out = ckpt;
    return status;
}

tn_status tn_ckpt_put_int(tn_ckpt *ckpt, const char *name, int64_t value) {
    return tn_h5_set_int(ckpt->file, name, value);
}

static tn_status put(tn_ckpt *ckpt, const char *path, tn_h5_type type, int rank, const int64_t *dims,
                     const void *data) {
    if (tn_h5_has(ckpt->file, path)) return TN_FAIL(ARG, "%s: %s was written already", tn_ckpt_path(ckpt), path);
    TN_TRY(tn_h5_write(ckpt->file, path, type, rank, dims, data));
    size_t bytes = tn_h5_type_size(type);
    for (int i = 0; i < rank; i++) bytes *= (size_t)dims[i];
    return tn_buf_printf(&ckpt->sums, "%s\"%s\": \"%016llx\"", ckpt->sums.len ? ",\n" : "{\n", path,
                         (unsigned long long)tn_checksum64(data, bytes));
}

tn_status tn_ckpt_put_param(tn_ckpt *ckpt, const char *name, int64_t rows, int64_t cols, const float *values) {
    char path[MAX_DATASET_PATH];
    TN_TRY(param_path(ckpt, name, path));
    if (rows <= 0 || cols <= 0)
        return TN_FAIL(ARG, "%s: %s: shape [%lld, %lld] is empty", tn_ckpt_path(ckpt), path, (long long)rows,
                       (long long)cols);
    return put(ckpt, path, TN_H5_F32, 2, (int64_t[]){rows, cols}, values);
}

static tn_h5_type slot_type(tn_ckpt_type type) { return type == TN_CKPT_U8 ? TN_H5_U8 : TN_H5_F32; }

tn_status tn_ckpt_put_slot(tn_ckpt *ckpt, const char *slot, const char *name, tn_ckpt_type type, int64_t count,
                           const void *values) {
    char path[MAX_DATASET_PATH];
    TN_TRY(slot_path(ckpt, slot, name, path));
    if (count <= 0) return TN_FAIL(ARG, "%s: %s: no values", tn_ckpt_path(ckpt), path);
    return put(ckpt, path, slot_type(type), 1, &count, values);
}

tn_status tn_ckpt_put_references(tn_ckpt *ckpt, int64_t count, const double *values) {
    if (count <= 0) return TN_FAIL(ARG, "%s: " REFERENCES ": no values", tn_ckpt_path(ckpt));
    return put(ckpt, REFERENCES, TN_H5_F64, 1, &count, values);
}

tn_status tn_ckpt_put_text(tn_ckpt *ckpt, tn_ckpt_text which, const char *text, size_t len) {
    int64_t count = (int64_t)len;
    return put(ckpt, text_paths[which], TN_H5_U8, 1, &count, text);
}

static tn_status put_checksums(tn_ckpt *ckpt) {
    TN_TRY(tn_buf_puts(&ckpt->sums, ckpt->sums.len ? "\n}\n" : "{}\n"));
    return tn_h5_write_text(ckpt->file, CHECKSUMS, ckpt->sums.data, ckpt->sums.len);
}

tn_status tn_ckpt_commit(tn_ckpt *ckpt) {
    tn_status status = put_checksums(ckpt);
    if (!status) {
        status = tn_h5_commit(ckpt->file);
        ckpt->file = NULL;
    }
    tn_ckpt_close(ckpt);
    return status;
}

/* ---- reading ---- */

static tn_status load_checksums(tn_ckpt *ckpt, json_t **sums) {
    tn_buf text = {0};
    json_error_t error;
    tn_status status = tn_h5_read_text(ckpt->file, CHECKSUMS, MAX_CHECKSUM_BYTES, &text);
    if (!status) {
        *sums = json_loadb(tn_buf_text(&text), text.len, JSON_REJECT_DUPLICATES, &error);
        if (!json_is_object(*sums))
            status = TN_FAIL(CORRUPT, "%s: dataset " CHECKSUMS " is damaged: %s", tn_ckpt_path(ckpt),
                             *sums ? "expected an object" : error.text);
    } else if (status == TN_E_MISSING)
        status = TN_FAIL(CORRUPT, "%s: has no dataset " CHECKSUMS, tn_ckpt_path(ckpt));
    tn_buf_release(&text);
    return status;
}

typedef struct verification {
    tn_ckpt *ckpt;
    const json_t *sums;
    tn_map map;
    size_t verified;
} verification;

static tn_status verify_dataset(verification *v, const char *path) {
    tn_h5_info info;
    TN_TRY(tn_h5_get_info(v->ckpt->file, path, &info));
    const char *expected = json_string_value(json_object_get(v->sums, path));
    if (!expected) return TN_FAIL(CORRUPT, "%s: dataset %s is not in the checksums", tn_ckpt_path(v->ckpt), path);
    /* The library has checked the range against the file it opened; the map may be of another, if somebody wrote. */
    size_t bytes = (size_t)info.count * tn_h5_type_size(info.type);
    size_t offset = bytes ? (size_t)info.offset : 0;
    if (offset > v->map.size || bytes > v->map.size - offset)
        return TN_FAIL(CORRUPT, "%s: changed while it was read", tn_ckpt_path(v->ckpt));
    char found[17];
    snprintf(found, sizeof found, "%016llx", (unsigned long long)tn_checksum64_map(&v->map, offset, bytes));
    if (strcmp(found, expected) != 0)
        return TN_FAIL(CORRUPT, "%s: dataset %s is damaged: its checksum is %s, expected %.16s", tn_ckpt_path(v->ckpt),
                       path, found, expected);
    v->verified++;
    return TN_OK;
}

/* The layout has groups of groups (optim/m) and no more; deeper ones could go round in a circle. */
static tn_status verify_object(void *context, const char *path, bool is_group) {
    verification *v = context;
    const char *slash = strchr(path, '/');
    if (!is_group) return strcmp(path, CHECKSUMS) == 0 ? TN_OK : verify_dataset(v, path);
    if (slash && strchr(slash + 1, '/'))
        return TN_FAIL(CORRUPT, "%s: group %s has no place in a checkpoint", tn_ckpt_path(v->ckpt), path);
    return tn_h5_each(v->ckpt->file, path, verify_object, v);
}

static tn_status verify_all(verification *v) {
    TN_TRY(tn_h5_each(v->ckpt->file, "", verify_object, v));
    if (v->verified == json_object_size(v->sums)) return TN_OK;
    const char *path;
    json_t *sum;
    json_object_foreach((json_t *)v->sums, path, sum) if (!tn_h5_has(v->ckpt->file, path)) return TN_FAIL(
        CORRUPT, "%s: dataset %.60s is in the checksums but not in the file", tn_ckpt_path(v->ckpt), path);
    return TN_FAIL(CORRUPT, "%s: the checksums name something that is no dataset", tn_ckpt_path(v->ckpt));
}

static tn_status verify(tn_ckpt *ckpt) {
    json_t *sums = NULL;
    verification v = {.ckpt = ckpt};
    tn_status status = load_checksums(ckpt, &sums);
    v.sums = sums;
    if (!status) status = tn_map_init(&v.map, tn_ckpt_path(ckpt));
    if (!status) status = verify_all(&v);
    tn_map_release(&v.map);
    json_decref(sums);
    return status;
}

static tn_status check_version(tn_ckpt *ckpt) {
    int64_t version;
    TN_TRY(tn_h5_get_int(ckpt->file, "format_version", &version));
    if (version == FORMAT_VERSION) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: has checkpoint format version %lld, this program reads version %d",
                   tn_ckpt_path(ckpt), (long long)version, FORMAT_VERSION);
}

tn_status tn_ckpt_open(tn_ckpt **out, const char *path) {
    *out = NULL;
    tn_ckpt *ckpt = handle_create();
    if (!ckpt) return TN_E_NOMEM;
    tn_status status = tn_h5_open(&ckpt->file, path, FORMAT);
    if (!status) status = check_version(ckpt);
    if (!status) status = verify(ckpt);
    if (status)
        tn_ckpt_close(ckpt);
    else
        *out = ckpt;
    return status;
}

bool tn_ckpt_is_checkpoint(const char *path) {
    tn_h5 *file;
    tn_status status = tn_h5_open(&file, path, FORMAT);
    tn_h5_close(file);
    return status == TN_OK || status == TN_E_CORRUPT;
}

tn_status tn_ckpt_get_int(tn_ckpt *ckpt, const char *name, int64_t *value) {
    return tn_h5_get_int(ckpt->file, name, value);
}

tn_status tn_ckpt_get_param(tn_ckpt *ckpt, const char *name, int64_t rows, int64_t cols, float *values) {
    char path[MAX_DATASET_PATH];
    tn_h5_info info;
    TN_TRY(param_path(ckpt, name, path));
    TN_TRY(tn_h5_get_info(ckpt->file, path, &info));
    if (info.rank != 2 || info.dims[0] != rows || info.dims[1] != cols)
        return TN_FAIL(MISMATCH, "%s: %s has shape [%lld, %lld], expected [%lld, %lld]", tn_ckpt_path(ckpt), path,
                       (long long)info.dims[0], (long long)info.dims[1], (long long)rows, (long long)cols);
    return tn_h5_read(ckpt->file, path, TN_H5_F32, info.count, values);
}

static tn_status get(tn_ckpt *ckpt, const char *path, tn_h5_type type, int64_t count, void *values) {
    tn_h5_info info;
    TN_TRY(tn_h5_get_info(ckpt->file, path, &info));
    if (info.count != count)
        return TN_FAIL(MISMATCH, "%s: %s has %lld values, expected %lld", tn_ckpt_path(ckpt), path,
                       (long long)info.count, (long long)count);
    return tn_h5_read(ckpt->file, path, type, count, values);
}

tn_status tn_ckpt_get_slot(tn_ckpt *ckpt, const char *slot, const char *name, tn_ckpt_type type, int64_t count,
                           void *values) {
    char path[MAX_DATASET_PATH];
    TN_TRY(slot_path(ckpt, slot, name, path));
    return get(ckpt, path, slot_type(type), count, values);
}

tn_status tn_ckpt_get_references(tn_ckpt *ckpt, int64_t count, double *values) {
    return get(ckpt, REFERENCES, TN_H5_F64, count, values);
}

tn_status tn_ckpt_get_text(tn_ckpt *ckpt, tn_ckpt_text which, tn_buf *out) {
    return tn_h5_read_text(ckpt->file, text_paths[which], SIZE_MAX / 4, out);
}

bool tn_ckpt_has_param(tn_ckpt *ckpt, const char *name) {
    char path[MAX_DATASET_PATH];
    return is_name(name) && !param_path(ckpt, name, path) && tn_h5_has(ckpt->file, path);
}

bool tn_ckpt_has_slot(tn_ckpt *ckpt, const char *slot, const char *name) {
    char path[MAX_DATASET_PATH];
    return is_name(slot) && is_name(name) && !slot_path(ckpt, slot, name, path) && tn_h5_has(ckpt->file, path);
}

bool tn_ckpt_has_text(tn_ckpt *ckpt, tn_ckpt_text which) { return tn_h5_has(ckpt->file, text_paths[which]); }

typedef struct param_visit {
    tn_ckpt *ckpt;
    tn_ckpt_visit *visit;
    void *context;
} param_visit;

static tn_status visit_param(void *context, const char *path, bool is_group) {
    const param_visit *p = context;
    tn_h5_info info;
    if (is_group) return TN_FAIL(CORRUPT, "%s: group %s has no place in a checkpoint", tn_ckpt_path(p->ckpt), path);
    TN_TRY(tn_h5_get_info(p->ckpt->file, path, &info));
    if (info.rank != 2 || info.type != TN_H5_F32)
        return TN_FAIL(CORRUPT, "%s: dataset %s is not a matrix of f32", tn_ckpt_path(p->ckpt), path);
    return p->visit(p->context, path + strlen(PARAMS "/"), info.dims[0], info.dims[1]);
}

tn_status tn_ckpt_each_param(tn_ckpt *ckpt, tn_ckpt_visit *visit, void *context) {
    param_visit p = {ckpt, visit, context};
    if (!tn_h5_has(ckpt->file, PARAMS)) return TN_OK;
    return tn_h5_each(ckpt->file, PARAMS, visit_param, &p);
}
