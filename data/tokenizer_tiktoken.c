/* SPDX-License-Identifier: MIT */
#include "data/tokenizer_tiktoken.h"

#include "core/log.h"
#include "data/grow.h"
#include "data/tokenizer_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char tag[] = "tokenizer file";

enum { MAX_TOKEN = 1024, LLAMA3_TOKENS = 128000, LLAMA3_SPECIALS = 256 };

typedef struct reader {
    tn_arena *arena;
    const char *at, *end;
    int line;
    tn_vocabulary v;
    const char **texts; /* by rank; NULL = not read yet */
    uint32_t *lens;
    int32_t *types;
    int n_ranks;
    tn_text_map ranks;
    int32_t (*merges)[2];
    size_t n_merges, merges_cap;
} reader;

/* ---- lines ---- */

typedef struct line {
    const char *code, *rank; /* base64; digits */
    size_t code_len, rank_len;
} line;

static bool is_base64(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/' ||
           c == '=';
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* The line at `at`, whose end `*next` is the start of the next one; false when it is not "base64 rank". */
static bool cut_line(const char *at, const char *end, line *out, const char **next) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline : end;
    *next = newline ? newline + 1 : end;
    if (stop > at && stop[-1] == '\r') stop--;
    *out = (line){.code = at};
    while (at < stop && is_base64(*at)) at++;
    out->code_len = (size_t)(at - out->code);
    if (at == stop || *at++ != ' ') return false;
    out->rank = at;
    while (at < stop && is_digit(*at)) at++;
    out->rank_len = (size_t)(at - out->rank);
    return at == stop && out->code_len && out->rank_len && out->rank_len < 10;
}

static int value_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    return is_digit(c) ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The bytes of whole groups of four characters, '=' in the last two places only; 0 = no base64. */
static size_t decode_base64(const char *code, size_t len, char *out) {
    size_t n = 0, padding = len >= 4 && code[len - 1] == '=' ? 1 + (code[len - 2] == '=') : 0;
    if (!len || len % 4) return 0;
    for (size_t i = 0; i < len; i += 4) {
        uint32_t group = 0;
        for (size_t k = i; k < i + 4; k++) {
            int value = k < len - padding ? value_of(code[k]) : 0;
            if (value < 0) return 0;
            group = group << 6 | (uint32_t)value;
        }
        for (int shift = 16; shift >= 0; shift -= 8) out[n++] = (char)(group >> shift);
    }
    return n - padding;
}

static int number_of(const line *l) {
    int number = 0;
    for (size_t i = 0; i < l->rank_len; i++) number = 10 * number + (l->rank[i] - '0');
    return number;
}

static tn_status read_line(reader *r, const line *l) {
    int rank = number_of(l);
    char *bytes;
    if (rank >= r->n_ranks)
        return TN_FAIL(CORRUPT, "line %d: rank %d, expected 0..%d, each once", r->line, rank, r->n_ranks - 1);
    if (r->texts[rank]) return TN_FAIL(CORRUPT, "line %d: rank %d is there twice", r->line, rank);
    TN_TAKE(bytes, r->arena, l->code_len / 4 * 3 + 3, tag);
    size_t len = decode_base64(l->code, l->code_len, bytes);
    if (!len || len > MAX_TOKEN)
        return TN_FAIL(CORRUPT, "line %d: \"%.*s\" is not 1 to %d bytes in base64", r->line,
                       (int)TN_MIN(l->code_len, 80u), l->code, MAX_TOKEN);
    if (tn_text_map_find(&r->ranks, bytes, len) >= 0)
        return TN_FAIL(CORRUPT, "line %d: the same token as rank %d", r->line, tn_text_map_find(&r->ranks, bytes, len));
    r->texts[rank] = bytes;
    r->lens[rank] = (uint32_t)len;
    r->types[rank] = TN_TOKEN_NORMAL;
    return tn_text_map_put(&r->ranks, bytes, len, rank);
}

typedef tn_status read_one(reader *r, const line *l);

static tn_status count_line(reader *r, const line *l) {
    (void)l;
    return ++r->n_ranks < TN_MAX_TOKENS ? TN_OK : TN_FAIL(CORRUPT, "has more than %d tokens", TN_MAX_TOKENS);
}

static bool is_blank(const char *at, const char *next) {
    while (at < next && (*at == '\r' || *at == '\n')) at++;
    return at == next;
}

static tn_status read_each(reader *r, read_one *read) {
    const char *next;
    r->line = 1;
    for (const char *at = r->at; at < r->end; at = next, r->line++) {
        line l;
        bool good = cut_line(at, r->end, &l, &next);
        if (good)
            TN_TRY(read(r, &l));
        else if (!is_blank(at, next))
            return TN_FAIL(CORRUPT, "line %d: is not \"base64 rank\"", r->line);
    }
    return TN_OK;
}

/* ---- merges ---- */

