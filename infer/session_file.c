/* SPDX-License-Identifier: MIT */
#include "infer/session_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/hdf5_file.h"
#include "infer/session_priv.h"
#include "models/fingerprint.h"

#define FORMAT "tern-session"

#define ADAPTERS "adapters" /* a dataset, so that files without adapters are as they ever were */

enum { FORMAT_VERSION = 1, LAYER_NAME = 32, SHAPE = 80 };

static size_t position_bytes(const tn_kv *kv) { return (size_t)kv->n_head * tn_kv_row_bytes(kv->type, kv->d); }

static void layer_name(int layer, char name[LAYER_NAME]) { snprintf(name, LAYER_NAME, "layers/%d", layer); }

/* What must agree before a byte of the cache is looked at. */
static void describe_shape(const tn_session *s, char out[SHAPE]) {
    const tn_kv *kv = &s->cache.layers[0];
    int vocab = tn_model_get_config(s->loaded->model)->vocab_size;
    snprintf(out, SHAPE, "%d layers of %d x %d keys, %d tokens", s->cache.n_layers, kv->n_head, kv->d, vocab);
}

/* ---- writing ---- */

static tn_status put_header(tn_h5 *file, const tn_session *s, const tn_sampler *sampler) {
    char shape[SHAPE], tokenizer[17];
    describe_shape(s, shape);
    tn_tokenizer_hash(s->loaded->tokenizer, tokenizer);
    TN_TRY(tn_h5_set_text(file, "format", FORMAT));
    TN_TRY(tn_h5_set_int(file, "format_version", FORMAT_VERSION));
    TN_TRY(tn_h5_set_text(file, "shape", shape));
    TN_TRY(tn_h5_set_text(file, "tokenizer_hash", tokenizer));
    TN_TRY(tn_h5_set_text(file, "kv_type", tn_kv_type_name(s->cache.layers[0].type)));
    TN_TRY(tn_h5_set_int(file, "n_tokens", s->cache.length));
    TN_TRY(tn_h5_set_int(file, "dropped", s->dropped));
    TN_TRY(tn_h5_set_int(file, "seed", (int64_t)tn_sampler_seed(sampler)));
    return tn_h5_set_real(file, "mirostat_mu", tn_sampler_get_state(sampler).mu);
}

static tn_status put_adapters(tn_h5 *file, const tn_session *s) {
    char hex[TN_FINGERPRINT];
    TN_TRY(tn_model_adapters_fingerprint(s->loaded->model, hex));
    return *hex ? tn_h5_write_text(file, ADAPTERS, hex, strlen(hex)) : TN_OK;
}

static tn_status put_layers(tn_h5 *file, const tn_session *s) {
    const size_t bytes = position_bytes(&s->cache.layers[0]);
    const int64_t dims[] = {s->cache.length, (int64_t)bytes};
    char *rows = tn_heap_zalloc((size_t)s->cache.length, bytes), name[LAYER_NAME];
    tn_status status = rows ? TN_OK : TN_E_NOMEM;
    for (int i = 0; i < s->cache.n_layers && !status; i++) {
        for (int at = 0; at < s->cache.length; at++) tn_kv_save(&s->cache.layers[i], at, rows + (size_t)at * bytes);
        layer_name(i, name);
        status = tn_h5_write(file, name, TN_H5_U8, 2, dims, rows);
    }
    tn_heap_free(rows);
    return status;
}

static tn_status put_all(tn_h5 *file, const tn_session *s, const tn_sampler *sampler) {
    const int64_t n = s->cache.length;
    TN_TRY(put_header(file, s, sampler));
    TN_TRY(put_adapters(file, s));
    TN_TRY(tn_h5_write(file, "tokens", TN_H5_I32, 1, &n, s->history));
    return put_layers(file, s);
}

tn_status tn_session_save(tn_session *session, const tn_sampler *sampler, const char *path) {
    tn_h5 *file;
    if (session->cache.length == 0) return TN_FAIL(EMPTY, "%s: there is nothing to keep, no token was fed", path);
    TN_TRY(tn_session_catch_up(session));
    TN_TRY(tn_h5_create(&file, path));
    tn_status status = put_all(file, session, sampler);
    if (!status) return tn_h5_commit(file);
    tn_h5_close(file);
    return status;
}

/* ---- reading ---- */

typedef struct header {
    int64_t version, n_tokens, dropped, seed;
    double mu;
} header;

/* A text attribute must be what this session would write. */
static tn_status check_text(tn_h5 *file, const char *name, const char *expected, const char *what) {
    tn_buf found = {0};
    tn_status status = tn_h5_get_text(file, name, &found);
    if (!status && strcmp(tn_buf_text(&found), expected) != 0)
        status = TN_FAIL(MISMATCH, "%s: is of %s: %s is %.80s, expected %s", tn_h5_path(file), what, name,
                         tn_buf_text(&found), expected);
    tn_buf_release(&found);
    return status;
}

static tn_status check_owner(tn_h5 *file, const tn_session *s) {
    char shape[SHAPE], tokenizer[17];
    describe_shape(s, shape);
    tn_tokenizer_hash(s->loaded->tokenizer, tokenizer);
    TN_TRY(check_text(file, "shape", shape, "another model"));
    TN_TRY(check_text(file, "tokenizer_hash", tokenizer, "another tokenizer"));
    return check_text(file, "kv_type", tn_kv_type_name(s->cache.layers[0].type), "another type of keys and values");
}

