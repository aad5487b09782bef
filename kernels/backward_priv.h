/* SPDX-License-Identifier: MIT
 * backward_priv.h - what the two ways to dX share: dY as signed digits, and where the tiles of a block of tokens and a
 * panel of T turned belong. Private to kernels/backward_*.c. */
#ifndef TN_KERNELS_BACKWARD_PRIV_H
#define TN_KERNELS_BACKWARD_PRIV_H
#include "kernels/backward.h"
#include "kernels/ternary_rows.h"

enum {
    TN_DX_DIGITS = 2,
    TN_DX_TOKENS = TN_BLOCK_ROWS / TN_DX_DIGITS /* of a block */
};

typedef struct tn_dx_job {
    int n, m, k;
    const tn_real *dy;
    tn_real a;
    tn_sum sum;
    tn_real *dx;
} tn_dx_job;

/* Tokens `token`.. against panel `panel`. */
typedef struct tn_dx_place {
    const tn_dx_job *job;
    const tn_real *units; /* [tokens], times a */
    int token, tokens, panel;
} tn_dx_place;

/* Bytes from a row of digits to the next. */
static inline int64_t tn_dx_stride(int m) { return TN_ROUND_UP((int64_t)m, TN_ALIGN); }
static inline size_t tn_dx_digit_bytes(int tokens, int m) { return (size_t)tokens * TN_DX_DIGITS * tn_dx_stride(m); }

/* digits [tokens][TN_DX_DIGITS][stride] and units [tokens], times a, of tokens from `token` on. */
void tn_dx_make_digits(const tn_dx_job *job, int token, int tokens, int8_t *digits, tn_real *units);
/* A tn_ternary_store; `context` is a place. */
void tn_dx_store(void *context, const int32_t *sums, int row, int rows);

#endif
