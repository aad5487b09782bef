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
    TN_TAKE(s->hidden, s->arena, c->d_model, "logits");
    TN_TAKE(s->allowed, s->arena, (c->vocab_size + 63) / 64, "logits");
    return TN_OK;
}

static tn_status take_screen(tn_session *s, tn_head_kind kind) {
    const tn_param *head = tn_model_head(s->loaded->model);
    if (kind == TN_HEAD_EXACT || !head->table.data || !tn_screen_serves(head->table.type)) return TN_OK;
    TN_TAKE(s->candidates, s->arena, head->rows, "screened head");
    return tn_screen_create(&s->screen, s->arena, &head->table, head->rows, head->cols);
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
    if (!status) status = take_screen(s, options.head);
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

/* ---- the head ---- */

static tn_status find_logits(tn_session *s) {
    if (s->knows_logits) return TN_OK;
    tn_model *model = s->loaded->model;
    const int c = tn_model_get_config(model)->d_model;
    tn_tape_begin(s->tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *hidden = tn_tape_real(s->tape, 3, (const int[]){1, 1, c}, s->hidden, false);
    tn_tensor *logits = tn_model_logits(model, s->tape, hidden);
    TN_TRY(tn_tape_status(s->tape));
    memcpy(s->logits, logits->real, (size_t)tn_tensor_count(logits) * sizeof *s->logits);
    s->knows_logits = true;
    return TN_OK;
}

const tn_real *tn_session_logits(tn_session *session) {
    return session->cache.length && !find_logits(session) ? session->logits : NULL;
}

static int find_candidates(tn_session *s, const tn_sampler_needs *needs, const uint64_t *allowed) {
    const tn_screen_question question = {needs->best, allowed, needs->extra, needs->n_extra};
    const int32_t *ids;
    const tn_real *logits;
    const int count = tn_screen_pick(s->screen, s->hidden, &question, &ids, &logits);
    for (int i = 0; i < count; i++) s->candidates[i] = (tn_candidate){.id = ids[i], .logit = (double)logits[i]};
    return count;
}

tn_status tn_session_pick(tn_session *s, tn_sampler *sampler, const uint64_t *allowed, int32_t *id) {
    TN_ASSERT(s->cache.length > 0);
    const tn_place at = {s->history, s->cache.length, s->cache.length, allowed};
    tn_sampler_needs needs = {0};
    if (s->screen && !s->knows_logits) TN_TRY(tn_sampler_get_needs(sampler, &at, &needs));
    if (needs.best) return tn_sampler_pick_from(sampler, s->candidates, find_candidates(s, &needs, allowed), &at, id);
    TN_TRY(find_logits(s));
    return tn_sampler_pick(sampler, s->logits, &at, id);
}

/* ---- feeding ---- */

/* One pass over ids [n]; the head is only asked about the last position, the only one that anybody samples from. */
static tn_status feed_chunk(tn_session *s, const int32_t *ids, int n) {
    tn_tape_begin(s->tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *in = tn_tape_ids(s->tape, 2, (const int[]){1, n}, ids);
    tn_tensor *hidden = tn_model_hidden(s->loaded->model, s->tape, in, &s->cache);
    TN_TRY(tn_tape_status(s->tape));
    const int c = tn_tensor_cols(hidden);
    memcpy(s->history + s->cache.length - n, ids, (size_t)n * sizeof *ids);
    memcpy(s->hidden, hidden->real + (int64_t)(n - 1) * c, (size_t)c * sizeof *s->hidden);
    s->knows_logits = false;
    return TN_OK;
}

static tn_status feed_all(tn_session *s, const int32_t *ids, int n) {
    for (int at = 0; at < n; at += s->chunk) {
        int count = TN_MIN(s->chunk, n - at);
        TN_TRY(feed_chunk(s, ids + at, count));
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
