/* SPDX-License-Identifier: MIT
 * screen.h - the head in two stages. The first bounds every logit by integer products of the hidden row, in 16-bit
 * fixed point, and the codes of the table as its file has them, wide bounds of 8 bits first and narrow ones where they
 * leave a question; the second computes the true chain of every id that is in question still. The proof of the bounds
 * is in docs/math.md, "Screened head".
 * The truth is the chain of gemm.h: what is returned holds the `top` ids with the largest true logits, whatever the
 * order among equals, and their true logits. Parallel inside. */
#ifndef TN_KERNELS_SCREEN_H
#define TN_KERNELS_SCREEN_H
#include "core/arena.h"
#include "kernels/table.h"

/* The hidden row as the first stage takes it: x = unit (256 high + low) + error. */
typedef struct tn_screen_x {
    const int8_t *high, *low; /* [k] */
    const int16_t *sums;      /* [k / 256][2][16]: of high and of low over 16 codes each */
} tn_screen_x;

typedef struct tn_screen tn_screen;

/* Types with a first stage: Q6_K. */
bool tn_screen_serves(tn_table_type type);
/* For a table [m,k] of a type that is served, which is borrowed. Lives in `arena`. Fails: TN_E_NOMEM. */
tn_status tn_screen_create(tn_screen **out, tn_arena *arena, const tn_table *table, int m, int k);

/* What is asked of the logits. */
typedef struct tn_screen_question {
    int top;                 /* > 0: the largest logits, of */
    const uint64_t *allowed; /* ids whose bit id % 64 of word id / 64 is set; NULL = all */
    const int32_t *also;     /* [n_also] ids whose logits are wanted whatever they are, allowed or not */
    int n_also;
} tn_screen_question;
/* Ids that may belong to the answer for x [k], in ascending order, with their true logits; both arrays are the
 * screen's, good until its next use. Returns how many there are. A NaN among the allowed logits is always there. */
int tn_screen_pick(tn_screen *screen, const tn_real *x, const tn_screen_question *question, const int32_t **ids,
                   const tn_real **logits);
/* The bounds of the last pick, [m] each: lower <= logit <= upper, or NaN. For tests. */
void tn_screen_bounds(const tn_screen *screen, const tn_real **lower, const tn_real **upper);

#endif
