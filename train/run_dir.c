/* SPDX-License-Identifier: MIT */
#include "train/run_dir.h"

#include "core/arena.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* All that a start can make in the folder. */
static const char *const parts[] = {"lock",        "checkpoints",   "tokenizer.json",
                                    "config.yaml", "metrics.jsonl", "metrics.csv"};

static tn_status take_lock(tn_run_dir *dir) {
    char path[TN_RUN_PATH];
    TN_TRY(tn_run_dir_file(dir, "lock", path));
    tn_status status = tn_lock_take(&dir->lock, path);
    if (status == TN_E_BUSY) return TN_FAIL(BUSY, "%s: another process is training in this folder", dir->path);
    return status;
}

static tn_status name_paths(tn_run_dir *dir, const char *path) {
    *dir = (tn_run_dir){.lock = {-1}};
    if (strlen(path) + 64 > sizeof dir->path) return TN_FAIL(RANGE, "%.60s...: path is too long", path);
    snprintf(dir->path, sizeof dir->path, "%s", path);
    dir->existed = strlen(path);
    return tn_path_join(dir->checkpoints, sizeof dir->checkpoints, path, "checkpoints");
}

static void note_parts(tn_run_dir *dir, size_t first, size_t end) {
    char path[TN_RUN_PATH];
    for (size_t i = first; i < end; i++)
        if (!tn_run_dir_file(dir, parts[i], path) && tn_path_exists(path)) dir->found |= 1u << i;
}

/* Only the lock is looked for before it is taken: until then another process may be making the rest. */
static tn_status lock_folder(tn_run_dir *dir) {
    note_parts(dir, 0, 1);
    TN_TRY(take_lock(dir));
    note_parts(dir, 1, TN_COUNT(parts));
    return TN_OK;
}

/* What a start that was cut off before its config.yaml may leave behind. */
static bool is_remnant(const char *name) {
    return strcmp(name, "lock") == 0 || strcmp(name, "checkpoints") == 0 || strcmp(name, "tokenizer.json") == 0 ||
           strstr(name, ".tmp.");
}

static tn_status check_unused(const char *path) {
    tn_names names = {0};
    tn_status status = tn_dir_list(path, &names);
    for (size_t i = 0; i < names.count && !status; i++)
        if (!is_remnant(names.list[i]))
            status = TN_FAIL(ARG, "%s: is not empty; go on with its run by --resume %s, or choose another folder", path,
                             path);
    tn_names_release(&names);
    return status;
}

/* Cut the last name off `path`, of which `len` bytes are left. */
static size_t cut_name(char *path, size_t len) {
    while (len && path[len - 1] != '/') len--;
    while (len && path[len - 1] == '/') len--;
    path[len] = '\0';
    return len;
}

static size_t existing_length(const char *path) {
    char part[TN_RUN_PATH];
    size_t len = strlen(path);
    memcpy(part, path, len + 1);
    while (len && !tn_path_exists(part)) len = cut_name(part, len);
    return len;
}

tn_status tn_run_dir_check(const char *path) {
    tn_run_dir dir;
    TN_TRY(name_paths(&dir, path));
    const size_t exists = existing_length(path);
    dir.path[exists] = '\0';
    const char *folder = *dir.path ? dir.path : *path == '/' ? "/" : ".";
    if (!tn_path_is_dir(folder)) return TN_FAIL(IO, "%s: is a file where a folder was expected", folder);
    if (access(folder, W_OK | X_OK) != 0) return tn_fail_errno(folder, "write into the folder");
    return exists < strlen(path) ? TN_OK : check_unused(path);
}

static tn_status make_and_lock(tn_run_dir *dir) {
    TN_TRY(tn_dir_make(dir->path));
    TN_TRY(check_unused(dir->path));
    TN_TRY(lock_folder(dir));
    TN_TRY(check_unused(dir->path)); /* a run may have come and gone meanwhile */
    return tn_dir_make(dir->checkpoints);
}

tn_status tn_run_dir_create(tn_run_dir *dir, const char *path) {
    TN_TRY(name_paths(dir, path));
    dir->existed = existing_length(path);
    tn_status status = make_and_lock(dir);
    if (status) tn_run_dir_discard(dir);
    return status;
}

/* Writers name temporary files NAME.tmp.PID; the lock says that no writer is alive. */
static tn_status sweep(const char *folder) {
    tn_names names = {0};
    tn_status status = tn_dir_list(folder, &names);
    for (size_t i = 0; i < names.count && !status; i++) {
        char path[TN_RUN_PATH];
        if (!strstr(names.list[i], ".tmp.")) continue;
        status = tn_path_join(path, sizeof path, folder, names.list[i]);
        if (!status) status = tn_file_remove(path);
    }
    tn_names_release(&names);
    return status;
}

