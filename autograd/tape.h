/* SPDX-License-Identifier: MIT
 * tape.h - runs ops, records them when asked, and runs them backwards.
 * Owns: every tensor made through it, in its step arena. Frees: all at once, at the next tn_tape_begin.
 * Failure is sticky, like ferror(): the first op that fails sets the status, later ops do nothing and return an empty
 * tensor, and the caller looks once at the end - so a model reads like the paper.
 * Threads: one tape, one thread; ops are parallel inside. */
#ifndef TN_AUTOGRAD_TAPE_H
#define TN_AUTOGRAD_TAPE_H
#include "autograd/param.h"
#include "core/rng.h"

typedef struct tn_tape tn_tape;

/* The arithmetic of the products in backward, and of the logits that a gradient will follow. All else in forward
 * has one arithmetic, which the runtime shares. */
typedef enum tn_backward {
    TN_BACKWARD_F32,
    TN_BACKWARD_BF16, /* operands rounded to bf16, sums in f32; the logits as in evaluation */
    TN_BACKWARD_INT16 /* exact integer sums: over dY in 16-bit fixed point for ternary matrices (kernels/backward.h),
                         over both operands in 12 bits for a head that is trained (autograd/head_words.c) */
} tn_backward;

typedef enum tn_tape_mode {
    TN_TAPE_FORWARD, /* nothing kept for a backward pass */
    TN_TAPE_RECORD
} tn_tape_mode;

/* Straight-through ops are checked against the smooth function whose slope they borrow (docs/math.md, BitLinear): KEEP
 * runs the real ops and stores q(x) - x of every quantiser in call order; REPLAY replaces q(x) by x + what was stored.
 */
typedef enum tn_residual_mode { TN_RESIDUAL_OFF, TN_RESIDUAL_KEEP, TN_RESIDUAL_REPLAY } tn_residual_mode;

tn_tape *tn_tape_create(void); /* NULL when memory is out */
/* A tape that takes memory like a real pass but computes nothing and touches no data: for planning. */
tn_tape *tn_tape_create_dry(void);
void tn_tape_free(tn_tape *tape);
/* Before the first pass: take at once the memory that the passes of `rehearsed`, a dry tape, would have had at their
 * peak; the same passes then ask for no more. Fails: TN_E_NOMEM. */
tn_status tn_tape_reserve(tn_tape *tape, const tn_tape *rehearsed);

/* Forget the last pass and start a new one. `rng` keys dropout (seed, step and micro-batch); NULL = dropout off. */
void tn_tape_begin(tn_tape *tape, tn_tape_mode mode, const tn_rng *rng);
/* F32 until set. In the f64 build everything is computed in double. */
void tn_tape_set_backward(tn_tape *tape, tn_backward arithmetic);
tn_backward tn_tape_backward_arithmetic(const tn_tape *tape);
tn_status tn_tape_status(const tn_tape *tape);
/* Set the sticky status from outside an op; returns it. */
tn_status tn_tape_fail(tn_tape *tape, tn_status status);

/* Run backwards from `loss` [1]; adds into the grad of every parameter reached. Fails: the sticky status,
 * TN_E_NOGRAD when nothing was recorded or loss does not depend on a trained parameter, TN_E_ARG at a second call. */
tn_status tn_tape_backward(tn_tape *tape, tn_tensor *loss);

/* ---- recompute (Chen 2016) ---- */
/* Maps x to a tensor of the same shape; pure: it may run twice, and must give the same bits. */
typedef tn_tensor *tn_segment_body(void *context, tn_tape *tape, tn_tensor *x);
/* body(context, tape, x), of whose run nothing is kept but x and the result: backward runs it again. `context` is
 * copied. In a pass that records nothing the body runs once, so it need not be pure, and the result takes the place of
 * x, which is returned; one that keeps residuals keeps all. */
tn_tensor *tn_tape_segment(tn_tape *tape, tn_segment_body *body, const void *context, size_t context_size,
                           tn_tensor *x);

/* For the end of a body: when it runs again, nobody reads the numbers of what follows but those who make them, and ops
 * from here on compute nothing. Their backward must not read what they or each other make. */
void tn_tape_rest(tn_tape *tape);

/* ---- leaves ---- */
/* Copies. Real leaves get a gradient when `needs_grad`. */
tn_tensor *tn_tape_real(tn_tape *tape, int n_dims, const int *dims, const tn_real *values, bool needs_grad);
tn_tensor *tn_tape_ids(tn_tape *tape, int n_dims, const int *dims, const int32_t *ids);
/* The numbers or codes of x, through which no gradient goes. */
tn_tensor *tn_tape_constant(tn_tape *tape, const tn_tensor *x);

/* ---- for ops ---- */
tn_arena *tn_tape_step(tn_tape *tape);    /* lives until the next begin */
tn_arena *tn_tape_scratch(tn_tape *tape); /* empty again after each op */
tn_tensor *tn_tape_empty(tn_tape *tape);
const tn_rng *tn_tape_rng(const tn_tape *tape);
const tn_arena *tn_tape_gradients(const tn_tape *tape); /* the pool's, for counting memory */
bool tn_tape_recording(const tn_tape *tape);            /* a pass that trains */
/* A pass that trains, outside the first run of a segment: what backward needs is to be kept. */
bool tn_tape_keeping(const tn_tape *tape);
bool tn_tape_is_dry(const tn_tape *tape);

/* ---- for gradient checks ---- */
void tn_tape_residuals(tn_tape *tape,
                       tn_residual_mode mode); /* set before begin; KEEP forgets what was kept at begin */
tn_residual_mode tn_tape_residual_mode(const tn_tape *tape);
/* KEEP: a new slot of `count` to fill; REPLAY: the next slot, filled. NULL and sticky failure when they do not match.
 */
tn_real *tn_tape_residual(tn_tape *tape, int64_t count);

#endif
