/* SPDX-License-Identifier: MIT
 * op_head_loss.c -  z = x w',  lse_i = log sum_j exp z_ij,  l = sum_i r_i (lse_i - z_i[y_i] + c lse_i^2) / D
 *                   x [N,C]  w [V,C] float  y [N], negative = no loss  r [N] or ones  l [1]  aux dx [N,C] if final
 *                   G_ij = r_i (p_ij (1 + 2 c lse_i) - [j = y_i]) / D,  p_ij = exp(z_ij - lse_i)
 *                   dx = G w,  dw = G' x
 *
 * Tokens with a target go through in chunks. z is made turned, [ids, tokens], so that it is its own left operand in dw:
 * the same chains as the runtime's logits, with the factors swapped. Ids are cut into blocks: where a block of z is
 * made it becomes exp(z - m), m the largest of each token; what is left for G, once all blocks are known, is a factor
 * for each block and token. Blocks are grouped into parts, which add up their share of dx on their own, and are summed
 * in order.
 *
 * With TN_BACKWARD_INT16, a pass that trains w multiplies codes instead: head_words.c.
 * With a teacher they are floats, and z stays z until G is made: head_teacher.c. Where w is a table its blocks are
 * decoded where they are wanted; it has no dw.
 *
 * A pass that ends here (tn_loss_options.final) makes G in forward, from z while it is there, and with it dw and dx.
 * Otherwise backward makes z again. The cuts are functions of V and N: both ways and any threads give the same bits. */
#include "autograd/head_pass.h"
#include "kernels/gemm.h"
#include "kernels/panels.h"

#include <math.h>
#include <string.h>

enum {
    PARTS_MOST = 16,
    PART_IDS = 64, /* at least, but for a small head */
    G_NUMBERS = 1 << 23,
    CHUNK_LEAST = 128,
    CHUNK_MOST = 256, /* and of a table, which is decoded once a chunk and product */
    GROUP_TOKENS = 256, /* of a block that one worker takes at once */
    ROWS = 16
};

typedef struct loss_aux {
    tn_head_pass *forward;
    tn_real *dx; /* [N,C], made in forward; NULL: not wanted, or left to backward */
    bool final;
} loss_aux;

tn_tensor *tn_head_loss(tn_tape *t, tn_tensor *x, tn_param *w, tn_tensor *targets, tn_loss_options options) {
    return tn_tape_apply(t, TN_OP_head_loss, (tn_tensor *const[]){x, &w->tensor, targets}, &options, sizeof options);
}

/* ---- check ---- */

static tn_status check_targets(const tn_op_args *a, int n_ids) {
    const tn_tensor *y = a->in[2];
    int64_t n = tn_tape_is_dry(a->tape) ? 0 : tn_tensor_count(y);
    for (int64_t i = 0; i < n; i++)
        if (y->ids[i] >= n_ids)
            return TN_FAIL(RANGE, "head_loss: target %d at position %lld, the head has %d ids", y->ids[i], (long long)i,
                           n_ids);
    return TN_OK;
}

static tn_status check_operands(const tn_op_args *a) {
    const tn_loss_options *o = a->options;
    TN_TRY(tn_op_need(a, "head_loss", 0, TN_REAL));
    TN_TRY(tn_op_need(a, "head_loss", 2, TN_IDS));
    const tn_param *w = tn_op_tabular_param(a, "head_loss", 1, false);
    if (!w) return TN_E_DTYPE;
    char shape[2][64];
    if (tn_tensor_cols(a->in[0]) != w->cols || tn_tensor_rows(a->in[0]) != tn_tensor_count(a->in[2]))
        return TN_FAIL(SHAPE, "head_loss: x %s, targets %s and %s [%d,%d] do not fit",
                       tn_tensor_shape(a->in[0], shape[0]), tn_tensor_shape(a->in[2], shape[1]), w->name, w->rows,
                       w->cols);
    if (!(o->divisor > 0) || !isfinite(o->divisor) || !(o->z_loss >= 0) || !isfinite(o->z_loss))
        return TN_FAIL(RANGE, "head_loss: divisor %g must be > 0 and z_loss %g >= 0", o->divisor, (double)o->z_loss);
    TN_TRY(tn_head_teacher_check(a));
    return check_targets(a, w->rows);
}

static bool trains(const tn_op_args *a, int input) {
    const tn_tensor *x = a->in[input];
    return tn_op_keeps(a) && x->needs_grad && (!x->param || x->grad);
}

