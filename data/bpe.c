/* SPDX-License-Identifier: MIT
 * bpe.c - merging one piece: always the pair of lowest rank, the leftmost among equals, until no pair has a rank. The
 * symbols to begin with are bytes, or characters for SPM.
 * Short pieces, nearly all of them, look for the lowest rank by scanning; long ones keep the pairs in a heap, which
 * makes n bytes cost O(n log n). Both take the same merges in the same order. */
#include "data/grow.h"
#include "data/tokenizer_priv.h"

#include <string.h>

enum { SCAN_LIMIT = 48, NO_RANK = INT32_MAX };
#define END UINT32_MAX

typedef struct pair {
    int32_t rank, merged;
} pair;

static pair pair_of(const tn_tokenizer *t, int32_t left, int32_t right) {
    const tn_pair_slot *slot = tn_pair_map_slot(&t->ranks, left, right);
    return slot ? (pair){slot->value, slot->merged} : (pair){NO_RANK, -1};
}

static size_t first_symbol(const tn_tokenizer *t, const char *text, int32_t *id) {
    if (t->vocabulary.kind == TN_TOKENIZER_SPM) return tn_spm_symbol(t, text, id);
    *id = t->byte_ids[(unsigned char)*text];
    return 1;
}

/* SentencePiece makes one unknown token of neighbours that have none. */
static tn_status spell_unknown(const tn_tokenizer *t, unsigned char byte, tn_ids *ids) {
    int32_t id = t->vocabulary.unk;
    bool fused = t->vocabulary.kind == TN_TOKENIZER_SPM && ids->count && ids->list[ids->count - 1] == id;
    if (id < 0) return TN_FAIL(TEXT, "byte 0x%02x has no token in this vocabulary", byte);
    return fused ? TN_OK : tn_ids_append(ids, id);
}

tn_status tn_bpe_spell(const tn_tokenizer *t, const char *text, size_t len, tn_ids *ids) {
    for (size_t i = 0; i < len; i++)
        if (t->byte_ids[(unsigned char)text[i]] < 0) return spell_unknown(t, (unsigned char)text[i], ids);
    for (size_t i = 0; i < len; i++) TN_TRY(tn_ids_append(ids, t->byte_ids[(unsigned char)text[i]]));
    return TN_OK;
}

static tn_status emit(const tn_tokenizer *t, int32_t id, const char *text, size_t len, tn_ids *ids) {
    bool token = id >= 0 && id < t->vocabulary.n_tokens;
    return token ? tn_ids_append(ids, id) : tn_bpe_spell(t, text, len, ids);
}

/* ---- short pieces ---- */

