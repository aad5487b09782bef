/* SPDX-License-Identifier: MIT
 * run_dir.h - the folder of a run:
 *   config.yaml                      the effective configuration
 *   tokenizer.json                   the tokenizer, when it was learnt or read for this run
 *   metrics.jsonl, metrics.csv       metrics.h
 *   checkpoints/step-00001000.h5     checkpoint.h
 *   checkpoints/latest, best         text files with the name of one of these
 *   lock                             held while a process trains here */
#ifndef TN_TRAIN_RUN_DIR_H
#define TN_TRAIN_RUN_DIR_H
#include "core/fs.h"

enum { TN_RUN_PATH = 4096 };

typedef struct tn_run_dir {
    char path[TN_RUN_PATH], checkpoints[TN_RUN_PATH];
    tn_lock lock;
    size_t existed; /* bytes of `path` that named a folder before */
    unsigned found; /* bit i: part i (run_dir.c) was there before */
} tn_run_dir;

/* What would keep tn_run_dir_create from its work, as far as it shows before anything is made; the same failures. */
tn_status tn_run_dir_check(const char *path);
/* Make the folder and take its lock. Fails: TN_E_ARG when it holds anything already; TN_E_BUSY; TN_E_IO. */
tn_status tn_run_dir_create(tn_run_dir *dir, const char *path);
/* Take the lock of an existing folder and sweep up half-written files. Fails: TN_E_MISSING, TN_E_BUSY. */
tn_status tn_run_dir_open(tn_run_dir *dir, const char *path);
void tn_run_dir_release(tn_run_dir *dir);
/* Release after a start that failed: removes what this process made, folders too, and nothing that was there before.
 * The error message stays. */
void tn_run_dir_discard(tn_run_dir *dir);

tn_status tn_run_dir_file(const tn_run_dir *dir, const char *name, char out[TN_RUN_PATH]);
tn_status tn_run_dir_checkpoint(const tn_run_dir *dir, int64_t step, char out[TN_RUN_PATH]);
/* Steps of the checkpoints in the folder, ascending; `steps` is a heap array. */
tn_status tn_run_dir_steps(const tn_run_dir *dir, int64_t **steps, int *count);
/* Let the text file `mark`, "latest" or "best", name the checkpoint of `step`; -1 takes the file away. */
tn_status tn_run_dir_mark(const tn_run_dir *dir, const char *mark, int64_t step);
/* Remove checkpoints so that of those up to step `latest` the newest `keep` (0 = all) and that of `best` stay. */
tn_status tn_run_dir_prune(const tn_run_dir *dir, int64_t latest, int64_t best, int64_t keep);

#endif
