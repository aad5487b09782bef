/* SPDX-License-Identifier: MIT
 * hf_export.c - load, check, write into a temporary folder, prove, rename. */
#include "models/hf_export.h"

#include <stdio.h>

#include "core/fs.h"
#include "core/log.h"
#include "models/hf_tokenizer.h"
#include "models/hf_weights.h"
#include "models/proof.h"

enum { PATH_SIZE = 4096 + 64 };

static const char *const files[] = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                                    "tokenizer_config.json"};

const char *tn_hf_type_name(tn_hf_type type) {
    static const char *const words[] = {
#define HF_TYPE(word, name, help) word,
#include "models/hf_types.def"
#undef HF_TYPE
    };
    return words[type];
}

/* One export under way. The source's arena is freed before the copy is loaded: both need not fit in memory at once. */
typedef struct job {
    const char *source_path;
    tn_hf_export_options options;
    const tn_export_edit *edit;
    tn_hf_format format;
    tn_arena *source_arena, *copy_arena, *proof_arena;
    tn_loaded source, copy;
    tn_probe unrounded, expected, found;
    tn_atomic_folder folder;
    tn_export_report *report;
} job;

/* ---- before writing ---- */

static tn_status choose_format(job *j) {
    const tn_model_config *c = &j->source.config;
    const bool packed = j->options.type == TN_HF_TYPE_PACKED, floats = c->quantization == TN_QUANTIZATION_NONE;
    j->format = (tn_hf_format){.weights = floats   ? TN_HF_FLOATS
                                          : packed ? TN_HF_MULTIPLIED
                                                   : TN_HF_LATENTS,
                               .floats = j->options.floats};
    if (packed && floats)
        return TN_FAIL(
            UNSUPPORTED,
            "%s: a float twin (model.quantization none) has no ternary weights to write as hf-packed; export "
            "it with --type hf",
            j->source.path);
    if (!packed && !floats && c->weight_quantizer == TN_WEIGHTS_SIGN_BINARY)
        return TN_FAIL(UNSUPPORTED,
                       "%s: transformers quantises latents by their size, not by their sign; export it with --type "
                       "hf-packed",
                       j->source.path);
    return TN_OK;
}

static tn_status check_model(job *j) {
    int n;
    tn_param **params = tn_model_params(j->source.model, &n);
    TN_TRY(tn_loaded_check_whole(&j->source));
    TN_TRY(choose_format(j));
    for (int i = 0; i < n; i++) TN_TRY(tn_hf_check_param(params[i], j->format));
    if (tn_tokenizer_vocabulary(j->source.tokenizer)->kind == TN_TOKENIZER_CHAR)
        tn_log(TN_LOG_WARN, "export", "tokenizer.json is for Tern: transformers has no tokenizer of characters");
    return TN_OK;
}

static tn_status round_and_ask(job *j) {
    int n;
    tn_param **params = tn_model_params(j->source.model, &n);
    TN_TRY(tn_probe_ask(&j->source, j->proof_arena, &j->unrounded));
    for (int i = 0; i < n; i++) TN_TRY(tn_hf_round_param(params[i], j->format, j->source_arena));
    tn_model_refresh(j->source.model, 1);
    return tn_probe_ask(&j->source, j->proof_arena, &j->expected);
}

/* ---- writing ---- */

static tn_status path_in(const job *j, const char *name, char path[PATH_SIZE]) {
    return tn_path_join(path, PATH_SIZE, j->folder.temp, name);
}

static tn_status write_config(const job *j) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(j->source.tokenizer);
    const tn_hf_config_options options = {.weights = j->format.weights,
                                          .dtype = j->format.floats == TN_TABLE_F32 ? "float32" : "bfloat16",
                                          .bos = v->bos,
                                          .eos = v->eos,
                                          .pad = v->pad};
    char path[PATH_SIZE];
    tn_buf text = {0};
    TN_TRY(path_in(j, "config.json", path));
    tn_status status = tn_hf_config_write(&j->source.config, &options, &text);
    if (!status) status = tn_file_write(path, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}

