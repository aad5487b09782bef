/* SPDX-License-Identifier: MIT */
#include "core/fs.h"

#include "core/arena.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

tn_status tn_fail_errno(const char *path, const char *verb) {
    int code = errno;
    char reason[128];
    snprintf(reason, sizeof reason, "%s", strerror(code));
    reason[0] = (char)tolower((unsigned char)reason[0]);
    if (code == ENOENT) return TN_FAIL(MISSING, "%s: cannot %s: %s", path, verb, reason);
    return TN_FAIL(IO, "%s: cannot %s: %s", path, verb, reason);
}

static const char *special_kind(mode_t mode) {
    if (S_ISREG(mode) || S_ISDIR(mode)) return NULL;
    if (S_ISFIFO(mode)) return "a pipe";
    return S_ISSOCK(mode) ? "a socket" : "a device";
}

const char *tn_path_special(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? special_kind(st.st_mode) : NULL;
}

static bool starts_with(const char *path, const char *start) { return strncmp(path, start, strlen(start)) == 0; }

/* What somebody gave this process open already, "-" or <(command). */
static bool is_open_already(const char *path) {
    return strcmp(path, "/dev/stdin") == 0 || starts_with(path, "/dev/fd/") || starts_with(path, "/proc/self/fd/");
}

static tn_status open_to_read(const char *path, bool regular, int *fd, size_t *size) {
    const char *special = regular || !is_open_already(path) ? tn_path_special(path) : NULL;
    if (special) return TN_FAIL(IO, "%s: is %s where a file was expected", path, special);
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (*fd < 0) return tn_fail_errno(path, "open");
    struct stat st;
    tn_status status = TN_OK;
    if (fstat(*fd, &st) != 0)
        status = tn_fail_errno(path, "read");
    else if (S_ISDIR(st.st_mode))
        status = TN_FAIL(IO, "%s: is a folder where a file was expected", path);
    if (status) close(*fd);
    *size = !status && S_ISREG(st.st_mode) ? (size_t)st.st_size : 0;
    return status;
}

static tn_status read_all(int fd, const char *path, size_t max, tn_buf *out) {
    for (size_t start = out->len;;) {
        TN_TRY(tn_buf_reserve(out, 1 << 16));
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len - 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tn_fail_errno(path, "read");
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        if (n == 0) return TN_OK;
        if (out->len - start > max) return TN_FAIL(RANGE, "%s: is larger than the %zu bytes accepted here", path, max);
    }
}

tn_status tn_file_read(const char *path, size_t max, tn_buf *out) {
    int fd;
    size_t size = 0;
    TN_TRY(open_to_read(path, false, &fd, &size));
    tn_status status = size > max ? TN_FAIL(RANGE, "%s: is larger than the %zu bytes accepted here", path, max)
                                  : tn_buf_reserve(out, size + 1);
    if (!status) status = read_all(fd, path, max, out);
    close(fd);
    return status;
}

tn_status tn_map_init(tn_map *map, const char *path) {
    int fd;
    *map = (tn_map){0};
    TN_TRY(open_to_read(path, true, &fd, &map->size));
    tn_status status = TN_OK;
    if (map->size) {
        void *data = mmap(NULL, map->size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED)
            status = tn_fail_errno(path, "map");
        else
            map->data = data;
    }
    close(fd);
    return status;
}

void tn_map_release(tn_map *map) {
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (tn_map){0};
}

void tn_pages_drop(const void *data, size_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
    const uintptr_t begin = at / page * page, end = TN_ROUND_UP(at + bytes, page);
    if (bytes) (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void tn_map_drop(const tn_map *map, size_t begin, size_t end) {
    end = TN_MIN(end, map->size);
    if (begin < end) tn_pages_drop(map->data + begin, end - begin);
}

tn_status tn_fd_write(int fd, const char *path, const void *data, size_t len, int64_t at) {
    const char *p = data;
    while (len) {
        ssize_t n = at < 0 ? write(fd, p, len) : pwrite(fd, p, len, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tn_fail_errno(path, "write");
        p += n;
        len -= (size_t)n;
        if (at >= 0) at += n;
    }
    return TN_OK;
}

static tn_status write_with(const char *path, const char *shown, int flags, const void *data, size_t len) {
    int fd = open(path, flags | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0) return tn_fail_errno(shown, "write");
    tn_status status = tn_fd_write(fd, shown, data, len, -1);
    if (close(fd) != 0 && !status) status = tn_fail_errno(shown, "write");
    return status;
}

tn_status tn_file_write(const char *path, const void *data, size_t len) {
    tn_atomic file;
    TN_TRY(tn_atomic_begin(&file, path));
    tn_status status = write_with(file.temp, path, O_TRUNC, data, len);
    if (!status) return tn_atomic_commit(&file);
    tn_atomic_abort(&file);
    return status;
}

tn_status tn_file_append(const char *path, const void *data, size_t len) {
    return write_with(path, path, O_CREAT | O_APPEND, data, len);
}

tn_status tn_dir_make(const char *path) {
    char part[4096];
    if (strlen(path) >= sizeof part) return TN_FAIL(RANGE, "%.60s...: path is too long", path);
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1;; p++) {
        if (*p && *p != '/') continue;
        char end = *p;
        *p = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) return tn_fail_errno(part, "make the folder");
        *p = end;
        if (!end) break;
    }
    if (!tn_path_is_dir(path)) return TN_FAIL(IO, "%s: is a file where a folder was expected", path);
    return TN_OK;
}

bool tn_path_exists(const char *path) { return access(path, F_OK) == 0; }

bool tn_path_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

tn_status tn_file_remove(const char *path) {
    if (unlink(path) == 0 || errno == ENOENT) return TN_OK;
    return tn_fail_errno(path, "remove");
}

tn_status tn_path_join(char *out, size_t size, const char *dir, const char *name) {
    size_t len = strlen(dir);
    const char *slash = len && dir[len - 1] == '/' ? "" : "/";
    if ((size_t)snprintf(out, size, "%s%s%s", dir, slash, name) >= size)
        return TN_FAIL(RANGE, "%.60s...: path is too long", dir);
    return TN_OK;
}

tn_status tn_names_add(tn_names *names, const char *name) {
    char **list = tn_heap_resize(names->list, (names->count + 1) * sizeof *list);
    if (!list) return TN_E_NOMEM;
    names->list = list;
    list[names->count] = tn_heap_strdup(name);
    if (!list[names->count]) return TN_E_NOMEM;
    names->count++;
    return TN_OK;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

tn_status tn_dir_list(const char *path, tn_names *names) {
    DIR *dir = opendir(path);
    if (!dir) return tn_fail_errno(path, "list");
    tn_status status = TN_OK;
    for (struct dirent *entry; !status && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = tn_names_add(names, entry->d_name);
    closedir(dir);
    if (names->count) qsort(names->list, names->count, sizeof *names->list, compare_names);
    return status;
}

void tn_names_release(tn_names *names) {
    for (size_t i = 0; i < names->count; i++) tn_heap_free(names->list[i]);
    tn_heap_free(names->list);
    *names = (tn_names){0};
}

tn_status tn_lock_take(tn_lock *lock, const char *path) {
    lock->fd = -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return tn_fail_errno(path, "lock");
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool held = errno == EWOULDBLOCK;
        tn_status status =
            held ? TN_FAIL(BUSY, "%s: another process holds this lock", path) : tn_fail_errno(path, "lock");
        close(fd);
        return status;
    }
    lock->fd = fd;
    return TN_OK;
}

void tn_lock_release(tn_lock *lock) {
    if (lock->fd >= 0) close(lock->fd);
    lock->fd = -1;
}
