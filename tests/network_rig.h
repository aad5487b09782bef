/* SPDX-License-Identifier: MIT
 * network_rig.h - small models with values from a seed, and their gradients. */
#ifndef TN_TESTS_NETWORK_RIG_H
#define TN_TESTS_NETWORK_RIG_H
#include "layers/model.h"

/* BitNet's shape: 40 ids, width 32, two blocks, context 32, tied. */
extern const tn_model_config tn_network_small;

/* `config` need not be complete. */
tn_model *tn_network_make(tn_arena *arena, const tn_model_config *config, tn_model_use use, uint64_t seed);
/* Gradients are zeros from now on. */
void tn_network_forget(tn_model *model);
/* Bit for bit, of all parameters. */
void tn_network_assert_same_gradients(tn_model *a, tn_model *b);

#endif
