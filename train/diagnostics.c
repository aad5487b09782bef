/* SPDX-License-Identifier: MIT */
#include "train/diagnostics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SITES_A_LAYER = 8, ROWS_SEEN = 4096 /* enough for a share; an evaluation may have millions */ };

typedef struct matrix {
    const tn_param *param;
    uint8_t *before; /* states plus 1, four in a byte */
    double zero_share, flip_share;
} matrix;

typedef struct site {
    int layer;
    const char *name; /* as the observer names it: "attn", "ffn_down" */
    int64_t rows, saturated;
} site;

struct tn_diagnostics {
    tn_model *model;
    matrix *matrices;
    int n_matrices;
    site *sites;
    int n_sites, max_sites;
};

static int64_t bytes_of(const tn_param *param) { return (tn_param_count(param) + 3) / 4; }

tn_status tn_diagnostics_create(tn_diagnostics **out, tn_arena *arena, tn_model *model) {
    tn_diagnostics *d;
    int n_params;
    tn_param **params = tn_model_params(model, &n_params);
    TN_TAKE0(d, arena, 1, "diagnostics");
    TN_TAKE0(d->matrices, arena, n_params, "diagnostics");
    d->model = model;
    d->max_sites = tn_model_get_config(model)->n_layer * SITES_A_LAYER;
    TN_TAKE0(d->sites, arena, d->max_sites, "diagnostics");
    for (int i = 0; i < n_params; i++) {
        if (params[i]->quantizer == TN_QUANT_NONE || !params[i]->tensor.grad) continue;
        matrix *m = &d->matrices[d->n_matrices++];
        m->param = params[i];
        TN_TAKE(m->before, arena, bytes_of(params[i]), "diagnostics");
    }
    *out = d;
    return TN_OK;
}

/* Four states from `at` on; those past the last are 0. */
static uint8_t four_states(const tn_param *param, int64_t at) {
    const int64_t count = TN_MIN(tn_param_count(param) - at, (int64_t)4);
    unsigned byte = 0;
    for (int64_t i = 0; i < count; i++) byte |= (unsigned)(param->states[at + i] + 1) << 2 * i;
    return (uint8_t)byte;
}

void tn_diagnostics_before(tn_diagnostics *d) {
    for (int i = 0; i < d->n_matrices; i++) {
        const matrix *m = &d->matrices[i];
        for (int64_t j = 0; j < bytes_of(m->param); j++) m->before[j] = four_states(m->param, 4 * j);
    }
}

tn_ternary_shares tn_diagnostics_after(tn_diagnostics *d) {
    int64_t zeros = 0, flips = 0, all = 0;
    for (int i = 0; i < d->n_matrices; i++) {
        matrix *m = &d->matrices[i];
        int64_t count = tn_param_count(m->param), zero = 0, flip = 0;
        for (int64_t j = 0; j < count; j++) {
            zero += m->param->states[j] == 0;
            flip += m->param->states[j] != (m->before[j / 4] >> 2 * (j % 4) & 3) - 1;
        }
        m->zero_share = (double)zero / (double)count;
        m->flip_share = (double)flip / (double)count;
        zeros += zero;
        flips += flip;
        all += count;
    }
    if (!all) return (tn_ternary_shares){(double)NAN, (double)NAN};
    return (tn_ternary_shares){(double)zeros / (double)all, (double)flips / (double)all};
}

/* ---- inputs ---- */

static bool is_saturated(const int8_t *q, int k) {
    int full = 0, small = 0;
    for (int i = 0; i < k; i++) {
        int magnitude = abs(q[i]);
        full += magnitude == 127;
        small += magnitude < 4;
    }
    return full == 1 && 2 * small > k;
}

static site *find_site(tn_diagnostics *d, int layer, const char *name) {
    for (int i = 0; i < d->n_sites; i++)
        if (d->sites[i].layer == layer && strcmp(d->sites[i].name, name) == 0) return &d->sites[i];
    if (d->n_sites == d->max_sites) return NULL;
    d->sites[d->n_sites] = (site){.layer = layer, .name = name};
    return &d->sites[d->n_sites++];
}

