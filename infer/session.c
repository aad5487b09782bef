/* SPDX-License-Identifier: MIT
 * session.c - feeding a model token by token, or chunk by chunk. */
#include "infer/session.h"

#include <string.h>

#include "autograd/tape.h"
#include "infer/session_priv.h"

enum { DEFAULT_CHUNK = 512 };

static tn_status take_memory(tn_session *s) {
    const tn_model_config *c = tn_model_get_config(s->loaded->model);
    s->arena = tn_arena_create("session");
    s->tape = tn_tape_create();
    if (!s->arena || !s->tape) return TN_E_NOMEM;
    TN_TRY(tn_cache_init(&s->cache, s->arena, c, s->context));
    TN_TAKE(s->history, s->arena, s->context, "history");
    TN_TAKE(s->logits, s->arena, c->vocab_size, "logits");
    TN_TAKE(s->choice, s->arena, c->vocab_size, "logits");
    return TN_OK;
}

tn_status tn_session_create(tn_session **out, const tn_loaded *loaded, tn_session_options options) {
    int most = tn_model_get_config(loaded->model)->context;
    *out = NULL;
    if (options.context < 0 || options.context == 1 || options.context > most)
        return TN_FAIL(RANGE, "a context of %d tokens is asked for, the model was trained for 2 to %d", options.context,
                       most);
    if (options.chunk < 0) return TN_FAIL(RANGE, "a prompt cannot be read in chunks of %d tokens", options.chunk);
    tn_session *s = tn_heap_zalloc(1, sizeof *s);
    if (!s) return TN_E_NOMEM;
    s->loaded = loaded;
    s->context = options.context ? options.context : most;
    s->chunk = options.chunk ? options.chunk : DEFAULT_CHUNK;
    tn_status status = take_memory(s);
    if (status)
        tn_session_free(s);
    else
        *out = s;
    return status;
}

void tn_session_free(tn_session *session) {
    if (!session) return;
    tn_tape_free(session->tape);
    tn_arena_free(session->arena);
    tn_heap_free(session);
}

int tn_session_context(const tn_session *session) { return session->context; }
int tn_session_length(const tn_session *session) { return session->cache.length; }
const int32_t *tn_session_history(const tn_session *session) { return session->history; }

const tn_real *tn_session_logits(const tn_session *session) { return session->cache.length ? session->logits : NULL; }

/* One pass over ids [n]; the head is only asked about the last position, the only one that anybody samples from. */
static tn_status feed_chunk(tn_session *s, const int32_t *ids, int n, bool wants_logits) {
    tn_model *model = s->loaded->model;
    tn_tape_begin(s->tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *in = tn_tape_ids(s->tape, 2, (const int[]){1, n}, ids);
    tn_tensor *hidden = tn_model_hidden(model, s->tape, in, &s->cache);
    TN_TRY(tn_tape_status(s->tape));
    memcpy(s->history + s->cache.length - n, ids, (size_t)n * sizeof *ids);
    if (!wants_logits) return TN_OK;
    int c = tn_tensor_cols(hidden);
    tn_tensor *last = tn_tape_real(s->tape, 3, (const int[]){1, 1, c}, hidden->real + (int64_t)(n - 1) * c, false);
    tn_tensor *logits = tn_model_logits(model, s->tape, last);
    TN_TRY(tn_tape_status(s->tape));
    memcpy(s->logits, logits->real, (size_t)tn_tensor_count(logits) * sizeof *s->logits);
    return TN_OK;
}

static tn_status feed_all(tn_session *s, const int32_t *ids, int n) {
    for (int at = 0; at < n; at += s->chunk) {
        int count = TN_MIN(s->chunk, n - at);
        TN_TRY(feed_chunk(s, ids + at, count, at + count == n));
    }
    return TN_OK;
}

tn_status tn_session_feed(tn_session *session, const int32_t *ids, int n) {
    int length = session->cache.length;
    if (n > session->context - length)
        return TN_FAIL(RANGE, "%d tokens do not fit: the context holds %d and %d are in use", n, session->context,
                       length);
    tn_status status = feed_all(session, ids, n);
    if (status) tn_cache_truncate(&session->cache, length);
    return status;
}

/* The last token that stays is fed again for its logits; it gives the same bits as the first time. */
tn_status tn_session_rewind(tn_session *session, int length) {
    TN_ASSERT(length >= 0 && length <= session->cache.length);
    if (length == session->cache.length) return TN_OK;
    tn_cache_truncate(&session->cache, length ? length - 1 : 0);
    if (length == 0) return TN_OK;
    int32_t last = session->history[length - 1];
    return feed_all(session, &last, 1);
}
