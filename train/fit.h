/* SPDX-License-Identifier: MIT
 * fit.h - settings of a run that fit into a limit of memory. A step keeps its tokens, their order and its arithmetic up
 * to the order of sums; what may change is how many of them go through the model at a time
 * (train.batch_size, train.grad_accumulation) and what backward computes again (train.checkpoint_activations). */
#ifndef TN_TRAIN_FIT_H
#define TN_TRAIN_FIT_H
#include "train/plan.h"

/* Count the memory of `config`, which is complete, into a zeroed plan. When it is more than `max_ram` bytes (0 = no
 * limit), take the first of these that is not: recompute by block; then batches of ever smaller divisors of the batch
 * size, without and with recompute, as many more of them. Config and course are then changed, plan->chosen and one line
 * in the log say how. When nothing fits they stay, and plan->least is what the smallest would take: TN_OK still, see
 * tn_plan_check_ram. `epoch`: for tn_train_course. Fails: TN_E_NOMEM, what a pass gives. */
tn_status tn_fit(tn_plan *plan, tn_run_config *config, tn_course *course, tn_epoch epoch, int64_t max_ram);

#endif
