/* SPDX-License-Identifier: MIT
 * model_checkpoint.c - a model out of a checkpoint: configuration, tokenizer, latents. One that holds a part of a model
 * is opened here and read in model_based.c. */
#include <stdio.h>

#include "models/model_file_priv.h"
#include "models/run_record.h"

static tn_status read_tokenizer(tn_ckpt *ckpt, tn_tokenizer **out) {
    tn_buf text = {0};
    tn_status status = tn_ckpt_get_text(ckpt, TN_CKPT_TOKENIZER, &text);
    if (!status) status = tn_tokenizer_from_json(out, tn_ckpt_path(ckpt), tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}

/* ---- parameters ---- */

typedef struct tally {
    tn_ckpt *ckpt;
    tn_model *model;
} tally;

static tn_status expect_param(void *context, const char *name, int64_t rows, int64_t cols) {
    const tally *t = context;
    if (tn_model_find(t->model, name)) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: parameter %s [%lld, %lld] is not part of the model it describes",
                   tn_ckpt_path(t->ckpt), name, (long long)rows, (long long)cols);
}

/* Buffers for the largest parameter: as it is stored, and as it is computed with. */
typedef struct staging {
    float *stored;
    tn_real *values;
    int8_t *states;
} staging;

static tn_status place(const tn_loaded *loaded, tn_param *table, tn_arena *arena) {
    (void)loaded;
    return tn_param_take_value(table, arena);
}

static tn_status read_param(tn_ckpt *ckpt, tn_param *p, const staging *buffers) {
    if (p->tensor.real) return tn_run_record_values(ckpt, p, buffers->stored, p->tensor.real);
    TN_TRY(tn_run_record_values(ckpt, p, buffers->stored, buffers->values));
    tn_param_quantize(p->quantizer, p->rows, p->cols, buffers->values, buffers->states, &p->scale);
    tn_param_put_states(p, 0, p->rows, buffers->states);
    /* The scale is max(mean |W|, 1e-5). Training may start from zeros, but they are nothing to run. */
    if (p->scale <= (tn_real)1e-5)
        return TN_FAIL(CORRUPT,
                       "%s: the weights of %s are zero or nearly so (mean size at most 1e-5), expected trained ones",
                       tn_ckpt_path(ckpt), p->name);
    return TN_OK;
}

static tn_status read_params(tn_ckpt *ckpt, tn_model *model, tn_arena *scratch) {
    int n;
    tn_param **params = tn_model_params(model, &n);
    int64_t most = 0;
    for (int i = 0; i < n; i++) most = TN_MAX(most, tn_param_count(params[i]));
    staging buffers;
    TN_TAKE(buffers.stored, scratch, most, "loading");
    TN_TAKE(buffers.values, scratch, most, "loading");
    TN_TAKE(buffers.states, scratch, most, "loading");
    for (int i = 0; i < n; i++) TN_TRY(read_param(ckpt, params[i], &buffers));
    return TN_OK;
}

static tn_status read(tn_loaded *loaded, tn_model *model, tn_arena *scratch) {
    tally t = {.ckpt = loaded->checkpoint, .model = model};
    TN_TRY(tn_ckpt_each_param(t.ckpt, expect_param, &t));
    TN_TRY(read_params(t.ckpt, model, scratch));
    tn_ckpt_close(loaded->checkpoint);
    loaded->checkpoint = NULL;
    return TN_OK;
}

/* ---- what is known without them ---- */

/* What the file holds must be what the configuration asks for before memory is taken for it. */
static tn_status add_count(void *context, const char *name, int64_t rows, int64_t cols) {
    (void)name;
    *(int64_t *)context += rows * cols;
    return TN_OK;
}

static tn_status check_count(tn_ckpt *ckpt, const tn_model_config *config) {
    int64_t count = 0, expected = tn_model_config_counts(config).total;
    TN_TRY(tn_ckpt_each_param(ckpt, add_count, &count));
    if (count == expected) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: holds %lld weights, its configuration describes %lld", tn_ckpt_path(ckpt),
                   (long long)count, (long long)expected);
}

static tn_status open_whole(tn_loaded *out, const tn_model_config *config, int64_t step) {
    tn_status status;
    out->config = *config;
    if (!out->config.vocab_size) out->config.vocab_size = tn_tokenizer_size(out->tokenizer);
    if ((status = tn_model_config_complete(&out->config)) != TN_OK)
        return tn_fail_at(status, __FILE__, __LINE__, "%s: %s", out->path, tn_error_message());
    TN_TRY(check_count(out->checkpoint, &out->config));
    snprintf(out->description, sizeof out->description, "checkpoint of step %lld", (long long)step);
    out->has_latents = true;
    return TN_OK;
}

static tn_status open_checkpoint(const char *path, tn_loaded *out) {
    int64_t step = 0;
    tn_run_record record;
    TN_TRY(tn_ckpt_open(&out->checkpoint, path));
    TN_TRY(read_tokenizer(out->checkpoint, &out->tokenizer));
    TN_TRY(tn_ckpt_get_int(out->checkpoint, "step", &step));
    TN_TRY(tn_run_record_read(&record, out->checkpoint));
    if (tn_run_record_is_part(&record)) return tn_based_open(out, &record, step);
    tn_status status = open_whole(out, &record.model.model, step);
    tn_run_record_release(&record);
    return status;
}

const tn_loader tn_checkpoint_loader = {open_checkpoint, place, read};
