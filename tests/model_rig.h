/* SPDX-License-Identifier: MIT
 * model_rig.h - for suites that write files of models and adapters: a folder for one test, names in it, and what must
 * come out of a file: the logits of the trainer. */
#ifndef TN_TESTS_MODEL_RIG_H
#define TN_TESTS_MODEL_RIG_H
#include "models/export.h"
#include "tests/testing.h"

enum { TN_MODEL_RIG_IDS = 24, TN_MODEL_RIG_PATH = TN_TEST_PATH + 16 };

typedef struct tn_model_rig {
    char dir[TN_TEST_PATH];
    char checkpoint[TN_MODEL_RIG_PATH], folder[TN_MODEL_RIG_PATH], out[TN_MODEL_RIG_PATH]; /* none is there yet */
    tn_arena *arena;
    tn_loaded loaded;        /* for the test; released with the rig */
    tn_export_report report; /* for the test */
} tn_model_rig;

/* BitNet's shape, width 32, two blocks: for adapters without a model. */
extern const tn_model_config tn_model_rig_small;

/* cmocka's set-up and tear-down: *state is a tn_model_rig. */
int tn_model_rig_set_up(void **state);
int tn_model_rig_set_up_folder(void **state); /* `folder` is there, and empty */
int tn_model_rig_tear_down(void **state);

/* Logits [TN_MODEL_RIG_IDS, vocab] of the model in a file or folder, in the arena. */
const tn_real *tn_model_rig_logits(tn_model_rig *rig, const char *path, tn_model_use use, int *vocab);
/* What is in `out` computes what the trainer computes of the checkpoint, bit for bit. */
void tn_model_rig_assert_exact(tn_model_rig *rig, tn_model_use use);

#endif
