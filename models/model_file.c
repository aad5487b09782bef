/* SPDX-License-Identifier: MIT
 * model_file.c - what a path holds, and which checkpoint a run folder stands for. */
#include "models/model_file.h"

#include <stdio.h>
#include <string.h>

#include "core/fs.h"
#include "core/par.h"
#include "layers/adapter.h"
#include "models/model_file_priv.h"

#include "models/weigh_packing.h"

enum { CONFIG_PATH = 4096, HELD_STRETCH = 2 << 20 };

static const tn_loader *loader_of(const tn_loaded *loaded) {
    static const tn_loader *const loaders[] = {[TN_SOURCE_CHECKPOINT] = &tn_checkpoint_loader,
                                               [TN_SOURCE_BASED] = &tn_based_loader,
                                               [TN_SOURCE_GGUF] = &tn_gguf_loader,
                                               [TN_SOURCE_HF] = &tn_hf_loader};
    return loaders[loaded->source];
}

void tn_loaded_release(tn_loaded *loaded) {
    tn_tokenizer_free(loaded->tokenizer);
    tn_gguf_close(loaded->file);
    tn_ckpt_close(loaded->checkpoint);
    tn_safetensors_close(loaded->tensors);
    tn_based_free(loaded->based);
    *loaded = (tn_loaded){0};
}

tn_status tn_loaded_check_whole(const tn_loaded *loaded) {
    if (!tn_model_adapters(loaded->model)) return TN_OK;
    return TN_FAIL(UNSUPPORTED,
                   "%s: is a base with an adapter beside it (method lora), which no file of a model holds; export the "
                   "adapter, or merge it into its base first (tern merge); with lora.modules_to_save it stays a run",
                   loaded->path);
}

/* ---- opening ---- */

static tn_status starts_with(const char *path, const char *magic, bool *yes) {
    tn_map map;
    TN_TRY(tn_map_init(&map, path));
    size_t len = strlen(magic);
    *yes = map.size >= len && memcmp(map.data, magic, len) == 0;
    tn_map_release(&map);
    return TN_OK;
}

/* The tokenizer must not know ids that the model has no row for. */
static tn_status check_vocabulary(const tn_loaded *loaded) {
    int rows = loaded->config.vocab_size, ids = tn_tokenizer_size(loaded->tokenizer);
    if (ids <= rows) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: the tokenizer has %d ids, the model only %d", loaded->path, ids, rows);
}

static tn_status open_as(tn_model_source source, const char *path, tn_loaded *out) {
    snprintf(out->path, sizeof out->path, "%s", path);
    out->source = source;
    TN_TRY(loader_of(out)->open(path, out));
    return check_vocabulary(out);
}

static tn_status open_file(const char *path, tn_loaded *out) {
    bool is_gguf, is_hdf5;
    TN_TRY(starts_with(path, "GGUF", &is_gguf));
    TN_TRY(starts_with(path, "\x89HDF\r\n\x1a\n", &is_hdf5));
    if (is_gguf) return open_as(TN_SOURCE_GGUF, path, out);
    if (is_hdf5) return open_as(TN_SOURCE_CHECKPOINT, path, out);
    return TN_FAIL(
        FORMAT, "%s: is neither a checkpoint of Tern nor a GGUF file (a model of Hugging Face is given by its folder)",
        path);
}

/* ---- run folders ---- */

static tn_status open_run(const char *dir, tn_loaded *out) {
    char path[TN_RUN_RECORD_PATH];
    const char *which;
    TN_TRY(tn_run_record_find(dir, path, &which));
    TN_TRY(open_file(path, out));
    size_t len = strlen(out->description);
    snprintf(out->description + len, sizeof out->description - len, ", the %s of run %.100s", which, dir);
    return TN_OK;
}

tn_status tn_model_file_is_adapter(const char *path) {
    return TN_FAIL(FORMAT, "%s: is an adapter, which stands beside a model: give that, and this with --lora", path);
}

static tn_status open_folder(const char *dir, tn_loaded *out) {
    char config[CONFIG_PATH];
    TN_TRY(tn_path_join(config, sizeof config, dir, "config.json"));
    if (tn_path_exists(config)) return open_as(TN_SOURCE_HF, dir, out);
    TN_TRY(tn_path_join(config, sizeof config, dir, "adapter_config.json"));
    return tn_path_exists(config) ? tn_model_file_is_adapter(dir) : open_run(dir, out);
}

tn_status tn_model_file_open_at(const char *path, int depth, tn_loaded *out) {
    *out = (tn_loaded){.depth = depth};
    tn_status status = tn_path_is_dir(path) ? open_folder(path, out) : open_file(path, out);
    if (status) tn_loaded_release(out);
    return status;
}

