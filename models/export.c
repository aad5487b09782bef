/* SPDX-License-Identifier: MIT
 * export.c - load, check, write under a temporary name, prove, rename. */
#include "models/export.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/fs.h"
#include "core/log.h"
#include "core/utf8.h"
#include "data/tokenizer_gguf.h"
#include "formats/ternary_block.h"
#include "models/export_job.h"
#include "models/gguf_config.h"
#include "models/gguf_weights.h"

typedef struct type_row {
    const char *name;
    int ggml;
    uint32_t file_type;
} type_row;

static const type_row type_rows[] = {
#define EXPORT_TYPE(name, ggml, file_type, help) {name, TN_GGML_##ggml, file_type},
#include "models/export_types.def"
#undef EXPORT_TYPE
};

const char *tn_export_type_name(tn_export_type type) { return type_rows[type].name; }

/* One export under way. */
typedef struct job {
    tn_export_job common;
    const char *source_path, *out_path;
    const type_row *type;
    tn_table_type table;
    const tn_export_edit *edit;
    tn_gguf_types types;
    tn_atomic file;
} job;

/* ---- before writing ---- */

static tn_status check_model(job *j) {
    const tn_model_config *c = tn_model_get_config(j->common.source.model);
    TN_TRY(tn_loaded_check_whole(&j->common.source));
    const int paired_heads = tn_gguf_paired_heads(tn_gguf_architecture(c), c);
    j->types = (tn_gguf_types){.matrix = j->type->ggml,
                               .table = j->table,
                               .paired_heads = paired_heads,
                               .scale_tensors = !paired_heads}; /* llama has none */
    if (c->quantization == TN_QUANTIZATION_NONE && tn_ternary_type(j->type->ggml))
        return TN_FAIL(UNSUPPORTED,
                       "%s: a float twin (model.quantization none) has no ternary weights to write as %s; "
                       "export it with --type f16 or f32",
                       j->common.source.path, j->type->name);
    int n;
    tn_param **params = tn_model_params(j->common.source.model, &n);
    for (int i = 0; i < n; i++) TN_TRY(tn_gguf_check_param(params[i], j->types));
    return TN_OK;
}

static void warn(const char *sentence) { tn_log(TN_LOG_WARN, "export", "%s", sentence); }

static void warn_of_other_runtimes(const job *j) {
    const tn_model_config *c = tn_model_get_config(j->common.source.model);
    bool tq = j->type->ggml == TN_GGML_TQ2_0 || j->type->ggml == TN_GGML_TQ1_0;
    if (tq && c->activation == TN_ACTIVATION_RELU2)
        warn("the file is for Tern: llama.cpp, which knows this type, does not know bitnet-b1.58 and would compute "
             "SiLU");
    const bool like_llama = j->types.paired_heads != 0;
    if (!c->tie_embeddings && !like_llama)
        warn("the file is for Tern: other runtimes ignore or refuse the head of its own");
    if (!c->sub_norms && !like_llama) warn("the file is for Tern: other runtimes ask for the gains of sub-norms");
    if (c->rope_scaling == TN_ROPE_LLAMA3 && !like_llama)
        warn("the file is for Tern: other runtimes may refuse or ignore the scaling of rope");
    if (c->qk_norm) warn("the file is for Tern: other runtimes refuse the gains of QK-norm");
}

static tn_status round_and_ask(job *j) {
    int n;
    tn_param **params = tn_model_params(j->common.source.model, &n);
    TN_TRY(tn_probe_ask(&j->common.source, j->common.proof_arena, &j->common.unrounded));
    j->common.expected = j->common.unrounded;
    bool scales = tn_ternary_type(j->types.matrix) && j->types.matrix != TN_GGML_I2_S && !j->types.scale_tensors;
    bool exact = j->types.matrix != TN_GGML_F16 && !scales && j->types.table == TN_TABLE_F32 && !params[0]->table.data;
    if (exact && sizeof(tn_real) == sizeof(float)) return TN_OK;
    for (int i = 0; i < n; i++) TN_TRY(tn_gguf_round_param(params[i], j->types, j->common.source_arena));
    tn_model_refresh(j->common.source.model, 1);
    return tn_probe_ask(&j->common.source, j->common.proof_arena, &j->common.expected);
}

/* ---- writing ---- */

tn_status tn_export_name(const char *path, tn_buf *out) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    return tn_utf8_repair(base, dot && dot != base ? (size_t)(dot - base) : strlen(base), out);
}

/* Other runtimes insist on as many tokens as the table has rows. */
static tn_status pad_vocabulary(const tn_tokenizer *tokenizer, int rows, tn_tokenizer **padded) {
    tn_vocabulary v = *tn_tokenizer_vocabulary(tokenizer);
    tn_arena *arena = tn_arena_create("padding");
    if (!arena) return TN_E_NOMEM;
    const char **texts = tn_arena_array(arena, (size_t)rows, sizeof *texts, "padding");
    uint32_t *lens = tn_arena_array(arena, (size_t)rows, sizeof *lens, "padding");
    int32_t *types = tn_arena_array(arena, (size_t)rows, sizeof *types, "padding");
    float *scores = tn_arena_array(arena, (size_t)rows, sizeof *scores, "padding");
    char(*names)[24] = tn_arena_array(arena, (size_t)rows, sizeof *names, "padding");
    tn_status status = texts && lens && types && scores && names ? TN_OK : TN_E_NOMEM;
    for (int id = 0; id < rows && !status; id++) {
        bool known = id < v.n_tokens;
        if (!known) snprintf(names[id], sizeof names[id], "[PAD%d]", id);
        texts[id] = known ? v.texts[id] : names[id];
        lens[id] = known ? v.lens[id] : (uint32_t)strlen(names[id]);
        types[id] = known ? v.types[id] : TN_TOKEN_UNUSED;
        scores[id] = known && v.scores ? v.scores[id] : 0.0f;
    }
    if (v.scores) v.scores = scores;
    v.texts = texts;
    v.lens = lens;
    v.types = types;
    v.n_tokens = rows;
    if (!status) status = tn_tokenizer_from_vocabulary(padded, &v);
    tn_arena_free(arena);
    return status;
}

