/* SPDX-License-Identifier: MIT
 * op_head_loss.c -  z = x w',  lse_i = log sum_j exp z_ij,  l = sum_i (lse_i - z_i[y_i] + c lse_i^2) / D
 *                   x [N,C]  w [V,C] float  y [N], negative = no loss  l [1]  aux lse [N]
 *                   G_ij = (p_ij (1 + 2 c lse_i) - [j = y_i]) / D,  p_ij = exp(z_ij - lse_i);   dx = G w,  dw = G' x
 * z is made in tiles of ROWS tokens and about COLUMNS ids, once for lse and again for G; the largest piece of memory is
 * G of BACK_ROWS tokens. The maximum and the sum of a row run over its tiles in ascending order. */
#include "autograd/op_page.h"
#include "kernels/gemm.h"

#include <math.h>
#include <string.h>

enum { ROWS = 64, COLUMNS = 1024, BACK_ROWS = 128, BACK_COLUMNS = 512 };

typedef struct loss_aux {
    tn_real *lse;         /* [N] */
    tn_real *tiles;       /* scratch: ROWS x width for each worker */
    double *nll, *z_term; /* scratch [N]: lse - z[y], and c lse^2; 0 where there is no target */
} loss_aux;

tn_tensor *tn_head_loss(tn_tape *t, tn_tensor *x, tn_param *w, tn_tensor *targets, tn_loss_options options) {
    return tn_tape_apply(t, TN_OP_head_loss, (tn_tensor *const[]){x, &w->tensor, targets}, &options, sizeof options);
}

/* Ids in a tile: whole panels of the packed head. */
static int tile_width(int columns) { return TN_ROUND_UP(columns, tn_k->real_panel_width); }
static int64_t tile_size(int columns) { return (int64_t)ROWS * tile_width(columns) * tn_par_threads(); }

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
    const tn_param *w = tn_op_float_param(a, "head_loss", 1, true);
    if (!w) return TN_E_DTYPE;
    char shape[2][64];
    if (tn_tensor_cols(a->in[0]) != w->cols || tn_tensor_rows(a->in[0]) != tn_tensor_count(a->in[2]))
        return TN_FAIL(SHAPE, "head_loss: x %s, targets %s and %s [%d,%d] do not fit",
                       tn_tensor_shape(a->in[0], shape[0]), tn_tensor_shape(a->in[2], shape[1]), w->name, w->rows,
                       w->cols);
    if (!(o->divisor > 0) || !isfinite(o->divisor) || !(o->z_loss >= 0) || !isfinite(o->z_loss))
        return TN_FAIL(RANGE, "head_loss: divisor %g must be > 0 and z_loss %g >= 0", o->divisor, (double)o->z_loss);
    return check_targets(a, w->rows);
}

tn_status tn_op_head_loss_check(tn_op_args *a) {
    TN_TRY(check_operands(a));
    int64_t n = tn_tensor_rows(a->in[0]);
    loss_aux *aux;
    TN_TAKE0(aux, tn_tape_step(a->tape), 1, "tape");
    TN_TAKE(aux->lse, tn_tape_step(a->tape), n, "activations");
    TN_TRY(tn_op_reserve(a, tile_size(BACK_COLUMNS) + TN_MIN(n, BACK_ROWS) * a->in[1]->param->rows));
    TN_TAKE(aux->tiles, tn_tape_scratch(a->tape), tile_size(COLUMNS), "op scratch");
    TN_TAKE(aux->nll, tn_tape_scratch(a->tape), n, "op scratch");
    TN_TAKE(aux->z_term, tn_tape_scratch(a->tape), n, "op scratch");
    a->aux = aux;
    a->out = tn_op_result(a, TN_REAL, 1, (const int[]){1});
    return a->out ? TN_OK : TN_E_NOMEM;
}

static bool any_target(const tn_op_args *a, int64_t first, int rows) {
    for (int i = 0; i < rows; i++)
        if (a->in[2]->ids[first + i] >= 0) return true;
    return false;
}

