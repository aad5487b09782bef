/* SPDX-License-Identifier: MIT
 * op_rig.h - sets up one op of ops.def on one of its samples, without knowing which: inputs by their letters, values
 * from a counter-based generator, so that every run of the same case sees the same numbers. */
#ifndef TN_TESTS_OP_RIG_H
#define TN_TESTS_OP_RIG_H
#include "autograd/op.h"

typedef struct tn_rig_input {
    char letter; /* see ops.def */
    int n_dims, dims[4];
    int64_t count;
    tn_real *base;      /* the start values of x, q, p, t */
    tn_real *direction; /* where a step moves them */
    int32_t *ids;
    tn_param param; /* p, t */
    tn_real *grad;  /* of the parameter */
    tn_tensor *tensor;
} tn_rig_input;

typedef struct tn_rig {
    const tn_op *op;
    const tn_op_sample *sample;
    tn_arena *arena;
    tn_tape *tape;
    int n_inputs;
    tn_rig_input in[TN_OP_INPUTS];
    tn_op_args args;
} tn_rig;

void tn_rig_init(tn_rig *rig, const tn_op *op, const tn_op_sample *sample);
void tn_rig_release(tn_rig *rig);
/* A new pass with the inputs at base + step * direction; inputs whose bit in `moved` is 0 stay at base. Gradients are
 * cleared. Inputs whose bit in `wanted` is 0 get no gradient. */
void tn_rig_start(tn_rig *rig, tn_residual_mode mode, double step, unsigned moved, unsigned wanted);
/* Check and forward; both must succeed. */
void tn_rig_forward(tn_rig *rig);
/* Backward from the fixed gradient tn_rig_seed of the result. */
void tn_rig_backward(tn_rig *rig);
tn_real tn_rig_seed(int64_t i);
/* The result in the arena, codes as what they stand for. */
tn_real *tn_rig_result(tn_rig *rig, int64_t *count);
/* The gradient of an input, NULL for ids and for what is not wanted. */
tn_real *tn_rig_grad(const tn_rig *rig, int input);

#endif
