/* SPDX-License-Identifier: MIT
 * adapter_file.c - what a path holds, and whether it belongs to the base. */
#include "models/adapter_file.h"

#include <stdio.h>
#include <string.h>

#include "core/fs.h"
#include "models/adapter_reading.h"

enum { PATH_SIZE = 4096 + 64 };

typedef tn_status read_adapter(const char *path, tn_adapter **out, tn_arena *arena, const tn_model_config *config,
                               tn_adapter_origin *origin);

/* ---- what a path holds ---- */

static tn_status has(const char *folder, const char *name, bool *yes) {
    char path[PATH_SIZE];
    TN_TRY(tn_path_join(path, sizeof path, folder, name));
    *yes = tn_path_exists(path);
    return TN_OK;
}

static tn_status choose_folder(const char *path, read_adapter **out) {
    bool peft, run;
    TN_TRY(has(path, "adapter_config.json", &peft));
    TN_TRY(has(path, "checkpoints", &run));
    *out = peft ? tn_adapter_read_peft : tn_adapter_read_run;
    if (peft || run) return TN_OK;
    return TN_FAIL(FORMAT, "%s: holds no adapter: neither adapter_config.json of peft nor the checkpoints of a run",
                   path);
}

static bool starts_with(const tn_map *map, const char *magic) {
    const size_t len = strlen(magic);
    return map->size >= len && memcmp(map->data, magic, len) == 0;
}

static tn_status choose(const char *path, read_adapter **out) {
    tn_map map;
    if (tn_path_is_dir(path)) return choose_folder(path, out);
    TN_TRY(tn_map_init(&map, path));
    const bool gguf = starts_with(&map, "GGUF"), checkpoint = starts_with(&map, "\x89HDF\r\n\x1a\n");
    tn_map_release(&map);
    *out = gguf ? tn_adapter_read_gguf : tn_adapter_read_run;
    if (gguf || checkpoint) return TN_OK;
    return TN_FAIL(FORMAT, "%s: is no adapter: expected a GGUF adapter, a folder of peft, or a run of tern finetune",
                   path);
}

/* ---- whose it is ---- */

static tn_status check_base(const char *path, tn_adapter_base *base, const tn_adapter_origin *origin) {
    if (!*origin->base_id || !base->model) return TN_OK;
    if (!*base->id) TN_TRY(tn_model_fingerprint(base->model, base->id));
    if (strcmp(base->id, origin->base_id) == 0) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: was trained beside another model%s%s (its fingerprint is %s, that of this one %s)",
                   path, *origin->base ? ", " : "", origin->base, origin->base_id, base->id);
}

static void describe(const tn_adapter *adapter, tn_adapter_origin *origin) {
    int least = adapter->pairs[0].rank, most = least;
    for (int i = 1; i < adapter->n_pairs; i++) {
        least = TN_MIN(least, adapter->pairs[i].rank);
        most = TN_MAX(most, adapter->pairs[i].rank);
    }
    const size_t len = strlen(origin->description), room = sizeof origin->description - len;
    if (least == most)
        snprintf(origin->description + len, room, ", %d pairs of rank %d", adapter->n_pairs, most);
    else
        snprintf(origin->description + len, room, ", %d pairs of ranks %d to %d", adapter->n_pairs, least, most);
}

tn_status tn_adapter_file_load(tn_adapter **out, tn_arena *arena, const char *path, tn_adapter_base *base,
                               tn_adapter_origin *origin) {
    tn_adapter_origin unheard;
    read_adapter *read;
    if (!origin) origin = &unheard;
    *origin = (tn_adapter_origin){0};
    *out = NULL;
    TN_TRY(choose(path, &read));
    TN_TRY(read(path, out, arena, base->config, origin));
    describe(*out, origin);
    return check_base(path, base, origin);
}

tn_status tn_adapter_file_look(const char *path, tn_adapter_origin *origin) {
    read_adapter *read;
    *origin = (tn_adapter_origin){0};
    TN_TRY(choose(path, &read));
    return read(path, NULL, NULL, NULL, origin);
}
