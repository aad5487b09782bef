/* SPDX-License-Identifier: MIT
 * fs.h - files that are complete or absent: whole reads, maps, atomic writes, locks.
 * Every failure names the path and says what the system said ("no space left on device", "permission denied"). */
#ifndef TN_CORE_FS_H
#define TN_CORE_FS_H
#include "core/buf.h"

/* Append the whole file to `out`. Fails: TN_E_MISSING, TN_E_IO, TN_E_RANGE when it holds more than `max` bytes. A
 * device, a pipe or a socket is refused with TN_E_IO, for it may never end, unless it is open already (/dev/stdin,
 * /dev/fd/N). */
tn_status tn_file_read(const char *path, size_t max, tn_buf *out);

typedef struct tn_map {
    const unsigned char *data; /* NULL when the file is empty */
    size_t size;
} tn_map;

/* Map a file read-only. Fails: TN_E_MISSING, TN_E_IO (also for what is no regular file). */
tn_status tn_map_init(tn_map *map, const char *path);
void tn_map_release(tn_map *map);
/* Let go of the memory of the pages that bytes [begin, end) lie in: what is looked at again is read again. */
void tn_map_drop(const tn_map *map, size_t begin, size_t end);
void tn_pages_drop(const void *data, size_t bytes); /* of any map */

/* An atomic write: begin chooses a temporary name beside `path` and makes sure the folder can be written; the caller
 * writes `temp` by any means and closes it; commit fsyncs it, renames it over `path` and fsyncs the folder; abort
 * removes it. After commit or abort the struct is empty, and abort is then harmless.
 * Where `path` is a symbolic link, the file it leads to is replaced and the link stays; what is no regular file, and a
 * link to nothing, are refused with TN_E_IO. Begin also removes what a process that is no more had left of the same
 * file. */
typedef struct tn_atomic {
    char path[4096];
    char temp[4096 + 32];
} tn_atomic;

tn_status tn_atomic_begin(tn_atomic *file, const char *path);
tn_status tn_atomic_commit(tn_atomic *file);
void tn_atomic_abort(tn_atomic *file);
/* The same for a folder of files: begin makes a temporary folder beside `path`; the caller writes files of these
 * names into it, or some of them; commit fsyncs them and gives the folder its name; abort removes it. An older
 * folder there is replaced as a whole, provided that it has no other files than these; where `path` leads to a
 * folder by a link, that one is. `names` must live as long. Fails: TN_E_IO when the name belongs to something
 * else; TN_E_CONFIG naming another file in the older folder. */
typedef struct tn_atomic_folder {
    char path[4096];
    char temp[4096 + 32];
    const char *const *names;
    int n_names;
} tn_atomic_folder;

tn_status tn_atomic_folder_begin(tn_atomic_folder *folder, const char *path, const char *const *names, int n_names);
tn_status tn_atomic_folder_commit(tn_atomic_folder *folder);
void tn_atomic_folder_abort(tn_atomic_folder *folder);

/* Remove the temporary files and folders of every atomic write under way (of the first 16 at a time), for a handler of
 * a signal that ends the process: it calls nothing but unlink and rmdir. */
void tn_atomic_abort_all(void);
tn_status tn_file_write(const char *path, const void *data, size_t len); /* begin, write, commit */

/* Write all `len` bytes to an open file, at byte `at`, or where it stands when `at` is negative. `path` is for the
 * sentence of a failure. */
tn_status tn_fd_write(int fd, const char *path, const void *data, size_t len, int64_t at);

/* Append `len` bytes and flush them to the kernel. */
tn_status tn_file_append(const char *path, const void *data, size_t len);

tn_status tn_dir_make(const char *path); /* with its parents; fine when it exists */
bool tn_path_exists(const char *path);
bool tn_path_is_dir(const char *path);
/* "a device", "a pipe" or "a socket"; NULL for a regular file, a folder, and where nothing is. */
const char *tn_path_special(const char *path);
tn_status tn_file_remove(const char *path); /* fine when absent */
/* "a/b" from "a" and "b". Fails: TN_E_RANGE when it does not fit in `size`. */
tn_status tn_path_join(char *out, size_t size, const char *dir, const char *name);

/* Sorted names of the regular files and folders in `path` ("." and ".." left out), one heap string each.
 * Free with tn_names_release. */
typedef struct tn_names {
    char **list;
    size_t count;
} tn_names;

tn_status tn_dir_list(const char *path, tn_names *names);
tn_status tn_names_add(tn_names *names, const char *name);
void tn_names_release(tn_names *names);

/* An exclusive lock on a file (made when absent), held until released or until the process ends, however it ends.
 * Fails: TN_E_BUSY when another process holds it. */
typedef struct tn_lock {
    int fd; /* -1 = not held */
} tn_lock;

tn_status tn_lock_take(tn_lock *lock, const char *path);
void tn_lock_release(tn_lock *lock);

/* The status for the current errno with one sentence: "PATH: cannot VERB: REASON". */
tn_status tn_fail_errno(const char *path, const char *verb);

#endif
