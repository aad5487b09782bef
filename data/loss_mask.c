/* SPDX-License-Identifier: MIT
 * loss_mask.c - a marked text to tokens, and which of them are learnt. */
#include "data/examples_priv.h"
#include "data/grow.h"

#include <stdlib.h>
#include <string.h>

void tn_tokens_release(tn_tokens *tokens) {
    tn_ids_release(&tokens->ids);
    tn_heap_free(tokens->mask);
    tn_heap_free(tokens->offsets);
    *tokens = (tn_tokens){0};
}

bool tn_example_is_end(const tn_example_maker *m, int32_t id) {
    for (size_t i = 0; i < m->ends.count; i++)
        if (m->ends.list[i] == id) return true;
    return tn_tokenizer_is_stop(m->tokenizer, id);
}

/* ---- where tokens begin ---- */

/* Tokens that spell the text one after the other, but for spaces that SentencePiece puts in front of words; false when
 * they do not (an unknown token, a text in another normal form). */
static bool spell(const tn_vocabulary *v, const tn_marked_text *text, const int32_t *ids, size_t count,
                  size_t *offsets) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const char *token = v->texts[ids[i]];
        size_t len = v->lens[ids[i]], left = text->len - at;
        offsets[i] = at;
        if (len <= left && memcmp(text->text + at, token, len) == 0) {
            at += len;
        } else if (v->kind == TN_TOKENIZER_SPM && len && token[0] == ' ' && len - 1 <= left &&
                   memcmp(text->text + at, token + 1, len - 1) == 0) {
            at += len - 1;
        } else {
            return false;
        }
    }
    return at == text->len;
}

/* How many of the tokens begin before byte `end`: those that the text up to there has too, and the one that straddles.
 */
static tn_status count_before(const tn_example_maker *m, const tn_marked_text *text, size_t end, const int32_t *ids,
                              size_t count, size_t *out) {
    tn_ids part = {0};
    tn_status status = tn_tokenizer_encode(m->tokenizer, text->text, end, text->specials, &part);
    size_t same = 0;
    while (same < TN_MIN(part.count, count) && part.list[same] == ids[same]) same++;
    *out = TN_MIN(same + (same < part.count), count);
    tn_ids_release(&part);
    return status;
}

