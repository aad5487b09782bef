/* SPDX-License-Identifier: MIT
 * adapter_rig.h - a small model with its weights frozen and packed, the latents they came from, and a batch. */
#ifndef TN_TESTS_ADAPTER_RIG_H
#define TN_TESTS_ADAPTER_RIG_H
#include "layers/adapter.h"
#include "tests/network_rig.h"

enum { TN_RIG_BATCH = 2, TN_RIG_TIME = 12 };

typedef struct tn_adapter_rig {
    tn_arena *arena;
    tn_tape *tape;
    tn_model_config config;
    tn_model *latent, *base; /* TN_MODEL_TRAIN, and TN_MODEL_RUN of the same states, gains and tables */
    int32_t tokens[TN_RIG_BATCH * TN_RIG_TIME], targets[TN_RIG_BATCH * TN_RIG_TIME];
} tn_adapter_rig;

void tn_adapter_rig_init(tn_adapter_rig *rig, const tn_model_config *config);
void tn_adapter_rig_release(tn_adapter_rig *rig);
/* A trained adapter of rank 4 and alpha 6 whose A and B are filled, B with numbers of size `b`. */
tn_adapter *tn_adapter_rig_make(tn_adapter_rig *rig, const char *modules, tn_adapter_input input, double dropout,
                                double b);
/* The mean loss over rows first..first+rows-1 of the batch under the divisor of all; RECORD adds the gradients. */
double tn_adapter_rig_loss(tn_adapter_rig *rig, tn_model *model, tn_tape_mode mode, const tn_rng *rng, int first,
                           int rows);
/* Logits [B T, V] in the arena. */
const tn_real *tn_adapter_rig_logits(tn_adapter_rig *rig, tn_model *model);
/* All gradients of what is trained, end to end, in the arena; they are then empty. */
tn_real *tn_adapter_rig_gradients(tn_adapter_rig *rig, const tn_model *model, int64_t *count);

#endif
