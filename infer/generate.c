/* SPDX-License-Identifier: MIT
 * generate.c - from logits to text: choose, show, feed, until something says stop. */
#include "core/clock.h"
#include "infer/lookup.h"
#include "infer/session_priv.h"
#include "infer/token_mask.h"

const char *tn_stop_reason_name(tn_stop_reason reason) {
    static const char *const names[] = {"eos", "stop", "length", "length"};
    return names[reason];
}

tn_status tn_prompt_encode(const tn_tokenizer *tokenizer, const char *text, size_t len, tn_ids *ids) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(tokenizer);
    if (v->add_bos && v->bos >= 0) TN_TRY(tn_ids_append(ids, v->bos));
    TN_TRY(tn_tokenizer_encode(tokenizer, text, len, true, ids));
    if (ids->count > 0) return TN_OK;
    int first = v->bos >= 0 ? v->bos : v->eos;
    if (first < 0) return TN_FAIL(EMPTY, "the prompt is empty, and the tokenizer has no token to begin a text with");
    return tn_ids_append(ids, first);
}

typedef struct writing {
    tn_session *session;
    tn_sampler *sampler;
    const tn_generate_options *options;
    tn_generated *out;
    uint64_t *allowed; /* heap, a token_mask.h: what may come with the grammar; NULL without one */
    int length;        /* tokens that are sure; the session may hold guesses beyond */
    tn_text_stream stream;
    tn_buf bytes; /* of one token */
} writing;

static tn_status prepare(writing *w) {
    const tn_loaded *loaded = w->session->loaded;
    int n_ids = tn_model_get_config(loaded->model)->vocab_size;
    uint64_t *usable = w->session->usable;
    tn_mask_usable(usable, n_ids, loaded->tokenizer);
    if (w->options->ignore_eos) tn_mask_drop_stops(usable, loaded->tokenizer);
    if (w->options->grammar) w->allowed = tn_heap_zalloc(tn_mask_words(n_ids), sizeof *w->allowed);
    return w->options->grammar && !w->allowed ? TN_E_NOMEM : TN_OK;
}

/* What may come next. `ended`: the grammar's text is whole, and nothing can follow it. */
static tn_status find_allowed(writing *w, const uint64_t **allowed, bool *ended) {
    const tn_loaded *loaded = w->session->loaded;
    size_t n = tn_mask_words(tn_model_get_config(loaded->model)->vocab_size);
    const uint64_t *words;
    *ended = false;
    *allowed = w->session->usable;
    if (!w->options->grammar) return TN_OK;
    TN_TRY(tn_grammar_state_mask(w->options->grammar, &words));
    *allowed = w->allowed;
    size_t n_words = tn_mask_words(tn_tokenizer_size(loaded->tokenizer));
    if (tn_mask_and(w->allowed, w->session->usable, n, words, n_words)) return TN_OK;
    *ended = tn_grammar_state_may_end(w->options->grammar);
    return *ended ? TN_OK : TN_FAIL(EMPTY, "the grammar expects a text here that no token can begin");
}

/* The next token, and whether it ends the text. Who wants to see logits gets those of the full head. */
static tn_status choose(writing *w, int32_t *id, bool *ended) {
    const tn_generate_options *o = w->options;
    const uint64_t *allowed;
    const tn_real *logits = NULL;
    TN_TRY(find_allowed(w, &allowed, ended));
    if (*ended) return TN_OK;
    if (o->token && !(logits = tn_session_logits_at(w->session, w->length))) return TN_E_NOMEM;
    TN_TRY(tn_session_pick_at(w->session, w->sampler, w->length, allowed, id));
    if (o->token) TN_TRY(o->token(o->context, *id, logits));
    *ended = tn_tokenizer_is_stop(w->session->loaded->tokenizer, *id);
    return o->grammar ? tn_grammar_state_accept(o->grammar, *id) : TN_OK;
}

