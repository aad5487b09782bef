/* SPDX-License-Identifier: MIT
 * generate.c - from logits to text: choose, show, feed, until something says stop. */
#include "infer/lookup.h"
#include "infer/session_priv.h"
#include "infer/writer.h"

enum { FIRST_DRAFT = 4 };

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
    tn_writer writer;
    int length;           /* tokens that are sure; the session may hold guesses beyond */
    int ahead;            /* tokens to guess: more after guesses that came true, fewer after others */
    int drafted, guessed; /* of the last feed */
} writing;

/* Who wants to see logits gets those of the full head. */
static tn_status choose(writing *w, const uint64_t *allowed, int32_t *id) {
    const tn_real *logits = NULL;
    if (w->options->token && !(logits = tn_session_logits_at(w->session, w->length))) return TN_E_NOMEM;
    TN_TRY(tn_session_pick_at(w->session, w->sampler, w->length, allowed, id));
    return tn_writer_take(&w->writer, *id, logits);
}

/* Feed a token that was chosen, with guesses at what follows it. A guess costs most of a token, so their number follows
 * how many come true. */
static tn_status feed_with_guesses(writing *w, int32_t id) {
    tn_session *s = w->session;
    int32_t ids[1 + TN_DRAFT_MOST] = {id};
    int room = s->context - w->length - 1, draft = 0;
    if (w->drafted) w->ahead = w->guessed == w->drafted ? 2 * w->ahead : w->guessed + 1;
    w->ahead = TN_MIN(w->ahead, w->options->draft);
    int most = TN_MIN(w->ahead, room);
    if (w->options->max_tokens >= 0) most = TN_MIN(most, w->options->max_tokens - w->writer.out.tokens - 1);
    if (most > 0) {
        s->history[w->length] = id;
        draft = tn_lookup_draft(ids + 1, most, s->history, w->length + 1);
    }
    TN_TRY(tn_session_feed_all(s, ids, 1 + draft, 1 + draft));
    w->writer.out.drafted += w->drafted = draft;
    w->guessed = 0;
    w->length++;
    return TN_OK;
}

/* A token was chosen: the session must hold it, and may hold guesses beyond. */
static tn_status move_on(writing *w, int32_t id) {
    tn_session *s = w->session;
    if (w->length < s->cache.length && s->history[w->length] == id) {
        w->length++;
        w->writer.out.guessed++;
        w->guessed++;
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
    tn_writer *writer = &w->writer;
    while (!writer->ended) {
        const uint64_t *allowed;
        int32_t id = 0;
        TN_TRY(tn_writer_allowed(writer, &allowed));
        if (!writer->ended) TN_TRY(choose(w, allowed, &id));
        if (!writer->ended && !can_go_on(w)) tn_writer_stop(writer);
        if (!writer->ended) TN_TRY(move_on(w, id));
    }
    return TN_OK;
}

tn_status tn_generate(tn_session *session, tn_sampler *sampler, const tn_generate_options *options, tn_generated *out) {
    TN_ASSERT(options->draft >= 0 && options->draft <= TN_DRAFT_MOST);
    *out = (tn_generated){0};
    if (!tn_session_length(session)) return TN_FAIL(EMPTY, "there is nothing to continue: no token was fed");
    TN_TRY(tn_session_rewind(session, tn_session_length(session))); /* after a failure its logits may be gone */
    writing w = {.session = session,
                 .sampler = sampler,
                 .options = options,
                 .length = tn_session_length(session),
                 .ahead = FIRST_DRAFT};
    tn_status status = tn_writer_begin(&w.writer, session->loaded, options);
    if (!status) status = write_text(&w);
    status = tn_writer_end(&w.writer, status);
    if (w.length < session->cache.length) tn_session_cut(session, w.length); /* guesses */
    *out = w.writer.out;
    return status;
}
