/* SPDX-License-Identifier: MIT */
#include "models/export_job.h"

#include <stdio.h>

tn_status tn_export_job_begin(tn_export_job *job, tn_export_report *report) {
    *report = (tn_export_report){0};
    job->report = report;
    job->source_arena = tn_arena_create("source");
    job->copy_arena = tn_arena_create("copy");
    job->proof_arena = tn_arena_create("proof");
    return job->source_arena && job->copy_arena && job->proof_arena ? TN_OK : TN_E_NOMEM;
}

tn_status tn_export_job_load(tn_export_job *job, const char *path, tn_model_use use, const tn_export_edit *edit) {
    TN_TRY(tn_model_file_load(path, job->source_arena, edit ? edit->use : use, &job->source));
    if (edit) TN_TRY(edit->apply(edit->context, &job->source, job->source_arena));
    snprintf(job->report->source, sizeof job->report->source, "%s", job->source.description);
    return TN_OK;
}

tn_status tn_export_job_prove(tn_export_job *job, const char *path) {
    tn_export_report *report = job->report;
    tn_arena_free(job->source_arena);
    job->source_arena = NULL;
    job->source.model = NULL;
    TN_TRY(tn_model_file_load(path, job->copy_arena, TN_MODEL_RUN, &job->copy));
    TN_TRY(tn_tokenizer_compare(job->source.tokenizer, job->copy.tokenizer, &report->texts, &report->ids));
    TN_TRY(tn_probe_ask(&job->copy, job->proof_arena, &job->found));
    TN_TRY(tn_probe_compare(&job->expected, &job->found));
    report->logits = job->found.n_ids * job->found.vocab;
    report->difference = tn_probe_distance(&job->unrounded, &job->found);
    return TN_OK;
}

void tn_export_job_end(tn_export_job *job) {
    tn_loaded_release(&job->source);
    tn_loaded_release(&job->copy);
    tn_arena_free(job->source_arena);
    tn_arena_free(job->copy_arena);
    tn_arena_free(job->proof_arena);
}
