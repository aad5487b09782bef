/* SPDX-License-Identifier: MIT
 * grammar_state.c - a place in a text as callers see it, and the tokens that may come there. */
#include "infer/grammar_priv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- life ---- */

static tn_status add_state(tn_places *shared, const tn_grammar_state *like, tn_grammar_state **out) {
    tn_grammar_state *s = tn_heap_zalloc(1, sizeof *s);
    if (!s) return TN_E_NOMEM;
    *s = (tn_grammar_state){.shared = shared, .next = shared->states, .place = shared->start};
    if (like) tn_grammar_state_set(s, like);
    if (s->next) s->next->prev = s;
    shared->states = s;
    *out = s;
    return TN_OK;
}

tn_status tn_grammar_state_create(tn_grammar_state **out, const tn_grammar *grammar, const tn_tokenizer *tokenizer) {
    *out = NULL;
    tn_places *shared;
    TN_TRY(tn_places_create(&shared, grammar, tokenizer));
    tn_status status = add_state(shared, NULL, out);
    if (status) tn_places_free(shared);
    return status;
}

tn_status tn_grammar_state_copy(tn_grammar_state **out, const tn_grammar_state *state) {
    *out = NULL;
    return add_state(state->shared, state, out);
}

void tn_grammar_state_set(tn_grammar_state *s, const tn_grammar_state *other) {
    TN_ASSERT(s->shared == other->shared);
    s->place = other->place;
    s->ended = other->ended;
}

void tn_grammar_state_reset(tn_grammar_state *s) {
    s->place = s->shared->start;
    s->ended = false;
}

void tn_grammar_state_free(tn_grammar_state *s) {
    if (!s) return;
    if (s->next) s->next->prev = s->prev;
    if (s->prev)
        s->prev->next = s->next;
    else
        s->shared->states = s->next;
    if (!s->shared->states) tn_places_free(s->shared);
    tn_heap_free(s);
}

/* ---- following ---- */

static tn_status fail_byte(uint32_t reason, const char *bytes, size_t at) {
    if (reason == TN_PLACE_TOO_DEEP)
        return TN_FAIL(RANGE, "byte %zu opens more than %d rules of the grammar in each other", at, TN_GRAMMAR_DEPTH);
    if (reason == TN_PLACE_TOO_WIDE)
        return TN_FAIL(RANGE, "up to byte %zu the grammar can be read in more than %d ways", at, TN_GRAMMAR_WIDTH);
    unsigned char byte = (unsigned char)bytes[at];
    bool shown = byte >= ' ' && byte < 0x7F;
    return TN_FAIL(MISMATCH,
                   shown ? "byte %zu, '%c', does not fit the grammar" : "byte %zu, 0x%02x, does not fit the grammar",
                   at, byte);
}

/* From trail[0] to trail[0], or to the reason why not: `*failed` is then the byte's offset, else `len`. */
static tn_status follow(tn_places *p, const char *bytes, size_t len, size_t *failed) {
    for (*failed = 0; *failed < len; ++*failed) {
        TN_TRY(tn_places_move(p, 0, (uint8_t)bytes[*failed]));
        if (p->trail[1] < TN_PLACE_FIRST) return TN_OK;
        p->trail[0] = p->trail[1];
        p->n_trail = 1;
    }
    return TN_OK;
}

tn_status tn_grammar_state_advance(tn_grammar_state *s, const char *bytes, size_t len) {
    size_t failed;
    if (s->ended && len) return TN_FAIL(MISMATCH, "the text has ended, and %zu bytes came behind it", len);
    tn_places_begin(s->shared, s->place);
    TN_TRY(follow(s->shared, bytes, len, &failed));
    if (failed < len) return fail_byte(s->shared->trail[1], bytes, failed);
    s->place = s->shared->trail[0];
    return TN_OK;
}

bool tn_grammar_state_may_end(const tn_grammar_state *s) { return s->shared->places[s->place].may_end; }

bool tn_grammar_state_must_end(const tn_grammar_state *s) {
    const tn_place *place = &s->shared->places[s->place];
    return s->ended || (place->may_end && s->shared->sets[place->set].count == 1);
}

/* The bytes of a token that is no stop token, in shared->token. */
static tn_status get_bytes(tn_places *p, int32_t id) {
    tn_buf_reset(&p->token);
    return tn_tokenizer_decode(p->trie.tokenizer, id, false, &p->token);
}

tn_status tn_grammar_state_accept(tn_grammar_state *s, int32_t id) {
    tn_places *p = s->shared;
    bool stop = tn_tokenizer_is_stop(p->trie.tokenizer, id);
    if (s->ended) return TN_FAIL(MISMATCH, "token %d comes behind the end of the text", id);
    if (stop && !tn_grammar_state_may_end(s))
        return TN_FAIL(MISMATCH, "token %d ends the text where the grammar expects more", id);
    s->ended = stop;
    if (stop) return TN_OK;
    TN_TRY(get_bytes(p, id));
    if (!p->token.len) return TN_FAIL(MISMATCH, "token %d has no text, so a grammar cannot allow it", id);
    tn_status status = tn_grammar_state_advance(s, p->token.data, p->token.len);
    return status ? tn_fail_at(status, __FILE__, __LINE__, "token %d: %s", id, tn_error_message()) : TN_OK;
}

