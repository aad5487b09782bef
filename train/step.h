/* SPDX-License-Identifier: MIT
 * step.h - one optimizer step: passes over micro-batches under one divisor, gradient norm, guard, update, refresh.
 * Knows nothing of files, time or evaluation; the trainer, the plan and tests drive it. */
#ifndef TN_TRAIN_STEP_H
#define TN_TRAIN_STEP_H
#include "data/batches.h"
#include "layers/model.h"
#include "optim/clip.h"
#include "train/method.h"
#include "train/objective.h"

typedef struct tn_stepper {
    tn_model *model;         /* borrowed */
    tn_tape *tape;           /* borrowed */
    tn_objective *objective; /* borrowed */
    const tn_train_config *config;
    const tn_course *course;
    int context;
    tn_param_blocks blocks;
    tn_clip clip;
    tn_optimizer *optimizer;
    tn_batch batch;           /* [rows_per_step, context]; `first` for documents alone */
    tn_pair *pairs;           /* DPO: of the batch, as they stand in its passes; else NULL */
    int *pairs_end;           /* [passes] where those of a pass end */
    const double *references; /* DPO: of the documents of the training store, borrowed; NULL: zeros */
} tn_stepper;

typedef struct tn_step_result {
    tn_objective_means means; /* over all targets, or pairs, of the step */
    double grad_norm;         /* before clipping */
    int64_t counted;          /* how many they are */
    const char *skipped;      /* NULL, or why the parameters were left as they are */
} tn_step_result;

/* Memory comes from `arena`. `trained`: of the model. `objective` is for passes of train.batch_size rows. */
tn_status tn_stepper_init(tn_stepper *stepper, tn_arena *arena, tn_model *model, const tn_trained *trained,
                          tn_tape *tape, tn_objective *objective, const tn_run_config *config, const tn_course *course);
/* Step number `step` on the windows from `cursor` on; afterwards the model is refreshed with `lambda`. A loss or
 * gradient that is not finite, or a batch without a target, leaves parameters and optimizer untouched: see `skipped`.
 * Fails: what a pass gives. */
tn_status tn_stepper_run(tn_stepper *stepper, const tn_batches *batches, int64_t cursor, int64_t step, tn_real lambda,
                         tn_step_result *result);
/* The parts of it, for those who time them. The batch of the windows from `cursor` on; returns its targets, or pairs.
 */
int64_t tn_stepper_load(tn_stepper *stepper, const tn_batches *batches, int64_t cursor);
/* Forward and backward of micro-batch `micro` with what is in the batch; gradients and the tally add up. */
tn_status tn_stepper_pass(tn_stepper *stepper, int64_t step, int micro, double divisor, tn_objective_tally *tally);
/* Divide, clip and move the parameters at the rates of `step`. */
void tn_stepper_update(tn_stepper *stepper, int64_t step, double norm);

#endif