tn_status tn_model_file_open(const char *path, tn_loaded *out) { return tn_model_file_open_at(path, 0, out); }

/* ---- reading ---- */

tn_status tn_model_file_place_table(const tn_loaded *loaded, tn_param *table, tn_arena *arena) {
    return loader_of(loaded)->place(loaded, table, arena);
}

tn_status tn_model_file_place(const tn_loaded *loaded, tn_model *model, tn_arena *arena) {
    int n;
    tn_param **params = tn_model_params(model, &n);
    for (int i = 0; i < n; i++)
        if (params[i]->tabular && !params[i]->tensor.real) TN_TRY(tn_model_file_place_table(loaded, params[i], arena));
    return TN_OK;
}

tn_status tn_model_file_read(tn_loaded *loaded, tn_model *model) {
    tn_arena *scratch = tn_arena_create("loading");
    tn_status status = scratch ? loader_of(loaded)->read(loaded, model, scratch) : TN_E_NOMEM;
    tn_arena_free(scratch);
    if (status) return status;
    tn_model_refresh(model, 1);
    loaded->model = model;
    return TN_OK;
}

static tn_status check_use(const tn_loaded *loaded, tn_model_use use) {
    if (loaded->has_latents || use == TN_MODEL_RUN || use == TN_MODEL_EXPORT) return TN_OK;
    return TN_FAIL(UNSUPPORTED,
                   "%s: holds ternary weights, not the latents that training moves; give the checkpoint it was "
                   "exported from, or a Hugging Face folder with quantization_mode online",
                   loaded->path);
}

static tn_status make(const tn_loaded *loaded, tn_arena *arena, tn_model_use use, tn_model **model) {
    TN_TRY(tn_model_create(model, arena, &loaded->config, use));
    return tn_model_file_place(loaded, *model, arena);
}

/* One piece of memory, where the doubling of an arena would leave an end of each huge page unused. */
static tn_status reserve(const tn_loaded *loaded, tn_arena *arena, tn_model_use use) {
    tn_model *rehearsed;
    tn_arena *dry = tn_arena_create_virtual("model");
    tn_status status = dry ? make(loaded, dry, use, &rehearsed) : TN_E_NOMEM;
    if (!status) status = tn_arena_reserve(arena, tn_arena_peak(dry));
    tn_arena_free(dry);
    return status;
}

typedef struct holding {
    const unsigned char *stored;
    unsigned char *held;
    size_t bytes;
} holding;

static void hold_stretches(void *context, int64_t begin, int64_t end) {
    const holding *h = context;
    const size_t first = (size_t)begin * HELD_STRETCH, bytes = TN_MIN((size_t)end * HELD_STRETCH, h->bytes) - first;
    memcpy(h->held + first, h->stored + first, bytes);
    tn_pages_drop(h->stored + first, bytes);
}

/* Each token reads the whole head, and pages of a file are so small that finding them takes longer than reading them:
 * it moves into huge ones. */
static tn_status hold_head(tn_model *model, tn_arena *arena) {
    tn_param *head = tn_model_head(model);
    if (!head->table.data) return TN_OK;
    holding h = {.stored = head->table.data,
                 .bytes = (size_t)head->rows * tn_table_row_bytes(head->table.type, head->cols)};
    if (h.bytes < HELD_STRETCH) return TN_OK;
    TN_TAKE(h.held, arena, h.bytes, "table");
    tn_par_for((int64_t)((h.bytes + HELD_STRETCH - 1) / HELD_STRETCH), 1, hold_stretches, &h);
    head->table.data = h.held;
    return TN_OK;
}

static tn_status load(tn_loaded *loaded, tn_arena *arena, tn_model_use use) {
    tn_model *model;
    TN_TRY(check_use(loaded, use));
    if (use == TN_MODEL_RUN) TN_TRY(tn_packing_weigh(tn_model_config_counts(&loaded->config).ternary));
    if (!tn_arena_peak(arena)) TN_TRY(reserve(loaded, arena, use));
    TN_TRY(make(loaded, arena, use, &model));
    TN_TRY(tn_model_file_read(loaded, model));
    return use == TN_MODEL_RUN ? hold_head(model, arena) : TN_OK;
}

tn_status tn_model_file_load(const char *path, tn_arena *arena, tn_model_use use, tn_loaded *out) {
    TN_TRY(tn_model_file_open(path, out));
    tn_status status = load(out, arena, use);
    if (status) tn_loaded_release(out);
    return status;
}
