/* SPDX-License-Identifier: MIT
 * bpe_learn.c - which merges a text asks for (Sennrich 2016): the most frequent pair of neighbours becomes a token,
 * over and over. Counts are kept up to date while words are rewritten; a pair remembers the words it was seen in, so a
 * merge touches only those. Words are sets with counts and every tie is broken by ids, so hash order never shows. */
#include "data/byte_spelling.h"
#include "data/grow.h"
#include "data/tokenizer_priv.h"

#include <string.h>

static const char tag[] = "tokenizer training";

enum { NONE = -1, FIRST_TOKENS = 256, MIN_COUNT = 2 };

typedef struct word {
    int32_t *ids;
    uint32_t n;
    int64_t count;
} word;

typedef struct pair {
    int32_t left, right;
    int64_t count;   /* over all words, each with its count */
    int32_t seen_in; /* first of the list in `places`; words may come twice, and words that lost the pair stay */
    int32_t queued;  /* the last round that put it into the queue */
} pair;

typedef struct place {
    uint32_t word;
    int32_t next;
} place;

typedef struct candidate {
    int64_t count;
    int32_t left, right;
} candidate;

typedef struct learner {
    tn_arena *arena;
    word *words;
    size_t n_words;
    pair *pairs;
    size_t n_pairs, pairs_cap;
    tn_pair_map index; /* pair -> its place in `pairs` */
    place *places;
    size_t n_places, places_cap;
    candidate *queue; /* binary heap; counts may be out of date, see pop_best */
    size_t queue_len, queue_cap;
    int32_t *raised; /* pairs that gained in this round */
    size_t n_raised, raised_cap;
    int32_t round;
    tn_text_map tokens;
    const char **texts;
    uint32_t *lens;
    int n_tokens, max_tokens;
    int32_t (*merges)[2];
    size_t n_merges, merges_cap;
} learner;

/* ---- the queue of candidates: highest count first, then the smaller pair of ids ---- */

