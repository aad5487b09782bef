/* SPDX-License-Identifier: MIT */
#include "layers/adapter_priv.h"
#include "layers/model_priv.h"

#include <math.h>
#include <string.h>

/* Dropouts of adapters have sites of their own, above those of the model: an adapter's number and a pair's. */
static uint32_t site_of(int adapter, int pair) { return 1u << 31 | (uint32_t)adapter << 16 | (uint32_t)pair; }

/* The list that a pair belongs into; a model that it was checked against has it. */
static tn_beside **list_of(tn_model *model, const tn_adapter_pair *pair) {
    return tn_adapter_is_head(pair->target) ? &model->beside_head : &tn_model_find(model, pair->target)->beside;
}

static tn_status check_pair(tn_model *model, const tn_adapter_pair *pair) {
    const tn_param *w = tn_adapter_is_head(pair->target) ? tn_model_head(model) : tn_model_find(model, pair->target);
    const int rows = pair->b.rows, cols = pair->a.rows;
    if (!w) return TN_FAIL(MISMATCH, "adapter: the model has no %s [%d,%d]", pair->target, rows, cols);
    const bool embedding = tn_adapter_is_embedding(pair->target);
    if (rows == (embedding ? w->cols : w->rows) && cols == (embedding ? w->rows : w->cols)) return TN_OK;
    return TN_FAIL(MISMATCH, "adapter: a pair from %d to %d for %s, which is [%d,%d] in the model", cols, rows,
                   pair->target, w->rows, w->cols);
}

static tn_status take_places(tn_model *model, tn_adapter *adapter) {
    tn_beside *places;
    int number = 0;
    for (int i = 0; i < adapter->n_pairs; i++) {
        TN_TRY(check_pair(model, &adapter->pairs[i]));
        if (adapter->options.merged) TN_TRY(tn_adapter_check_merge(model, &adapter->pairs[i]));
    }
    for (const tn_adapter *other = model->adapters; other; other = other->next) number++;
    if (!adapter->places) TN_TAKE0(adapter->places, adapter->arena, adapter->n_pairs, "adapter");
    if (adapter->options.merged) TN_TRY(tn_adapter_begin_merge(model, adapter));
    places = adapter->places;
    for (int i = 0; i < adapter->n_pairs; i++) {
        tn_beside **at = list_of(model, &adapter->pairs[i]);
        while (*at) at = &(*at)->next;
        places[i] = (tn_beside){.adapter = adapter,
                                .pair = &adapter->pairs[i],
                                .target = tn_model_find(model, adapter->pairs[i].target),
                                .site = site_of(number, i)};
        *at = &places[i];
    }
    tn_adapter **last = &model->adapters;
    while (*last) last = &(*last)->next;
    *last = adapter;
    return TN_OK;
}

tn_status tn_model_attach(tn_model *model, tn_adapter *adapter, double scale) {
    if (!isfinite(scale)) return TN_FAIL(RANGE, "adapter: a scale of %g", scale);
    if (adapter->model && adapter->model != model) return TN_FAIL(ARG, "adapter: it is attached to another model");
    const tn_real before = adapter->model ? adapter->scale : 0;
    if (!adapter->model) TN_TRY(take_places(model, adapter));
    adapter->model = model;
    adapter->scale = (tn_real)scale;
    model->adapter_changes += adapter->scale != before;
    adapter->stale = adapter->options.merged;
    return TN_OK;
}

void tn_model_detach(tn_model *model, tn_adapter *adapter) {
    if (adapter->model != model) return;
    for (int i = 0; i < adapter->n_pairs; i++) {
        tn_beside **at = list_of(model, &adapter->pairs[i]);
        while (*at != &adapter->places[i]) at = &(*at)->next;
        *at = adapter->places[i].next;
    }
    if (adapter->options.merged) tn_adapter_end_merge(model, adapter, adapter->n_pairs);
    tn_adapter **at = &model->adapters;
    while (*at != adapter) at = &(*at)->next;
    *at = adapter->next;
    adapter->next = NULL;
    adapter->model = NULL;
    model->adapter_changes += adapter->scale != 0;
}

tn_adapter *tn_model_adapters(const tn_model *model) { return model->adapters; }
uint64_t tn_model_adapter_changes(const tn_model *model) { return model->adapter_changes; }

/* ---- in a pass ---- */

static bool runs(const tn_beside *at) { return at->adapter->scale != 0; }
static bool is_merged(const tn_beside *at) { return at->adapter->options.merged; }

bool tn_model_head_adapted(const tn_model *model) {
    for (const tn_beside *at = model->beside_head; at; at = at->next)
        if (runs(at)) return true;
    return false;
}

bool tn_beside_reads_raw(const tn_beside *list) {
    for (const tn_beside *at = list; at; at = at->next)
        if (runs(at) && !is_merged(at) && at->adapter->options.input == TN_ADAPTER_RAW) return true;
    return false;
}

static tn_tensor *add(const tn_beside *at, tn_tape *t, tn_tensor *y, tn_tensor *p) {
    return tn_lora_up(t, y, p, &at->pair->b, at->adapter->scale * at->pair->c);
}

struct tn_beside_made {
    const tn_beside *by;
    tn_tensor *p;
    const tn_beside_made *next;
};

static tn_tensor *read(const tn_beside *at, tn_tape *t, tn_tensor *x, tn_tensor *raw) {
    const tn_adapter_options *o = &at->adapter->options;
    if (is_merged(at)) return tn_lora_down(t, tn_tape_constant(t, x), &at->pair->a, (tn_lora_reading){.raw = false});
    const bool reads_raw = o->input == TN_ADAPTER_RAW && raw;
    return tn_lora_down(t, reads_raw ? raw : x, &at->pair->a,
                        (tn_lora_reading){reads_raw, (tn_real)o->dropout, at->site});
}

const tn_beside_made *tn_beside_read(const tn_beside *list, tn_tape *t, tn_tensor *x, tn_tensor *raw) {
    const tn_beside_made *first = NULL, **last = &first;
    for (const tn_beside *at = list; at; at = at->next) {
        if (!runs(at) || (is_merged(at) && !tn_tape_keeping(t))) continue;
        tn_beside_made *made = tn_arena_alloc(tn_tape_step(t), sizeof *made, "tape");
        if (!made) {
            (void)tn_tape_fail(t, TN_E_NOMEM);
            return first;
        }
        *made = (tn_beside_made){.by = at, .p = read(at, t, x, raw)};
        *last = made;
        last = &made->next;
    }
    return first;
}

tn_tensor *tn_beside_add(const tn_beside_made *made, tn_tape *t, tn_tensor *y) {
    for (; made; made = made->next) {
        const tn_beside *at = made->by;
        const tn_real c = at->adapter->scale * at->pair->c;
        y = is_merged(at) ? tn_lora_within(t, y, made->p, &at->pair->b, c * at->target->scale) : add(at, t, y, made->p);
    }
    return y;
}

tn_tensor *tn_beside_embed(const tn_beside *list, tn_tape *t, tn_tensor *y, tn_tensor *ids) {
    for (const tn_beside *at = list; at; at = at->next)
        if (runs(at)) y = add(at, t, y, tn_embedding(t, ids, &at->pair->a));
    return y;
}