/* How a pass computes, and its cuts: functions of the sizes. */
static tn_head_pass plan_pass(const tn_op_args *a, bool gradients) {
    const tn_param *w = a->in[1]->param, *teacher = ((const tn_loss_options *)a->options)->teacher.head;
    const int64_t n = tn_tensor_rows(a->in[0]);
    const tn_backward arithmetic = tn_op_keeps(a) ? tn_tape_backward_arithmetic(a->tape) : TN_BACKWARD_F32;
    tn_head_pass p = {.a = a,
                      .v = w->rows,
                      .c = w->cols,
                      .makes_g = gradients,
                      .makes_dx = gradients && trains(a, 0),
                      .makes_dw = gradients && trains(a, 1),
                      .rounds = arithmetic == TN_BACKWARD_BF16 && !w->table.data,
                      .codes = arithmetic == TN_BACKWARD_INT16 && !teacher && trains(a, 1),
                      .teacher = {.c = teacher ? teacher->cols : 0}};
    p.width = p.codes ? tn_k->pair_panel_width : tn_k->real_panel_width;
    const int most = w->table.data ? (int)CHUNK_MOST : TN_MAX(G_NUMBERS / p.v / 64 * 64, (int)CHUNK_LEAST);
    p.chunk = (int)TN_MIN(n, TN_MIN(most, (int)CHUNK_MOST));
    p.parts = TN_MIN((p.v + PART_IDS - 1) / PART_IDS, PARTS_MOST);
    p.blocks = p.parts * (((p.v + p.parts - 1) / p.parts + TN_HEAD_BLOCK - 1) / TN_HEAD_BLOCK);
    p.stride = TN_ROUND_UP(p.chunk, p.width) + TN_HEAD_PAD;
    return p;
}

/* For a block of a table. */
static int64_t decoded_room(const tn_head_pass *p) {
    return p->a->in[1]->param->table.data ? (int64_t)TN_HEAD_BLOCK * p->c : 0;
}

/* Numbers that a worker needs room for: where logits are made, then where gradients are. */
static int64_t worker_room(const tn_head_pass *p) {
    const int64_t decoded = decoded_room(p);
    const int64_t logits =
        TN_HEAD_BLOCK * p->width + (p->codes ? 0 : decoded) + tn_head_teacher_room(p);
    int64_t after = 0;
    if (p->codes)
        after = tn_head_words_room(p, p->makes_g);
    else if (p->makes_g)
        after = (int64_t)p->chunk * (TN_HEAD_BLOCK + TN_HEAD_PAD) + tn_panels_count(TN_HEAD_BLOCK, p->c) + decoded;
    return TN_ROUND_UP(TN_MAX(logits, after), 64);
}

/* Memory of a pass: of one that makes gradients, or of one that makes the loss alone. */
static tn_status make_room(tn_head_pass *p, const tn_op_args *a, bool gradients) {
    tn_arena *scratch = tn_tape_scratch(a->tape);
    *p = plan_pass(a, gradients);
    TN_TAKE(p->tokens, scratch, tn_tensor_rows(a->in[0]), "op scratch");
    TN_TAKE(p->nll, scratch, p->chunk, "op scratch");
    TN_TAKE(p->extra, scratch, p->chunk, "op scratch");
    TN_TAKE(p->target, scratch, p->chunk, "op scratch");
    TN_TAKE(p->x, scratch, (int64_t)p->chunk * p->c, "op scratch");
    if (p->codes)
        TN_TRY(tn_head_words_make(p, scratch, gradients));
    else
        TN_TAKE(p->x_turned, scratch, tn_panels_count(p->c, p->chunk), "op scratch");
    TN_TAKE(p->top, scratch, p->blocks * p->stride, "op scratch");
    TN_TAKE(p->sum, scratch, p->blocks * p->stride, "op scratch");
    TN_TRY(tn_head_teacher_make(p, scratch, gradients));
    if (gradients) {
        if (!p->codes) TN_TAKE(p->x_panels, scratch, tn_panels_count(p->chunk, p->c), "op scratch");
        TN_TAKE(p->g, scratch, p->v * p->stride, "op scratch");
        TN_TAKE(p->part_dx, scratch, (int64_t)p->parts * p->chunk * p->c, "op scratch");
    }
    p->room = worker_room(p);
    TN_TAKE(p->rooms, scratch, p->room * tn_par_threads(), "op scratch");
    return TN_OK;
}

