/* SPDX-License-Identifier: MIT
 * tokenizer_specials.c - the special tokens in a text. A first pass notes where one could begin, by two bytes; in most
 * texts that is nowhere. Then the lengths take turns, longest first, each with a look into the map of texts. */
#include "data/grow.h"
#include "data/tokenizer_priv.h"

#include <stdlib.h>
#include <string.h>

static bool is_matched(int32_t type, bool specials) {
    return type == TN_TOKEN_USER || (specials && (type == TN_TOKEN_CONTROL || type == TN_TOKEN_UNKNOWN));
}

/* ---- the sets ---- */

static void add_pair(tn_special_set *set, unsigned a, unsigned b) { set->pairs[a << 2 | b >> 6] |= 1ull << (b & 63); }

static void add_text(tn_special_set *set, const char *text, size_t len) {
    unsigned first = (unsigned char)text[0];
    if (len > 1) add_pair(set, first, (unsigned char)text[1]);
    for (unsigned b = 0; b < 256 && len == 1; b++) add_pair(set, first, b);
}

static int longest_first(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x > y ? -1 : x < y;
}

static tn_status fill_set(tn_tokenizer *t, bool specials, tn_special_set *set) {
    const tn_vocabulary *v = &t->vocabulary;
    size_t n = 0;
    for (int id = 0; id < v->n_tokens; id++) n += is_matched(v->types[id], specials);
    TN_TAKE(set->lens, t->arena, n, "tokenizer");
    n = 0;
    for (int id = 0; id < v->n_tokens; id++) {
        if (!is_matched(v->types[id], specials) || !v->lens[id]) continue;
        add_text(set, v->texts[id], v->lens[id]);
        set->lens[n++] = v->lens[id];
    }
    qsort(set->lens, n, sizeof *set->lens, longest_first);
    for (size_t i = 0; i < n; i++)
        if (!set->n_lens || set->lens[set->n_lens - 1] != set->lens[i]) set->lens[set->n_lens++] = set->lens[i];
    return TN_OK;
}

tn_status tn_specials_index(tn_tokenizer *t) {
    TN_TRY(fill_set(t, false, &t->special[false]));
    return fill_set(t, true, &t->special[true]);
}

/* ---- the search ---- */

typedef struct search {
    const tn_tokenizer *tokenizer;
    const tn_special_set *set;
    const char *text;
    size_t len;
    bool specials;
    size_t *places; /* where two bytes fit */
    size_t n_places, places_cap;
    unsigned char *taken; /* a bit for each byte of the text: part of a hit */
    tn_special_hit *hits;
    size_t n_hits, hits_cap;
} search;

static bool may_begin(const tn_special_set *set, unsigned a, unsigned b) {
    return set->pairs[a << 2 | b >> 6] >> (b & 63) & 1;
}

static tn_status find_places(search *s) {
    const unsigned char *p = (const unsigned char *)s->text;
    for (size_t i = 0; i < s->len; i++) {
        if (!may_begin(s->set, p[i], i + 1 < s->len ? p[i + 1] : 0)) continue;
        TN_GROW(s->places, &s->places_cap, s->n_places + 1);
        s->places[s->n_places++] = i;
    }
    return TN_OK;
}

/* A hit that is there already is at least as long as a new one: if they overlap, it covers an end of it. */
static bool is_taken(const search *s, size_t at) { return s->taken[at / 8] >> at % 8 & 1; }

static tn_status take(search *s, size_t at, uint32_t len, int32_t id) {
    TN_GROW(s->hits, &s->hits_cap, s->n_hits + 1);
    s->hits[s->n_hits++] = (tn_special_hit){at, id, len};
    for (size_t i = at; i < at + len; i++) s->taken[i / 8] |= (unsigned char)(1 << i % 8);
    return TN_OK;
}

static tn_status find_length(search *s, uint32_t len) {
    const tn_tokenizer *t = s->tokenizer;
    for (size_t i = 0; i < s->n_places; i++) {
        size_t at = s->places[i];
        if (len > s->len - at || is_taken(s, at) || is_taken(s, at + len - 1)) continue;
        int32_t id = tn_text_map_find(&t->others, s->text + at, len);
        if (id >= 0 && is_matched(t->vocabulary.types[id], s->specials)) TN_TRY(take(s, at, len, id));
    }
    return TN_OK;
}

static int by_place(const void *a, const void *b) {
    const tn_special_hit *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static tn_status find_all(search *s) {
    TN_TRY(find_places(s));
    if (!s->n_places) return TN_OK;
    s->taken = tn_heap_zalloc(s->len / 8 + 1, 1);
    if (!s->taken) return TN_E_NOMEM;
    for (int i = 0; i < s->set->n_lens; i++) TN_TRY(find_length(s, s->set->lens[i]));
    if (s->n_hits) qsort(s->hits, s->n_hits, sizeof *s->hits, by_place);
    return TN_OK;
}

tn_status tn_specials_find(const tn_tokenizer *t, const char *text, size_t len, bool specials, tn_special_hit **hits,
                           size_t *n_hits) {
    search s = {.tokenizer = t, .set = &t->special[specials], .text = text, .len = len, .specials = specials};
    tn_status status = s.set->n_lens ? find_all(&s) : TN_OK;
    tn_heap_free(s.places);
    tn_heap_free(s.taken);
    if (status) tn_heap_free(s.hits);
    *hits = status ? NULL : s.hits;
    *n_hits = status ? 0 : s.n_hits;
    return status;
}
