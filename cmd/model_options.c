/* SPDX-License-Identifier: MIT */
#include "cmd/model_options.h"
#include "cmd/run_presets.h"
#include "core/log.h"
#include "train/process.h"

#include <string.h>

#define IGNORED(names)                                                                                                 \
    { names, 0, TN_OPT_IGNORED, NULL, NULL, "no effect here", 0, 0, NULL }
#define IGNORED_VALUE(names)                                                                                           \
    { names, 0, TN_OPT_IGNORED, NULL, "V", "no effect here", 0, 0, NULL }
#define REFUSED(names, letter, why)                                                                                    \
    { names, letter, TN_OPT_REFUSED, NULL, "V", why, 0, 0, NULL }

const tn_option *tn_model_options_init(tn_model_options *o) {
    *o = (tn_model_options){.chunk = 512};
    const tn_option rows[] = {
        {"model", 'm', TN_OPT_TEXT, &o->model, "F", "run folder, checkpoint, GGUF file, Hugging Face folder", 0, 0,
         NULL},
        {"ctx-size", 'c', TN_OPT_INT, &o->context, "N", "context in tokens; 0: the model's", 0, 1 << 20, NULL},
        {"ubatch-size|ub", 0, TN_OPT_INT, &o->chunk, "N", "tokens of the prompt in one pass", 1, 1 << 20, NULL},
        TN_OPTION_THREADS(&o->threads),
        {"threads-batch|tb", 0, TN_OPT_INT, &o->prompt_threads, "N", "threads for the prompt; 0: as -t", 0, 256, NULL},
        TN_OPTION_CACHE_TYPES(&o->key_type, &o->value_type),
        {"head", 0, TN_OPT_CHOICE, &o->head, "KIND", "screened: bounds spare most of the output head; same tokens", 0,
         0, "screened|exact"},
        TN_OPTION_PRESET(&o->preset),
        TN_OPTIONS_LORA(&o->lora),
        {"n-gpu-layers|gpu-layers|ngl", 0, TN_OPT_INT, &o->gpu_layers, "N", "0: Tern runs on CPUs", -1, 1 << 20, NULL},
        IGNORED_VALUE("batch-size|b"),
        IGNORED_VALUE("flash-attn|fa"),
        IGNORED_VALUE("cpu-strict"),
        IGNORED_VALUE("prio"),
        IGNORED_VALUE("poll"),
        IGNORED_VALUE("numa"),
        IGNORED("offline"),
        IGNORED("mlock"),
        IGNORED("mmap|no-mmap"),
        IGNORED("no-warmup|warmup"),
        IGNORED("simple-io"),
        IGNORED("perf|no-perf"),
        REFUSED("hf-repo|hfr|hf|hf-file|hff|hf-token|hft|model-url|mu|docker-repo|dr", 0,
                "Tern does not download; fetch the file, then give it with -m"),
        REFUSED("split-mode|sm|tensor-split|ts|main-gpu|mg|device|dev|override-tensor|ot", 0, "Tern runs on CPUs only"),
        REFUSED("cpu-mask", 'C', "not built: start tern with taskset"),
        REFUSED("cpu-range|Cr", 0, "not built: start tern with taskset -c"),
        REFUSED("control-vector|control-vector-scaled|control-vector-layer-range", 0, "Tern does not steer models"),
        TN_OPTIONS_END,
    };
    _Static_assert(TN_COUNT(rows) <= TN_MODEL_OPTION_ROWS, "room for the rows");
    memcpy(o->rows, rows, sizeof rows);
    return o->rows;
}

int tn_model_options_check(tn_model_options *o) {
    const tn_run_preset *preset = tn_run_preset_at(o->preset);
    if (!o->model)
        return tn_cmd_usage_error("-m is missing: a run folder, checkpoint, GGUF file or Hugging Face folder");
    if (tn_run_preset_cache(preset, o->key_type, o->value_type, &o->kv))
        return tn_cmd_usage_error("%s", tn_error_message());
    if (o->gpu_layers > 0) return tn_cmd_usage_error("-ngl %d: Tern runs on CPUs only", o->gpu_layers);
    o->threads = tn_run_preset_threads(preset, o->threads);
    return TN_OPTIONS_GO;
}

/* Tables that lie in the file's map: a head reads all of it for each token. */
static int64_t mapped_bytes(tn_model *model) {
    int n;
    tn_param **params = tn_model_params(model, &n);
    int64_t bytes = 0;
    for (int i = 0; i < n; i++)
        if (params[i]->table.data)
            bytes += params[i]->rows * (int64_t)tn_table_row_bytes(params[i]->table.type, params[i]->cols);
    return bytes;
}

static int64_t cache_bytes(const tn_model_options *o, const tn_model_config *c) {
    return (int64_t)tn_kv_bytes(o->kv, c->n_kv_head, c->head_dim, o->context) * c->n_layer;
}

/* The model was just loaded: its weights are resident, nothing is yet of its tables and texts. */
static void fit_preset(tn_model_options *o, int slots, tn_model *model) {
    const tn_run_preset *preset = tn_run_preset_at(o->preset);
    const tn_model_config *c = tn_model_get_config(model);
    o->context = tn_run_preset_context(preset, o->context, c->context);
    const int64_t bytes = tn_process_resident_bytes() + mapped_bytes(model) + slots * cache_bytes(o, c);
    if (preset->limit && bytes > preset->limit)
        tn_log(TN_LOG_WARN, "run",
               "preset %s allows %lld MiB; this model with %d x %d tokens of context takes %lld MiB", preset->name,
               (long long)(preset->limit >> 20), slots, o->context, (long long)(bytes >> 20));
}

tn_status tn_model_options_load(tn_model_options *o, int slots, tn_arena *arena, tn_loaded *loaded) {
    TN_TRY(tn_cmd_start_compute(o->threads));
    TN_TRY(tn_lora_open(&o->lora, arena));
    TN_TRY(tn_model_file_load(o->model, arena, TN_MODEL_RUN, loaded));
    tn_log(TN_LOG_INFO, "run", "%s: %s", loaded->path, loaded->description);
    TN_TRY(tn_lora_load(&o->lora, arena, loaded));
    fit_preset(o, slots, loaded->model);
    return TN_OK;
}

tn_session_options tn_model_options_session(const tn_model_options *o) {
    return (tn_session_options){.context = o->context, .chunk = o->chunk, .kv = o->kv, .head = (tn_head_kind)o->head};
}
