/* SPDX-License-Identifier: MIT
 * method.h - what a run trains. A new model trains all it has; fine-tuning what its method names, and the rest of the
 * model is frozen, as small as it can be: packed states, tables in their file. */
#ifndef TN_TRAIN_METHOD_H
#define TN_TRAIN_METHOD_H
#include "layers/model.h"
#include "train/run_config.h"

/* Parameters that the optimizer moves and a checkpoint holds, in the order of the model. */
typedef struct tn_trained {
    tn_param **list;
    int count;
} tn_trained;

/* The model of a run, not filled yet, and what is trained of it. `config` is complete; with a base, its tables have
 * their place. Memory comes from `arena`. */
tn_status tn_method_make(tn_model **model, tn_trained *trained, tn_arena *arena, const tn_run_config *config);

#endif