static tn_status show(writing *w, int32_t id) {
    tn_buf_reset(&w->bytes);
    TN_TRY(tn_tokenizer_decode(w->session->loaded->tokenizer, id, false, &w->bytes));
    return tn_text_stream_put(&w->stream, tn_buf_text(&w->bytes), w->bytes.len);
}

/* Feed a token that was chosen, with guesses at what follows it. */
static tn_status feed_with_guesses(writing *w, int32_t id) {
    tn_session *s = w->session;
    int32_t ids[1 + TN_DRAFT_MOST] = {id};
    int room = s->context - w->length - 1, most = TN_MIN(w->options->draft, room), draft = 0;
    if (w->options->max_tokens >= 0) most = TN_MIN(most, w->options->max_tokens - w->out->tokens - 1);
    if (most > 0) {
        s->history[w->length] = id;
        draft = tn_lookup_draft(ids + 1, most, s->history, w->length + 1);
    }
    TN_TRY(tn_session_feed_all(s, ids, 1 + draft, 1 + draft));
    w->out->drafted += draft;
    w->length++;
    return TN_OK;
}

/* A token was chosen: the session must hold it, and may hold guesses beyond. */
static tn_status move_on(writing *w, int32_t id) {
    tn_session *s = w->session;
    if (w->length < s->cache.length && s->history[w->length] == id) {
        w->length++;
        w->out->guessed++;
        return TN_OK;
    }
    TN_TRY(tn_session_rewind(s, w->length));
    if (w->length == s->context) {
        TN_TRY(tn_session_shift(s, w->options->keep));
        w->length = s->cache.length;
    }
    return feed_with_guesses(w, id);
}

static bool can_go_on(const writing *w) {
    return w->length < w->session->context || (w->options->shift && w->length - w->options->keep >= 2);
}

static tn_status write_text(writing *w) {
    const tn_generate_options *o = w->options;
    tn_generated *out = w->out;
    while (o->max_tokens < 0 || out->tokens < o->max_tokens) {
        int32_t id = 0;
        bool ended;
        TN_TRY(choose(w, &id, &ended));
        out->reason = TN_STOP_EOS;
        if (ended) return TN_OK;
        out->tokens++;
        TN_TRY(show(w, id));
        out->reason = TN_STOP_STRING;
        if (w->stream.stopped) return TN_OK;
        out->reason = TN_STOP_LENGTH;
        if (out->tokens == o->max_tokens) return TN_OK;
        out->reason = TN_STOP_CONTEXT;
        if (!can_go_on(w)) return TN_OK;
        TN_TRY(move_on(w, id));
    }
    out->reason = TN_STOP_LENGTH;
    return TN_OK;
}

static tn_status write_all(writing *w) {
    const tn_generate_options *o = w->options;
    TN_TRY(prepare(w));
    TN_TRY(tn_text_stream_init(&w->stream, o->stops, o->n_stops, o->piece, o->context));
    tn_status status = write_text(w);
    if (!status) status = tn_text_stream_end(&w->stream);
    if (!status && w->stream.stopped) w->out->reason = TN_STOP_STRING;
    tn_text_stream_release(&w->stream);
    if (w->length < w->session->cache.length) tn_session_cut(w->session, w->length); /* guesses */
    return status;
}

tn_status tn_generate(tn_session *session, tn_sampler *sampler, const tn_generate_options *options, tn_generated *out) {
    TN_ASSERT(options->draft >= 0 && options->draft <= TN_DRAFT_MOST);
    *out = (tn_generated){0};
    if (!tn_session_length(session)) return TN_FAIL(EMPTY, "there is nothing to continue: no token was fed");
    TN_TRY(tn_session_rewind(session, tn_session_length(session))); /* after a failure its logits may be gone */
    writing w = {
        .session = session, .sampler = sampler, .options = options, .out = out, .length = tn_session_length(session)};
    double start = tn_clock_seconds();
    tn_status status = write_all(&w);
    out->seconds = tn_clock_seconds() - start;
    tn_heap_free(w.allowed);
    tn_buf_release(&w.bytes);
    return status;
}
