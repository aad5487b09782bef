/* SPDX-License-Identifier: MIT */
#include "models/lora_merge.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/par.h"
#include "models/adapter_writing.h"

double tn_merge_share_lost(const tn_merge_sum *sum) { return sum->change > 0 ? sqrt(sum->lost / sum->change) : 0; }

/* One pair, so that row i of what it adds is the sum over r of left [i,r] right [r,:]. */
typedef struct term {
    const tn_real *left; /* [rows, rank] */
    float *right;        /* [rank, cols] */
    int rank;
    double c; /* with the scale */
} term;

/* What becomes of one matrix. */
typedef struct merging {
    tn_param *param;
    term *terms;
    int n_terms;
    int8_t *before, *after; /* [rows, cols] states; NULL: floats */
    double scale_before, scale_after;
    double *room; /* [threads, cols] */
    /* [rows] */
    double *change, *lost;
    int64_t *flipped;
} merging;

typedef struct job {
    tn_model *model;
    const tn_merge_part *parts;
    int n_parts;
    tn_arena *arena, *scratch;
    tn_merge_report *report;
} job;

/* ---- rows ---- */

static const double *sum_row(const merging *m, int64_t row) {
    const int64_t cols = m->param->cols;
    double *sum = m->room + tn_par_worker() * cols;
    memset(sum, 0, sizeof *sum * (size_t)cols);
    for (int i = 0; i < m->n_terms; i++)
        for (int r = 0; r < m->terms[i].rank; r++) {
            const double left = m->terms[i].c * (double)m->terms[i].left[row * m->terms[i].rank + r];
            const float *right = m->terms[i].right + r * cols;
            for (int64_t k = 0; k < cols; k++) sum[k] += left * (double)right[k];
        }
    return sum;
}

static void add_to_values(void *context, int64_t begin, int64_t end) {
    const merging *m = context;
    const int64_t cols = m->param->cols;
    for (int64_t row = begin; row < end; row++) {
        const double *sum = sum_row(m, row);
        tn_real *values = m->param->tensor.real + row * cols;
        for (int64_t k = 0; k < cols; k++) {
            const double before = (double)values[k];
            values[k] = (tn_real)(float)(before + sum[k]);
            const double off = (double)values[k] - before - sum[k];
            m->change[row] += sum[k] * sum[k];
            m->lost[row] += off * off;
        }
    }
}

static void choose_states(void *context, int64_t begin, int64_t end) {
    const merging *m = context;
    const int64_t cols = m->param->cols;
    for (int64_t row = begin; row < end; row++) {
        const double *sum = sum_row(m, row);
        for (int64_t k = 0; k < cols; k++) {
            const double nearest = rint(m->before[row * cols + k] + sum[k] / m->scale_before);
            m->after[row * cols + k] = (int8_t)fmax(-1, fmin(1, nearest));
        }
    }
}

/* Of weights as products see them. */
static void measure(void *context, int64_t begin, int64_t end) {
    const merging *m = context;
    const int64_t cols = m->param->cols;
    for (int64_t row = begin; row < end; row++) {
        const double *sum = sum_row(m, row);
        const int8_t *before = m->before + row * cols, *after = m->after + row * cols;
        m->change[row] = m->lost[row] = 0;
        for (int64_t k = 0; k < cols; k++) {
            const double off = m->scale_after * after[k] - m->scale_before * before[k] - sum[k];
            m->change[row] += sum[k] * sum[k];
            m->lost[row] += off * off;
            m->flipped[row] += after[k] != before[k];
        }
    }
}

/* ---- one matrix ---- */

/* A table in a file becomes a value, which can be added to. */
static tn_status make_value(tn_param *p, tn_arena *arena) {
    const tn_table table = p->table;
    p->table = (tn_table){0};
    TN_TRY(tn_param_take_value(p, arena));
    tn_table_rows(&table, p->cols, 0, p->rows, p->tensor.real);
    return TN_OK;
}

static tn_status make_terms(const job *j, const char *target, merging *m) {
    TN_TAKE(m->terms, j->scratch, j->n_parts, "merging");
    for (int i = 0; i < j->n_parts; i++) {
        const tn_merge_part *part = &j->parts[i];
        const tn_adapter_pair *pair = tn_adapter_find(part->adapter, target);
        if (!pair) continue;
        /* An embedding reads rows of A. */
        const tn_param *left = tn_adapter_is_embedding(target) ? &pair->a : &pair->b;
        const tn_param *right = tn_adapter_is_embedding(target) ? &pair->b : &pair->a;
        term *t = &m->terms[m->n_terms++];
        *t = (term){.left = left->tensor.real, .rank = pair->rank, .c = part->scale * (double)pair->c};
        TN_TAKE(t->right, j->scratch, tn_param_count(right), "merging");
        tn_adapter_put_floats(right, true, 1, t->right);
    }
    return TN_OK;
}