/* Keys and values are those of the adapters that run, with their scales. */
static tn_status check_adapters(tn_h5 *file, const tn_session *s) {
    char hex[TN_FINGERPRINT];
    tn_buf found = {0};
    TN_TRY(tn_model_adapters_fingerprint(s->loaded->model, hex));
    tn_status status = tn_h5_has(file, ADAPTERS) ? tn_h5_read_text(file, ADAPTERS, TN_FINGERPRINT, &found) : TN_OK;
    const char *text = tn_buf_text(&found);
    if (!status && strcmp(text, hex) != 0)
        status = TN_FAIL(MISMATCH, "%s: was written with%s", tn_h5_path(file),
                         !*text ? "out adapters: leave out --lora"
                         : *hex ? " other adapters or scales: give the same --lora, in the same order"
                                : " adapters: give the same --lora");
    tn_buf_release(&found);
    return status;
}

static tn_status read_header(tn_h5 *file, const tn_session *s, header *h) {
    const char *path = tn_h5_path(file);
    TN_TRY(tn_h5_get_int(file, "format_version", &h->version));
    if (h->version != FORMAT_VERSION)
        return TN_FAIL(UNSUPPORTED, "%s: has version %lld, expected %d", path, (long long)h->version, FORMAT_VERSION);
    TN_TRY(check_owner(file, s));
    TN_TRY(check_adapters(file, s));
    TN_TRY(tn_h5_get_int(file, "n_tokens", &h->n_tokens));
    TN_TRY(tn_h5_get_int(file, "dropped", &h->dropped));
    TN_TRY(tn_h5_get_int(file, "seed", &h->seed));
    TN_TRY(tn_h5_get_real(file, "mirostat_mu", &h->mu));
    if (h->n_tokens < 1 || h->dropped < 0 || h->dropped > INT64_MAX / 2 || !isfinite(h->mu))
        return TN_FAIL(CORRUPT, "%s: has %lld tokens after %lld, and a surprise of %g", path, (long long)h->n_tokens,
                       (long long)h->dropped, h->mu);
    if (h->n_tokens > s->context)
        return TN_FAIL(RANGE, "%s: has %lld tokens, the context holds %d", path, (long long)h->n_tokens, s->context);
    return TN_OK;
}

static tn_status read_tokens(tn_h5 *file, tn_session *s, int n) {
    int vocab = tn_model_get_config(s->loaded->model)->vocab_size;
    TN_TRY(tn_h5_read(file, "tokens", TN_H5_I32, n, s->history));
    for (int i = 0; i < n; i++)
        if (s->history[i] < 0 || s->history[i] >= vocab)
            return TN_FAIL(CORRUPT, "%s: token %d is %d, expected 0 to %d", tn_h5_path(file), i, s->history[i],
                           vocab - 1);
    return TN_OK;
}

/* The layers into the cache, and what they have for the last position into `last` [n_layers, bytes]. */
static tn_status read_layers(tn_h5 *file, tn_session *s, int n, char *last) {
    const size_t bytes = position_bytes(&s->cache.layers[0]);
    char *rows = tn_heap_zalloc((size_t)n, bytes), name[LAYER_NAME];
    tn_status status = rows ? TN_OK : TN_E_NOMEM;
    for (int i = 0; i < s->cache.n_layers && !status; i++) {
        layer_name(i, name);
        status = tn_h5_read(file, name, TN_H5_U8, n * (int64_t)bytes, rows);
        for (int at = 0; at < n && !status; at++) tn_kv_restore(&s->cache.layers[i], at, rows + (size_t)at * bytes);
        memcpy(last + (size_t)i * bytes, rows + (size_t)(n - 1) * bytes, bytes);
    }
    tn_heap_free(rows);
    return status;
}

/* Feed the last token again, which its logits need anyway: the model must say what the file says. */
static tn_status check_last(tn_h5 *file, tn_session *s, int n, const char *last) {
    const size_t bytes = position_bytes(&s->cache.layers[0]);
    char *again = tn_heap_zalloc((size_t)s->cache.n_layers, bytes);
    int32_t id = s->history[n - 1];
    if (!again) return TN_E_NOMEM;
    s->cache.length = n - 1;
    for (int i = 0; i < s->cache.n_layers; i++) s->cache.layers[i].length = n - 1;
    tn_status status = tn_session_feed(s, &id, 1);
    for (int i = 0; i < s->cache.n_layers; i++) tn_kv_save(&s->cache.layers[i], n - 1, again + (size_t)i * bytes);
    if (!status && memcmp(again, last, (size_t)s->cache.n_layers * bytes) != 0)
        status = TN_FAIL(MISMATCH, "%s: is of another model, or of a CPU that rounds otherwise", tn_h5_path(file));
    tn_heap_free(again);
    return status;
}

static tn_status take(tn_h5 *file, tn_session *s, int n) {
    char *last = tn_heap_zalloc((size_t)s->cache.n_layers, position_bytes(&s->cache.layers[0]));
    tn_status status = last ? read_tokens(file, s, n) : TN_E_NOMEM;
    if (!status) status = read_layers(file, s, n, last);
    if (!status) status = check_last(file, s, n, last);
    tn_heap_free(last);
    return status;
}

tn_status tn_session_restore(tn_session *session, tn_sampler *sampler, const char *path) {
    tn_h5 *file;
    header h = {0};
    TN_TRY(tn_h5_open(&file, path, FORMAT));
    tn_status status = read_header(file, session, &h);
    if (!status) {
        tn_session_cut(session, 0);
        (void)tn_session_catch_up(session);
        status = take(file, session, (int)h.n_tokens);
        session->dropped = status ? 0 : h.dropped;
        if (status) tn_session_cut(session, 0);
    }
    tn_h5_close(file);
    if (status) return status;
    tn_sampler_set_seed(sampler, (uint64_t)h.seed);
    tn_sampler_set_state(sampler, (tn_sampler_state){.mu = h.mu});
    return TN_OK;
}
