/* SPDX-License-Identifier: MIT
 * adapter_gguf_write.c - adapters into GGUF files. */
#include "models/adapter_writing.h"

#include <math.h>
#include <string.h>

#include "models/adapter_gguf.h"
#include "models/adapter_reading.h"
#include "models/gguf_config.h"
#include "models/gguf_weights.h"
#include "models/peft_config.h"

/* One file as it is written. */
typedef struct job {
    const tn_adapter *adapter;
    const tn_adapter_origin *origin;
    const char *name;
    float alpha;
    int paired_heads;
    float *room, *paired; /* a half; rows of it as the file has them */
} job;

static double own_alpha(const tn_adapter *adapter, const tn_adapter_pair *pair) {
    return tn_adapter_gguf_alpha(pair->rank, pair->alpha, adapter->options.rslora);
}

/* ---- keys ---- */

static tn_status put_config(tn_gguf_writer *w, const job *j) {
    tn_buf text = {0};
    tn_status status = tn_peft_config_write(j->adapter, j->origin->base, &text);
    if (!status) status = tn_gguf_put_text(w, TN_ADAPTER_KEY_CONFIG, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}

static tn_status put_keys(tn_gguf_writer *w, const job *j) {
    TN_TRY(tn_gguf_puts(w, "general.architecture", tn_gguf_architecture(&j->adapter->config)));
    TN_TRY(tn_gguf_puts(w, "general.type", "adapter"));
    TN_TRY(tn_gguf_puts(w, "general.name", j->name));
    TN_TRY(tn_gguf_put_u32(w, "general.file_type", 0));
    TN_TRY(tn_gguf_puts(w, "adapter.type", "lora"));
    TN_TRY(tn_gguf_put_f32(w, "adapter.lora.alpha", j->alpha));
    if (*j->origin->base_id) TN_TRY(tn_gguf_puts(w, TN_ADAPTER_KEY_BASE, j->origin->base_id));
    if (j->adapter->options.input == TN_ADAPTER_QUANTIZED) TN_TRY(tn_gguf_puts(w, TN_ADAPTER_KEY_INPUT, "quantized"));
    return put_config(w, j);
}

/* ---- tensors ---- */

static bool is_turned(const tn_adapter_pair *pair, int half) {
    return half == TN_ADAPTER_A && !tn_adapter_is_embedding(pair->target);
}

static tn_status announce(tn_gguf_writer *w, const tn_adapter_pair *pair, int half) {
    char name[TN_ADAPTER_GGUF_NAME];
    const tn_param *p = tn_adapter_half_of(pair, half);
    const bool turned = is_turned(pair, half);
    const int64_t ne[2] = {turned ? p->rows : p->cols, turned ? p->cols : p->rows};
    return tn_gguf_announce(w, tn_adapter_gguf_name(name, pair->target, (tn_adapter_half)half), TN_GGML_F32, 2, ne);
}

static const float *pair_rows(const job *j, const tn_param *p) {
    const size_t row_bytes = sizeof(float) * (size_t)p->cols;
    if (!j->paired_heads) return j->room;
    for (int64_t row = 0; row < p->rows; row++)
        memcpy(j->paired + row * p->cols, j->room + tn_gguf_param_row(p, j->paired_heads, row) * p->cols, row_bytes);
    return j->paired;
}

static tn_status check_range(const tn_adapter_pair *pair, const float *values, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return TN_FAIL(RANGE,
                           "element %lld of B of %s leaves what f32 can hold when its alpha is brought to that "
                           "of the file",
                           (long long)i, pair->target);
    return TN_OK;
}

static tn_status put(tn_gguf_writer *w, const job *j, const tn_adapter_pair *pair, int half) {
    const tn_param *p = tn_adapter_half_of(pair, half);
    const int64_t n = tn_param_count(p);
    const double factor =
        half == TN_ADAPTER_A ? 1 : tn_adapter_gguf_factor(own_alpha(j->adapter, pair), (double)j->alpha);
    tn_adapter_put_floats(p, is_turned(pair, half), factor, j->room);
    TN_TRY(check_range(pair, j->room, n));
    return tn_gguf_put_data(w, half == TN_ADAPTER_A ? j->room : pair_rows(j, p), sizeof(float) * (size_t)n);
}

static tn_status write_all(tn_gguf_writer *w, const job *j) {
    TN_TRY(put_keys(w, j));
    for (int i = 0; i < 2 * j->adapter->n_pairs; i++) TN_TRY(announce(w, &j->adapter->pairs[i / 2], i % 2));
    for (int i = 0; i < 2 * j->adapter->n_pairs; i++) TN_TRY(put(w, j, &j->adapter->pairs[i / 2], i % 2));
    return TN_OK;
}

static tn_status write_file(job *j, tn_arena *scratch, const char *path) {
    tn_gguf_writer *w;
    const tn_model_config *c = &j->adapter->config;
    j->alpha = (float)own_alpha(j->adapter, &j->adapter->pairs[0]);
    if (!(j->alpha >= 1e-30f && j->alpha <= 1e30f))
        return TN_FAIL(RANGE, "an alpha of %g cannot be said in a GGUF adapter", (double)j->alpha);
    j->paired_heads = tn_gguf_paired_heads(tn_gguf_architecture(c), c);
    TN_TAKE(j->room, scratch, tn_adapter_largest_half(j->adapter), "export");
    TN_TAKE(j->paired, scratch, tn_adapter_largest_half(j->adapter), "export");
    TN_TRY(tn_gguf_create(&w, path));
    tn_status status = write_all(w, j);
    if (!status) return tn_gguf_commit(w);
    tn_gguf_discard(w);
    return status;
}

tn_status tn_adapter_write_gguf(const tn_adapter *adapter, const tn_adapter_origin *origin, const char *name,
                                const char *path) {
    job j = {.adapter = adapter, .origin = origin, .name = name};
    tn_arena *scratch = tn_arena_create("export");
    tn_status status = scratch ? write_file(&j, scratch, path) : TN_E_NOMEM;
    tn_arena_free(scratch);
    return status;
}