tn_status tn_op_head_loss_check(tn_op_args *a) {
    TN_TRY(check_operands(a));
    const tn_loss_options *o = a->options;
    tn_arena *step = tn_tape_step(a->tape), *scratch = tn_tape_scratch(a->tape);
    loss_aux *aux;
    TN_TAKE0(aux, step, 1, "tape");
    TN_TAKE0(aux->forward, step, 1, "tape");
    aux->final = o->final && tn_op_keeps(a) && tn_tape_residual_mode(a->tape) == TN_RESIDUAL_OFF;
    if (tn_op_keeps(a) && !aux->final) { /* backward shall find its memory */
        tn_arena_mark mark = tn_arena_get_mark(scratch);
        tn_head_pass backward;
        tn_status status = make_room(&backward, a, true);
        tn_arena_rewind(scratch, &mark);
        TN_TRY(status);
    }
    if (aux->final && trains(a, 0)) TN_TAKE(aux->dx, step, tn_tensor_count(a->in[0]), "activations");
    TN_TRY(make_room(aux->forward, a, aux->final));
    a->aux = aux;
    a->out = tn_op_result(a, TN_REAL, 1, (const int[]){1});
    return a->out ? TN_OK : TN_E_NOMEM;
}

/* ---- the tokens of a chunk ---- */

static void list_tokens(tn_head_pass *p) {
    const tn_tensor *y = p->a->in[2];
    int64_t n = tn_tensor_count(y);
    p->n_tokens = 0;
    for (int64_t i = 0; i < n; i++)
        if (y->ids[i] >= 0) p->tokens[p->n_tokens++] = (int32_t)i;
}

static int token_panels(const tn_head_pass *p) { return (p->rows + p->width - 1) / p->width; }

/* Items: panels of tokens. */
static void gather_panels(void *context, int64_t begin, int64_t end) {
    const tn_head_pass *p = context;
    for (int64_t panel = begin; panel < end; panel++) {
        const int first = (int)panel * p->width, rows = TN_MIN(p->width, p->rows - first);
        tn_real *x = p->x + (int64_t)first * p->c;
        for (int i = 0; i < rows; i++)
            memcpy(x + (int64_t)i * p->c, p->a->in[0]->real + (int64_t)p->tokens[p->first + first + i] * p->c,
                   (size_t)p->c * sizeof *x);
        if (p->codes)
            tn_head_words_pack_x(p, first, rows);
        else
            tn_panels_pack_turned(p->c, rows, x, p->c, p->x_turned + (int64_t)first * p->c);
        if (p->teacher.c) tn_head_teacher_gather(p, first, rows);
    }
}

/* Items: columns of x. */
static void pack_columns(void *context, int64_t begin, int64_t end) {
    const tn_head_pass *p = context;
    tn_panels_pack(p->rows, (int)(end - begin), p->x + begin, p->c, p->x_panels + begin * p->rows);
}

/* ---- z, block by block ---- */

static void catch_targets(const tn_head_pass *p, int first_id, int ids, int first, int rows, const tn_real *z,
                          int64_t stride) {
    for (int i = 0; i < rows; i++) {
        const int at = tn_head_target(p, first + i) - first_id;
        if (at >= 0 && at < ids) p->target[first + i] = z[at * stride + i];
    }
}

/* Items of the flat [blocks, panels of tokens]. */
static void logit_blocks(void *context, int64_t begin, int64_t end) {
    const tn_head_pass *p = context;
    const int width = p->width, panels = token_panels(p);
    const tn_real *w = NULL; /* of the block, made once for all its panels that are in these items */
    for (int64_t item = begin; item < end; item++) {
        const int64_t block = item / panels;
        const int id = tn_head_block_first(p, block), ids = tn_head_block_first(p, block + 1) - id,
                  first = (int)(item % panels) * width;
        const bool fresh = item == begin || first == 0;
        int64_t stride = p->g ? p->stride : width;
        tn_real *z = p->g ? p->g + id * p->stride + first : tn_head_room(p);
        tn_real *room = tn_head_room(p) + TN_HEAD_BLOCK * width;
        if (fresh && !p->codes) w = tn_param_rows(p->a->in[1]->param, id, ids, room);
        if (p->codes)
            tn_head_words_logits(p, block, first, z, stride);
        else
            tn_panels_multiply(ids, width, p->c, w, p->c, p->x_turned + (int64_t)first * p->c, TN_SUM_SET, z, stride);
        catch_targets(p, id, ids, first, TN_MIN(width, p->rows - first), z, stride);
        if (p->teacher.c) {
            z = tn_head_teacher_block(p, block, first, fresh, z, stride, room + decoded_room(p));
            stride = width;
        }
        tn_k->exp_columns(ids, width, z, stride, p->top + block * p->stride + first,
                          p->sum + block * p->stride + first);
    }
}