static tn_status encode_scanning(const tn_tokenizer *t, const char *piece, size_t len, tn_ids *ids) {
    int32_t symbols[SCAN_LIMIT];
    uint8_t begins[SCAN_LIMIT + 1];
    pair pairs[SCAN_LIMIT]; /* of symbols i, i+1 */
    size_t n = 0;
    for (size_t at = 0; at < len; n++) {
        begins[n] = (uint8_t)at;
        at += first_symbol(t, piece + at, &symbols[n]);
    }
    begins[n] = (uint8_t)len;
    for (size_t i = 0; i + 1 < n; i++) pairs[i] = pair_of(t, symbols[i], symbols[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (pairs[i].rank < pairs[best].rank) best = i;
        if (pairs[best].rank == NO_RANK) break;
        symbols[best] = pairs[best].merged;
        n--;
        memmove(symbols + best + 1, symbols + best + 2, (n - best - 1) * sizeof *symbols);
        memmove(begins + best + 1, begins + best + 2, (n - best) * sizeof *begins);
        memmove(pairs + best, pairs + best + 1, (n - best - 1) * sizeof *pairs);
        if (best > 0) pairs[best - 1] = pair_of(t, symbols[best - 1], symbols[best]);
        if (best + 1 < n) pairs[best] = pair_of(t, symbols[best], symbols[best + 1]);
    }
    for (size_t i = 0; i < n; i++)
        TN_TRY(emit(t, symbols[i], piece + begins[i], (size_t)begins[i + 1] - begins[i], ids));
    return TN_OK;
}

/* ---- long pieces ---- */

static bool before(const tn_bpe_queue_entry *a, const tn_bpe_queue_entry *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static tn_status push(tn_bpe_scratch *s, tn_bpe_queue_entry entry) {
    TN_GROW(s->queue, &s->queue_cap, s->queue_len + 1);
    size_t i = s->queue_len++;
    for (; i > 0 && before(&entry, &s->queue[(i - 1) / 2]); i = (i - 1) / 2) s->queue[i] = s->queue[(i - 1) / 2];
    s->queue[i] = entry;
    return TN_OK;
}

static tn_bpe_queue_entry pop(tn_bpe_scratch *s) {
    tn_bpe_queue_entry top = s->queue[0], last = s->queue[--s->queue_len];
    size_t i = 0;
    for (size_t child = 1; child < s->queue_len; child = 2 * i + 1) {
        if (child + 1 < s->queue_len && before(&s->queue[child + 1], &s->queue[child])) child++;
        if (!before(&s->queue[child], &last)) break;
        s->queue[i] = s->queue[child];
        i = child;
    }
    s->queue[i] = last;
    return top;
}

static tn_status offer(const tn_tokenizer *t, tn_bpe_scratch *s, uint32_t at) {
    if (at == END || s->symbols[at].next == END) return TN_OK;
    int32_t left = s->symbols[at].id, right = s->symbols[s->symbols[at].next].id;
    pair p = pair_of(t, left, right);
    return p.rank == NO_RANK ? TN_OK : push(s, (tn_bpe_queue_entry){p.rank, at, left, right, p.merged});
}

static bool is_stale(const tn_bpe_scratch *s, const tn_bpe_queue_entry *e) {
    const tn_bpe_symbol *left = &s->symbols[e->at];
    return left->id != e->left || left->next == END || s->symbols[left->next].id != e->right;
}

static tn_status merge_all(const tn_tokenizer *t, tn_bpe_scratch *s) {
    while (s->queue_len) {
        tn_bpe_queue_entry e = pop(s);
        if (is_stale(s, &e)) continue;
        tn_bpe_symbol *left = &s->symbols[e.at], *right = &s->symbols[left->next];
        left->id = e.merged;
        left->next = right->next;
        right->id = -1;
        if (left->next != END) s->symbols[left->next].prev = e.at;
        TN_TRY(offer(t, s, left->prev));
        TN_TRY(offer(t, s, e.at));
    }
    return TN_OK;
}

static tn_status encode_queueing(const tn_tokenizer *t, tn_bpe_scratch *s, const char *piece, size_t len, tn_ids *ids) {
    if (len >= INT32_MAX) return TN_FAIL(RANGE, "a piece of %zu bytes is longer than merging can handle", len);
    TN_GROW(s->symbols, &s->symbols_cap, len);
    uint32_t n = 0;
    for (size_t at = 0; at < len; n++) {
        s->symbols[n] = (tn_bpe_symbol){.prev = n ? n - 1 : END, .next = n + 1, .begin = (uint32_t)at};
        at += first_symbol(t, piece + at, &s->symbols[n].id);
    }
    s->symbols[n - 1].next = END;
    s->queue_len = 0;
    for (uint32_t i = 0; i < n; i++) TN_TRY(offer(t, s, i));
    TN_TRY(merge_all(t, s));
    for (uint32_t i = 0; i != END; i = s->symbols[i].next) {
        size_t begin = s->symbols[i].begin,
               end = i + 1 < n ? s->symbols[i + 1].begin : len; /* of what was not merged */
        TN_TRY(emit(t, s->symbols[i].id, piece + begin, end - begin, ids));
    }
    return TN_OK;
}

tn_status tn_bpe_encode(const tn_tokenizer *t, tn_bpe_scratch *s, const char *piece, size_t len, tn_ids *ids) {
    if (!len) return TN_OK;
    int32_t whole = t->vocabulary.ignore_merges && len > 1 ? tn_text_map_find(&t->normal, piece, len) : -1;
    if (whole >= 0) return tn_ids_append(ids, whole);
    return len <= SCAN_LIMIT ? encode_scanning(t, piece, len, ids) : encode_queueing(t, s, piece, len, ids);
}

void tn_bpe_scratch_release(tn_bpe_scratch *s) {
    tn_heap_free(s->symbols);
    tn_heap_free(s->queue);
    *s = (tn_bpe_scratch){0};
}
