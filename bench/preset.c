/* SPDX-License-Identifier: MIT */
#include "bench/preset.h"

static const struct {
    const char *name;
    int d_model, n_layer, n_head, n_kv_head, d_ff, vocab_size, context, batch_size;
} presets[] = {
#define PRESET(...) {__VA_ARGS__},
#include "bench/presets.def"
#undef PRESET
};

static const char bar_and_names[] =
#define PRESET(name, ...) "|" name
#include "bench/presets.def"
#undef PRESET
    ;
const char *const tn_preset_names = bar_and_names + 1;

const char *tn_preset_name(int preset) { return presets[preset].name; }

void tn_preset_apply(int preset, tn_run_config *config) {
    tn_model_config *m = &config->model;
    m->d_model = presets[preset].d_model;
    m->n_layer = presets[preset].n_layer;
    m->n_head = presets[preset].n_head;
    m->n_kv_head = presets[preset].n_kv_head;
    m->d_ff = presets[preset].d_ff;
    m->vocab_size = presets[preset].vocab_size;
    m->context = presets[preset].context;
    config->train.batch_size = presets[preset].batch_size;
}
