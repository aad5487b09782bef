/* SPDX-License-Identifier: MIT
 * lora_merge_file.h - adapters out of files into a model that is being exported. */
#ifndef TN_MODELS_LORA_MERGE_FILE_H
#define TN_MODELS_LORA_MERGE_FILE_H
#include "models/lora_merge.h"
#include "models/model_file.h"

typedef struct tn_merge_file {
    const char *path;
    double scale;
} tn_merge_file;

typedef struct tn_merge_job {
    const tn_merge_file *files;
    int n_files;
    bool keeps_latents;     /* what is written has them */
    double max_loss;        /* else, of a ternary model: the share of the change that may be lost; INFINITY: all */
    tn_merge_report report; /* filled also when too much is lost */
} tn_merge_job;

/* For tn_export_edit; `job` is a tn_merge_job. Fails: what reading and merging give; TN_E_RANGE when too much is lost;
 * TN_E_UNSUPPORTED for a model that has an adapter beside it. */
tn_status tn_merge_apply(void *job, tn_loaded *source, tn_arena *arena);

#endif