static bool before(const candidate *a, const candidate *b) {
    if (a->count != b->count) return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static tn_status push(learner *l, const pair *p) {
    TN_GROW(l->queue, &l->queue_cap, l->queue_len + 1);
    candidate entry = {p->count, p->left, p->right};
    size_t i = l->queue_len++;
    for (; i > 0 && before(&entry, &l->queue[(i - 1) / 2]); i = (i - 1) / 2) l->queue[i] = l->queue[(i - 1) / 2];
    l->queue[i] = entry;
    return TN_OK;
}

static candidate pop(learner *l) {
    candidate top = l->queue[0], last = l->queue[--l->queue_len];
    size_t i = 0;
    for (size_t child = 1; child < l->queue_len; child = 2 * i + 1) {
        if (child + 1 < l->queue_len && before(&l->queue[child + 1], &l->queue[child])) child++;
        if (!before(&l->queue[child], &last)) break;
        l->queue[i] = l->queue[child];
        i = child;
    }
    l->queue[i] = last;
    return top;
}

/* The most frequent pair, or NULL. Counts only fall between pushes, so an entry that is too high is put back with the
 * true count, and one that is too low has a newer twin in the queue. */
static tn_status pop_best(learner *l, pair **best) {
    *best = NULL;
    while (l->queue_len) {
        candidate c = pop(l);
        pair *p = &l->pairs[tn_pair_map_find(&l->index, c.left, c.right)];
        if (c.count > p->count && p->count >= MIN_COUNT) TN_TRY(push(l, p));
        if (c.count != p->count || c.count < MIN_COUNT) continue;
        *best = p;
        return TN_OK;
    }
    return TN_OK;
}

/* ---- counts ---- */

static tn_status find_or_add(learner *l, int32_t left, int32_t right, int32_t *at) {
    *at = tn_pair_map_find(&l->index, left, right);
    if (*at >= 0) return TN_OK;
    if (l->n_pairs >= INT32_MAX) return TN_FAIL(RANGE, "the text has too many different pairs to learn merges from");
    TN_GROW(l->pairs, &l->pairs_cap, l->n_pairs + 1);
    *at = (int32_t)l->n_pairs;
    l->pairs[l->n_pairs++] = (pair){left, right, 0, NONE, NONE};
    return tn_pair_map_put(&l->index, left, right, *at, -1);
}

static tn_status raise_count(learner *l, int32_t left, int32_t right, uint32_t in_word) {
    int32_t at;
    TN_TRY(find_or_add(l, left, right, &at));
    pair *p = &l->pairs[at];
    p->count += l->words[in_word].count;
    if (p->seen_in == NONE || l->places[p->seen_in].word != in_word) {
        if (l->n_places >= INT32_MAX) return TN_FAIL(RANGE, "the text is too large to learn merges from");
        TN_GROW(l->places, &l->places_cap, l->n_places + 1);
        l->places[l->n_places] = (place){in_word, p->seen_in};
        p->seen_in = (int32_t)l->n_places++;
    }
    if (p->queued == l->round) return TN_OK;
    p->queued = l->round;
    TN_GROW(l->raised, &l->raised_cap, l->n_raised + 1);
    l->raised[l->n_raised++] = at;
    return TN_OK;
}

static void lower_count(learner *l, int32_t left, int32_t right, uint32_t in_word) {
    int32_t at = tn_pair_map_find(&l->index, left, right);
    TN_ASSERT(at >= 0);
    l->pairs[at].count -= l->words[in_word].count;
}

static tn_status queue_raised(learner *l) {
    for (size_t i = 0; i < l->n_raised; i++)
        if (l->pairs[l->raised[i]].count >= MIN_COUNT) TN_TRY(push(l, &l->pairs[l->raised[i]]));
    l->n_raised = 0;
    return TN_OK;
}

/* ---- one merge ---- */

/* Rewrite left,right as `merged` from left to right, moving the counts of the pairs around it. */
static tn_status rewrite(learner *l, uint32_t in_word, int32_t left, int32_t right, int32_t merged) {
    word *w = &l->words[in_word];
    uint32_t n = 0; /* ids[0..n) are rewritten */
    for (uint32_t i = 0; i < w->n; i++) {
        if (i + 1 == w->n || w->ids[i] != left || w->ids[i + 1] != right) {
            w->ids[n++] = w->ids[i];
            continue;
        }
        if (n > 0) {
            lower_count(l, w->ids[n - 1], left, in_word);
            TN_TRY(raise_count(l, w->ids[n - 1], merged, in_word));
        }
        i++;
        if (i + 1 < w->n) {
            lower_count(l, right, w->ids[i + 1], in_word);
            TN_TRY(raise_count(l, merged, w->ids[i + 1], in_word));
        }
        w->ids[n++] = merged;
    }
    w->n = n;
    return TN_OK;
}

/* The token that spells the two halves; different merges can lead to the same one. */
static tn_status token_of(learner *l, int32_t left, int32_t right, int32_t *id) {
    size_t len = (size_t)l->lens[left] + l->lens[right];
    char *text;
    TN_TAKE(text, l->arena, len, tag);
    memcpy(text, l->texts[left], l->lens[left]);
    memcpy(text + l->lens[left], l->texts[right], l->lens[right]);
    *id = tn_text_map_find(&l->tokens, text, len);
    if (*id >= 0) return TN_OK;
    *id = l->n_tokens++;
    l->texts[*id] = text;
    l->lens[*id] = (uint32_t)len;
    return tn_text_map_put(&l->tokens, text, len, *id);
}

static tn_status merge(learner *l, pair *best) {
    int32_t left = best->left, right = best->right, merged;
    int32_t seen_in = best->seen_in;
    TN_GROW(l->merges, &l->merges_cap, l->n_merges + 1);
    l->merges[l->n_merges][0] = left;
    l->merges[l->n_merges++][1] = right;
    TN_TRY(token_of(l, left, right, &merged));
    l->round++;
    for (int32_t at = seen_in; at != NONE; at = l->places[at].next)
        TN_TRY(rewrite(l, l->places[at].word, left, right, merged));
    l->pairs[tn_pair_map_find(&l->index, left, right)].count = 0; /* no word has it any more */
    return queue_raised(l);
}

/* ---- the whole ---- */

static tn_status start_tokens(learner *l) {
    char *bytes;
    TN_TAKE(bytes, l->arena, FIRST_TOKENS, tag);
    TN_TAKE(l->texts, l->arena, l->max_tokens, tag);
    TN_TAKE(l->lens, l->arena, l->max_tokens, tag);
    for (int id = 0; id < FIRST_TOKENS; id++) {
        bytes[id] = (char)tn_byte_in_order(id);
        l->texts[id] = bytes + id;
        l->lens[id] = 1;
        TN_TRY(tn_text_map_put(&l->tokens, bytes + id, 1, id));
    }
    l->n_tokens = FIRST_TOKENS;
    return TN_OK;
}

static tn_status start_words(learner *l, const tn_bpe_word *words, size_t n_words) {
    size_t total = 0;
    for (size_t i = 0; i < n_words; i++) total += words[i].len;
    int32_t *ids;
    TN_TAKE(ids, l->arena, total, tag);
    TN_TAKE(l->words, l->arena, n_words, tag);
    l->n_words = n_words;
    for (size_t i = 0; i < n_words; i++) {
        l->words[i] = (word){ids, words[i].len, words[i].count};
        for (uint32_t k = 0; k < words[i].len; k++) ids[k] = tn_text_map_find(&l->tokens, words[i].text + k, 1);
        ids += words[i].len;
    }
    return TN_OK;
}

static tn_status start_pairs(learner *l) {
    for (size_t i = 0; i < l->n_words; i++)
        for (uint32_t k = 0; k + 1 < l->words[i].n; k++)
            TN_TRY(raise_count(l, l->words[i].ids[k], l->words[i].ids[k + 1], (uint32_t)i));
    return queue_raised(l);
}

static tn_status learn(learner *l, const tn_bpe_word *words, size_t n_words, tn_bpe_model *out) {
    TN_TRY(start_tokens(l));
    TN_TRY(start_words(l, words, n_words));
    TN_TRY(start_pairs(l));
    while (l->n_tokens < l->max_tokens) {
        pair *best;
        TN_TRY(pop_best(l, &best));
        if (!best) break;
        TN_TRY(merge(l, best));
    }
    int32_t(*merges)[2];
    TN_TAKE(merges, l->arena, l->n_merges, tag);
    if (l->n_merges) memcpy(merges, l->merges, l->n_merges * sizeof *merges);
    *out = (tn_bpe_model){l->texts, l->lens, l->n_tokens, merges, (int)l->n_merges};
    return TN_OK;
}

tn_status tn_bpe_learn(tn_arena *arena, const tn_bpe_word *words, size_t n_words, int max_tokens, tn_bpe_model *out) {
    TN_ASSERT(max_tokens >= FIRST_TOKENS && n_words < UINT32_MAX);
    learner l = {.arena = arena, .max_tokens = max_tokens};
    tn_status status = learn(&l, words, n_words, out);
    tn_pair_map_release(&l.index);
    tn_text_map_release(&l.tokens);
    tn_heap_free(l.pairs);
    tn_heap_free(l.places);
    tn_heap_free(l.queue);
    tn_heap_free(l.raised);
    tn_heap_free(l.merges);
    return status;
}
