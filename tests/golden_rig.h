/* SPDX-License-Identifier: MIT
 * golden_rig.h - the model of golden.h5, which PyTorch wrote in double (golden/make_golden.py), and comparisons with
 * what stands there and in other files of that script. */
#ifndef TN_TESTS_GOLDEN_RIG_H
#define TN_TESTS_GOLDEN_RIG_H
#include "formats/hdf5_file.h"
#include "layers/model.h"

typedef struct tn_golden {
    tn_arena *arena;
    tn_h5 *file;
    tn_model *model;
    tn_tape *tape;
    tn_param **params;
    int n_params;
    int batch, time, vocab;
    int32_t *tokens, *targets; /* [batch, time] */
    double divisor;            /* targets in them */
} tn_golden;

/* For the group's setup. Returns 0, or -1 after a message. */
int tn_golden_open(tn_golden *golden);
void tn_golden_close(tn_golden *golden);
/* Initial values, gradients of zeros. */
void tn_golden_load(tn_golden *golden);

int tn_golden_int(tn_h5 *file, const char *name);
double tn_golden_real(tn_h5 *file, const char *name);
/* In the arena. */
void *tn_golden_read(const tn_golden *golden, tn_h5 *file, const char *path, tn_h5_type type, int64_t count);
/* "grad/blk.0.attn_q.weight" */
void *tn_golden_read_of(const tn_golden *golden, tn_h5 *file, const char *group, const tn_param *param, tn_h5_type type,
                        int64_t count);

/* Each number against the largest of its tensor, and the tensor against its norm. */
void tn_golden_assert_agree(const char *name, const tn_real *found, const float *expected, int64_t count);
/* The gradients of all parameters, below `group` of `file`. */
void tn_golden_assert_gradients(const tn_golden *golden, tn_h5 *file, const char *group);
/* |found - expected| against the tolerance of losses. */
void tn_golden_assert_loss(const char *what, double found, double expected);

#endif