/* Running log-sum-exp of the rows of a block. */
typedef struct row_sums {
    double max[ROWS], sum[ROWS], target[ROWS];
} row_sums;

static void add_tile(row_sums *s, int rows, const int32_t *targets, int first_id, int width, const tn_real *z) {
    for (int i = 0; i < rows; i++, z += width) {
        double top = fmax(s->max[i], (double)tn_k->row_max(width, z));
        s->sum[i] = s->sum[i] * exp(s->max[i] - top) + (double)tn_k->exp_sum(width, z, (tn_real)top);
        s->max[i] = top;
        int at = targets[i] - first_id;
        if (at >= 0 && at < width) s->target[i] = (double)z[at];
    }
}

static void finish_rows(const tn_op_args *a, const row_sums *s, int64_t first, int rows) {
    const tn_loss_options *o = a->options;
    const loss_aux *aux = a->aux;
    for (int i = 0; i < rows; i++) {
        bool counts = a->in[2]->ids[first + i] >= 0;
        double lse = s->max[i] + log(s->sum[i]);
        aux->lse[first + i] = (tn_real)lse;
        aux->nll[first + i] = counts ? lse - s->target[i] : 0;
        aux->z_term[first + i] = counts ? (double)o->z_loss * lse * lse : 0;
    }
}

/* Items: blocks of ROWS tokens. */
static void forward_blocks(void *context, int64_t begin, int64_t end) {
    const tn_op_args *a = context;
    const loss_aux *aux = a->aux;
    const tn_param *w = a->in[1]->param;
    const int width = tile_width(COLUMNS), n = (int)tn_tensor_rows(a->in[0]);
    tn_real *z = aux->tiles + (int64_t)tn_par_worker() * ROWS * width;
    for (int64_t block = begin; block < end; block++) {
        int first = (int)block * ROWS, rows = TN_MIN(ROWS, n - first);
        row_sums s = {0};
        for (int i = 0; i < rows; i++) s.max[i] = -INFINITY;
        if (!any_target(a, first, rows)) {
            memset(aux->lse + first, 0, (size_t)rows * sizeof *aux->lse);
            memset(aux->nll + first, 0, (size_t)rows * sizeof *aux->nll);
            memset(aux->z_term + first, 0, (size_t)rows * sizeof *aux->z_term);
            continue;
        }
        for (int id = 0; id < w->rows; id += width) {
            int count = TN_MIN(width, w->rows - id);
            tn_gemm_real_part(rows, w->rows, w->cols, a->in[0]->real + (int64_t)first * w->cols, w->packed, id, count,
                              z, count);
            add_tile(&s, rows, a->in[2]->ids + first, id, count, z);
        }
        finish_rows(a, &s, first, rows);
    }
}

void tn_op_head_loss_forward(const tn_op_args *a) {
    const tn_loss_options *o = a->options;
    const loss_aux *aux = a->aux;
    int64_t n = tn_tensor_rows(a->in[0]);
    tn_par_for((n + ROWS - 1) / ROWS, 1, forward_blocks, (void *)(uintptr_t)a);
    double nll = 0, z_term = 0;
    for (int64_t i = 0; i < n; i++) {
        nll += aux->nll[i];
        z_term += aux->z_term[i];
    }
    if (o->sum) *o->sum = nll;
    a->out->real[0] = (tn_real)((nll + z_term) / o->divisor);
}

typedef struct loss_back {
    const tn_op_args *a;
    tn_real *tiles, *g; /* g [rows, V] */
    int first, rows;    /* the tokens of g */
} loss_back;

static void gradient_row(const loss_back *p, int i, int first_id, int count, const tn_real *z, tn_real *g) {
    const tn_loss_options *o = p->a->options;
    const loss_aux *aux = p->a->aux;
    int target = p->a->in[2]->ids[p->first + i];
    if (target < 0) {
        memset(g, 0, (size_t)count * sizeof *g);
        return;
    }
    tn_real lse = aux->lse[p->first + i], weight = (tn_real)((double)p->a->out->grad[0] / o->divisor);
    tn_k->exp_scaled(count, z, lse, weight * (1 + 2 * o->z_loss * lse), g);
    if (target >= first_id && target < first_id + count) g[target - first_id] -= weight;
}