static void observe(void *context, int layer, const char *name, const tn_tensor *codes) {
    site *s = find_site(context, layer, name);
    if (!s || s->rows >= ROWS_SEEN) return;
    int64_t rows = tn_tensor_rows(codes);
    int k = tn_tensor_cols(codes);
    for (int64_t i = 0; i < rows; i++) s->saturated += is_saturated(codes->codes + i * k, k);
    s->rows += rows;
}

void tn_diagnostics_observe(tn_diagnostics *d) {
    d->n_sites = 0;
    tn_model_observe(d->model, observe, d);
}

void tn_diagnostics_stop(tn_diagnostics *d) { tn_model_observe(d->model, NULL, NULL); }

/* The site whose name is the longest beginning of the parameter's: "ffn_down" before "ffn" for blk.0.ffn_down.weight.
 */
static double saturation_of(const tn_diagnostics *d, const tn_param *param) {
    size_t longest = 0;
    double share = (double)NAN;
    for (int i = 0; i < d->n_sites; i++) {
        char prefix[80];
        int len = snprintf(prefix, sizeof prefix, "blk.%d.%s", d->sites[i].layer, d->sites[i].name);
        if ((size_t)len <= longest || strncmp(param->name, prefix, (size_t)len) != 0) continue;
        longest = (size_t)len;
        share = (double)d->sites[i].saturated / (double)d->sites[i].rows;
    }
    return share;
}

static tn_status put_matrix(const tn_diagnostics *d, const matrix *m, tn_buf *out) {
    double saturation = saturation_of(d, m->param);
    TN_TRY(tn_buf_printf(out, "\"%s\": {\"zero_share\": %.9g, \"flip_share\": %.9g, \"scale\": %.9g", m->param->name,
                         m->zero_share, m->flip_share, (double)m->param->scale));
    if (isfinite(saturation)) TN_TRY(tn_buf_printf(out, ", \"saturation\": %.9g", saturation));
    return tn_buf_putc(out, '}');
}

static tn_status put_pair(const tn_adapter_pair *pair, tn_buf *out) {
    const double states = (double)pair->b.rows * pair->a.rows;
    return tn_buf_printf(out, "\"%s\": {\"flipped_share\": %.9g, \"largest_shift\": %.9g}", pair->target,
                         (double)pair->merge.flipped / states, pair->merge.largest);
}

static tn_status put_pairs(const tn_adapter *adapter, const char **between, tn_buf *out) {
    for (int i = 0; adapter->options.merged && i < adapter->n_pairs; i++) {
        TN_TRY(tn_buf_puts(out, *between));
        TN_TRY(put_pair(&adapter->pairs[i], out));
        *between = ", ";
    }
    return TN_OK;
}

tn_status tn_diagnostics_json(const tn_diagnostics *d, tn_buf *out) {
    const char *between = "{";
    for (int i = 0; i < d->n_matrices; i++) {
        TN_TRY(tn_buf_puts(out, between));
        TN_TRY(put_matrix(d, &d->matrices[i], out));
        between = ", ";
    }
    for (const tn_adapter *adapter = tn_model_adapters(d->model); adapter; adapter = adapter->next)
        TN_TRY(put_pairs(adapter, &between, out));
    return *between == ',' ? tn_buf_putc(out, '}') : TN_OK;
}

tn_adapter_flips tn_merged_flips(const tn_model *model) {
    tn_adapter_flips all = {0};
    for (const tn_adapter *adapter = tn_model_adapters(model); adapter; adapter = adapter->next) {
        if (!adapter->options.merged) continue;
        const tn_adapter_flips flips = tn_adapter_count_flips(adapter);
        all.flipped += flips.flipped;
        all.states += flips.states;
        all.largest = fmax(all.largest, flips.largest);
    }
    return all;
}

double tn_flipped_share(const tn_model *model) {
    const tn_adapter_flips flips = tn_merged_flips(model);
    return flips.states ? (double)flips.flipped / (double)flips.states : (double)NAN;
}