static tn_status fit_vocabulary(job *j) {
    int rows = tn_model_get_config(j->common.source.model)->vocab_size;
    if (tn_tokenizer_size(j->common.source.tokenizer) == rows) return TN_OK;
    tn_tokenizer *padded;
    TN_TRY(pad_vocabulary(j->common.source.tokenizer, rows, &padded));
    tn_tokenizer_free(j->common.source.tokenizer);
    j->common.source.tokenizer = padded;
    return TN_OK;
}

static tn_status write_keys(job *j, tn_gguf_writer *w) {
    tn_buf name = {0};
    tn_status status = tn_export_name(j->out_path, &name);
    if (!status) status = tn_gguf_put_config(w, tn_model_get_config(j->common.source.model), tn_buf_text(&name));
    tn_buf_release(&name);
    TN_TRY(status);
    TN_TRY(tn_gguf_put_u32(w, "general.file_type", j->type->file_type));
    TN_TRY(tn_tokenizer_put_gguf(j->common.source.tokenizer, w));
    return tn_gguf_put_u32(w, "general.quantization_version", 2);
}

static int slowdowns(const tn_model *model) {
    const tn_model_config *c = tn_model_get_config(model);
    return c->rope_scaling == TN_ROPE_LLAMA3 ? c->head_dim / 2 : 0;
}

static tn_status announce_slowdown(tn_gguf_writer *w, const tn_model *model) {
    const int64_t n = slowdowns(model);
    return n ? tn_gguf_announce(w, tn_gguf_slowdown_tensor, TN_GGML_F32, 1, &n) : TN_OK;
}

static tn_status put_slowdown(tn_gguf_writer *w, const tn_model *model) {
    const float *slowdown = tn_model_slowdown(model);
    const size_t n = (size_t)slowdowns(model);
    return n ? tn_gguf_put_data(w, slowdown, n * sizeof *slowdown) : TN_OK;
}

static tn_status write_all(job *j, tn_gguf_writer *w) {
    int n;
    tn_param **params = tn_model_params(j->common.source.model, &n);
    TN_TRY(write_keys(j, w));
    for (int i = 0; i < n; i++) TN_TRY(tn_gguf_announce_param(w, params[i], j->types));
    TN_TRY(announce_slowdown(w, j->common.source.model));
    for (int i = 0; i < n; i++) TN_TRY(tn_gguf_put_param(w, params[i], j->types));
    j->common.report->tensors = n;
    return put_slowdown(w, j->common.source.model);
}

static tn_status write_file(job *j) {
    tn_gguf_writer *w;
    TN_TRY(tn_gguf_create(&w, j->file.temp));
    tn_status status = write_all(j, w);
    if (!status) return tn_gguf_commit(w);
    tn_gguf_discard(w);
    return status;
}

/* ---- proving ---- */

static tn_status prove(job *j) {
    TN_TRY(tn_export_job_prove(&j->common, j->file.temp));
    struct stat info;
    if (stat(j->file.temp, &info) != 0) return tn_fail_errno(j->file.temp, "look at");
    j->common.report->bytes = info.st_size;
    return TN_OK;
}

static tn_status write_and_prove(job *j) {
    TN_TRY(tn_atomic_begin(&j->file, j->out_path)); /* first: a folder that cannot be written is known at once */
    TN_TRY(tn_export_job_load(&j->common, j->source_path, TN_MODEL_EXPORT, j->edit));
    TN_TRY(check_model(j));
    TN_TRY(fit_vocabulary(j));
    TN_TRY(round_and_ask(j));
    warn_of_other_runtimes(j);
    TN_TRY(write_file(j));
    TN_TRY(prove(j));
    return tn_atomic_commit(&j->file);
}

tn_status tn_export_edited(const char *source, const char *out, tn_export_options options, const tn_export_edit *edit,
                           tn_export_report *report) {
    job *j = tn_heap_zalloc(1, sizeof *j);
    if (!j) return TN_E_NOMEM;
    j->source_path = source;
    j->out_path = out;
    j->type = &type_rows[options.type];
    j->table = options.table;
    j->edit = edit;
    tn_status status = tn_export_job_begin(&j->common, report);
    if (!status) status = write_and_prove(j);
    tn_atomic_abort(&j->file);
    tn_export_job_end(&j->common);
    tn_heap_free(j);
    return status;
}

tn_status tn_export(const char *source, const char *out, tn_export_options options, tn_export_report *report) {
    return tn_export_edited(source, out, options, NULL, report);
}
