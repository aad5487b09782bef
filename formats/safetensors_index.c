/* SPDX-License-Identifier: MIT
 * safetensors_index.c - a model in shards: {"metadata": {...}, "weight_map": {"tensor": "file beside the index"}}.
 * What "metadata" says of sizes is often wrong in files that tools have merged, and is not looked at. */
#include "formats/json_text.h"
#include "formats/safetensors_priv.h"

#include <string.h>

enum { MAX_INDEX = 64 << 20, PATH_SIZE = 4096 };

/* The path of `name` beside the index. */
static tn_status beside(const tn_safetensors *file, const char *name, char path[PATH_SIZE]) {
    const char *slash = strrchr(file->path, '/');
    const size_t folder = slash ? (size_t)(slash - file->path) + 1 : 0, len = strlen(name);
    if (!len || strchr(name, '/'))
        return TN_FAIL(CORRUPT, "%s: weight_map names \"%.100s\", expected a file beside the index", file->path, name);
    if (folder + len >= PATH_SIZE) return TN_FAIL(RANGE, "%.60s...: path is too long", file->path);
    memcpy(path, file->path, folder);
    memcpy(path + folder, name, len + 1);
    return TN_OK;
}

static int shard_of(const tn_safetensors *file, const char *path) {
    for (int i = file->n_shards - 1; i >= 0; i--) /* neighbours are mostly in the same */
        if (strcmp(file->shards[i].path, path) == 0) return i;
    return -1;
}

static tn_status open_shards(tn_safetensors *file, const json_t *map) {
    const char *name;
    json_t *value;
    char path[PATH_SIZE];
    json_object_foreach((json_t *)(uintptr_t)map, name, value) {
        const char *shard = json_string_value(value);
        if (!shard) return TN_FAIL(CORRUPT, "%s: weight_map.%.100s is no file name", file->path, name);
        TN_TRY(beside(file, shard, path));
        if (shard_of(file, path) >= 0) continue;
        if (file->n_shards == TN_SAFETENSORS_MAX_SHARDS)
            return TN_FAIL(RANGE, "%s: names more than %d files", file->path, TN_SAFETENSORS_MAX_SHARDS);
        if (!tn_path_exists(path))
            return TN_FAIL(MISSING, "%s: is not there, but %s says that tensor %.100s is in it", path, file->path,
                           name);
        TN_TRY(tn_safetensors_add_shard(file, path));
    }
    return TN_OK;
}

/* Every tensor of the map is where it says ... */
static tn_status check_map(const tn_safetensors *file, const json_t *map) {
    const char *name;
    json_t *value;
    char path[PATH_SIZE];
    json_object_foreach((json_t *)(uintptr_t)map, name, value) {
        const tn_safetensor *t = tn_safetensors_find(file, name);
        TN_TRY(beside(file, json_string_value(value), path));
        if (!t || strcmp(t->path, path) != 0)
            return TN_FAIL(MISMATCH, "%s: has no tensor %.100s, which %s says is in it", path, name, file->path);
    }
    return TN_OK;
}

/* ... and there is no other. */
static tn_status check_shards(const tn_safetensors *file, const json_t *map) {
    for (int64_t i = 0; i < tn_safetensors_count(file); i++) {
        const tn_safetensor *t = tn_safetensors_at(file, i);
        if (!json_object_get(map, t->name))
            return TN_FAIL(MISMATCH, "%s: holds tensor %s, which %s does not list", t->path, t->name, file->path);
    }
    return TN_OK;
}

static tn_status read_map(tn_safetensors *file, const json_t *root) {
    const json_t *map = json_object_get(root, "weight_map");
    if (!json_is_object(map)) return TN_FAIL(CORRUPT, "%s: has no \"weight_map\" of tensors and files", file->path);
    TN_TRY(open_shards(file, map));
    TN_TRY(check_map(file, map));
    return check_shards(file, map);
}

tn_status tn_safetensors_read_index(tn_safetensors *file) {
    tn_buf text = {0};
    json_error_t error;
    json_t *root = NULL;
    tn_status status = tn_file_read(file->path, MAX_INDEX, &text);
    if (!status) root = json_loadb(tn_buf_text(&text), text.len, JSON_REJECT_DUPLICATES, &error);
    if (!status && !root)
        status = TN_FAIL(FORMAT, "%s: line %d: %s, expected an index in JSON", file->path, error.line, error.text);
    if (!status) status = read_map(file, root);
    json_decref(root);
    tn_buf_release(&text);
    return status;
}