static tn_status take_rows(const job *j, merging *m) {
    const tn_param *p = m->param;
    const bool ternary = p->quantizer != TN_QUANT_NONE;
    TN_TAKE(m->room, j->scratch, (int64_t)tn_par_threads() * p->cols, "merging");
    TN_TAKE0(m->change, j->scratch, p->rows, "merging");
    TN_TAKE0(m->lost, j->scratch, p->rows, "merging");
    TN_TAKE0(m->flipped, j->scratch, p->rows, "merging");
    if (!ternary) return TN_OK;
    TN_TAKE(m->before, j->scratch, tn_param_count(p), "merging");
    TN_TAKE(m->after, j->scratch, tn_param_count(p), "merging");
    memcpy(m->before, p->states, (size_t)tn_param_count(p));
    m->scale_before = m->scale_after = (double)p->scale;
    return TN_OK;
}

static tn_status merge_states(merging *m) {
    tn_param *p = m->param;
    if (p->quantizer == TN_QUANT_SIGN_BINARY)
        return TN_FAIL(UNSUPPORTED, "%s has binary states without latents, into which no adapter is merged", p->name);
    tn_par_for(p->rows, 4, choose_states, m);
    tn_param_put_states(p, 0, p->rows, m->after);
    return TN_OK;
}

static void merge_latents(merging *m) {
    tn_param *p = m->param;
    tn_real scale;
    tn_par_for(p->rows, 4, add_to_values, m);
    tn_param_quantize(p->quantizer, p->rows, p->cols, p->tensor.real, m->after, &scale);
    m->scale_after = (double)scale;
}

static tn_status merge_matrix(const job *j, merging *m) {
    tn_param *p = m->param;
    if (p->table.data) TN_TRY(make_value(p, j->arena));
    TN_TRY(take_rows(j, m));
    if (p->quantizer == TN_QUANT_NONE) {
        tn_par_for(p->rows, 4, add_to_values, m);
        return TN_OK;
    }
    if (p->tensor.real)
        merge_latents(m);
    else
        TN_TRY(merge_states(m));
    tn_par_for(p->rows, 4, measure, m);
    return TN_OK;
}

/* ---- all of them ---- */

static void add_up(tn_merge_sum *sum, const merging *m) {
    const tn_param *p = m->param;
    sum->matrices++;
    if (m->before) sum->states += tn_param_count(p);
    for (int row = 0; row < p->rows; row++) {
        sum->change += m->change[row];
        sum->lost += m->lost[row];
        sum->flipped += m->flipped[row];
    }
}

static tn_merge_sum *sum_of(tn_merge_report *report, const char *module) {
    for (int i = 0; i < report->n_modules; i++)
        if (strcmp(report->modules[i].module, module) == 0) return &report->modules[i];
    TN_ASSERT(report->n_modules < TN_MERGE_MODULES);
    tn_merge_sum *sum = &report->modules[report->n_modules++];
    snprintf(sum->module, sizeof sum->module, "%s", module);
    return sum;
}

static tn_status merge_target(void *context, const char *target, const char *module) {
    job *j = context;
    merging m = {0};
    tn_arena_reset(j->scratch);
    TN_TRY(make_terms(j, target, &m));
    if (!m.n_terms) return TN_OK;
    if ((tn_adapter_is_embedding(target) || tn_adapter_is_head(target)) &&
        tn_model_get_config(j->model)->tie_embeddings)
        return TN_FAIL(
            UNSUPPORTED,
            "an adapter of %s cannot be merged: embedding and head are one table, and it changes one of them", module);
    m.param = tn_model_find(j->model, target);
    TN_TRY(merge_matrix(j, &m));
    tn_merge_sum *sum = sum_of(j->report, module);
    add_up(sum, &m);
    add_up(&j->report->all, &m);
    if (isfinite(sum->change) && isfinite(sum->lost)) return TN_OK;
    return TN_FAIL(NAN, "what the adapters add to %s is not finite", target);
}

tn_status tn_merge_adapters(tn_model *model, const tn_merge_part *parts, int n_parts, tn_arena *arena,
                            tn_merge_report *report) {
    job j = {.model = model, .parts = parts, .n_parts = n_parts, .arena = arena, .report = report};
    *report = (tn_merge_report){.all = {.module = "all"}};
    j.scratch = tn_arena_create("merging");
    tn_status status = j.scratch ? tn_adapter_each_target(tn_model_get_config(model), merge_target, &j) : TN_E_NOMEM;
    tn_arena_free(j.scratch);
    if (!status) tn_model_refresh(model, 1);
    return status;
}
