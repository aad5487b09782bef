/* SPDX-License-Identifier: MIT
 * fs_atomic.c - files that appear under their name only when they are complete. */
#include "core/fs.h"

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

/* ---- the temporary files there are, for a signal handler ---- */

enum { MAX_LIVE = 16 };
enum { FREE, FILLING, LIVE };

static struct {
    atomic_int state;
    char temp[sizeof((tn_atomic *)NULL)->temp];
} live[MAX_LIVE];

static void remember(const char *temp) {
    for (size_t i = 0; i < MAX_LIVE; i++) {
        int expected = FREE;
        if (!atomic_compare_exchange_strong(&live[i].state, &expected, FILLING)) continue;
        snprintf(live[i].temp, sizeof live[i].temp, "%s", temp);
        atomic_store(&live[i].state, LIVE);
        return;
    }
}

static void forget(const char *temp) {
    for (size_t i = 0; i < MAX_LIVE; i++) {
        if (atomic_load(&live[i].state) != LIVE || strcmp(live[i].temp, temp) != 0) continue;
        atomic_store(&live[i].state, FREE);
        return;
    }
}

void tn_atomic_abort_all(void) {
    for (size_t i = 0; i < MAX_LIVE; i++)
        if (atomic_load(&live[i].state) == LIVE) unlink(live[i].temp);
}

/* ---- where to write ---- */

static void parent_of(const char *path, char *dir, size_t size) {
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

/* The process in NAME.tmp.PROCESS; 0 when `entry` is not spelled so. */
static pid_t writer_of(const char *entry, const char *name) {
    static const char mark[] = ".tmp.";
    size_t len = strlen(name);
    if (strncmp(entry, name, len) != 0 || strncmp(entry + len, mark, sizeof mark - 1) != 0) return 0;
    const char *digits = entry + len + sizeof mark - 1;
    size_t n = strspn(digits, "0123456789");
    return n && n < 10 && !digits[n] ? (pid_t)strtol(digits, NULL, 10) : 0;
}

/* Best effort: what cannot be listed or removed stays. */
static void remove_leftovers(const char *path) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    parent_of(path, dir, sizeof dir);
    DIR *folder = opendir(dir);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        pid_t writer = writer_of(entry->d_name, slash ? slash + 1 : path);
        if (writer > 0 && kill(writer, 0) != 0 && errno == ESRCH) unlinkat(dirfd(folder), entry->d_name, 0);
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
    remember(temp);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        forget(temp);
        return tn_fail_errno(path, "write");
    }
    close(fd);
    snprintf(file->temp, sizeof file->temp, "%s", temp);
    return TN_OK;
}

static tn_status sync_path(const char *path, const char *shown, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return tn_fail_errno(shown, "write");
    tn_status status = fsync(fd) == 0 ? TN_OK : tn_fail_errno(shown, "write");
    close(fd);
    return status;
}

tn_status tn_atomic_commit(tn_atomic *file) {
    char dir[sizeof file->path];
    parent_of(file->path, dir, sizeof dir);
    tn_status status = sync_path(file->temp, file->path, O_RDONLY);
    if (!status && rename(file->temp, file->path) != 0) status = tn_fail_errno(file->path, "write");
    if (status) {
        tn_atomic_abort(file);
        return status;
    }
    forget(file->temp);
    file->temp[0] = '\0';
    return sync_path(dir, dir, O_RDONLY | O_DIRECTORY);
}

void tn_atomic_abort(tn_atomic *file) {
    if (!file->temp[0]) return;
    unlink(file->temp);
    forget(file->temp);
    file->temp[0] = '\0';
}
