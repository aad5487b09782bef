/* SPDX-License-Identifier: MIT
 * head_teacher.c - what a teacher adds to the head of op_head_loss.c (Hinton 2015), in floats:
 *
 *   s = softmax(z / tau),  t = softmax(z' / tau),  z' = h w'' of the teacher;   + lambda tau^2 sum_j t_j log(t_j / s_j)
 *   G_j += lambda tau (s_j - t_j)
 *
 * Teacher's logits are made beside the student's, block by block and over tau from the start. Of both, a block knows
 * its largest and the sum of exp; of the teacher also sum exp(z'_j - max) (z'_j - z_j) / tau, from which the divergence
 * comes once all blocks are known. G needs all three exponentials again, so a pass that makes it keeps z and z'. */
#include "autograd/head_pass.h"
#include "kernels/panels.h"

#include <math.h>
#include <string.h>

static const tn_teacher *teacher_of(const tn_head_pass *p) {
    return &((const tn_loss_options *)p->a->options)->teacher;
}

static tn_real inverse_temperature(const tn_head_pass *p) { return 1 / teacher_of(p)->temperature; }

tn_status tn_head_teacher_check(const tn_op_args *a) {
    const tn_teacher *t = &((const tn_loss_options *)a->options)->teacher;
    const tn_param *w = a->in[1]->param;
    if (!t->head) return TN_OK;
    if (t->head->quantizer != TN_QUANT_NONE || !(t->head->tensor.real || t->head->table.data))
        return TN_FAIL(DTYPE, "head_loss: the teacher's head (%s) is no float matrix", t->head->name);
    if (t->head->rows != w->rows)
        return TN_FAIL(SHAPE, "head_loss: the teacher's head has %d ids, the student's %d: both need one vocabulary",
                       t->head->rows, w->rows);
    if (!(t->temperature > 0) || !isfinite(t->temperature) || !(t->weight >= 0) || !isfinite(t->weight))
        return TN_FAIL(RANGE, "head_loss: the teacher's temperature %g must be > 0 and its weight %g >= 0",
                       (double)t->temperature, (double)t->weight);
    return TN_OK;
}

/* ---- memory ---- */

/* A worker's room where logits are made: [TN_HEAD_BLOCK, width] each, two lines, and a block of a table decoded. */
typedef struct block_room {
    tn_real *teacher, *student, *difference, *line, *rows;
} block_room;

static int64_t cut_room(const tn_head_pass *p, tn_real *room, block_room *cut) {
    const int64_t block = (int64_t)TN_HEAD_BLOCK * p->width, line = TN_ROUND_UP(p->width, 64);
    if (cut) *cut = (block_room){room, room + block, room + 2 * block, room + 3 * block, room + 3 * block + 2 * line};
    return 3 * block + 2 * line + (int64_t)TN_HEAD_BLOCK * p->teacher.c;
}

int64_t tn_head_teacher_room(const tn_head_pass *p) { return p->teacher.c ? cut_room(p, NULL, NULL) : 0; }

static tn_status make_tops(tn_head_tops *tops, tn_arena *scratch, int64_t count) {
    TN_TAKE(tops->top, scratch, count, "op scratch");
    TN_TAKE(tops->sum, scratch, count, "op scratch");
    return TN_OK;
}

tn_status tn_head_teacher_make(tn_head_pass *p, tn_arena *scratch, bool gradients) {
    tn_head_teacher *t = &p->teacher;
    const int64_t numbers = p->blocks * p->stride;
    if (!t->c) return TN_OK;
    TN_TRY(make_tops(&t->student, scratch, numbers));
    TN_TRY(make_tops(&t->own, scratch, numbers));
    TN_TAKE(t->cross, scratch, numbers, "op scratch");
    TN_TAKE(t->x_turned, scratch, tn_panels_count(t->c, p->chunk), "op scratch");
    TN_TAKE(t->divergence, scratch, p->chunk, "op scratch");
    if (gradients) TN_TAKE(t->z, scratch, p->v * p->stride, "op scratch");
    return TN_OK;
}

/* ---- forward ---- */

void tn_head_teacher_gather(const tn_head_pass *p, int first, int rows) {
    const int c = p->teacher.c;
    tn_real *x = tn_head_room(p);
    for (int i = 0; i < rows; i++)
        tn_k->scale(c, inverse_temperature(p), teacher_of(p)->hidden + (int64_t)p->tokens[p->first + first + i] * c,
                    x + (int64_t)i * c);
    tn_panels_pack_turned(c, rows, x, c, p->teacher.x_turned + (int64_t)first * c);
}

static void scale_block(int ids, int width, tn_real s, const tn_real *from, int64_t stride, tn_real *to) {
    for (int j = 0; j < ids; j++) tn_k->scale(width, s, from + j * stride, to + (int64_t)j * width);
}