static int compare_places(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* Where tokens do not spell the text: they are counted up to each place that matters, and all from there to the next
 * are said to begin there. */
static tn_status count_places(const tn_example_maker *m, const tn_marked_text *text, size_t *places, const int32_t *ids,
                              size_t count, size_t *offsets) {
    const tn_regions *lists[] = {&text->turns, &text->holes};
    size_t n = 0;
    for (size_t l = 0; l < TN_COUNT(lists); l++)
        for (size_t i = 0; i < lists[l]->count; i++) {
            places[n++] = lists[l]->list[i].begin;
            places[n++] = lists[l]->list[i].end;
        }
    qsort(places, n, sizeof *places, compare_places);
    memset(offsets, 0, count * sizeof *offsets);
    for (size_t i = 0, from; i < n; i++) {
        if (i && places[i] == places[i - 1]) continue;
        TN_TRY(count_before(m, text, places[i], ids, count, &from));
        for (; from < count; from++) offsets[from] = places[i];
    }
    return TN_OK;
}

static tn_status find_offsets(const tn_example_maker *m, const tn_marked_text *text, const int32_t *ids, size_t count,
                              size_t *offsets) {
    if (spell(tn_tokenizer_vocabulary(m->tokenizer), text, ids, count, offsets)) return TN_OK;
    size_t *places = tn_heap_zalloc(2 * (text->turns.count + text->holes.count) + 1, sizeof *places);
    tn_status status = places ? count_places(m, text, places, ids, count, offsets) : TN_E_NOMEM;
    tn_heap_free(places);
    return status;
}

/* ---- which are learnt ---- */

/* Whether a region has byte `at`, for rising places: `cursor` goes along. */
static bool is_within(const tn_regions *regions, size_t at, size_t *cursor, bool *learnt) {
    while (*cursor < regions->count && regions->list[*cursor].end <= at) ++*cursor;
    if (*cursor == regions->count || at < regions->list[*cursor].begin) return false;
    *learnt = regions->list[*cursor].learnt;
    return true;
}

/* The first token that begins at byte `at` or behind. */
static size_t token_at(const tn_tokens *t, size_t at) {
    size_t low = 0, high = t->ids.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->offsets[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The token that ends a turn: the last such in it, else one right behind it; count when there is none. */
static size_t end_of_turn(const tn_example_maker *m, const tn_tokens *t, const tn_region *turn) {
    size_t count = t->ids.count - t->closed, begin = token_at(t, turn->begin), behind = token_at(t, turn->end);
    for (size_t i = TN_MIN(behind, count); i > begin; i--)
        if (tn_example_is_end(m, t->ids.list[i - 1])) return i - 1;
    if (behind < count && t->offsets[behind] == turn->end && tn_example_is_end(m, t->ids.list[behind])) return behind;
    return t->ids.count;
}

/* The text's turns; one that has none is one turn. */
typedef struct turns {
    const tn_region *list;
    size_t count;
    tn_region whole;
} turns;

static turns turns_of(const tn_marked_text *text) {
    return (turns){text->turns.list, text->turns.count, {0, text->len, text->all}};
}

static const tn_region *turn_at(const turns *all, size_t i) { return all->count ? &all->list[i] : &all->whole; }

/* What ends a turn is learnt as train_on_eos has it; what the template wrote behind that is not. */
static void mask_end(const tn_example_maker *m, const tn_marked_text *text, const tn_region *turn, size_t end,
                     bool last, tn_tokens *t) {
    int eos = m->options->train_on_eos;
    if (end == t->ids.count) return;
    for (size_t i = end + 1; i < t->ids.count && t->offsets[i] < turn->end && !text->all; i++) t->mask[i] = 0;
    if (eos == TN_EOS_TURN || (eos == TN_EOS_LAST && last)) t->mask[end] = turn->learnt || text->all;
}

static void mask_ends(const tn_example_maker *m, const tn_marked_text *text, tn_tokens *t) {
    turns all = turns_of(text);
    size_t n = TN_MAX(all.count, (size_t)1), last = n;
    while (last > 1 && !turn_at(&all, last - 1)->learnt) last--;
    for (size_t i = 0; i < n; i++) {
        const tn_region *turn = turn_at(&all, i);
        size_t end = t->closed && i + 1 == n ? t->ids.count - 1 : end_of_turn(m, t, turn);
        mask_end(m, text, turn, end, i + 1 == last, t);
    }
}

static void mask_tokens(const tn_example_maker *m, const tn_marked_text *text, tn_tokens *t) {
    int eos = m->options->train_on_eos;
    size_t turn = 0, hole = 0;
    for (size_t i = 0; i < t->ids.count; i++) {
        bool learnt = text->all, whole = true;
        if (!text->all) is_within(&text->turns, t->offsets[i], &turn, &learnt);
        if (is_within(&text->holes, t->offsets[i], &hole, &whole)) learnt = false;
        if (eos != TN_EOS_TURN && tn_example_is_end(m, t->ids.list[i])) learnt = eos == TN_EOS_ALL;
        t->mask[i] = learnt;
    }
    mask_ends(m, text, t);
    if (t->ids.count) t->mask[0] = 0;
}

/* ---- tokens ---- */

static bool is_white(const char *text, size_t len) {
    size_t i = 0;
    while (i < len && memchr(" \t\r\n", text[i], 4)) i++;
    return i == len;
}

/* Whether the last turn ends already, with nothing but white space behind it. */
static bool has_end(const tn_example_maker *m, const tn_marked_text *text, const tn_tokens *t) {
    turns all = turns_of(text);
    size_t end = end_of_turn(m, t, turn_at(&all, all.count ? all.count - 1 : 0));
    if (end == t->ids.count) return false;
    return end + 1 == t->ids.count || is_white(text->text + t->offsets[end + 1], text->len - t->offsets[end + 1]);
}

static tn_status reserve(tn_tokens *t) {
    TN_GROW(t->mask, &t->mask_cap, t->ids.count + 2);
    TN_GROW(t->offsets, &t->offsets_cap, t->ids.count + 2);
    return TN_OK;
}

static tn_status check_bos(const tn_example_maker *m, const tn_tokens *t) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(m->tokenizer);
    if (v->bos < 0 || v->bos == v->eos || t->ids.count < 2 || t->ids.list[0] != v->bos || t->ids.list[1] != v->bos)
        return TN_OK;
    return TN_FAIL(MISMATCH, "the text begins with \"%.40s\" twice, expected exactly one", v->texts[v->bos]);
}

tn_status tn_tokens_make(const tn_example_maker *m, const tn_marked_text *text, tn_tokens *t) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(m->tokenizer);
    size_t front = text->wants_bos;
    t->ids.count = 0;
    t->closed = false;
    if (text->wants_bos) TN_TRY(tn_ids_append(&t->ids, v->bos));
    TN_TRY(tn_tokenizer_encode(m->tokenizer, text->text, text->len, text->specials, &t->ids));
    TN_TRY(check_bos(m, t));
    TN_TRY(reserve(t));
    t->offsets[0] = 0;
    if (t->ids.count > front)
        TN_TRY(find_offsets(m, text, t->ids.list + front, t->ids.count - front, t->offsets + front));
    if (text->wants_eos && v->eos >= 0 && !has_end(m, text, t)) {
        TN_TRY(tn_ids_append(&t->ids, v->eos));
        t->offsets[t->ids.count - 1] = text->len;
        t->closed = true;
    }
    mask_tokens(m, text, t);
    return TN_OK;
}