bool tn_grammar_state_allows(tn_grammar_state *s, int32_t id) {
    tn_places *p = s->shared;
    size_t failed = 0;
    if (s->ended || id < 0 || id >= tn_tokenizer_size(p->trie.tokenizer)) return false;
    if (tn_tokenizer_is_stop(p->trie.tokenizer, id)) return tn_grammar_state_may_end(s);
    tn_places_begin(p, s->place);
    if (get_bytes(p, id) || !p->token.len) return false;
    return !follow(p, p->token.data, p->token.len, &failed) && failed == p->token.len;
}

/* ---- masks ---- */

static size_t n_words(const tn_places *p) { return ((size_t)tn_tokenizer_size(p->trie.tokenizer) + 63) / 64; }

static void set_bits(uint64_t *words, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) words[ids[i] / 64] |= (uint64_t)1 << ids[i] % 64;
}

/* Every token that can be followed from trail[0]. What begins with dead bytes is passed by at once. */
static tn_status walk(tn_places *p, uint64_t *words) {
    const tn_token_trie *trie = &p->trie;
    const uint8_t *kinds = p->grammar->kinds;
    size_t n_kinds = (size_t)p->grammar->n_kinds;
    for (uint32_t i = 0; i < trie->n_nodes;) {
        const tn_trie_node *node = &trie->nodes[i];
        uint32_t depth = node->depth, to = p->moves[p->trail[depth - 1] * n_kinds + kinds[node->byte]];
        p->trail[depth] = to;
        if (to == TN_PLACE_UNKNOWN) {
            p->n_trail = depth;
            TN_TRY(tn_places_move(p, depth - 1, (uint8_t)node->byte));
            to = p->trail[depth];
        }
        if (to < TN_PLACE_FIRST) {
            i = node->skip;
            continue;
        }
        const int32_t *ids = trie->ids + node->first;
        uint32_t n = node[1].first - node->first; /* rarely above 1; telling 0 from 1 needs no branch */
        words[ids[0] / 64] |= (uint64_t)(n > 0) << ids[0] % 64;
        if (n > 1) set_bits(words, ids, n);
        i++;
    }
    return TN_OK;
}

static tn_status fill_mask(tn_grammar_state *s, uint64_t *words) {
    tn_places *p = s->shared;
    memset(words, 0, n_words(p) * sizeof *words);
    if (tn_grammar_state_may_end(s)) set_bits(words, p->trie.stops, (size_t)p->trie.n_stops);
    tn_places_begin(p, s->place);
    return walk(p, words);
}

/* The oldest mask makes room. */
static tn_status new_mask(tn_places *p, int *number) {
    int i = p->next_mask;
    if (!p->masks[i]) p->masks[i] = tn_heap_zalloc(n_words(p), sizeof *p->masks[i]);
    if (!p->masks[i]) return TN_E_NOMEM;
    p->places[p->mask_places[i]].mask = -1;
    p->mask_places[i] = 0;
    p->next_mask = (i + 1) % TN_MASKS;
    *number = i;
    return TN_OK;
}

tn_status tn_grammar_state_mask(tn_grammar_state *s, const uint64_t **words) {
    tn_places *p = s->shared;
    *words = NULL;
    if (s->ended) return TN_FAIL(EMPTY, "the text has ended, so no token may come");
    int number = p->places[s->place].mask;
    if (number < 0) {
        TN_TRY(new_mask(p, &number));
        TN_TRY(fill_mask(s, p->masks[number]));
        p->places[s->place].mask = number;
        p->mask_places[number] = s->place;
    }
    *words = p->masks[number];
    return TN_OK;
}

/* The grammar asks for bytes that no token of the vocabulary begins with, or the text is whole and nothing ends it. */
static tn_status fail_empty(const tn_grammar_state *s) {
    if (tn_grammar_state_must_end(s))
        return TN_FAIL(EMPTY, "the grammar allows nothing more, and the tokenizer has no token that ends a text");
    return TN_FAIL(EMPTY, "the grammar expects a text here that no token of the vocabulary can begin");
}

tn_status tn_grammar_state_bans(tn_grammar_state *s, tn_real *logits, int n_vocab) {
    const uint64_t *words;
    TN_TRY(tn_grammar_state_mask(s, &words));
    int size = TN_MIN(n_vocab, tn_tokenizer_size(s->shared->trie.tokenizer));
    bool any = false;
    for (int id = 0; id < n_vocab; id++) {
        bool allowed = id < size && (words[id / 64] >> id % 64 & 1);
        any |= allowed;
        if (!allowed) logits[id] = (tn_real)-INFINITY;
    }
    return any ? TN_OK : fail_empty(s);
}
