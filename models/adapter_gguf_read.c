/* SPDX-License-Identifier: MIT
 * adapter_gguf_read.c - adapters out of GGUF files. */
#include "models/adapter_reading.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/adapter_gguf.h"
#include "models/gguf_config.h"
#include "models/gguf_weights.h"
#include "models/peft_config.h"

/* The file as it is read. */
typedef struct source {
    const tn_gguf *file;
    double alpha;          /* as the file has it; 0: none */
    bool has_config;       /* then terms are those of, */
    tn_peft_config config; /* and numbers of B were multiplied */
    int paired_heads;
    char config_name[4096 + sizeof TN_ADAPTER_KEY_CONFIG];
} source;

/* ---- tensors ---- */

static tn_status find_factor(const source *s, const char *target, int rank, double *factor) {
    char module[TN_HF_NAME_SIZE];
    double alpha;
    int own;
    *factor = 1;
    if (!s->has_config) return TN_OK;
    TN_TRY(tn_peft_config_terms(&s->config, tn_peft_module(target, module), &own, &alpha));
    *factor = tn_adapter_gguf_factor(tn_adapter_gguf_alpha(rank, alpha, s->config.rslora), s->alpha);
    if (*factor > 0 && isfinite(*factor)) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: " TN_ADAPTER_KEY_CONFIG " and adapter.lora.alpha contradict each other for %s",
                   tn_gguf_path(s->file), module);
}

static tn_status find(const tn_adapter_reading *r, const char *target, tn_adapter_half half, tn_adapter_stored *out) {
    const source *s = r->config;
    char name[TN_ADAPTER_GGUF_NAME];
    const tn_gguf_tensor *t = tn_gguf_find(s->file, tn_adapter_gguf_name(name, target, half));
    if (!t) return TN_OK;
    out->path = t->path;
    out->name = t->name;
    out->number = t - tn_gguf_tensor_at(s->file, 0);
    out->cols = t->ne[0];
    out->rows = t->ne[1];
    out->turned = half == TN_ADAPTER_A && !tn_adapter_is_embedding(target);
    TN_TRY(tn_gguf_table(t, &out->table));
    if (t->ne[2] != 1 || t->ne[3] != 1)
        return TN_FAIL(MISMATCH, "%s: %s has %d dimensions, expected a matrix", t->path, t->name, t->n_dims);
    if (half == TN_ADAPTER_A) return TN_OK;
    out->paired_heads = s->paired_heads;
    return find_factor(s, target, (int)TN_MIN(out->cols, (int64_t)TN_ADAPTER_RANK_MAX), &out->factor);
}

static tn_status terms(const tn_adapter_reading *r, const char *target, int found, double *alpha) {
    const source *s = r->config;
    char module[TN_HF_NAME_SIZE];
    int rank = found;
    if (!found) return TN_OK;
    *alpha = s->alpha != 0 ? s->alpha : found; /* without one the user's scale is the whole */
    if (s->has_config) TN_TRY(tn_peft_config_terms(&s->config, tn_peft_module(target, module), &rank, alpha));
    if (rank == found) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: the pair of %s is of rank %d, " TN_ADAPTER_KEY_CONFIG " says %d", r->path, target,
                   found, rank);
}

static tn_status refuse(const tn_adapter_reading *r, int64_t number) {
    const tn_gguf_tensor *t = tn_gguf_tensor_at(r->file, number);
    if (tn_adapter_name_ends(t->name, ".lora_a") || tn_adapter_name_ends(t->name, ".lora_b"))
        return TN_FAIL(MISMATCH, "%s: %s is for a matrix that this model does not have", t->path, t->name);
    return TN_FAIL(UNSUPPORTED, "%s: %s is half of no pair, Tern reads pairs of low rank alone", t->path, t->name);
}

/* ---- keys ---- */

static tn_status expect_text(const tn_gguf *file, const char *key, const char *expected, const char *what) {
    tn_gguf_text text;
    TN_TRY(tn_gguf_get_text(file, key, &text));
    if (text.len == strlen(expected) && memcmp(text.data, expected, text.len) == 0) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: %s is \"%.*s\", expected \"%s\": %s", tn_gguf_path(file), key,
                   (int)TN_MIN(text.len, (size_t)40), text.data, expected, what);
}

/* Absent: empty. */
static tn_status get_text(const tn_gguf *file, const char *key, tn_gguf_text *out) {
    *out = (tn_gguf_text){0};
    return tn_gguf_has(file, key) ? tn_gguf_get_text(file, key, out) : TN_OK;
}

