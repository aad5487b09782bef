/* SPDX-License-Identifier: MIT
 * model_file.c - what a path holds, and which checkpoint a run folder stands for. */
#include "models/model_file.h"

#include <stdio.h>
#include <string.h>

#include "core/fs.h"
#include "models/model_file_priv.h"

enum { POINTER_MAX = 4096 }; /* bytes of a `best` or `latest` file */

tn_status tn_loaded_check_vocabulary(const tn_loaded *loaded) {
    int rows = tn_model_get_config(loaded->model)->vocab_size, ids = tn_tokenizer_size(loaded->tokenizer);
    if (ids <= rows) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: the tokenizer has %d ids, the model only %d", loaded->path, ids, rows);
}

void tn_loaded_release(tn_loaded *loaded) {
    tn_tokenizer_free(loaded->tokenizer);
    tn_gguf_close(loaded->file);
    *loaded = (tn_loaded){0};
}

static tn_status starts_with(const char *path, const char *magic, bool *yes) {
    tn_map map;
    TN_TRY(tn_map_init(&map, path));
    size_t len = strlen(magic);
    *yes = map.size >= len && memcmp(map.data, magic, len) == 0;
    tn_map_release(&map);
    return TN_OK;
}

static tn_status load_file(const char *path, tn_arena *arena, tn_model_use use, tn_loaded *out) {
    bool is_gguf, is_hdf5;
    snprintf(out->path, sizeof out->path, "%s", path);
    TN_TRY(starts_with(path, "GGUF", &is_gguf));
    TN_TRY(starts_with(path, "\x89HDF\r\n\x1a\n", &is_hdf5));
    if (is_gguf) return tn_model_from_gguf(path, arena, use, out);
    if (is_hdf5) return tn_model_from_checkpoint(path, arena, use, out);
    return TN_FAIL(FORMAT, "%s: is neither a checkpoint of Tern nor a GGUF file", path);
}

/* ---- run folders ---- */

/* The file in `folder` that the first line of a pointer file names. */
static tn_status resolve(const char *pointer, const char *text, const char *folder, char *target, size_t size) {
    char name[256];
    size_t len = strcspn(text, "\r\n");
    if (len == 0 || len >= sizeof name || memchr(text, '/', len))
        return TN_FAIL(CORRUPT, "%s: does not name a checkpoint of its folder", pointer);
    memcpy(name, text, len);
    name[len] = 0;
    return tn_path_join(target, size, folder, name);
}

/* The file that DIR/checkpoints/<name> names; *found is false when there is no such pointer. */
static tn_status follow(const char *dir, const char *name, char *target, size_t size, bool *found) {
    char folder[POINTER_MAX], pointer[POINTER_MAX];
    TN_TRY(tn_path_join(folder, sizeof folder, dir, "checkpoints"));
    TN_TRY(tn_path_join(pointer, sizeof pointer, folder, name));
    *found = tn_path_exists(pointer);
    if (!*found) return TN_OK;
    tn_buf text = {0};
    tn_status status = tn_file_read(pointer, POINTER_MAX, &text);
    if (!status) status = resolve(pointer, tn_buf_text(&text), folder, target, size);
    tn_buf_release(&text);
    return status;
}

static tn_status load_folder(const char *dir, tn_arena *arena, tn_model_use use, tn_loaded *out) {
    static const char *const pointers[] = {"best", "latest"};
    for (size_t i = 0; i < TN_COUNT(pointers); i++) {
        char target[POINTER_MAX];
        bool found;
        TN_TRY(follow(dir, pointers[i], target, sizeof target, &found));
        if (!found) continue;
        TN_TRY(load_file(target, arena, use, out));
        size_t len = strlen(out->description);
        snprintf(out->description + len, sizeof out->description - len, ", the %s of run %.100s", pointers[i], dir);
        return TN_OK;
    }
    return TN_FAIL(MISSING, "%s: is a folder without checkpoints/best or checkpoints/latest, so no run of Tern", dir);
}

tn_status tn_model_file_load(const char *path, tn_arena *arena, tn_model_use use, tn_loaded *out) {
    *out = (tn_loaded){0};
    tn_status status = tn_path_is_dir(path) ? load_folder(path, arena, use, out) : load_file(path, arena, use, out);
    if (!status) status = tn_loaded_check_vocabulary(out);
    if (status) tn_loaded_release(out);
    return status;
}