double tn_head_log_sum(const tn_head_pass *p, const tn_real *tops, const tn_real *sums, int i) {
    double top = -INFINITY, sum = 0;
    for (int64_t b = 0; b < p->blocks; b++) top = fmax(top, (double)tops[b * p->stride + i]);
    for (int64_t b = 0; b < p->blocks; b++)
        sum += (double)sums[b * p->stride + i] * exp((double)tops[b * p->stride + i] - top);
    return top + log(sum);
}

/* The loss of token i, and what its blocks of G are multiplied by: exp(top - lse) (1 + 2 c lse) weight. */
static void finish_token(const tn_head_pass *p, int i) {
    const tn_loss_options *o = p->a->options;
    const double lse = tn_head_log_sum(p, p->top, p->sum, i),
                 factor = tn_head_weight(p, i) * (1 + 2 * (double)o->z_loss * lse);
    p->nll[i] = lse - (double)p->target[i];
    p->extra[i] = (double)o->z_loss * lse * lse;
    if (p->teacher.c) p->extra[i] += tn_head_teacher_finish(p, i);
    for (int64_t b = 0; b < p->blocks && p->makes_g; b++)
        p->top[b * p->stride + i] = (tn_real)(factor * exp((double)p->top[b * p->stride + i] - lse));
}

static void finish_tokens(void *context, int64_t begin, int64_t end) {
    const tn_head_pass *p = context;
    for (int64_t i = begin; i < end; i++) finish_token(p, (int)i);
}

/* ---- G, dw and dx ---- */

static void make_g(const tn_head_pass *p, int64_t block) {
    const int id = tn_head_block_first(p, block), ids = tn_head_block_first(p, block + 1) - id;
    const tn_real *factor = p->top + block * p->stride;
    if (p->teacher.c) tn_head_teacher_mix(p, block);
    for (int j = 0; j < ids && !p->teacher.c; j++) {
        tn_real *g = p->g + (id + j) * p->stride;
        tn_k->mul(p->rows, g, factor, g);
    }
    for (int i = 0; i < p->rows; i++) {
        const int at = tn_head_target(p, i) - id;
        if (at >= 0 && at < ids) p->g[(id + at) * p->stride + i] -= (tn_real)tn_head_weight(p, i);
    }
}

static void add_block_dx(const tn_head_pass *p, const tn_real *g, int id, int ids, tn_sum sum, tn_real *dx) {
    tn_real *turned = tn_head_room(p), *panels = turned + (int64_t)p->chunk * (TN_HEAD_BLOCK + TN_HEAD_PAD);
    const tn_real *w = tn_param_rows(p->a->in[1]->param, id, ids, panels + tn_panels_count(TN_HEAD_BLOCK, p->c));
    tn_k->turn(ids, p->rows, g, p->stride, turned, TN_HEAD_BLOCK + TN_HEAD_PAD);
    tn_panels_pack(ids, p->c, w, p->c, panels);
    tn_panels_multiply(p->rows, p->c, ids, turned, TN_HEAD_BLOCK + TN_HEAD_PAD, panels, sum, dx, p->c);
}

static void add_block(const tn_head_pass *p, int64_t block, tn_sum dw_sum, tn_sum dx_sum, tn_real *dx) {
    const int id = tn_head_block_first(p, block), ids = tn_head_block_first(p, block + 1) - id;
    const tn_real *g = p->g + id * p->stride;
    make_g(p, block);
    if (p->makes_dw)
        tn_panels_multiply(ids, p->c, p->rows, g, p->stride, p->x_panels, dw_sum,
                           p->a->in[1]->grad + (int64_t)id * p->c, p->c);
    if (p->makes_dx) add_block_dx(p, g, id, ids, dx_sum, dx);
}

/* Items: parts. */
static void gradient_parts(void *context, int64_t begin, int64_t end) {
    const tn_head_pass *p = context;
    const int each = p->blocks / p->parts;
    const tn_sum dw_sum = p->sets_dw && p->first == 0 ? TN_SUM_SET : TN_SUM_ADD;
    for (int64_t block = begin * each; block < end * each; block++)
        (p->codes ? tn_head_words_gradients : add_block)(p, block, dw_sum, block % each ? TN_SUM_ADD : TN_SUM_SET,
                                                         p->part_dx + block / each * p->chunk * p->c);
}

