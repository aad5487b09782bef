/* SPDX-License-Identifier: MIT
 * head_pass.h - what op_head_loss.c, the walk over the tokens of a head, shares with head_words.c, its products in
 * 16-bit fixed point, and with head_teacher.c, what a teacher adds. */
#ifndef TN_AUTOGRAD_HEAD_PASS_H
#define TN_AUTOGRAD_HEAD_PASS_H
#include "autograd/op_page.h"
#include "kernels/backward.h"

enum {
    TN_HEAD_BLOCK = 256, /* ids at most */
    TN_HEAD_PAD = 16     /* so that rows of G do not all fall into the same lines of a cache */
};

/* Both operands of the three products as codes. See kernels/words.h; made by head_words.c. */
typedef struct tn_head_words {
    int depth;                  /* terms along C in one exact sum; even unless that is all of C */
    int top, top_ids, top_rows; /* the largest codes of sums over C, over a block's ids, over a chunk's tokens */
    uint32_t *w;                /* [blocks][C pairs][TN_HEAD_BLOCK] */
    uint32_t *x;                /* [panels of tokens][C pairs][width] */
    uint32_t *x_pairs;          /* [panels of columns][token pairs][width] */
    tn_real *w_unit, *x_unit;   /* [V], [stride] of the rows of w and x in sums over C */
    tn_real *x_factor;          /* [stride] what a row of x is multiplied by before it is coded in x_pairs */
    tn_real *ones, *raised;     /* [the longest sum] 1, and what makes `top` of TN_FIXED_TOP */
} tn_head_words;

/* [blocks, stride] the largest of a block's logits, and the sum of exp of what they are below it. */
typedef struct tn_head_tops {
    tn_real *top, *sum;
} tn_head_tops;

/* Logits over the temperature, of both; see head_teacher.c, which makes it. */
typedef struct tn_head_teacher {
    int c;                     /* width of the teacher; 0 = there is none */
    tn_real *x_turned;         /* its rows of this chunk, over the temperature, as panels */
    tn_real *z;                /* [V, stride] of the teacher; NULL without gradients */
    tn_head_tops student, own; /* then top = the factor of its exponentials in G */
    tn_real *cross;            /* [blocks, stride] sum over a block of exp(z' - top) (z' - z) / tau */
    double *divergence;        /* [chunk] KL(teacher || student) */
} tn_head_teacher;

/* A walk over the tokens, forward or backward. Everything but `a` is scratch. */
typedef struct tn_head_pass {
    const tn_op_args *a;
    int v, c, chunk, parts, blocks;
    int width;                                 /* tokens of a panel */
    bool makes_dx, makes_dw, sets_dw, makes_g; /* makes_g: what gradients need */
    bool rounds;                               /* dx and dw are products of operands rounded to bf16 */
    bool codes;      /* z, dx and dw are products of operands in 16-bit fixed point: `words` */
    int32_t *tokens; /* [N] those with a target, ascending */
    int n_tokens;
    double *nll, *extra; /* [chunk] lse - z[y]; what else a row costs: c lse^2, the teacher's */
    tn_real *target;     /* [chunk] z[y] */
    tn_real *x;          /* [chunk, C] the rows of this chunk, as panels of tokens and as panels of columns: */
    tn_real *x_turned, *x_panels;
    tn_real *top, *sum; /* [blocks, stride] max z and sum exp(z - max) of a block; then top = the factor of its G */
    tn_real *g;         /* [V, stride]; NULL without gradients */
    tn_real *part_dx;   /* [parts, chunk, C] */
    tn_real *rooms;     /* [threads, room] */
    int64_t stride, room;
    int first, rows;                    /* the chunk at hand: tokens[first..first+rows) */
    double weight;                      /* dl/d(lse_i - z_i[y_i]), where rows have no weights: of G */
    double total_nll, total_divergence; /* of rows without their weights */
    double total_loss, total_extra;     /* with them */
    tn_head_words words;
    tn_head_teacher teacher;
} tn_head_pass;

static inline int tn_head_block_first(const tn_head_pass *p, int64_t block) { return (int)(p->v * block / p->blocks); }

static inline int32_t tn_head_target(const tn_head_pass *p, int i) { return p->a->in[2]->ids[p->tokens[p->first + i]]; }

static inline double tn_head_row_weight(const tn_head_pass *p, int i) {
    const tn_real *weights = ((const tn_loss_options *)p->a->options)->row_weight;
    return weights ? (double)weights[p->tokens[p->first + i]] : 1;
}

/* dl/d(lse_i - z_i[y_i]) of row i of the chunk. */
static inline double tn_head_weight(const tn_head_pass *p, int i) { return p->weight * tn_head_row_weight(p, i); }

static inline tn_real *tn_head_room(const tn_head_pass *p) { return p->rooms + tn_par_worker() * p->room; }

/* log sum exp over all blocks of row i. */
double tn_head_log_sum(const tn_head_pass *p, const tn_real *top, const tn_real *sum, int i);

/* ---- head_words.c: of a pass that codes. In the order of use ---- */
/* Numbers that a worker needs room for. */
int64_t tn_head_words_room(const tn_head_pass *p, bool gradients);
/* Memory, and what depends on sizes alone. */
tn_status tn_head_words_make(tn_head_pass *p, tn_arena *scratch, bool gradients);
/* w, once a pass. */
void tn_head_words_pack_w(tn_head_pass *p);
/* Serial: rows first.. of the chunk, at most `width` of them, to a panel. */
void tn_head_words_pack_x(const tn_head_pass *p, int first, int rows);
/* The whole chunk once more, for dw. */
void tn_head_words_pack_columns(tn_head_pass *p);
/* Serial: z [ids of the block, width] of the panel of tokens from `first` on. */
void tn_head_words_logits(const tn_head_pass *p, int64_t block, int first, tn_real *z, int64_t stride);
/* Serial: what a block adds to dw and, into dx [rows, C], to dx. */
void tn_head_words_gradients(const tn_head_pass *p, int64_t block, tn_sum dw_sum, tn_sum dx_sum, tn_real *dx);

/* ---- head_teacher.c: of a pass with a teacher. In the order of use; g then holds z itself until it is mixed ---- */
tn_status tn_head_teacher_check(const tn_op_args *a);
/* Numbers that a worker needs room for, 0 without a teacher. */
int64_t tn_head_teacher_room(const tn_head_pass *p);
/* Memory, if there is a teacher. */
tn_status tn_head_teacher_make(tn_head_pass *p, tn_arena *scratch, bool gradients);
/* Serial: the teacher's rows first.. of the chunk, at most `width` of them, to a panel. */
void tn_head_teacher_gather(const tn_head_pass *p, int first, int rows);
/* Serial: beside z [ids, width] of a block, of which it returns a copy in tn_head_room, or z if that is there already.
 * `fresh`: `room` holds no rows of this block yet. */
tn_real *tn_head_teacher_block(const tn_head_pass *p, int64_t block, int first, bool fresh, tn_real *z, int64_t stride,
                               tn_real *room);
/* Serial: what the teacher adds to the loss of row i. */
double tn_head_teacher_finish(const tn_head_pass *p, int i);
/* Serial: z of a block becomes G but for the targets. */
void tn_head_teacher_mix(const tn_head_pass *p, int64_t block);

#endif