static int by_ranks(const void *a, const void *b) {
    const int32_t *x = a, *y = b;
    if (x[0] != y[0]) return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : x[1] > y[1];
}

/* All pairs that make up a token, as other converters list them: by the ranks of their halves. */
static tn_status add_merges(reader *r, int rank) {
    const char *text = r->texts[rank];
    size_t len = r->lens[rank], first = r->n_merges;
    for (size_t at = 1; at < len; at++) {
        int32_t left = tn_text_map_find(&r->ranks, text, at);
        int32_t right = left < 0 ? -1 : tn_text_map_find(&r->ranks, text + at, len - at);
        if (right < 0) continue;
        TN_GROW(r->merges, &r->merges_cap, r->n_merges + 1);
        r->merges[r->n_merges][0] = left;
        r->merges[r->n_merges++][1] = right;
    }
    if (r->n_merges > first) qsort(r->merges + first, r->n_merges - first, sizeof *r->merges, by_ranks);
    return r->n_merges <= TN_MAX_TOKENS ? TN_OK : TN_FAIL(CORRUPT, "has more than %d merges", TN_MAX_TOKENS);
}

/* ---- Llama 3 ---- */

static tn_status add_specials(reader *r) {
    static const struct {
        int place;
        const char *text;
    } named[] = {{0, "<|begin_of_text|>"},
                 {1, "<|end_of_text|>"},
                 {6, "<|start_header_id|>"},
                 {7, "<|end_header_id|>"},
                 {9, "<|eot_id|>"}};
    int reserved = 0;
    for (int i = 0; i < LLAMA3_SPECIALS; i++) {
        size_t k = 0;
        char text[48];
        while (k < TN_COUNT(named) && named[k].place != i) k++;
        if (k < TN_COUNT(named))
            snprintf(text, sizeof text, "%s", named[k].text);
        else
            snprintf(text, sizeof text, "<|reserved_special_token_%d|>", reserved++);
        int id = r->v.n_tokens++;
        r->texts[id] = tn_arena_strdup(r->arena, text, tag);
        if (!r->texts[id]) return TN_E_NOMEM;
        r->lens[id] = (uint32_t)strlen(text);
        r->types[id] = TN_TOKEN_CONTROL;
    }
    r->v.bos = LLAMA3_TOKENS;
    r->v.eos = r->v.pad = LLAMA3_TOKENS + 1;
    r->v.eot = LLAMA3_TOKENS + 9;
    r->v.add_bos = true;
    r->v.chat_template = tn_bitnet_chat_template;
    return TN_OK;
}

/* ---- the whole ---- */

static tn_status read_all(reader *r, const char *name) {
    r->arena = tn_arena_create("tokenizer file");
    if (!r->arena) return TN_E_NOMEM;
    TN_TRY(read_each(r, count_line));
    if (!r->n_ranks) return TN_FAIL(CORRUPT, "has no tokens");
    int n = r->n_ranks + LLAMA3_SPECIALS;
    TN_TAKE0(r->texts, r->arena, n, tag);
    TN_TAKE0(r->lens, r->arena, n, tag);
    TN_TAKE0(r->types, r->arena, n, tag);
    TN_TRY(read_each(r, read_line)); /* n lines, n ranks, none twice: all are there */
    for (int rank = 0; rank < r->n_ranks; rank++) TN_TRY(add_merges(r, rank));
    r->v.n_tokens = r->n_ranks;
    if (r->n_ranks == LLAMA3_TOKENS)
        TN_TRY(add_specials(r));
    else
        tn_log(TN_LOG_WARN, "data", "%s: names no split and no special tokens, read with Llama 3's split and none",
               name);
    r->v.texts = r->texts;
    r->v.lens = r->lens;
    r->v.types = r->types;
    r->v.merges = (const int32_t(*)[2])r->merges;
    r->v.n_merges = (int)r->n_merges;
    return TN_OK;
}

bool tn_tokenizer_looks_tiktoken(const unsigned char *data, size_t size) {
    line first;
    const char *at = (const char *)data, *next;
    return size && cut_line(at, at + size, &first, &next);
}

tn_status tn_tokenizer_from_tiktoken(tn_tokenizer **out, const char *name, const unsigned char *data, size_t size) {
    *out = NULL;
    reader r = {.at = (const char *)data, .end = (const char *)data + size};
    r.v =
        (tn_vocabulary){.kind = TN_TOKENIZER_BPE, .split = TN_SPLIT_LLAMA3, .ignore_merges = true, .chat_template = ""};
    r.v.bos = r.v.eos = r.v.eot = r.v.unk = r.v.pad = -1;
    tn_status status = read_all(&r, name);
    if (!status) status = tn_tokenizer_from_vocabulary(out, &r.v);
    tn_text_map_release(&r.ranks);
    tn_heap_free(r.merges);
    tn_arena_free(r.arena);
    return status ? tn_fail_at(status, __FILE__, __LINE__, "%s: %s", name, tn_error_message()) : TN_OK;
}