/* Items: blocks. */
static void make_g_blocks(void *context, int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block++) make_g(context, block);
}

static void multiply_rounded(const tn_head_pass *p) {
    const tn_tensor *w = p->a->in[1];
    const tn_real beta = p->sets_dw && p->first == 0 ? 0 : 1;
    const int v = p->v, c = p->c;
    tn_par_for(p->blocks, 1, make_g_blocks, (void *)(uintptr_t)p);
    if (p->makes_dw) tn_product_bf16(TN_AS_IS, TN_AS_IS, v, c, p->rows, 1, p->g, p->stride, p->x, c, beta, w->grad, c);
    if (p->makes_dx)
        tn_product_bf16(TN_TRANSPOSED, TN_AS_IS, p->rows, c, v, 1, p->g, p->stride, w->real, c, 0, p->part_dx, c);
}

/* Items: tokens of the chunk. */
static void sum_dx(void *context, int64_t begin, int64_t end) {
    const tn_head_pass *p = context;
    const loss_aux *aux = p->a->aux;
    for (int64_t i = begin; i < end; i++) {
        tn_real *dx = p->part_dx + i * p->c;
        const int64_t at = (int64_t)p->tokens[p->first + i] * p->c;
        for (int part = 1; part < p->parts && !p->rounds; part++)
            tn_k->accumulate(p->c, dx + (int64_t)part * p->chunk * p->c, dx);
        if (aux->dx)
            memcpy(aux->dx + at, dx, (size_t)p->c * sizeof *dx);
        else
            tn_op_deliver(p->a, 0, at, p->c, dx);
    }
}

/* ---- the walk ---- */

static void add_losses(tn_head_pass *p) {
    double *row_nll = ((const tn_loss_options *)p->a->options)->row_nll;
    for (int i = 0; i < p->rows; i++) {
        const double r = tn_head_row_weight(p, i);
        if (row_nll) row_nll[p->tokens[p->first + i]] = p->nll[i];
        p->total_nll += p->nll[i];
        p->total_loss += r * p->nll[i];
        p->total_extra += r * p->extra[i];
        if (p->teacher.c) p->total_divergence += p->teacher.divergence[i];
    }
}

static void run_chunk(tn_head_pass *p) {
    const int panels = token_panels(p);
    tn_par_for(panels, 1, gather_panels, p);
    tn_par_for((int64_t)p->blocks * panels, TN_MAX(GROUP_TOKENS / p->width, 1), logit_blocks, p);
    tn_par_for(p->rows, ROWS, finish_tokens, p);
    add_losses(p);
    if (!p->makes_g) return;
    if (p->rounds) {
        multiply_rounded(p);
    } else {
        if (!p->codes)
            tn_par_for(p->c, p->width, pack_columns, p);
        else if (p->makes_dw)
            tn_head_words_pack_columns(p);
        tn_par_for(p->parts, 1, gradient_parts, p);
    }
    if (p->makes_dx) tn_par_for(p->rows, ROWS, sum_dx, p);
}

static void run_chunks(tn_head_pass *p) {
    list_tokens(p);
    if (p->codes && p->n_tokens) tn_head_words_pack_w(p);
    for (p->first = 0; p->first < p->n_tokens; p->first += p->rows) {
        p->rows = TN_MIN(p->chunk, p->n_tokens - p->first);
        run_chunk(p);
    }
    if (p->makes_dw && p->sets_dw && !p->n_tokens)
        memset(p->a->in[1]->grad, 0, (size_t)p->v * (size_t)p->c * sizeof(tn_real));
}

void tn_op_head_loss_forward(const tn_op_args *a) {
    const tn_loss_options *o = a->options;
    const loss_aux *aux = a->aux;
    tn_head_pass *p = aux->forward;
    tn_param *w = a->in[1]->param;
    p->a = a;
    p->weight = 1 / o->divisor;
    p->sets_dw = w->grad_empty;
    if (aux->dx) memset(aux->dx, 0, (size_t)tn_tensor_count(a->in[0]) * sizeof *aux->dx);
    run_chunks(p);
    if (p->makes_dw) w->grad_empty = false;
    if (o->sum) *o->sum = p->total_nll;
    if (o->teacher.divergence) *o->teacher.divergence = p->total_divergence;
    a->out->real[0] = (tn_real)((p->total_loss + p->total_extra) / o->divisor);
}

