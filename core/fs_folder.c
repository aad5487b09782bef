/* SPDX-License-Identifier: MIT
 * fs_folder.c - folders that appear under their name only when they are complete. */
#include "core/fs_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- where to write ---- */

/* `path` without slashes at its end, or the folder that it leads to. */
static tn_status find_target(const char *path, char target[PATH_MAX]) {
    size_t len = strlen(path);
    struct stat st;
    while (len > 1 && path[len - 1] == '/') len--;
    if (len >= PATH_MAX) return TN_FAIL(RANGE, "%.60s...: path is too long", path);
    snprintf(target, PATH_MAX, "%.*s", (int)len, path);
    if (tn_path_is_dir(target)) return realpath(path, target) ? TN_OK : tn_fail_errno(path, "write");
    if (lstat(target, &st) != 0) return TN_OK;
    return TN_FAIL(IO, "%s: is there and is no folder, expected a folder or a free name", path);
}

static bool is_named(const tn_atomic_folder *f, const char *name) {
    for (int i = 0; i < f->n_names; i++)
        if (strcmp(name, f->names[i]) == 0) return true;
    return false;
}

static tn_status check_older(const tn_atomic_folder *f) {
    tn_names names = {0};
    tn_status status = tn_dir_list(f->path, &names);
    for (size_t i = 0; i < names.count && !status; i++)
        if (!is_named(f, names.list[i]))
            status =
                TN_FAIL(CONFIG, "%s: holds %.100s, which would be lost; expected a new folder, or one of this kind",
                        f->path, names.list[i]);
    tn_names_release(&names);
    return status;
}

/* A file that was to be in the folder, or one on the way to be. */
static bool is_ours(const tn_atomic_folder *f, const char *entry) {
    for (int i = 0; i < f->n_names; i++)
        if (tn_temp_process(entry, f->names[i])) return true;
    return is_named(f, entry);
}

/* Here and below best effort: what cannot be listed or removed stays. */
static void remove_leftover(const tn_atomic_folder *f, const char *path) {
    char file[PATH_MAX];
    tn_names names = {0};
    if (tn_dir_list(path, &names) == TN_OK)
        for (size_t i = 0; i < names.count; i++)
            if (is_ours(f, names.list[i]) && !tn_path_join(file, sizeof file, path, names.list[i])) unlink(file);
    tn_names_release(&names);
    rmdir(path);
}

static void remove_leftovers(const tn_atomic_folder *f) {
    char dir[PATH_MAX], path[PATH_MAX];
    const char *slash = strrchr(f->path, '/');
    tn_names names = {0};
    tn_path_parent(f->path, dir, sizeof dir);
    if (tn_dir_list(dir, &names) == TN_OK)
        for (size_t i = 0; i < names.count; i++)
            if (tn_process_is_gone(tn_temp_process(names.list[i], slash ? slash + 1 : f->path)) &&
                !tn_path_join(path, sizeof path, dir, names.list[i]))
                remove_leftover(f, path);
    tn_names_release(&names);
}

/* ---- begin, commit, abort ---- */

tn_status tn_atomic_folder_begin(tn_atomic_folder *f, const char *path, const char *const *names, int n_names) {
    *f = (tn_atomic_folder){.names = names, .n_names = n_names};
    TN_TRY(find_target(path, f->path));
    if (tn_path_is_dir(f->path)) TN_TRY(check_older(f));
    remove_leftovers(f);
    char temp[sizeof f->temp];
    snprintf(temp, sizeof temp, "%s.tmp.%ld", f->path, (long)getpid());
    tn_live_remember(temp, names, n_names);
    if (mkdir(temp, 0777) != 0) {
        tn_live_forget(temp);
        return tn_fail_errno(path, "write");
    }
    snprintf(f->temp, sizeof f->temp, "%s", temp);
    return TN_OK;
}

static tn_status sync_files(const tn_atomic_folder *f) {
    char path[sizeof f->temp + 256];
    for (int i = 0; i < f->n_names; i++) {
        TN_TRY(tn_path_join(path, sizeof path, f->temp, f->names[i]));
        if (tn_path_exists(path)) TN_TRY(tn_path_sync(path, f->path, O_RDONLY));
    }
    return tn_path_sync(f->temp, f->path, O_RDONLY | O_DIRECTORY);
}

/* The new folder gets the name in one step; what had it is then under the temporary name. File systems that cannot
 * exchange names get it in two. */
static tn_status take_name(const tn_atomic_folder *f) {
    char older[sizeof f->temp + 8];
    if (!tn_path_is_dir(f->path)) return rename(f->temp, f->path) ? tn_fail_errno(f->path, "write") : TN_OK;
    if (renameat2(AT_FDCWD, f->temp, AT_FDCWD, f->path, RENAME_EXCHANGE) == 0) return TN_OK;
    if (errno != EINVAL && errno != ENOSYS) return tn_fail_errno(f->path, "write");
    snprintf(older, sizeof older, "%s.old", f->temp);
    if (rename(f->path, older) != 0) return tn_fail_errno(f->path, "write");
    if (rename(f->temp, f->path) == 0) return rename(older, f->temp) ? tn_fail_errno(older, "rename") : TN_OK;
    tn_status status = tn_fail_errno(f->path, "write");
    (void)!rename(older, f->path);
    return status;
}

tn_status tn_atomic_folder_commit(tn_atomic_folder *f) {
    char dir[sizeof f->path];
    tn_path_parent(f->path, dir, sizeof dir);
    tn_status status = sync_files(f);
    if (!status) status = take_name(f);
    tn_atomic_folder_abort(f); /* or what was there before */
    return status ? status : tn_path_sync(dir, dir, O_RDONLY | O_DIRECTORY);
}

void tn_atomic_folder_abort(tn_atomic_folder *f) {
    if (!f->temp[0]) return;
    tn_folder_remove(f->temp, f->names, f->n_names);
    tn_live_forget(f->temp);
    f->temp[0] = '\0';
}
