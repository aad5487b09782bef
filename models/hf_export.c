/* SPDX-License-Identifier: MIT
 * hf_export.c - load, check, write into a temporary folder, prove, rename. */
#include "models/hf_export.h"

#include <stdio.h>

#include "core/fs.h"
#include "core/log.h"
#include "models/export_job.h"
#include "models/hf_tokenizer.h"
#include "models/hf_weights.h"

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

/* One export under way. */
typedef struct job {
    tn_export_job common;
    const char *source_path;
    tn_hf_export_options options;
    const tn_export_edit *edit;
    tn_hf_format format;
    tn_atomic_folder folder;
} job;

/* ---- before writing ---- */

static tn_status choose_format(job *j) {
    const tn_model_config *c = &j->common.source.config;
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
            j->common.source.path);
    if (!packed && !floats && c->weight_quantizer == TN_WEIGHTS_SIGN_BINARY)
        return TN_FAIL(UNSUPPORTED,
                       "%s: transformers quantises latents by their size, not by their sign; export it with --type "
                       "hf-packed",
                       j->common.source.path);
    return TN_OK;
}

static tn_status check_model(job *j) {
    int n;
    tn_param **params = tn_model_params(j->common.source.model, &n);
    TN_TRY(tn_loaded_check_whole(&j->common.source));
    TN_TRY(choose_format(j));
    for (int i = 0; i < n; i++) TN_TRY(tn_hf_check_param(params[i], j->format));
    if (tn_tokenizer_vocabulary(j->common.source.tokenizer)->kind == TN_TOKENIZER_CHAR)
        tn_log(TN_LOG_WARN, "export", "tokenizer.json is for Tern: transformers has no tokenizer of characters");
    return TN_OK;
}

static tn_status round_and_ask(job *j) {
    int n;
    tn_param **params = tn_model_params(j->common.source.model, &n);
    TN_TRY(tn_probe_ask(&j->common.source, j->common.proof_arena, &j->common.unrounded));
    for (int i = 0; i < n; i++) TN_TRY(tn_hf_round_param(params[i], j->format, j->common.source_arena));
    tn_model_refresh(j->common.source.model, 1);
    return tn_probe_ask(&j->common.source, j->common.proof_arena, &j->common.expected);
}

/* ---- writing ---- */

static tn_status path_in(const job *j, const char *name, char path[PATH_SIZE]) {
    return tn_path_join(path, PATH_SIZE, j->folder.temp, name);
}

static tn_status write_config(const job *j) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(j->common.source.tokenizer);
    const tn_hf_config_options options = {.weights = j->format.weights,
                                          .dtype = j->format.floats == TN_TABLE_F32 ? "float32" : "bfloat16",
                                          .bos = v->bos,
                                          .eos = v->eos,
                                          .pad = v->pad};
    char path[PATH_SIZE];
    tn_buf text = {0};
    TN_TRY(path_in(j, "config.json", path));
    tn_status status = tn_hf_config_write(&j->common.source.config, &options, &text);
    if (!status) status = tn_file_write(path, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}

static tn_status put_tensors(job *j, tn_safetensors_writer *w) {
    int n;
    tn_param **params = tn_model_params(j->common.source.model, &n);
    tn_hf_numbers *numbers;
    TN_TAKE(numbers, j->common.proof_arena, n, "export");
    TN_TRY(tn_safetensors_note(w, "format", "pt"));
    for (int i = 0; i < n; i++) {
        TN_TRY(tn_hf_announce_param(w, params[i], j->format, &numbers[i]));
        j->common.report->tensors += numbers[i].scale ? 2 : 1;
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
    if (!status) return tn_safetensors_commit(w, &j->common.report->bytes);
    tn_safetensors_discard(w);
    return status;
}

static tn_status write_files(job *j) {
    TN_TRY(write_config(j));
    TN_TRY(tn_hf_tokenizer_save(j->common.source.tokenizer, j->common.source.config.context, j->folder.temp));
    return write_tensors(j);
}

/* ---- the whole ---- */

static tn_status write_and_prove(job *j, const char *out) {
    const tn_model_use use = j->options.type == TN_HF_TYPE_PACKED ? TN_MODEL_EXPORT : TN_MODEL_EVAL;
    /* First: a folder that cannot be written is known at once. */
    TN_TRY(tn_atomic_folder_begin(&j->folder, out, files, (int)TN_COUNT(files)));
    TN_TRY(tn_export_job_load(&j->common, j->source_path, use, j->edit));
    TN_TRY(check_model(j));
    TN_TRY(round_and_ask(j));
    TN_TRY(write_files(j));
    TN_TRY(tn_export_job_prove(&j->common, j->folder.temp));
    tn_loaded_release(&j->common.copy); /* its map, before the folder moves */
    return tn_atomic_folder_commit(&j->folder);
}

tn_status tn_export_hf_edited(const char *source, const char *out, tn_hf_export_options options,
                              const tn_export_edit *edit, tn_export_report *report) {
    job *j = tn_heap_zalloc(1, sizeof *j);
    if (!j) return TN_E_NOMEM;
    j->source_path = source;
    j->options = options;
    j->edit = edit;
    tn_status status = tn_export_job_begin(&j->common, report);
    if (!status) status = write_and_prove(j, out);
    tn_atomic_folder_abort(&j->folder);
    tn_export_job_end(&j->common);
    tn_heap_free(j);
    return status;
}

tn_status tn_export_hf(const char *source, const char *out, tn_hf_export_options options, tn_export_report *report) {
    return tn_export_hf_edited(source, out, options, NULL, report);
}
