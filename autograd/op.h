/* SPDX-License-Identifier: MIT
 * op.h - what an op page is made of. check does all that can fail (shapes, dtypes, memory) and sets out and aux;
 * forward and backward return nothing. backward brings in[i]->grad up to date for every input that needs one (check
 * with tn_op_wants), as write[i] says. */
#ifndef TN_AUTOGRAD_OP_H
#define TN_AUTOGRAD_OP_H
#include "autograd/ops.h"

enum { TN_OP_INPUTS = 3 };

typedef enum tn_op_id {
#define OP(name, inputs, gradient, fresh, tolerance, formula) TN_OP_##name,
#include "autograd/ops.def"
#undef OP
    TN_OP_COUNT
} tn_op_id;

/* What backward finds in the gradient of an input. */
typedef enum tn_op_write {
    TN_WRITE_ADD,   /* the sum over the consumers that ran before, or zeros: add */
    TN_WRITE_SET,   /* nothing: write every number; for ops that SET or HAND */
    TN_WRITE_HANDED /* it is out->grad itself, for input 0 of ops that HAND: change it in place, or leave it */
} tn_op_write;

typedef struct tn_op_args {
    tn_tape *tape;
    tn_tensor *in[TN_OP_INPUTS];
    tn_op_write write[TN_OP_INPUTS]; /* during backward */
    const void *options;             /* the op's own struct, copied into the step arena */
    tn_tensor *out;
    void *aux; /* the op's own, for backward; from the step arena */
} tn_op_args;

/* How the backward of an op deals with a gradient that nobody has written yet. */
typedef enum tn_op_fresh {
    TN_FRESH_ADDS, /* it only adds: the tape clears the gradient first */
    TN_FRESH_SETS, /* it honours TN_WRITE_SET */
    TN_FRESH_HANDS /* also, input 0 may take over the memory of out->grad */
} tn_op_fresh;

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
    tn_op_fresh fresh;
    double tolerance;
    tn_status (*check)(tn_op_args *a);
    void (*forward)(const tn_op_args *a);
    void (*backward)(const tn_op_args *a);
    const tn_op_sample *samples;
} tn_op;

#define OP(name, inputs, gradient, fresh, tolerance, formula)                                                          \
    tn_status tn_op_##name##_check(tn_op_args *a);                                                                     \
    void tn_op_##name##_forward(const tn_op_args *a);                                                                  \
    void tn_op_##name##_backward(const tn_op_args *a);                                                                 \
    extern const tn_op_sample tn_op_##name##_samples[];
#include "autograd/ops.def"
#undef OP

extern const tn_op tn_ops[TN_OP_COUNT];

/* Check, compute, record. `options` are copied. */
tn_tensor *tn_tape_apply(tn_tape *tape, tn_op_id op, tn_tensor *const *in, const void *options, size_t options_size);
/* For check: a result over the numbers of input 0, which the op changes in place or views under other dimensions. */
tn_tensor *tn_op_result_over(tn_op_args *a, int n_dims, const int *dims);
/* For check: a result of that shape; it needs a gradient when an input does. NULL when memory is out. */
tn_tensor *tn_op_result(tn_op_args *a, tn_dtype dtype, int n_dims, const int *dims);
static inline bool tn_op_wants(const tn_op_args *a, int input) { return a->in[input]->grad != NULL; }

/* Seconds by op, added up over passes, for benchmarks. */
typedef struct tn_op_times {
    double forward[TN_OP_COUNT], backward[TN_OP_COUNT];
} tn_op_times;
void tn_tape_set_times(tn_tape *tape, tn_op_times *times); /* NULL: stop */

#endif
