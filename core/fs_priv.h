/* SPDX-License-Identifier: MIT
 * fs_priv.h - what atomic files and atomic folders share. */
#ifndef TN_CORE_FS_PRIV_H
#define TN_CORE_FS_PRIV_H
#include "core/fs.h"

/* Let tn_atomic_abort_all remove `temp` until it is forgotten: a file or, with `names`, a folder of files of these
 * names, which must live as long. */
void tn_live_remember(const char *temp, const char *const *names, int n_names);
void tn_live_forget(const char *temp);
/* Unlink these files in a folder, and the folder; calls nothing that a handler of signals may not. */
void tn_folder_remove(const char *folder, const char *const *names, int n_names);

/* The folder that `path` is in. */
void tn_path_parent(const char *path, char *dir, size_t size);
/* The process in NAME.tmp.PROCESS; 0 when `entry` is not spelled so. */
int tn_temp_process(const char *entry, const char *name);
bool tn_process_is_gone(int process);
tn_status tn_path_sync(const char *path, const char *shown, int flags);

#endif
