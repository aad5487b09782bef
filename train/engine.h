/* SPDX-License-Identifier: MIT
 * engine.h - the memory of a training run: model, tape, teacher, stepper and diagnostics, made in one place so that the
 * plan of a run counts what the run will take. Life: a zeroed engine, tn_engine_init, ..., tn_engine_release (also
 * after a failed init). */
#ifndef TN_TRAIN_ENGINE_H
#define TN_TRAIN_ENGINE_H
#include "train/diagnostics.h"
#include "train/memory_table.h"
#include "train/method.h"
#include "train/step.h"

typedef enum tn_engine_kind {
    TN_ENGINE_REAL, /* takes at once, in one piece an arena, all the memory that a dry one counts */
    TN_ENGINE_DRY   /* reserves addresses, touches no memory, computes nothing; has gone through every kind of pass that
                       a run makes, so the peaks of its arenas are those of the run */
} tn_engine_kind;

typedef struct tn_engine {
    tn_arena *arena; /* weights, gradients, optimizer, batch */
    tn_tape *tape;
    tn_model *model;
    tn_trained trained;
    tn_arena *teacher_arena; /* of distillation, these three; else NULL */
    tn_tape *teacher_tape;
    tn_model *teacher;
    double *references; /* DPO: [course.answers] zeros, of the training store and then of the held-out one; else NULL */
    tn_objective objective;
    tn_stepper stepper;
    tn_diagnostics *diagnostics;
} tn_engine;

/* `config` and `course` are borrowed; config->model is complete. Neither model nor teacher are filled yet. The engine
 * must not move. */
tn_status tn_engine_init(tn_engine *engine, tn_engine_kind kind, const tn_run_config *config, const tn_course *course);
/* The peaks of all its arenas so far. */
void tn_engine_count_memory(const tn_engine *engine, tn_memory_table *table);
void tn_engine_release(tn_engine *engine);

#endif
