/* SPDX-License-Identifier: MIT
 * checkpoint.h - a training run as one file: what it trains, optimizer slots, state.def, configuration, tokenizer. What
 * is frozen stays in the base, of which the file has path and fingerprint. A run that is restored from it goes on with
 * the same bits as one that was never stopped. The layout is formats/checkpoint_file.h's. */
#ifndef TN_TRAIN_CHECKPOINT_H
#define TN_TRAIN_CHECKPOINT_H
#include "data/tokenizer.h"
#include "optim/optimizer.h"
#include "train/method.h"

typedef struct tn_train_state {
#define STATE(type, name, initial, help) TN_FIELD_##type name;
#include "train/state.def"
#undef STATE
} tn_train_state;

/* Everything that goes into the file, all borrowed. */
typedef struct tn_checkpoint {
    const tn_trained *trained; /* all of the model that the file has */
    tn_optimizer *optimizer;
    tn_train_state *state;
    const tn_run_config *config;
    const tn_tokenizer *tokenizer;
    double *references; /* [n_references] of preferences (dpo.h); NULL for other objectives */
    int64_t n_references;
    tn_arena *arena; /* keeps texts of a loaded state */
} tn_checkpoint;

/* All parts of the state at their beginning. */
tn_status tn_train_state_init(tn_train_state *state, tn_arena *arena);
/* Fails: TN_E_NAN when a weight is not finite (nothing is written), TN_E_IO. The file is complete or absent. */
tn_status tn_checkpoint_save(const tn_checkpoint *checkpoint, const char *path);
/* Fails: TN_E_CORRUPT, TN_E_FORMAT for a file that is not whole; TN_E_MISMATCH naming what differs - settings
 * (tn_run_config_compare), data, base or teacher (train_id, validation_id, base_id, teacher_id of `state` are what this
 * run reads). After a failure the model may hold a part of the file. The model is not refreshed. */
tn_status tn_checkpoint_load(const tn_checkpoint *checkpoint, const char *path);

#endif
