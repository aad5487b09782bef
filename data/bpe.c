/* SPDX-License-Identifier: MIT
 * bpe.c - merging one piece: always the pair of lowest rank, the leftmost among equals, until no pair has a rank.
 * Short pieces, nearly all of them, look for the lowest rank by scanning; long ones keep the pairs in a heap, which
 * makes n bytes cost O(n log n). Both take the same merges in the same order. */
#include "data/grow.h"
#include "data/tokenizer_priv.h"

#include <string.h>

enum { SCAN_LIMIT = 48, NO_RANK = INT32_MAX };
#define END UINT32_MAX

static int32_t rank_of(const tn_tokenizer *t, int32_t left, int32_t right) {
    int32_t rank = tn_pair_map_find(&t->ranks, left, right);
    return rank < 0 ? NO_RANK : rank;
}

static tn_status emit(const tn_tokenizer *t, int32_t id, unsigned char byte, tn_ids *ids) {
    if (id < 0) id = t->vocabulary.unk;
    if (id < 0) return TN_FAIL(TEXT, "byte 0x%02x has no token in this vocabulary", byte);
    return tn_ids_append(ids, id);
}

/* ---- short pieces ---- */

static tn_status encode_scanning(const tn_tokenizer *t, const char *piece, size_t n, tn_ids *ids) {
    int32_t symbols[SCAN_LIMIT], ranks[SCAN_LIMIT]; /* ranks[i] is that of symbols i, i+1 */
    for (size_t i = 0; i < n; i++) symbols[i] = t->byte_ids[(unsigned char)piece[i]];
    for (size_t i = 0; i + 1 < n; i++) ranks[i] = rank_of(t, symbols[i], symbols[i + 1]);
    unsigned char lone = 0;
    for (size_t i = 0; i < n; i++)
        if (symbols[i] < 0) lone = (unsigned char)piece[i];
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == NO_RANK) break;
        symbols[best] = t->merged[ranks[best]];
        n--;
        memmove(symbols + best + 1, symbols + best + 2, (n - best - 1) * sizeof *symbols);
        memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
        if (best > 0) ranks[best - 1] = rank_of(t, symbols[best - 1], symbols[best]);
        if (best + 1 < n) ranks[best] = rank_of(t, symbols[best], symbols[best + 1]);
    }
    for (size_t i = 0; i < n; i++) TN_TRY(emit(t, symbols[i], lone, ids));
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
    int32_t rank = rank_of(t, left, right);
    return rank == NO_RANK ? TN_OK : push(s, (tn_bpe_queue_entry){rank, at, left, right});
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
        left->id = t->merged[e.rank];
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
    uint32_t n = (uint32_t)len;
    TN_GROW(s->symbols, &s->symbols_cap, n);
    for (uint32_t i = 0; i < n; i++)
        s->symbols[i] = (tn_bpe_symbol){t->byte_ids[(unsigned char)piece[i]], i ? i - 1 : END, i + 1 < n ? i + 1 : END};
    s->queue_len = 0;
    for (uint32_t i = 0; i < n; i++) TN_TRY(offer(t, s, i));
    TN_TRY(merge_all(t, s));
    for (uint32_t i = 0; i != END; i = s->symbols[i].next)
        TN_TRY(emit(t, s->symbols[i].id, (unsigned char)piece[i], ids));
    return TN_OK;
}

tn_status tn_bpe_encode(const tn_tokenizer *t, tn_bpe_scratch *s, const char *piece, size_t len, tn_ids *ids) {
    if (len == 1) return emit(t, t->byte_ids[(unsigned char)piece[0]], (unsigned char)piece[0], ids);
    int32_t whole = t->vocabulary.ignore_merges ? tn_text_map_find(&t->normal, piece, len) : -1;
    if (whole >= 0) return tn_ids_append(ids, whole);
    return len <= SCAN_LIMIT ? encode_scanning(t, piece, len, ids) : encode_queueing(t, s, piece, len, ids);
}

void tn_bpe_scratch_release(tn_bpe_scratch *s) {
    tn_heap_free(s->symbols);
    tn_heap_free(s->queue);
    *s = (tn_bpe_scratch){0};
}
