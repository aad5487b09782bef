/* SPDX-License-Identifier: MIT
 * grammar_memory.c - the life of the tables of places, and how they forget. */
#include "infer/grammar_priv.h"

#include <string.h>

static const char tag[] = "grammar tables";

enum {
    LIGHT = 4 << 20,    /* words of tables that are never too many */
    PATIENCE = 20 << 20 /* items looked at for one mask: some tenths of a second */
};

/* ---- forgetting ---- */

typedef struct survivors {
    tn_places *p;
    uint32_t *places; /* [n_places] old number -> new one; 0 = forgotten */
    uint32_t *olds;   /* [n_kept] new number - TN_PLACE_FIRST -> old one */
    uint32_t *sets;   /* [n_sets] old number -> new one; 0 = forgotten, but for the empty set */
    size_t n_kept, n_sets, n_items;
} survivors;

static void keep_place(survivors *s, uint32_t place) {
    if (place < TN_PLACE_FIRST || s->places[place]) return;
    s->olds[s->n_kept] = place;
    s->places[place] = (uint32_t)(TN_PLACE_FIRST + s->n_kept++);
    s->sets[s->p->places[place].set] = 1;
}

static void keep_stacks(survivors *s, uint32_t set) {
    const tn_places *p = s->p;
    for (uint32_t i = 0; i < p->sets[set].count; i++) s->sets[p->items[p->sets[set].first + i].stack] = 1;
}

static tn_status find_survivors(survivors *s, tn_arena *scratch) {
    tn_places *p = s->p;
    TN_TAKE0(s->places, scratch, p->n_places, tag);
    TN_TAKE(s->olds, scratch, p->n_places, tag);
    TN_TAKE0(s->sets, scratch, p->n_sets, tag);
    keep_place(s, p->start);
    for (const tn_grammar_state *state = p->states; state; state = state->next) keep_place(s, state->place);
    for (size_t i = 0; i < p->n_trail; i++) keep_place(s, p->trail[i]);
    for (uint32_t i = (uint32_t)p->n_sets - 1; i > 0; i--) /* a set has a larger number than its stacks */
        if (s->sets[i]) keep_stacks(s, i);
    s->sets[0] = 0;
    s->n_sets = 1;
    for (size_t i = 1; i < p->n_sets; i++)
        if (s->sets[i]) s->sets[i] = (uint32_t)s->n_sets++;
    return TN_OK;
}

/* In place: what is kept moves down, never behind what is still to be moved. Numbers keep their order, so the items of
 * a set do, too. */
static void move_sets(survivors *s) {
    tn_places *p = s->p;
    p->n_items = 0;
    for (size_t i = 1; i < p->n_sets; i++) {
        if (!s->sets[i]) continue;
        tn_item_set set = p->sets[i];
        for (uint32_t k = 0; k < set.count; k++) {
            tn_item item = p->items[set.first + k];
            p->items[p->n_items + k] = (tn_item){item.step, s->sets[item.stack]};
        }
        set.first = (uint32_t)p->n_items;
        set.place = set.place ? s->places[set.place] : 0;
        p->n_items += set.count;
        p->sets[s->sets[i]] = set;
    }
    p->n_sets = s->n_sets;
}

static void move_places(survivors *s, tn_place *kept) {
    tn_places *p = s->p;
    for (size_t k = 0; k < s->n_kept; k++) {
        kept[k] = p->places[s->olds[k]];
        kept[k].set = s->sets[kept[k].set];
    }
    memcpy(p->places + TN_PLACE_FIRST, kept, s->n_kept * sizeof *kept);
    p->n_places = TN_PLACE_FIRST + s->n_kept;
    memset(p->moves, 0, p->n_places * (size_t)p->grammar->n_kinds * sizeof *p->moves);
    p->start = s->places[p->start];
    for (tn_grammar_state *state = p->states; state; state = state->next) state->place = s->places[state->place];
    for (size_t i = 0; i < p->n_trail; i++) p->trail[i] = s->places[p->trail[i]];
    for (int i = 0; i < TN_MASKS; i++) p->mask_places[i] = s->places[p->mask_places[i]];
}

static tn_status forget(survivors *s, tn_arena *scratch) {
    tn_place *kept;
    TN_TRY(find_survivors(s, scratch));
    TN_TAKE(kept, scratch, s->n_kept, tag);
    move_places(s, kept);
    move_sets(s);
    tn_places_index(s->p);
    s->p->weight_limit = TN_MAX((size_t)LIGHT, 2 * tn_places_weight(s->p));
    return TN_OK;
}

tn_status tn_places_forget(tn_places *p) {
    tn_arena *scratch = tn_arena_create("grammar tables");
    tn_status status = scratch ? forget(&(survivors){.p = p}, scratch) : TN_E_NOMEM;
    tn_arena_free(scratch);
    return status;
}

/* ---- life ---- */

void tn_places_free(tn_places *p) {
    if (!p) return;
    tn_token_trie_release(&p->trie);
    void *const lists[] = {p->items,         p->sets,   p->lookup,  p->places, p->moves, p->todo, p->seen,
                           p->opened_number, p->opened, p->callers, p->order,  p->kept,  p->trail};
    for (size_t i = 0; i < TN_COUNT(lists); i++) tn_heap_free(lists[i]);
    for (int i = 0; i < TN_MASKS; i++) tn_heap_free(p->masks[i]);
    tn_buf_release(&p->token);
    tn_heap_free(p);
}

static tn_status fill(tn_places *p, const tn_tokenizer *tokenizer) {
    TN_TRY(tn_token_trie_init(&p->trie, tokenizer));
    p->weight_limit = LIGHT;
    p->work_limit = PATIENCE;
    p->trail = tn_heap_zalloc((size_t)p->trie.depth + 2, sizeof *p->trail);
    p->opened_number = tn_heap_zalloc(p->grammar->n_parts, sizeof *p->opened_number);
    p->order = tn_heap_zalloc(p->grammar->n_parts, sizeof *p->order);
    if (!p->trail || !p->opened_number || !p->order) return TN_E_NOMEM;
    return tn_places_start(p);
}

tn_status tn_places_create(tn_places **out, const tn_grammar *grammar, const tn_tokenizer *tokenizer) {
    *out = NULL;
    tn_places *p = tn_heap_zalloc(1, sizeof *p);
    if (!p) return TN_E_NOMEM;
    p->grammar = grammar;
    tn_status status = fill(p, tokenizer);
    if (status)
        tn_places_free(p);
    else
        *out = p;
    return status;
}
