/* SPDX-License-Identifier: MIT
 * op_page.h - what the op pages share: checks with one wording, scratch, and parallel loops over rows and runs.
 * Private to autograd/op_*.c. */
#ifndef TN_AUTOGRAD_OP_PAGE_H
#define TN_AUTOGRAD_OP_PAGE_H
#include "autograd/op.h"
#include "core/par.h"
#include "kernels/kernels.h"

/* Elements in one block of an elementwise loop: a multiple of every vector width, so that the cut never moves a tail.
 */
enum { TN_OP_RUN = 16384 };

/* Fails unless the input holds numbers of that type and its rows can be counted in an int. `op` opens the message. */
tn_status tn_op_need(const tn_op_args *a, const char *op, int input, tn_dtype dtype);
/* The float parameter at `input`, with its value and, when `packed`, its packing at hand. NULL and TN_E_DTYPE else. */
tn_param *tn_op_float_param(const tn_op_args *a, const char *op, int input, bool packed);
/* The same of a matrix that may also be a table, which has no gradient: the op reads rows of it with tn_param_rows, or
 * multiplies it. Fails: TN_E_DTYPE. */
tn_param *tn_op_tabular_param(const tn_op_args *a, const char *op, int input, bool packed);
/* Inputs 0..n-1 are REAL and of one shape; the result gets that shape. */
tn_status tn_op_check_same(tn_op_args *a, const char *op, int n);
/* The result is REAL with the shape of input 0, its last dimension replaced by `cols`. */
tn_status tn_op_rows_result(tn_op_args *a, int cols);

/* Scratch of this op. NULL sets the tape's sticky status. */
tn_real *tn_op_scratch(const tn_op_args *a, int64_t count);
/* For check: make sure that backward will find `count` reals of scratch, so that memory fails early or never. */
tn_status tn_op_reserve(const tn_op_args *a, int64_t count);
/* The same for the pieces tn_op_grad may take for inputs 0..n-1. */
tn_status tn_op_reserve_grads(const tn_op_args *a, int n);
/* Where backward adds the gradient of `input`: its own, or a cleared piece of scratch for kernels that write both. */
tn_real *tn_op_grad(const tn_op_args *a, int input);
/* The factor of what is in the gradient of `input` already, for products: 0 or 1. */
static inline tn_real tn_op_beta(const tn_op_args *a, int input) { return a->write[input] == TN_WRITE_SET ? 0 : 1; }
/* Sets or adds a run of n numbers, as write[input] asks; `at` is the first one's place in the gradient. */
void tn_op_deliver(const tn_op_args *a, int input, int64_t at, int64_t n, const tn_real *values);
/* The gradient of the result as that of `input`, which has as many numbers; nothing to do when it was handed on. */
void tn_op_pass_on(const tn_op_args *a, int input);
/* Row i of the result is `x` [cols] quantised. With `residual` (frozen residuals, tape.h): what the codes stand for,
 * minus x, goes to its row i. */
void tn_op_code_row(const tn_op_args *a, int64_t i, const tn_real *x, tn_real *residual);
/* For row loops over kernels that only add: n numbers of the gradient, cleared when they are to be set. */
tn_real *tn_op_grad_run(const tn_op_args *a, int input, int64_t at, int64_t n);
/* True when a backward pass may follow: the op then keeps what backward needs. */
bool tn_op_keeps(const tn_op_args *a);

/* Sums over rows (the gradient of a gain) run over blocks of rows, then over the blocks, in order: the cut depends on
 * the number of rows alone. `partial` [blocks, cols] is then added up into the gradient of `input` [cols]. */
int64_t tn_op_block_rows(int64_t rows);
int64_t tn_op_block_count(int64_t rows);
void tn_op_add_partials(const tn_op_args *a, int input, const tn_real *partial, int64_t blocks, int cols);

/* body(a, begin, end) over the elements of the result in blocks of TN_OP_RUN. */
void tn_op_runs(const tn_op_args *a, tn_par_body *body);
/* body(a, begin, end) over `rows` rows of `cols` elements, in blocks of about TN_OP_RUN elements. */
void tn_op_each_row(const tn_op_args *a, int64_t rows, int cols, tn_par_body *body);

#endif
