/* SPDX-License-Identifier: MIT */
#include "cmd/token_view.h"

#include "core/utf8.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN_ENDS = 1024 }; /* tokens of a long document, of its beginning and of its end */

/* Brackets and a dot that texts seldom have. */
static const char open_mark[] = "\xE2\x9F\xA6", close_mark[] = "\xE2\x9F\xA7", dot[] = "\xC2\xB7";
static const char green[] = "\033[32m", plain[] = "\033[0m";

bool tn_token_view_has_color(void) {
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

/* A run of tokens that are learnt, or are not: dots where a token begins with a whole character. */
static tn_status put_run(const tn_tokenizer *t, const tn_document *d, size_t from, size_t to, bool color, tn_buf *out) {
    bool learnt = d->mask[from];
    tn_buf text = {0};
    tn_status status = TN_OK;
    size_t whole = 0; /* bytes that are whole characters */
    for (size_t i = from; i < to && !status; i++) {
        whole += tn_utf8_valid_prefix(tn_buf_text(&text) + whole, text.len - whole, NULL);
        if (i > from && whole == text.len) status = tn_buf_puts(&text, dot);
        if (!status) status = tn_tokenizer_decode(t, d->ids[i], true, &text);
    }
    if (text.data) tn_utf8_tame(text.data, "\t\n");
    if (!status && learnt) status = tn_buf_puts(out, color ? green : open_mark);
    if (!status) status = tn_buf_puts(out, tn_buf_text(&text));
    if (!status && learnt) status = tn_buf_puts(out, color ? plain : close_mark);
    tn_buf_release(&text);
    return status;
}

/* Tokens [from, end). */
static tn_status put_runs(const tn_tokenizer *t, const tn_document *d, size_t from, size_t end, bool color,
                          tn_buf *out) {
    for (size_t to; from < end; from = to) {
        for (to = from + 1; to < end && d->mask[to] == d->mask[from]; to++) {
        }
        TN_TRY(put_run(t, d, from, to, color, out));
        if (color && to < end) TN_TRY(tn_buf_puts(out, dot));
    }
    return TN_OK;
}

tn_status tn_token_view_put(const tn_tokenizer *tokenizer, const tn_document *d, bool color, tn_buf *out) {
    if (d->count <= 2 * SHOWN_ENDS) {
        TN_TRY(put_runs(tokenizer, d, 0, d->count, color, out));
    } else {
        TN_TRY(put_runs(tokenizer, d, 0, SHOWN_ENDS, color, out));
        TN_TRY(tn_buf_printf(out, "\n... %zu tokens ...\n", d->count - 2 * SHOWN_ENDS));
        TN_TRY(put_runs(tokenizer, d, d->count - SHOWN_ENDS, d->count, color, out));
    }
    return tn_buf_putc(out, '\n');
}

json_t *tn_token_view_json(const tn_tokenizer *tokenizer, const tn_document *d) {
    json_t *ids = json_array(), *pieces = json_array(), *learnt = json_array();
    for (size_t i = 0; i < d->count; i++) {
        tn_buf piece = {0};
        json_array_append_new(ids, json_integer(d->ids[i]));
        if (!tn_tokenizer_decode(tokenizer, d->ids[i], true, &piece))
            json_array_append_new(pieces, tn_cmd_json_text(tn_buf_text(&piece), piece.len));
        json_array_append_new(learnt, json_integer(d->mask[i]));
        tn_buf_release(&piece);
    }
    return json_pack("{s:o, s:o, s:o}", "tokens", ids, "pieces", pieces, "learnt", learnt);
}
