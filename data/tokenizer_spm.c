/* SPDX-License-Identifier: MIT
 * tokenizer_spm.c - vocabularies of SentencePiece (Kudo 2018), BPE kind: symbols are characters, spaces among them, and
 * of all neighbours that make up a token those of the highest score are merged first. Every such pair of symbols is
 * listed once, so that encoding looks pairs up as byte-level BPE does. */
#include "core/utf8.h"
#include "data/tokenizer_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char mark[] = "\xE2\x96\x81"; /* U+2581 */
enum { MARK = 3 };

static bool is_mark(const char *text, size_t len) { return len >= MARK && memcmp(text, mark, MARK) == 0; }

tn_status tn_spm_unmark(const char *text, size_t len, tn_buf *out) {
    for (size_t at = 0; at < len;) {
        bool space = is_mark(text + at, len - at);
        TN_TRY(tn_buf_putc(out, space ? ' ' : text[at]));
        at += space ? MARK : 1;
    }
    return TN_OK;
}

tn_status tn_spm_mark(const char *text, size_t len, tn_buf *out) {
    for (size_t i = 0; i < len; i++)
        TN_TRY(text[i] == ' ' ? tn_buf_append(out, mark, MARK) : tn_buf_putc(out, text[i]));
    return TN_OK;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

bool tn_byte_token_read(const char *text, size_t len, unsigned char *byte) {
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return false;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    if (high < 0 || low < 0) return false;
    *byte = (unsigned char)(high << 4 | low);
    return true;
}

void tn_byte_token_write(unsigned char byte, char text[8]) { snprintf(text, 8, "<0x%02X>", byte); }

/* ---- symbols ---- */

static size_t character(const char *text) {
    uint32_t code;
    return tn_utf8_decode(text, &code);
}

/* The symbol of a whole text: its token, or the number of a character that is only a part of tokens; -1 = none. */
static int32_t symbol_of(const tn_tokenizer *t, const char *text, size_t len) {
    int32_t id = tn_text_map_find(&t->normal, text, len);
    return id >= 0 ? id : tn_text_map_find(&t->lone, text, len);
}

/* A mark in a text is no space: it is spelled in bytes, where that is possible, and comes back. */
static bool spells_marks(const tn_tokenizer *t) {
    return t->byte_ids[0xE2] >= 0 && t->byte_ids[0x96] >= 0 && t->byte_ids[0x81] >= 0;
}

size_t tn_spm_symbol(const tn_tokenizer *t, const char *text, int32_t *id) {
    unsigned char first = (unsigned char)*text;
    if (first < 0x80) return *id = t->ascii[first], 1;
    size_t n = character(text);
    if (n == MARK && is_mark(text, n))
        *id = spells_marks(t) ? -1 : t->ascii[' '];
    else
        *id = symbol_of(t, text, n);
    return n;
}

/* ---- merges from scores ---- */

static tn_status ensure_symbol(tn_tokenizer *t, const char *text, size_t len, int32_t *symbol) {
    *symbol = symbol_of(t, text, len);
    if (*symbol >= 0 || character(text) != len) return TN_OK;
    *symbol = t->vocabulary.n_tokens + (int32_t)t->lone.count;
    return tn_text_map_put(&t->lone, text, len, *symbol);
}

/* All ways to make token `id` of two symbols. */
static tn_status list_pairs(tn_tokenizer *t, int32_t id, int32_t rank) {
    const char *text = t->vocabulary.texts[id];
    size_t len = t->vocabulary.lens[id];
    for (size_t at = character(text); at < len; at += character(text + at)) {
        int32_t left, right;
        TN_TRY(ensure_symbol(t, text, at, &left));
        TN_TRY(ensure_symbol(t, text + at, len - at, &right));
        if (left >= 0 && right >= 0) TN_TRY(tn_pair_map_put(&t->ranks, left, right, rank, id));
    }
    return TN_OK;
}

typedef struct scored {
    float score;
    int32_t id;
} scored;

static int compare_scored(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static tn_status rank_by_score(tn_tokenizer *t, scored *list) {
    const tn_vocabulary *v = &t->vocabulary;
    size_t n = 0;
    for (int32_t id = 0; id < v->n_tokens; id++)
        if (v->types[id] == TN_TOKEN_NORMAL) list[n++] = (scored){v->scores[id], id};
    qsort(list, n, sizeof *list, compare_scored);
    int32_t rank = 0; /* equal for equal scores: then the leftmost pair is first */
    for (size_t i = 0; i < n; i++) {
        rank += i && list[i].score < list[i - 1].score;
        TN_TRY(list_pairs(t, list[i].id, rank));
    }
    return TN_OK;
}

static tn_status index_scores(tn_tokenizer *t) {
    scored *list = tn_heap_zalloc((size_t)t->vocabulary.n_tokens, sizeof *list);
    tn_status status = list ? rank_by_score(t, list) : TN_E_NOMEM;
    tn_heap_free(list);
    return status;
}

static bool has_inner_space(const char *text, size_t len) {
    for (size_t i = 1; i < len; i++)
        if (text[i] == ' ' && text[i - 1] != ' ') return true;
    return false;
}

tn_status tn_spm_index(tn_tokenizer *t) {
    const tn_vocabulary *v = &t->vocabulary;
    if (v->scores) TN_TRY(index_scores(t));
    t->words_apart = true;
    for (int32_t id = 0; id < v->n_tokens; id++)
        if (v->types[id] == TN_TOKEN_NORMAL && has_inner_space(v->texts[id], v->lens[id])) t->words_apart = false;
    for (int c = 0; c < 128; c++) t->ascii[c] = symbol_of(t, &(char){(char)c}, 1);
    return TN_OK;
}

/* ---- text ---- */

/* Without the spaces at either end, and with one for each run within. */
static tn_status collapse(const char *text, size_t len, tn_buf *out) {
    bool pending = false, any = false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ') {
            pending = any;
            continue;
        }
        if (pending) TN_TRY(tn_buf_putc(out, ' '));
        TN_TRY(tn_buf_putc(out, text[i]));
        pending = false;
        any = true;
    }
    return TN_OK;
}

static bool wants_prefix(const tn_vocabulary *v, const char *text, bool at_start) {
    if (v->prefix == TN_PREFIX_NONE || (v->prefix == TN_PREFIX_BARE_START && !at_start)) return false;
    return v->prefix == TN_PREFIX_PARTS || v->collapse_spaces || *text != ' ';
}

tn_status tn_spm_normalise(const tn_tokenizer *t, const char *text, size_t len, bool at_start, tn_buf *out) {
    const tn_vocabulary *v = &t->vocabulary;
    size_t begin = out->len;
    bool prefix = wants_prefix(v, text, at_start);
    if (prefix) TN_TRY(tn_buf_putc(out, ' '));
    if (!v->collapse_spaces) return tn_buf_append(out, text, len);
    TN_TRY(collapse(text, len, out));
    if (out->len == begin + prefix) out->len = begin; /* nothing but spaces is nothing */
    return TN_OK;
}

tn_status tn_spm_run(const tn_tokenizer *t, const char *text, size_t len, tn_piece_visit *visit, void *context) {
    size_t begin = 0;
    for (size_t i = 1; i < len && t->words_apart; i++) {
        if (text[i] != ' ' || text[i - 1] == ' ') continue;
        TN_TRY(visit(context, text + begin, i - begin));
        begin = i;
    }
    return visit(context, text + begin, len - begin);
}
