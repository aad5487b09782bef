/* SPDX-License-Identifier: MIT
 * text_stream.c - two stages: raw bytes to valid text, then text to pieces that end before any stop string. */
#include "infer/text_stream.h"
#include "core/utf8.h"

#include <string.h>

#include "data/tokenizer.h"

static const char REPLACEMENT[] = "\xEF\xBF\xBD"; /* U+FFFD */

tn_status tn_text_stream_init(tn_text_stream *stream, const char *const *stops, int n_stops, tn_text_piece *piece,
                              void *context) {
    *stream = (tn_text_stream){.stops = stops, .n_stops = n_stops, .piece = piece, .context = context};
    for (int i = 0; i < n_stops; i++) {
        if (!stops[i][0]) return TN_FAIL(ARG, "stop string %d is empty", i + 1);
        size_t len = strlen(stops[i]);
        if (tn_utf8_valid_prefix(stops[i], len, NULL) != len) return TN_FAIL(ARG, "stop string %d is not UTF-8", i + 1);
    }
    return TN_OK;
}

void tn_text_stream_release(tn_text_stream *stream) {
    tn_buf_release(&stream->raw);
    tn_buf_release(&stream->text);
}

static void drop_front(tn_buf *buf, size_t len) {
    if (len == 0) return;
    memmove(buf->data, buf->data + len, buf->len - len + 1);
    buf->len -= len;
}

/* Move what is valid from raw to text; `last` says that no byte will follow an unfinished character. */
static tn_status take_valid(tn_text_stream *s, bool last) {
    size_t at = 0;
    while (at < s->raw.len) {
        bool incomplete = false;
        size_t valid = tn_utf8_valid_prefix(s->raw.data + at, s->raw.len - at, &incomplete);
        TN_TRY(tn_buf_append(&s->text, s->raw.data + at, valid));
        at += valid;
        if (at == s->raw.len || (incomplete && !last)) break;
        TN_TRY(tn_buf_puts(&s->text, REPLACEMENT));
        at = incomplete ? s->raw.len : at + 1;
    }
    drop_front(&s->raw, at);
    return TN_OK;
}

/* The place of the first stop string in the text, or its length. */
static size_t find_stop(const tn_text_stream *s) {
    size_t first = s->text.len;
    for (int i = 0; i < s->n_stops; i++) {
        const char *at = memmem(s->text.data, s->text.len, s->stops[i], strlen(s->stops[i]));
        if (at && (size_t)(at - s->text.data) < first) first = (size_t)(at - s->text.data);
    }
    return first;
}

/* Bytes at the end of the text that are the beginning of a stop string. */
static size_t held_back(const tn_text_stream *s) {
    size_t held = 0;
    for (int i = 0; i < s->n_stops; i++) {
        size_t most = TN_MIN(strlen(s->stops[i]) - 1, s->text.len);
        for (size_t n = most; n > held; n--)
            if (memcmp(s->text.data + s->text.len - n, s->stops[i], n) == 0) held = n;
    }
    return held;
}

/* Both places where the text is cut, before a stop string and before the beginning of one, start a character. */
static tn_status show(tn_text_stream *s, size_t len) {
    if (len == 0) return TN_OK;
    tn_status status = s->piece(s->context, s->text.data, len);
    drop_front(&s->text, len);
    return status;
}

tn_status tn_text_stream_put(tn_text_stream *stream, const char *bytes, size_t len) {
    if (stream->stopped || len == 0) return TN_OK;
    TN_TRY(tn_buf_append(&stream->raw, bytes, len));
    TN_TRY(take_valid(stream, false));
    if (stream->text.len == 0) return TN_OK;
    size_t stop = find_stop(stream);
    stream->stopped = stop < stream->text.len;
    return show(stream, stream->stopped ? stop : stream->text.len - held_back(stream));
}

tn_status tn_text_stream_end(tn_text_stream *stream) {
    if (stream->stopped) return TN_OK;
    TN_TRY(take_valid(stream, true));
    if (stream->text.len == 0) return TN_OK;
    size_t stop = find_stop(stream);
    stream->stopped = stop < stream->text.len;
    return show(stream, stop);
}