static tn_status put_tensors(job *j, tn_safetensors_writer *w) {
    int n;
    tn_param **params = tn_model_params(j->source.model, &n);
    tn_hf_numbers *numbers;
    TN_TAKE(numbers, j->proof_arena, n, "export");
    TN_TRY(tn_safetensors_note(w, "format", "pt"));
    for (int i = 0; i < n; i++) {
        TN_TRY(tn_hf_announce_param(w, params[i], j->format, &numbers[i]));
        j->report->tensors += numbers[i].scale ? 2 : 1;
    }
    for (int i = 0; i < n; i++) TN_TRY(tn_hf_put_param(w, params[i], j->format, &numbers[i]));
    return TN_OK;
}

static tn_status write_tensors(job *j) {
    tn_safetensors_writer *w;
    char path[PATH_SIZE];
    TN_TRY(path_in(j, "model.safetensors", path));
    TN_TRY(tn_safetensors_create(&w, path));
    tn_status status = put_tensors(j, w);
    if (!status) return tn_safetensors_commit(w, &j->report->bytes);
    tn_safetensors_discard(w);
    return status;
}

static tn_status write_files(job *j) {
    TN_TRY(write_config(j));
    TN_TRY(tn_hf_tokenizer_save(j->source.tokenizer, j->source.config.context, j->folder.temp));
    return write_tensors(j);
}

/* ---- proving ---- */

static tn_status prove(job *j) {
    TN_TRY(tn_model_file_load(j->folder.temp, j->copy_arena, TN_MODEL_RUN, &j->copy));
    TN_TRY(tn_tokenizer_compare(j->source.tokenizer, j->copy.tokenizer, &j->report->texts, &j->report->ids));
    TN_TRY(tn_probe_ask(&j->copy, j->proof_arena, &j->found));
    TN_TRY(tn_probe_compare(&j->expected, &j->found));
    j->report->logits = j->found.n_ids * j->found.vocab;
    j->report->difference = tn_probe_distance(&j->unrounded, &j->found);
    return TN_OK;
}

static tn_status write_and_prove(job *j, const char *out) {
    const tn_export_edit *edit = j->edit;
    const tn_model_use own = j->options.type == TN_HF_TYPE_PACKED ? TN_MODEL_EXPORT : TN_MODEL_EVAL;
    /* First: a folder that cannot be written is known at once. */
    TN_TRY(tn_atomic_folder_begin(&j->folder, out, files, (int)TN_COUNT(files)));
    TN_TRY(tn_model_file_load(j->source_path, j->source_arena, edit ? edit->use : own, &j->source));
    if (edit) TN_TRY(edit->apply(edit->context, &j->source, j->source_arena));
    snprintf(j->report->source, sizeof j->report->source, "%s", j->source.description);
    TN_TRY(check_model(j));
    TN_TRY(round_and_ask(j));
    TN_TRY(write_files(j));
    tn_arena_free(j->source_arena);
    j->source_arena = NULL;
    j->source.model = NULL;
    TN_TRY(prove(j));
    tn_loaded_release(&j->copy); /* its map, before the folder moves */
    return tn_atomic_folder_commit(&j->folder);
}

tn_status tn_export_hf_edited(const char *source, const char *out, tn_hf_export_options options,
                              const tn_export_edit *edit, tn_export_report *report) {
    job *j = tn_heap_zalloc(1, sizeof *j);
    if (!j) return TN_E_NOMEM;
    *report = (tn_export_report){0};
    j->source_path = source;
    j->options = options;
    j->edit = edit;
    j->report = report;
    j->source_arena = tn_arena_create("source");
    j->copy_arena = tn_arena_create("copy");
    j->proof_arena = tn_arena_create("proof");
    tn_status status = j->source_arena && j->copy_arena && j->proof_arena ? write_and_prove(j, out) : TN_E_NOMEM;
    tn_atomic_folder_abort(&j->folder);
    tn_loaded_release(&j->source);
    tn_loaded_release(&j->copy);
    tn_arena_free(j->source_arena);
    tn_arena_free(j->copy_arena);
    tn_arena_free(j->proof_arena);
    tn_heap_free(j);
    return status;
}

tn_status tn_export_hf(const char *source, const char *out, tn_hf_export_options options, tn_export_report *report) {
    return tn_export_hf_edited(source, out, options, NULL, report);
}
