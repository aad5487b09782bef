/* SPDX-License-Identifier: MIT
 * head_rig.h - a head and rows before it for the suites of op_head_loss.c, and their loss written out in double. */
#ifndef TN_TESTS_HEAD_RIG_H
#define TN_TESTS_HEAD_RIG_H
#include "tests/graph.h"

/* More than one chunk of tokens and one block of ids, with tails. */
enum { TN_HEAD_N = 530, TN_HEAD_C = 12, TN_HEAD_V = 1500 };

typedef struct tn_head_rig {
    tn_graph g;
    tn_real *x;
    tn_param *w;
    int32_t targets[TN_HEAD_N];
    tn_loss_options options; /* of the next pass, for the test to set; `sum` is set */
    tn_tensor *x_tensor;     /* of the last pass */
    double sum;              /* of the negative log-likelihoods */
    double divergence;       /* from the teacher's distribution */
} tn_head_rig;

/* A third of the rows and all of the first have no target. Divisor 64, z-loss 0.01. */
void tn_head_rig_init(tn_head_rig *rig);
void tn_head_rig_release(tn_head_rig *rig);
enum { TN_HEAD_TEACHER_C = 20 };
/* From now on there is a teacher of that width: temperature 3, weight 2. */
void tn_head_rig_teach(tn_head_rig *rig);
/* w is not trained from now on; what passes give has a dw of zeros. */
void tn_head_rig_freeze(tn_head_rig *rig);
/* What the gradient of w held before is forgotten. */
void tn_head_rig_forget(tn_head_rig *rig);
/* Forward; its backward adds to the gradient of w. */
tn_tensor *tn_head_rig_more(tn_head_rig *rig);
/* The same after forgetting. */
tn_tensor *tn_head_rig_loss(tn_head_rig *rig);
/* Weights of both signs and of several sizes, and none: [N]. */
tn_real *tn_head_rig_weights(tn_head_rig *rig);

/* What a pass gives. */
typedef struct tn_head_result {
    tn_real loss, *dx, *dw;
} tn_head_result;

/* Copies it. */
tn_head_result tn_head_rig_keep(const tn_head_rig *rig, const tn_tensor *loss);
/* Forward and backward. */
tn_head_result tn_head_rig_run(tn_head_rig *rig, bool final, int threads);
void tn_head_assert_same(const tn_head_result *a, const tn_head_result *b);

/* The loss under rig->options, and its gradients. */
typedef struct tn_head_naive {
    double nll, divergence, total, *row_nll, *dx, *dw; /* [N] [N,C] [V,C] */
} tn_head_naive;

tn_head_naive tn_head_rig_naive(tn_head_rig *rig);
/* Relative to the largest: exp of a logit of size 10 in float carries 10 roundings. */
void tn_head_assert_close(const tn_real *found, const double *expected, int count);
/* The largest difference, relative to the largest expected. */
double tn_head_difference(const tn_real *found, const tn_real *expected, int count);

#endif
