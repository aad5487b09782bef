/* SPDX-License-Identifier: MIT */
#include "infer/writer.h"

#include "core/clock.h"
#include "infer/token_mask.h"

static int n_ids(const tn_writer *w) { return tn_model_get_config(w->loaded->model)->vocab_size; }

static void end(tn_writer *w, tn_stop_reason reason) {
    w->out.reason = reason;
    w->ended = true;
}

tn_status tn_writer_begin(tn_writer *writer, const tn_loaded *loaded, const tn_generate_options *options) {
    *writer = (tn_writer){.loaded = loaded, .options = options, .start = tn_clock_seconds(), .out.last = -1};
    if (options->max_tokens == 0) end(writer, TN_STOP_LENGTH);
    TN_TRY(tn_text_stream_init(&writer->stream, options->stops, options->n_stops, options->piece, options->context));
    size_t words = tn_mask_words(n_ids(writer));
    writer->usable = tn_heap_zalloc(words, sizeof *writer->usable);
    if (options->grammar) writer->allowed = tn_heap_zalloc(words, sizeof *writer->allowed);
    if (!writer->usable || (options->grammar && !writer->allowed)) return TN_E_NOMEM;
    tn_mask_usable(writer->usable, n_ids(writer), loaded->tokenizer);
    if (options->ignore_eos) tn_mask_drop_stops(writer->usable, loaded->tokenizer);
    return TN_OK;
}

tn_status tn_writer_allowed(tn_writer *writer, const uint64_t **allowed) {
    tn_grammar_state *grammar = writer->options->grammar;
    const uint64_t *words;
    *allowed = writer->usable;
    if (!grammar) return TN_OK;
    TN_TRY(tn_grammar_state_mask(grammar, &words));
    *allowed = writer->allowed;
    size_t n = tn_mask_words(n_ids(writer)), n_words = tn_mask_words(tn_tokenizer_size(writer->loaded->tokenizer));
    if (tn_mask_and(writer->allowed, writer->usable, n, words, n_words)) return TN_OK;
    if (!tn_grammar_state_may_end(grammar))
        return TN_FAIL(EMPTY, "the grammar expects a text here that no token can begin");
    end(writer, TN_STOP_EOS);
    return TN_OK;
}

static tn_status show(tn_writer *w, int32_t id) {
    tn_buf_reset(&w->bytes);
    TN_TRY(tn_tokenizer_decode(w->loaded->tokenizer, id, false, &w->bytes));
    return tn_text_stream_put(&w->stream, tn_buf_text(&w->bytes), w->bytes.len);
}

tn_status tn_writer_take(tn_writer *writer, int32_t id, const tn_real *logits) {
    const tn_generate_options *o = writer->options;
    if (o->token) TN_TRY(o->token(o->context, id, logits));
    if (o->grammar) TN_TRY(tn_grammar_state_accept(o->grammar, id));
    writer->out.last = -1;
    if (tn_tokenizer_is_stop(writer->loaded->tokenizer, id)) {
        end(writer, TN_STOP_EOS);
        return TN_OK;
    }
    writer->out.last = id;
    writer->out.tokens++;
    TN_TRY(show(writer, id));
    if (writer->stream.stopped)
        end(writer, TN_STOP_STRING);
    else if (writer->out.tokens == o->max_tokens)
        end(writer, TN_STOP_LENGTH);
    return TN_OK;
}

void tn_writer_stop(tn_writer *writer) { end(writer, TN_STOP_CONTEXT); }

tn_status tn_writer_end(tn_writer *writer, tn_status status) {
    if (!status) status = tn_text_stream_end(&writer->stream);
    if (!status && writer->stream.stopped) writer->out.reason = TN_STOP_STRING;
    writer->out.seconds = tn_clock_seconds() - writer->start;
    tn_text_stream_release(&writer->stream);
    tn_heap_free(writer->usable);
    tn_heap_free(writer->allowed);
    tn_buf_release(&writer->bytes);
    return status;
}
