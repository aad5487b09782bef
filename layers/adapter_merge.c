/* SPDX-License-Identifier: MIT */
#include "layers/adapter_priv.h"
#include "layers/model_priv.h"

#include <math.h>

tn_status tn_adapter_check_merge(tn_model *model, const tn_adapter_pair *pair) {
    const tn_param *w = tn_model_find(model, pair->target);
    if (!w || w->quantizer == TN_QUANT_NONE)
        return TN_FAIL(UNSUPPORTED, "adapter: %s has no ternary states to be merged into", pair->target);
    if (w->tensor.real)
        return TN_FAIL(UNSUPPORTED, "adapter: the states of %s are those of its latents; train these instead", w->name);
    for (const tn_beside *at = w->beside; at; at = at->next)
        if (at->adapter->options.merged) return TN_FAIL(ARG, "adapter: another one is merged into %s", w->name);
    return TN_OK;
}

static tn_param *target_of(tn_model *model, const tn_adapter *adapter, int pair) {
    return tn_model_find(model, adapter->pairs[pair].target);
}

void tn_adapter_end_merge(tn_model *model, tn_adapter *adapter, int n_pairs) {
    for (int i = 0; i < n_pairs; i++) tn_param_merge_end(&adapter->pairs[i].merge, target_of(model, adapter, i));
}

tn_status tn_adapter_begin_merge(tn_model *model, tn_adapter *adapter) {
    int64_t room = 0;
    for (int i = 0; i < adapter->n_pairs; i++) room = TN_MAX(room, tn_param_merge_room(target_of(model, adapter, i)));
    if (!adapter->room) TN_TAKE(adapter->room, adapter->arena, room, "merged ternary");
    for (int i = 0; i < adapter->n_pairs; i++) {
        tn_status status = tn_param_merge_begin(&adapter->pairs[i].merge, target_of(model, adapter, i), adapter->arena);
        if (!status) continue;
        tn_adapter_end_merge(model, adapter, i);
        return status;
    }
    return TN_OK;
}

void tn_adapter_derive(tn_adapter *adapter) {
    for (int i = 0; i < adapter->n_pairs; i++) {
        tn_adapter_pair *pair = &adapter->pairs[i];
        tn_param_merge_derive(&pair->merge, target_of(adapter->model, adapter, i), &pair->a, &pair->b,
                              adapter->scale * pair->c, adapter->room);
    }
    adapter->stale = false;
}

void tn_model_settle(tn_model *model, tn_adapter *adapter) {
    TN_ASSERT(adapter->model == model && adapter->options.merged);
    tn_adapter_derive(adapter);
    for (int i = 0; i < adapter->n_pairs; i++)
        tn_param_merge_keep(&adapter->pairs[i].merge, target_of(model, adapter, i));
    tn_model_detach(model, adapter);
}

void tn_model_derive(tn_model *model) {
    for (tn_adapter *adapter = model->adapters; adapter; adapter = adapter->next)
        if (adapter->stale) tn_adapter_derive(adapter);
}

tn_adapter_flips tn_adapter_count_flips(const tn_adapter *adapter) {
    tn_adapter_flips flips = {0};
    for (int i = 0; i < adapter->n_pairs; i++) {
        const tn_adapter_pair *pair = &adapter->pairs[i];
        flips.flipped += pair->merge.flipped;
        flips.states += (int64_t)pair->b.rows * pair->a.rows;
        flips.largest = fmax(flips.largest, pair->merge.largest);
    }
    return flips;
}
