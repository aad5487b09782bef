/* SPDX-License-Identifier: MIT
 * train_config.h - how to train: the `train` section of a configuration (train_keys.def). */
#ifndef TN_TRAIN_TRAIN_CONFIG_H
#define TN_TRAIN_TRAIN_CONFIG_H
#include "autograd/tape.h"
#include "data/batches.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"

typedef struct tn_train_config {
#define KEY(type, field, initial, min, max, choices, help) TN_FIELD_##type field;
#include "train/train_keys.def"
#undef KEY
} tn_train_config;

/* The section for core/config.h; `values` is filled by the config calls. */
tn_section tn_train_section(tn_train_config *values);

/* What the settings come to for an epoch of rows of `context` tokens. */
typedef struct tn_course {
    int accumulation; /* passes in a step */
    int64_t rows_per_step;
    bool documents;          /* of the epoch */
    int64_t answers;         /* of preferences, in all data */
    int64_t tokens_per_step; /* at most INT_MAX */
    int64_t total;           /* steps, > 0 */
    bool endless;            /* only train.max_time ends the run; `total` is then out of reach */
    double max_seconds;      /* 0 = no limit */
    tn_schedule schedule;
} tn_course;

/* Fails: TN_E_CONFIG for settings that contradict each other or give the run no end, naming the keys. */
tn_status tn_train_course(tn_course *out, const tn_train_config *config, int context, tn_epoch epoch);
/* How many blocks backward runs again at a time (tn_model_recompute): 0 for "none", 1 for "block", N for "N" and
 * "every N". Fails: TN_E_CONFIG. */
tn_status tn_train_recompute(const tn_train_config *config, int *blocks);
/* auto: int16 for what suits integers, else f32. */
tn_backward tn_train_backward(const tn_train_config *config, bool integers);
tn_optimizer_settings tn_train_optimizer(const tn_train_config *config);

#endif
