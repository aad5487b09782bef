/* SPDX-License-Identifier: MIT
 * session.c - feeding a model token by token, or chunk by chunk. */
#include "infer/session.h"

#include <string.h>

#include "autograd/tape.h"
#include "data/grow.h"
#include "infer/session_priv.h"
#include "layers/adapter.h"

enum { DEFAULT_CHUNK = 512 };

static tn_status take_memory(tn_session *s, tn_session_options options) {
    const tn_model_config *c = tn_model_get_config(s->loaded->model);
    s->arena = tn_arena_create("session");
    s->tape = tn_tape_create();
    if (!s->arena || !s->tape) return TN_E_NOMEM;
    TN_TRY(tn_cache_init(&s->cache, s->arena, c, options.kv, s->context));
    TN_TAKE(s->history, s->arena, s->context, "history");
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
    s->adapter_changes = tn_model_adapter_changes(loaded->model);
    s->context = options.context ? options.context : most;
    s->chunk = options.chunk ? options.chunk : DEFAULT_CHUNK;
    tn_status status = take_memory(s, options);
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
    tn_heap_free(session->hidden);
    tn_heap_free(session->logits);
    tn_heap_free(session);
}

int tn_session_context(const tn_session *session) { return session->context; }
int tn_session_length(const tn_session *session) { return session->cache.length; }
const int32_t *tn_session_history(const tn_session *session) { return session->history; }

int64_t tn_session_position(const tn_session *session) { return session->dropped + session->cache.length; }

/* ---- the head ---- */

static const tn_model_config *config(const tn_session *s) { return tn_model_get_config(s->loaded->model); }

/* The row that tells what follows `length` tokens, or -1. */
static int find_row(const tn_session *s, int length) {
    int row = length - s->first_row;
    return length > 0 && row >= 0 && row < s->n_rows ? row : -1;
}

/* Of all rows at once: the head is read a single time. */
static tn_status find_logits(tn_session *s) {
    if (s->knows_logits) return TN_OK;
    tn_model *model = s->loaded->model;
    tn_tape_begin(s->tape, TN_TAPE_FORWARD, NULL);
    const int dims[] = {1, s->n_rows, config(s)->d_model};
    tn_tensor *logits = tn_model_logits(model, s->tape, tn_tape_real(s->tape, 3, dims, s->hidden, false));
    TN_TRY(tn_tape_status(s->tape));
    size_t count = (size_t)tn_tensor_count(logits);
    TN_GROW(s->logits, &s->logits_cap, count);
    memcpy(s->logits, logits->real, count * sizeof *s->logits);
    s->knows_logits = true;
    return TN_OK;
}

const tn_real *tn_session_logits_at(tn_session *session, int length) {
    if (tn_session_catch_up(session)) return NULL;
    int row = find_row(session, length);
    return row >= 0 && !find_logits(session) ? session->logits + (size_t)row * (size_t)config(session)->vocab_size
                                             : NULL;
}

const tn_real *tn_session_logits(tn_session *session) { return tn_session_logits_at(session, session->cache.length); }

static int find_candidates(tn_session *s, int row, const tn_sampler_needs *needs, const uint64_t *allowed) {
    const tn_screen_question question = {needs->best, allowed, needs->extra, needs->n_extra};
    const tn_real *hidden = s->hidden + (size_t)row * (size_t)config(s)->d_model, *logits;
    const int32_t *ids;
    const int count = tn_screen_pick(s->screen, hidden, &question, &ids, &logits);
    for (int i = 0; i < count; i++) s->candidates[i] = (tn_candidate){.id = ids[i], .logit = (double)logits[i]};
    return count;
}

tn_status tn_session_pick_at(tn_session *s, tn_sampler *sampler, int length, const uint64_t *allowed, int32_t *id) {
    TN_TRY(tn_session_catch_up(s));
    const int row = find_row(s, length);
    TN_ASSERT(row >= 0);
    const tn_place at = {s->history, length, s->dropped + length, allowed};
    tn_sampler_needs needs = {0};
    const bool screens = s->screen && !s->knows_logits && !tn_model_head_adapted(s->loaded->model);
    if (screens) TN_TRY(tn_sampler_get_needs(sampler, &at, &needs));
    if (needs.best)
        return tn_sampler_pick_from(sampler, s->candidates, find_candidates(s, row, &needs, allowed), &at, id);
    TN_TRY(find_logits(s));
    return tn_sampler_pick(sampler, s->logits + (size_t)row * (size_t)config(s)->vocab_size, &at, id);
}

tn_status tn_session_pick(tn_session *session, tn_sampler *sampler, const uint64_t *allowed, int32_t *id) {
    return tn_session_pick_at(session, sampler, session->cache.length, allowed, id);
}

void tn_session_cut(tn_session *session, int length) {
    tn_cache_truncate(&session->cache, length);
    session->n_rows = TN_MAX(0, TN_MIN(session->n_rows, length - session->first_row + 1));
}

/* ---- feeding ---- */