static tn_real *copy_of_block(const tn_head_pass *p, int ids, tn_real *z, int64_t stride) {
    tn_real *copy = tn_head_room(p);
    for (int j = 0; j < ids && z != copy; j++)
        memcpy(copy + (int64_t)j * p->width, z + j * stride, (size_t)p->width * sizeof *copy);
    return copy;
}

tn_real *tn_head_teacher_block(const tn_head_pass *p, int64_t block, int first, bool fresh, tn_real *z, int64_t stride,
                               tn_real *room) {
    const tn_head_teacher *t = &p->teacher;
    const tn_param *head = teacher_of(p)->head;
    const int id = tn_head_block_first(p, block), ids = tn_head_block_first(p, block + 1) - id, width = p->width;
    const int64_t at = block * p->stride + first;
    block_room r;
    (void)cut_room(p, room, &r);
    const tn_real *w = fresh || head->tensor.real ? tn_param_rows(head, id, ids, r.rows) : r.rows;
    tn_panels_multiply(ids, width, t->c, w, t->c, t->x_turned + (int64_t)first * t->c, TN_SUM_SET, r.teacher, width);
    for (int j = 0; j < ids && t->z; j++)
        memcpy(t->z + (id + j) * p->stride + first, r.teacher + (int64_t)j * width, (size_t)width * sizeof *t->z);
    scale_block(ids, width, inverse_temperature(p), z, stride, r.student);
    memcpy(r.difference, r.teacher, (size_t)ids * (size_t)width * sizeof *r.difference);
    tn_k->axpy((int64_t)ids * width, -1, r.student, r.difference);
    tn_k->exp_columns(ids, width, r.teacher, width, t->own.top + at, t->own.sum + at);
    tn_k->exp_columns(ids, width, r.student, width, t->student.top + at, t->student.sum + at);
    memset(t->cross + at, 0, (size_t)width * sizeof *t->cross);
    for (int64_t j = 0; j < ids; j++)
        tn_k->mul_accumulate(width, r.teacher + j * width, r.difference + j * width, t->cross + at);
    return copy_of_block(p, ids, z, stride);
}

/* sum_j t_j (log t_j - log s_j) with log t_j = z'_j / tau - lse', log s_j = z_j / tau - lse */
double tn_head_teacher_finish(const tn_head_pass *p, int i) {
    const tn_head_teacher *t = &p->teacher;
    const tn_teacher *o = teacher_of(p);
    const double student = tn_head_log_sum(p, t->student.top, t->student.sum, i),
                 own = tn_head_log_sum(p, t->own.top, t->own.sum, i), tau = (double)o->temperature,
                 lambda = (double)o->weight, slope = tn_head_weight(p, i) * lambda * tau;
    double divergence = student - own;
    for (int64_t b = 0; b < p->blocks; b++) {
        const int64_t at = b * p->stride + i;
        const double share = exp((double)t->own.top[at] - own);
        divergence += share * (double)t->cross[at];
        t->own.top[at] = (tn_real)(-slope * share);
        t->student.top[at] = (tn_real)(slope * exp((double)t->student.top[at] - student));
    }
    t->divergence[i] = divergence;
    return lambda * tau * tau * divergence;
}

/* ---- G ---- */

/* The three exponentials of some columns, each times its factor, which finish left in the place of the tops. */
static void mix_columns(const tn_head_pass *p, int64_t block, int first) {
    const tn_head_teacher *t = &p->teacher;
    const int id = tn_head_block_first(p, block), ids = tn_head_block_first(p, block + 1) - id, width = p->width;
    const int64_t at = block * p->stride + first;
    tn_real *z = p->g + id * p->stride + first, *own = t->z + id * p->stride + first;
    block_room r;
    (void)cut_room(p, tn_head_room(p), &r);
    tn_real *top = r.line, *sum = r.line + TN_ROUND_UP(width, 64); /* known already */
    scale_block(ids, width, inverse_temperature(p), z, p->stride, r.student);
    tn_k->exp_columns(ids, width, r.student, width, top, sum);
    tn_k->exp_columns(ids, width, own, p->stride, top, sum);
    tn_k->exp_columns(ids, width, z, p->stride, top, sum);
    for (int j = 0; j < ids; j++, z += p->stride, own += p->stride) {
        tn_k->mul(width, z, p->top + at, z);
        tn_k->mul_accumulate(width, r.student + (int64_t)j * width, t->student.top + at, z);
        tn_k->mul_accumulate(width, own, t->own.top + at, z);
    }
}

void tn_head_teacher_mix(const tn_head_pass *p, int64_t block) {
    for (int first = 0; first < p->rows; first += p->width) mix_columns(p, block, first);
}