/* Items of the flat [tiles of ids, blocks of ROWS tokens]. */
static void gradient_tiles(void *context, int64_t begin, int64_t end) {
    const loss_back *p = context;
    const tn_param *w = p->a->in[1]->param;
    int width = tile_width(BACK_COLUMNS), blocks = (p->rows + ROWS - 1) / ROWS;
    tn_real *z = p->tiles + (int64_t)tn_par_worker() * ROWS * width;
    for (int64_t item = begin; item < end; item++) {
        int id = (int)(item / blocks) * width, first = (int)(item % blocks) * ROWS;
        int count = TN_MIN(width, w->rows - id), rows = TN_MIN(ROWS, p->rows - first);
        const tn_real *x = p->a->in[0]->real + (int64_t)(p->first + first) * w->cols;
        tn_gemm_real_part(rows, w->rows, w->cols, x, w->packed, id, count, z, count);
        for (int i = 0; i < rows; i++)
            gradient_row(p, first + i, id, count, z + (int64_t)i * count, p->g + (int64_t)(first + i) * w->rows + id);
    }
}

/* Blocks of BACK_ROWS tokens one after the other, each parallel inside: dw adds up in the order of the tokens. */
void tn_op_head_loss_backward(const tn_op_args *a) {
    const tn_tensor *x = a->in[0], *w = a->in[1];
    int n = (int)tn_tensor_rows(x), v = w->param->rows, c = w->param->cols, width = tile_width(BACK_COLUMNS);
    loss_back p = {.a = a, .tiles = tn_op_scratch(a, tile_size(BACK_COLUMNS))};
    p.g = tn_op_scratch(a, (int64_t)TN_MIN(n, BACK_ROWS) * v);
    for (p.first = 0; p.tiles && p.g && p.first < n; p.first += BACK_ROWS) {
        p.rows = TN_MIN(BACK_ROWS, n - p.first);
        if (!any_target(a, p.first, p.rows)) continue;
        int blocks = (p.rows + ROWS - 1) / ROWS;
        tn_par_for((int64_t)blocks * ((v + width - 1) / width), 1, gradient_tiles, &p);
        int64_t at = (int64_t)p.first * c;
        if (tn_op_wants(a, 0)) tn_product(TN_AS_IS, TN_AS_IS, p.rows, c, v, 1, p.g, v, w->real, c, 1, x->grad + at, c);
        if (tn_op_wants(a, 1))
            tn_product(TN_TRANSPOSED, TN_AS_IS, v, c, p.rows, 1, p.g, v, x->real + at, c, 1, w->grad, c);
    }
}

static const tn_loss_options one = {.divisor = 1}, usual = {.divisor = 37, .z_loss = (tn_real)0.01},
                             none = {.divisor = 0};
#define OPTIONS(o) .options = &(o), .options_size = sizeof(o)
const tn_op_sample tn_op_head_loss_samples[] = {
    {.dims = {{1, 1}, {1, 1}, {1}}, .ids_below = 1, OPTIONS(one)},
    {.dims = {{2, 5, 9}, {33, 9}, {2, 5}}, .ids_below = 33, OPTIONS(usual)},
    {.dims = {{200, 7}, {1100, 7}, {200}}, .ids_below = 1100, OPTIONS(usual)}, /* several tiles each way */
    {.dims = {{4, 8}, {5, 8}, {3}}, .ids_below = 5, OPTIONS(usual), .expect = TN_E_SHAPE},
    {.dims = {{4, 8}, {5, 9}, {4}}, .ids_below = 5, OPTIONS(usual), .expect = TN_E_SHAPE},
    {.dims = {{40, 8}, {5, 8}, {40}}, .ids_below = 1000, OPTIONS(usual), .expect = TN_E_RANGE},
    {.dims = {{4, 8}, {5, 8}, {4}}, .ids_below = 5, OPTIONS(none), .expect = TN_E_RANGE},
    TN_SAMPLES_END};
