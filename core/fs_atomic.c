/* SPDX-License-Identifier: MIT
 * fs_atomic.c - files that appear under their name only when they are complete. */
#include "core/fs_priv.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is temporary now, for a signal handler ---- */

enum { MAX_LIVE = 16 };
enum { FREE, FILLING, LIVE };

static struct {
    atomic_int state;
    const char *const *names; /* of a folder's files; NULL: a file */
    int n_names;
    char temp[sizeof((tn_atomic *)NULL)->temp];
} live[MAX_LIVE];

void tn_live_remember(const char *temp, const char *const *names, int n_names) {
    for (size_t i = 0; i < MAX_LIVE; i++) {
        int expected = FREE;
        if (!atomic_compare_exchange_strong(&live[i].state, &expected, FILLING)) continue;
        snprintf(live[i].temp, sizeof live[i].temp, "%s", temp);
        live[i].names = names;
        live[i].n_names = n_names;
        atomic_store(&live[i].state, LIVE);
        return;
    }
}

void tn_live_forget(const char *temp) {
    for (size_t i = 0; i < MAX_LIVE; i++) {
        if (atomic_load(&live[i].state) != LIVE || strcmp(live[i].temp, temp) != 0) continue;
        atomic_store(&live[i].state, FREE);
        return;
    }
}

void tn_folder_remove(const char *folder, const char *const *names, int n_names) {
    char path[sizeof live[0].temp + 256];
    const size_t len = strlen(folder);
    if (len + 256 >= sizeof path) return;
    memcpy(path, folder, len);
    path[len] = '/';
    for (int i = 0; i < n_names; i++) {
        const size_t n = strlen(names[i]);
        if (n >= 255) continue;
        memcpy(path + len + 1, names[i], n + 1);
        unlink(path);
    }
    rmdir(folder);
}

/* Files before the folders they may be in. */
void tn_atomic_abort_all(void) {
    for (size_t i = 0; i < MAX_LIVE; i++)
        if (atomic_load(&live[i].state) == LIVE && !live[i].names) unlink(live[i].temp);
    for (size_t i = 0; i < MAX_LIVE; i++)
        if (atomic_load(&live[i].state) == LIVE && live[i].names)
            tn_folder_remove(live[i].temp, live[i].names, live[i].n_names);
}

/* ---- where to write ---- */

void tn_path_parent(const char *path, char *dir, size_t size) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(dir, size, ".");
    else
        snprintf(dir, size, "%.*s", (int)TN_MAX(slash - path, 1), path);
}

/* Where a file for `path` will be: what a link leads to, else `path` itself. */
static tn_status find_target(const char *path, char target[PATH_MAX]) {
    struct stat st;
    if (strlen(path) >= PATH_MAX) return TN_FAIL(RANGE, "%.60s...: path is too long", path);
    if (tn_path_is_dir(path)) return TN_FAIL(IO, "%s: is a folder where a file was to be written", path);
    const char *special = tn_path_special(path);
    if (special) return TN_FAIL(IO, "%s: is %s, not a regular file that could be replaced", path, special);
    snprintf(target, PATH_MAX, "%s", path);
    if (lstat(path, &st) != 0 || !S_ISLNK(st.st_mode)) return TN_OK;
    if (realpath(path, target)) return TN_OK;
    if (errno != ENOENT) return tn_fail_errno(path, "write");
    return TN_FAIL(IO, "%s: is a symbolic link to nothing, expected a file or a free name", path);
}

int tn_temp_process(const char *entry, const char *name) {
    static const char mark[] = ".tmp.";
    size_t len = strlen(name);
    if (strncmp(entry, name, len) != 0 || strncmp(entry + len, mark, sizeof mark - 1) != 0) return 0;
    const char *digits = entry + len + sizeof mark - 1;
    size_t n = strspn(digits, "0123456789");
    return n && n < 10 && !digits[n] ? (int)strtol(digits, NULL, 10) : 0;
}

bool tn_process_is_gone(int process) { return process > 0 && kill(process, 0) != 0 && errno == ESRCH; }

/* Best effort: what cannot be listed or removed stays. */
static void remove_leftovers(const char *path) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    tn_path_parent(path, dir, sizeof dir);
    DIR *folder = opendir(dir);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (tn_process_is_gone(tn_temp_process(entry->d_name, slash ? slash + 1 : path)))
            unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
}

/* ---- begin, commit, abort ---- */

tn_status tn_atomic_begin(tn_atomic *file, const char *path) {
    static_assert(sizeof file->path >= PATH_MAX, "realpath needs as much");
    *file = (tn_atomic){{0}, {0}};
    TN_TRY(find_target(path, file->path));
    remove_leftovers(file->path);
    char temp[sizeof file->temp];
    snprintf(temp, sizeof temp, "%s.tmp.%ld", file->path, (long)getpid());
    tn_live_remember(temp, NULL, 0);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        tn_live_forget(temp);
        return tn_fail_errno(path, "write");
    }
    close(fd);
    snprintf(file->temp, sizeof file->temp, "%s", temp);
    return TN_OK;
}

tn_status tn_path_sync(const char *path, const char *shown, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return tn_fail_errno(shown, "write");
    tn_status status = fsync(fd) == 0 ? TN_OK : tn_fail_errno(shown, "write");
    close(fd);
    return status;
}

tn_status tn_atomic_commit(tn_atomic *file) {
    char dir[sizeof file->path];
    tn_path_parent(file->path, dir, sizeof dir);
    tn_status status = tn_path_sync(file->temp, file->path, O_RDONLY);
    if (!status && rename(file->temp, file->path) != 0) status = tn_fail_errno(file->path, "write");
    if (status) {
        tn_atomic_abort(file);
        return status;
    }
    tn_live_forget(file->temp);
    file->temp[0] = '\0';
    return tn_path_sync(dir, dir, O_RDONLY | O_DIRECTORY);
}

void tn_atomic_abort(tn_atomic *file) {
    if (!file->temp[0]) return;
    unlink(file->temp);
    tn_live_forget(file->temp);
    file->temp[0] = '\0';
}
