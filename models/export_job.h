/* SPDX-License-Identifier: MIT
 * export_job.h - what an export does whatever it writes: load a source, compare it with what was written. */
#ifndef TN_MODELS_EXPORT_JOB_H
#define TN_MODELS_EXPORT_JOB_H
#include "models/export.h"
#include "models/proof.h"

/* The source's arena is freed before the copy is loaded: both need not fit in memory at once. */
typedef struct tn_export_job {
    tn_arena *source_arena, *copy_arena, *proof_arena;
    tn_loaded source, copy;
    tn_probe unrounded, expected, found; /* of the source before and after rounding, of the copy */
    tn_export_report *report;
} tn_export_job;

/* On a job of zeros; clears the report. */
tn_status tn_export_job_begin(tn_export_job *job, tn_export_report *report);
/* Load the source, for `use` where there is no edit, and edit it. */
tn_status tn_export_job_load(tn_export_job *job, const char *path, tn_model_use use, const tn_export_edit *edit);
/* What was written to `path` is the source after rounding. The model of the source is gone then. */
tn_status tn_export_job_prove(tn_export_job *job, const char *path);
void tn_export_job_end(tn_export_job *job); /* also after a beginning that failed */

#endif