tn_status tn_run_dir_open(tn_run_dir *dir, const char *path) {
    TN_TRY(name_paths(dir, path));
    if (!tn_path_is_dir(path)) return TN_FAIL(MISSING, "%s: there is no such run folder", path);
    TN_TRY(lock_folder(dir));
    tn_status status = tn_dir_make(dir->checkpoints);
    if (!status) status = sweep(dir->path);
    if (!status) status = sweep(dir->checkpoints);
    if (status) tn_run_dir_discard(dir);
    return status;
}

void tn_run_dir_release(tn_run_dir *dir) {
    if (dir->lock.fd >= 0) tn_lock_release(&dir->lock);
    dir->lock.fd = -1;
}

/* remove() and rmdir() leave a folder alone that is not empty. */
void tn_run_dir_discard(tn_run_dir *dir) {
    char path[TN_RUN_PATH];
    if (dir->lock.fd < 0) dir->found = ~0u; /* the parts are another process's */
    for (size_t i = TN_COUNT(parts); i-- > 0;)
        if (!(dir->found >> i & 1) && !tn_run_dir_file(dir, parts[i], path)) (void)remove(path);
    tn_run_dir_release(dir);
    memcpy(path, dir->path, sizeof path);
    for (size_t len = strlen(path); len > dir->existed; len = cut_name(path, len)) (void)rmdir(path);
}

tn_status tn_run_dir_file(const tn_run_dir *dir, const char *name, char out[TN_RUN_PATH]) {
    return tn_path_join(out, TN_RUN_PATH, dir->path, name);
}

static void checkpoint_name(int64_t step, char out[40]) { snprintf(out, 40, "step-%08" PRId64 ".h5", step); }

tn_status tn_run_dir_checkpoint(const tn_run_dir *dir, int64_t step, char out[TN_RUN_PATH]) {
    char name[40];
    checkpoint_name(step, name);
    return tn_path_join(out, TN_RUN_PATH, dir->checkpoints, name);
}

/* The step in "step-00001000.h5", or -1 for any other name. */
static int64_t step_of(const char *name) {
    int64_t step;
    char again[40];
    if (sscanf(name, "step-%18" SCNd64, &step) != 1 || step < 0) return -1;
    checkpoint_name(step, again);
    return strcmp(name, again) == 0 ? step : -1;
}

static tn_status collect_steps(const tn_names *names, int64_t **steps, int *count) {
    *steps = tn_heap_zalloc(names->count, sizeof **steps);
    if (!*steps) return TN_E_NOMEM;
    for (size_t i = 0; i < names->count; i++) {
        int64_t step = step_of(names->list[i]);
        if (step < 0) continue;
        int at = (*count)++; /* by number: nine digits sort before eight by name */
        for (; at > 0 && (*steps)[at - 1] > step; at--) (*steps)[at] = (*steps)[at - 1];
        (*steps)[at] = step;
    }
    return TN_OK;
}

tn_status tn_run_dir_steps(const tn_run_dir *dir, int64_t **steps, int *count) {
    tn_names names = {0};
    *steps = NULL;
    *count = 0;
    tn_status status = tn_dir_list(dir->checkpoints, &names);
    if (!status) status = collect_steps(&names, steps, count);
    tn_names_release(&names);
    return status;
}

tn_status tn_run_dir_mark(const tn_run_dir *dir, const char *mark, int64_t step) {
    char path[TN_RUN_PATH], name[40], text[48];
    TN_TRY(tn_path_join(path, sizeof path, dir->checkpoints, mark));
    if (step < 0) return tn_file_remove(path);
    checkpoint_name(step, name);
    snprintf(text, sizeof text, "%s\n", name);
    return tn_file_write(path, text, strlen(text));
}

static tn_status remove_old(const tn_run_dir *dir, const int64_t *steps, int known, int64_t best, int64_t keep) {
    for (int i = 0; i < known - keep; i++) {
        char path[TN_RUN_PATH];
        if (steps[i] == best) continue;
        TN_TRY(tn_run_dir_checkpoint(dir, steps[i], path));
        TN_TRY(tn_file_remove(path));
    }
    return TN_OK;
}

tn_status tn_run_dir_prune(const tn_run_dir *dir, int64_t latest, int64_t best, int64_t keep) {
    if (!keep) return TN_OK;
    int64_t *steps;
    int count, known = 0;
    tn_status status = tn_run_dir_steps(dir, &steps, &count);
    while (known < count && steps[known] <= latest) known++;
    if (!status) status = remove_old(dir, steps, known, best, keep);
    tn_heap_free(steps);
    return status;
}