/* Tokens without a target: nothing is added. */
static void clear_other_rows(const tn_op_args *a) {
    const int c = tn_tensor_cols(a->in[0]);
    for (int64_t i = 0; i < tn_tensor_count(a->in[2]); i++)
        if (a->in[2]->ids[i] < 0) (void)tn_op_grad_run(a, 0, i * c, c);
}

static void deliver_rows(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    const loss_aux *aux = a->aux;
    tn_op_deliver(a, 0, begin, end - begin, aux->dx + begin);
}

void tn_op_head_loss_backward(const tn_op_args *a) {
    const tn_loss_options *o = a->options;
    const loss_aux *aux = a->aux;
    if (aux->final) {
        TN_ASSERT(a->out->grad[0] == 1); /* or `final` was not true */
        if (aux->dx) tn_par_for(tn_tensor_count(a->in[0]), TN_OP_RUN, deliver_rows, (void *)(uintptr_t)a);
        return;
    }
    tn_head_pass p;
    if (tn_tape_fail(a->tape, make_room(&p, a, true))) return;
    p.weight = (double)a->out->grad[0] / o->divisor;
    p.sets_dw = a->write[1] == TN_WRITE_SET;
    if (p.makes_dx) clear_other_rows(a);
    run_chunks(&p);
}

static const tn_loss_options one = {.divisor = 1}, usual = {.divisor = 37, .z_loss = (tn_real)0.01},
                             none = {.divisor = 0};
static const tn_real weights[10] = {1, -2, 0, (tn_real)0.5, 3, -1, (tn_real)-0.25, 2, (tn_real)1e-3, 1};
static const tn_loss_options weighted = {.divisor = 7, .z_loss = (tn_real)0.01, .row_weight = weights};
/* Teachers of width 2 before 5 ids, and what they read of 10 rows. */
static const tn_real teacher_numbers[10] = {1, -1, 2, 1, -2, 0, -1, 3, 1, 1},
                     teacher_hidden[20] = {1, 0, 2, 1, -1, 1, 0, 0, 3, -1, 1, 1, -2, 0, 1, -1, 0, 2, -1, -1};
static const tn_param teacher_head = {
    .name = "teacher", .rows = 5, .cols = 2, .tensor = {.real = (tn_real *)teacher_numbers}};
#define TEACHER(tau, lambda) .teacher = {&teacher_head, teacher_hidden, (tau), (lambda), NULL}
static const tn_loss_options taught = {.divisor = 7, .row_weight = weights, TEACHER(3, 2)},
                             cold = {.divisor = 7, TEACHER(0, 2)}, against = {.divisor = 7, TEACHER(3, -1)};
#define OPTIONS(o) .options = &(o), .options_size = sizeof(o)
const tn_op_sample tn_op_head_loss_samples[] = {
    {.dims = {{1, 1}, {1, 1}, {1}}, .ids_below = 1, OPTIONS(one)},
    {.dims = {{2, 5, 9}, {33, 9}, {2, 5}}, .ids_below = 33, OPTIONS(usual)},
    {.dims = {{2, 5, 9}, {33, 9}, {2, 5}}, .ids_below = 33, OPTIONS(weighted)},
    {.dims = {{2, 5, 9}, {5, 9}, {2, 5}}, .ids_below = 5, OPTIONS(taught)},
    {.dims = {{200, 7}, {1100, 7}, {200}}, .ids_below = 1100, OPTIONS(usual)}, /* several parts */
    {.dims = {{530, 3}, {4500, 3}, {530}},
     .ids_below = 4500,
     OPTIONS(usual)}, /* several blocks a part, chunks, tails */
    {.dims = {{4, 8}, {5, 8}, {3}}, .ids_below = 5, OPTIONS(usual), .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {5, 9}, {4}}, .ids_below = 5, OPTIONS(usual), .expect = TN_E_SHAPE},
    {.dims = {{40, 8}, {5, 8}, {40}}, .ids_below = 1000, OPTIONS(usual), .expect = TN_E_RANGE},
    {.dims = {{4, 8}, {5, 8}, {4}}, .ids_below = 5, OPTIONS(none), .expect = TN_E_RANGE},
    {.dims = {{4, 8}, {6, 8}, {4}}, .ids_below = 5, OPTIONS(taught), .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {5, 8}, {4}}, .ids_below = 5, OPTIONS(cold), .expect = TN_E_RANGE},
    {.dims = {{4, 8}, {5, 8}, {4}}, .ids_below = 5, OPTIONS(against), .expect = TN_E_RANGE},
    TN_SAMPLES_END};