/* Architectures differ in how rows of q and k lie: an adapter is for models of its own. */
static tn_status read_architecture(source *s, const tn_model_config *model) {
    TN_TRY(tn_gguf_check_architecture(s->file));
    const char *ours = tn_gguf_architecture(model), *theirs = tn_gguf_architecture_of(s->file);
    if ((strcmp(ours, "llama") == 0) != (strcmp(theirs, "llama") == 0))
        return TN_FAIL(MISMATCH, "%s: is for a model of architecture %s, this one is %s", tn_gguf_path(s->file), theirs,
                       ours);
    s->paired_heads = tn_gguf_paired_heads(theirs, model);
    return TN_OK;
}

static tn_status read_keys(source *s) {
    tn_gguf_text text;
    const char *path = tn_gguf_path(s->file);
    if (!tn_gguf_has(s->file, "general.type") && !tn_gguf_has(s->file, "adapter.type"))
        return TN_FAIL(FORMAT, "%s: is a GGUF file, but no adapter: it has no general.type", path);
    TN_TRY(expect_text(s->file, "general.type", "adapter", "it is no adapter"));
    TN_TRY(expect_text(s->file, "adapter.type", "lora", "Tern reads pairs of low rank alone"));
    if (tn_gguf_has(s->file, "adapter.alora.invocation_tokens"))
        return TN_FAIL(UNSUPPORTED,
                       "%s: has adapter.alora.invocation_tokens: it begins behind certain tokens, and "
                       "Tern's adapters are always on",
                       path);
    if (tn_gguf_has(s->file, "adapter.lora.alpha")) TN_TRY(tn_gguf_get_real(s->file, "adapter.lora.alpha", &s->alpha));
    if (!isfinite(s->alpha) || s->alpha < 0)
        return TN_FAIL(CORRUPT, "%s: adapter.lora.alpha is %g, expected a number from 0 up", path, s->alpha);
    TN_TRY(get_text(s->file, TN_ADAPTER_KEY_CONFIG, &text));
    s->has_config = text.data != NULL;
    if (!s->has_config) return TN_OK;
    snprintf(s->config_name, sizeof s->config_name, "%s: " TN_ADAPTER_KEY_CONFIG, path);
    return tn_peft_config_read(&s->config, s->config_name, text.data, text.len);
}

static tn_status describe(const source *s, tn_adapter_origin *origin) {
    tn_gguf_text id;
    TN_TRY(get_text(s->file, TN_ADAPTER_KEY_BASE, &id));
    snprintf(origin->base_id, sizeof origin->base_id, "%.*s", (int)TN_MIN(id.len, sizeof origin->base_id), id.data);
    snprintf(origin->base, sizeof origin->base, "%s", s->config.base ? s->config.base : "");
    snprintf(origin->description, sizeof origin->description, "GGUF adapter");
    return TN_OK;
}

static tn_status read_tensors(source *s, tn_adapter **out, tn_arena *arena, const tn_model_config *model) {
    tn_adapter_options options = {0};
    tn_gguf_text input;
    TN_TRY(read_architecture(s, model));
    options.rslora = s->config.rslora;
    options.dropout = s->config.dropout;
    const tn_adapter_reading reading = {.path = tn_gguf_path(s->file),
                                        .file = s->file,
                                        .config = s,
                                        .n_tensors = tn_gguf_n_tensors(s->file),
                                        .find = find,
                                        .terms = terms,
                                        .refuse = refuse};
    TN_TRY(get_text(s->file, TN_ADAPTER_KEY_INPUT, &input));
    TN_TRY(tn_adapter_read_input(reading.path, input.data, input.len, &options.input));
    TN_TRY(tn_adapter_create(out, arena, model, &options));
    return tn_adapter_read_pairs(&reading, *out);
}

tn_status tn_adapter_read_gguf(const char *path, tn_adapter **out, tn_arena *arena, const tn_model_config *model,
                               tn_adapter_origin *origin) {
    source s = {0};
    tn_gguf *file;
    TN_TRY(tn_gguf_open(&file, path));
    s.file = file;
    tn_status status = read_keys(&s);
    if (!status) status = describe(&s, origin);
    if (!status && model) status = read_tensors(&s, out, arena, model);
    tn_peft_config_release(&s.config);
    tn_gguf_close(file);
    return status;
}
