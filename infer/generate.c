/* SPDX-License-Identifier: MIT
 * generate.c - from logits to text: choose, show, feed, until something says stop. */
#include <string.h>

#include "core/clock.h"
#include "infer/session_priv.h"

const char *tn_stop_reason_name(tn_stop_reason reason) {
    static const char *const names[] = {"eos", "stop", "length", "context"};
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

/* Rows of the model without a token behind them, and tokens that were never used, have no text. */
static bool may_choose(const tn_session *s, const tn_generate_options *o, int32_t id) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(s->loaded->tokenizer);
    if (id >= v->n_tokens || v->types[id] == TN_TOKEN_UNUSED) return false;
    return !o->ignore_eos || !tn_tokenizer_is_stop(s->loaded->tokenizer, id);
}

static void allow_ids(tn_session *s, const tn_generate_options *o) {
    const int n = tn_model_get_config(s->loaded->model)->vocab_size;
    memset(s->allowed, 0, sizeof *s->allowed * (size_t)((n + 63) / 64));
    for (int i = 0; i < n; i++)
        if (may_choose(s, o, i)) s->allowed[i / 64] |= (uint64_t)1 << i % 64;
}

typedef struct writing {
    tn_session *session;
    const tn_generate_options *options;
    tn_text_stream stream;
    tn_buf bytes; /* of one token */
} writing;

static tn_status show(writing *w, int32_t id) {
    tn_buf_reset(&w->bytes);
    TN_TRY(tn_tokenizer_decode(w->session->loaded->tokenizer, id, false, &w->bytes));
    return tn_text_stream_put(&w->stream, tn_buf_text(&w->bytes), w->bytes.len);
}

static tn_status write_text(writing *w, tn_sampler *sampler, tn_generated *out) {
    tn_session *s = w->session;
    for (out->tokens = 0; w->options->max_tokens < 0 || out->tokens < w->options->max_tokens;) {
        int32_t id;
        TN_TRY(tn_session_pick(s, sampler, s->allowed, &id));
        out->reason = TN_STOP_EOS;
        if (tn_tokenizer_is_stop(s->loaded->tokenizer, id)) return TN_OK;
        out->tokens++;
        TN_TRY(show(w, id));
        out->reason = TN_STOP_STRING;
        if (w->stream.stopped) return TN_OK;
        out->reason = TN_STOP_CONTEXT;
        if (s->cache.length == s->context) return TN_OK;
        if (out->tokens != w->options->max_tokens) TN_TRY(tn_session_feed(s, &id, 1));
    }
    out->reason = TN_STOP_LENGTH;
    return TN_OK;
}

tn_status tn_generate(tn_session *session, tn_sampler *sampler, const tn_generate_options *options, tn_generated *out) {
    *out = (tn_generated){0};
    if (!tn_session_length(session)) return TN_FAIL(EMPTY, "there is nothing to continue: no token was fed");
    writing w = {.session = session, .options = options};
    TN_TRY(tn_text_stream_init(&w.stream, options->stops, options->n_stops, options->piece, options->context));
    double start = tn_clock_seconds();
    allow_ids(session, options);
    tn_status status = write_text(&w, sampler, out);
    if (!status) status = tn_text_stream_end(&w.stream);
    if (!status && w.stream.stopped) out->reason = TN_STOP_STRING;
    out->seconds = tn_clock_seconds() - start;
    tn_text_stream_release(&w.stream);
    tn_buf_release(&w.bytes);
    return status;
}
