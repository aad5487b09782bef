/* SPDX-License-Identifier: MIT
 * trainer_priv.h - what trainer_setup.c makes and trainer.c runs. */
#ifndef TN_TRAIN_TRAINER_PRIV_H
#define TN_TRAIN_TRAINER_PRIV_H
#include "train/base.h"
#include "train/engine.h"
#include "train/evaluate.h"
#include "train/metrics.h"
#include "train/objective_rows.h"
#include "train/run_dir.h"
#include "train/teacher.h"
#include "train/train_data.h"
#include "train/trainer.h"

struct tn_trainer {
    tn_run_config *config; /* borrowed */
    tn_trainer_hooks hooks;
    tn_run_dir dir;
    tn_base base;
    tn_teacher_file teacher;
    tn_train_data data;
    tn_course course;
    tn_engine engine;
    tn_metrics metrics;
    tn_train_state state;
    bool resumed; /* from a checkpoint */
    /* of this process, not part of the run's state */
    int64_t failures;          /* skipped steps in a row */
    int64_t saved_step;        /* of the newest checkpoint, -1 = none */
    double started, step_rate; /* clock at the start; tokens a second, moving average */
    int64_t first_step;
    tn_objective_means evaluation; /* the last one; loss NAN = none */
    double bits_per_byte;          /* of it, where the objective is the next token */
};

/* The quantisation strength after `tokens` training tokens. */
tn_real tn_trainer_lambda(const tn_trainer *trainer, int64_t tokens);
tn_checkpoint tn_trainer_checkpoint(tn_trainer *trainer);

#endif
