/* SPDX-License-Identifier: MIT
 * op.h - what an op page is made of. check does all that can fail (shapes, dtypes, memory) and sets out and aux;
 * forward and backward return nothing. backward ADDS into in[i]->grad for every input that needs one (check with
 * tn_op_wants). */
#ifndef TN_AUTOGRAD_OP_H
#define TN_AUTOGRAD_OP_H
#include "autograd/ops.h"

enum { TN_OP_INPUTS = 3 };

typedef enum tn_op_id {
#define OP(name, inputs, gradient, tolerance, formula) TN_OP_##name,
#include "autograd/ops.def"
#undef OP
    TN_OP_COUNT
} tn_op_id;

typedef struct tn_op_args {
    tn_tape *tape;
    tn_tensor *in[TN_OP_INPUTS];
    const void *options; /* the op's own struct, copied into the step arena */
    tn_tensor *out;
    void *aux; /* the op's own, for backward; from the step arena */
} tn_op_args;

typedef enum tn_gradient { TN_GRADIENT_SMOOTH, TN_GRADIENT_STE, TN_GRADIENT_NONE } tn_gradient;
typedef enum tn_domain {
    TN_DOMAIN_NORMAL, /* mean 0, variance 1 */
    TN_DOMAIN_UNIT,   /* uniform in [-1,1) */
    TN_DOMAIN_APART   /* normal, but no value within 0.1 of 0 (kinks) */
} tn_domain;

/* One case for the table-driven tests: shapes of the inputs (0-terminated; all 0 ends the list), where values come
 * from, what to expect. */
typedef struct tn_op_sample {
    int dims[TN_OP_INPUTS][4];
    tn_domain domain;
    tn_status expect;
    const void *options;
    size_t options_size;
    int ids_below; /* ids are drawn from 0..ids_below-1 */
} tn_op_sample;
#define TN_SAMPLES_END                                                                                                 \
    { .ids_below = -1 }

typedef struct tn_op {
    const char *name, *inputs, *formula;
    tn_gradient gradient;
    double tolerance;
    tn_status (*check)(tn_op_args *a);
    void (*forward)(const tn_op_args *a);
    void (*backward)(const tn_op_args *a);
    const tn_op_sample *samples;
} tn_op;

#define OP(name, inputs, gradient, tolerance, formula)                                                                 \
    tn_status tn_op_##name##_check(tn_op_args *a);                                                                     \
    void tn_op_##name##_forward(const tn_op_args *a);                                                                  \
    void tn_op_##name##_backward(const tn_op_args *a);                                                                 \
    extern const tn_op_sample tn_op_##name##_samples[];
#include "autograd/ops.def"
#undef OP

extern const tn_op tn_ops[TN_OP_COUNT];

/* Check, compute, record. `options` are copied. */
tn_tensor *tn_tape_apply(tn_tape *tape, tn_op_id op, tn_tensor *const *in, const void *options, size_t options_size);
/* For check: a result of that shape; it needs a gradient when an input does. NULL when memory is out. */
tn_tensor *tn_op_result(tn_op_args *a, tn_dtype dtype, int n_dims, const int *dims);
static inline bool tn_op_wants(const tn_op_args *a, int input) { return a->in[input]->grad != NULL; }

/* Seconds by op, added up over passes, for benchmarks. */
typedef struct tn_op_times {
    double forward[TN_OP_COUNT], backward[TN_OP_COUNT];
} tn_op_times;
void tn_tape_set_times(tn_tape *tape, tn_op_times *times); /* NULL: stop */

#endif
