/* SPDX-License-Identifier: MIT
 * teacher.h - the model that distillation learns from: opened first, to see whether it fits the base, read later into
 * the engine's teacher, frozen and packed, and known again by its fingerprint when a run goes on.
 * Life: a zeroed file, tn_teacher_open, tn_teacher_fill, ..., tn_teacher_release (also after a failure). It must not
 * move. */
#ifndef TN_TRAIN_TEACHER_H
#define TN_TRAIN_TEACHER_H
#include "models/fingerprint.h"
#include "models/model_file.h"
#include "train/run_config.h"

typedef struct tn_teacher_file {
    tn_loaded source; /* its weights are read once */
    char id[TN_FINGERPRINT_WHOLE];
} tn_teacher_file;

/* Open distill.teacher, for a run that has its base; run->teacher is then this. For another objective nothing happens.
 * Fails: what opening gives; TN_E_CONFIG when there is none, when the base has another vocabulary, or when rows of the
 * run are longer than the teacher's context. */
tn_status tn_teacher_open(tn_teacher_file *teacher, tn_run_config *run);
/* The teacher's model, not filled yet; its tables have their place. */
tn_status tn_teacher_make(tn_model **model, tn_arena *arena, const tn_run_config *run);
/* Fill and refresh the engine's teacher; from then on `id` is known. Fails: what reading gives;
 * TN_E_UNSUPPORTED for an adapter of the head. */
tn_status tn_teacher_fill(tn_teacher_file *teacher, tn_model *model);
void tn_teacher_release(tn_teacher_file *teacher);

#endif