/* One pass over ids [n]; what the head may be asked about the last `rows` of them goes behind the `kept` rows. */
static tn_status feed_chunk(tn_session *s, const int32_t *ids, int n, int rows, int kept) {
    tn_tape_begin(s->tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *in = tn_tape_ids(s->tape, 2, (const int[]){1, n}, ids);
    tn_tensor *hidden = tn_model_hidden(s->loaded->model, s->tape, in, &s->cache);
    TN_TRY(tn_tape_status(s->tape));
    memmove(s->history + s->cache.length - n, ids, (size_t)n * sizeof *ids); /* the same place, when read again */
    if (rows == 0) return TN_OK;
    const size_t c = (size_t)tn_tensor_cols(hidden);
    TN_GROW(s->hidden, &s->hidden_cap, (size_t)(kept + rows) * c);
    memcpy(s->hidden + (size_t)kept * c, hidden->real + (size_t)(n - rows) * c, (size_t)rows * c * sizeof *s->hidden);
    s->knows_logits = false;
    return TN_OK;
}

/* All of ids [n], chunk by chunk; what the head needs after the last `rows` is kept. */
static tn_status feed(tn_session *s, const int32_t *ids, int n, int rows) {
    const int length = s->cache.length;
    int kept = 0;
    for (int at = 0; at < n; at += s->chunk) {
        int count = TN_MIN(s->chunk, n - at), wanted = TN_MAX(0, at + count - TN_MAX(at, n - rows));
        tn_status status = feed_chunk(s, ids + at, count, wanted, kept);
        if (status) tn_session_cut(s, length);
        TN_TRY(status);
        if (wanted == 0) continue;
        s->first_row = length + n - rows + 1;
        s->n_rows = kept += wanted;
    }
    return TN_OK;
}

static tn_status check_room(const tn_session *s, int length, int n) {
    if (n <= s->context - length) return TN_OK;
    return TN_FAIL(RANGE, "%d tokens do not fit: the context holds %d and %d are in use", n, s->context, length);
}

/* What the cache holds is of no use under other adapters. True when it was. */
static bool forget_stale(tn_session *s) {
    const uint64_t now = tn_model_adapter_changes(s->loaded->model);
    if (s->adapter_changes == now) return false;
    s->adapter_changes = now;
    tn_session_cut(s, 0);
    return true;
}

tn_status tn_session_catch_up(tn_session *session) {
    const int length = session->cache.length;
    return forget_stale(session) && length ? feed(session, session->history, length, 1) : TN_OK;
}

tn_status tn_session_feed_all(tn_session *session, const int32_t *ids, int n, int rows) {
    TN_ASSERT(rows > 0 && rows <= n);
    TN_TRY(tn_session_catch_up(session));
    TN_TRY(check_room(session, session->cache.length, n));
    return feed(session, ids, n, rows);
}

tn_status tn_session_feed(tn_session *session, const int32_t *ids, int n) {
    return n > 0 ? tn_session_feed_all(session, ids, n, 1) : TN_OK;
}

/* ---- going back ---- */

/* The last token that stays is fed again for what the head needs; it gives the same bits as the first time. */
tn_status tn_session_rewind(tn_session *session, int length) {
    TN_ASSERT(length >= 0 && length <= session->cache.length);
    TN_TRY(tn_session_catch_up(session));
    if (length == 0 || find_row(session, length) >= 0) {
        tn_session_cut(session, length);
        return TN_OK;
    }
    tn_session_cut(session, length - 1);
    int32_t last = session->history[length - 1];
    return feed(session, &last, 1, 1);
}

tn_status tn_session_set_prompt(tn_session *session, const int32_t *ids, int n, int *reused) {
    int common = 0;
    TN_TRY(check_room(session, 0, n));
    (void)forget_stale(session);
    while (common < TN_MIN(n, session->cache.length) && session->history[common] == ids[common]) common++;
    session->dropped = 0;
    if (reused) *reused = common;
    if (common == n) return tn_session_rewind(session, n);
    tn_session_cut(session, common);
    return feed(session, ids + common, n - common, 1);
}

tn_status tn_session_read_prompt(tn_session *session, const int32_t *ids, int n, bool (*stop)(void *context),
                                 void *context, int *reused) {
    enum { PATIENCE = 512 };
    int at = 0;
    TN_TRY(check_room(session, 0, n));
    (void)forget_stale(session);
    while (at < TN_MIN(n, session->cache.length) && session->history[at] == ids[at]) at++;
    if (reused) *reused = at;
    do {
        if (stop && stop(context)) return TN_FAIL(STOPPED, "interrupted");
        at = TN_MIN(n, at + PATIENCE);
        TN_TRY(tn_session_set_prompt(session, ids, at, NULL));
    } while (at < n);
    return TN_OK;
}

tn_status tn_session_shift(tn_session *session, int keep) {
    TN_TRY(tn_session_catch_up(session));
    int length = session->cache.length, drop = (length - keep) / 2, rest = length - keep - drop;
    TN_ASSERT(keep >= 0);
    if (drop < 1) return TN_FAIL(RANGE, "a context of %d tokens that keeps %d cannot be shifted", length, keep);
    int32_t *ids = tn_heap_zalloc((size_t)rest, sizeof *ids);
    if (!ids) return TN_E_NOMEM;
    memcpy(ids, session->history + keep + drop, (size_t)rest * sizeof *ids);
    tn_session_cut(session, keep);
    tn_status status = feed(session, ids, rest, 1);
    tn_heap_free(ids);
    session->dropped += drop;
    return status;
}
