/* SPDX-License-Identifier: MIT
 * grammar_tables.c - places in a text and the moves between them. A move is worked out once, by following the items of
 * a place and closing the result over calls, forks and returns, and is a look-up from then on: while a text stays
 * inside a string, say, it stays at one place. */
#include "data/grow.h"
#include "infer/grammar_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_LOOKUP = 256, FIRST_SEEN = 64 };

static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u; /* the finisher of SplitMix64 (Steele 2014) */
    return (x ^ x >> 27) * 0x94D049BB133111EBu;
}

static uint64_t key_of(tn_item item) { return mix((uint64_t)item.step << 32 | item.stack); }

/* ---- sets ---- */

static int compare(const void *a, const void *b) {
    const tn_item *x = a, *y = b;
    if (x->step != y->step) return x->step < y->step ? -1 : 1;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static uint64_t hash_items(const tn_item *items, size_t n) {
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++) hash = mix(hash ^ key_of(items[i]));
    return hash;
}

/* The slot that holds the set of these items, or the free one where it belongs. */
static uint32_t *find_set(const tn_places *p, const tn_item *items, size_t n) {
    size_t i = hash_items(items, n);
    for (;; i++) {
        uint32_t *slot = &p->lookup[i & (p->n_lookup - 1)];
        const tn_item_set *set = &p->sets[*slot];
        if (!*slot || (set->count == n && !memcmp(p->items + set->first, items, n * sizeof *items))) return slot;
    }
}

void tn_places_index(tn_places *p) {
    memset(p->lookup, 0, p->n_lookup * sizeof *p->lookup);
    for (uint32_t i = 1; i < p->n_sets; i++) *find_set(p, p->items + p->sets[i].first, p->sets[i].count) = i;
}

static tn_status grow_lookup(tn_places *p) {
    size_t n = p->n_lookup ? 2 * p->n_lookup : FIRST_LOOKUP;
    uint32_t *grown = tn_heap_resize(p->lookup, n * sizeof *grown);
    if (!grown) return TN_E_NOMEM;
    p->lookup = grown;
    p->n_lookup = n;
    tn_places_index(p);
    return TN_OK;
}

/* Put an item behind the sets, as one of the next set. */
static tn_status put_item(tn_places *p, uint32_t step, uint32_t stack) {
    TN_GROW(p->items, &p->items_cap, p->n_items + 1);
    p->items[p->n_items++] = (tn_item){step, stack};
    return TN_OK;
}

static size_t sort_items(tn_item *items, size_t n) {
    size_t kept = 0;
    if (n > 1) qsort(items, n, sizeof *items, compare);
    for (size_t i = 0; i < n; i++)
        if (!i || compare(&items[i], &items[kept - 1]) != 0) items[kept++] = items[i];
    return kept;
}

/* The number of the set of the items from `first` on, at least one; they are taken back when it is known. */
static tn_status number_set(tn_places *p, size_t first, uint32_t *number) {
    tn_item *items = p->items + first;
    size_t n = sort_items(items, p->n_items - first);
    p->n_items = first;
    if (2 * (p->n_sets + 1) > p->n_lookup) TN_TRY(grow_lookup(p));
    uint32_t *slot = find_set(p, items, n), depth = 0;
    if (*slot) return *number = *slot, TN_OK;
    TN_GROW(p->sets, &p->sets_cap, p->n_sets + 1);
    for (size_t i = 0; i < n; i++) depth = TN_MAX(depth, p->sets[items[i].stack].depth);
    p->sets[p->n_sets] = (tn_item_set){.first = (uint32_t)first, .count = (uint32_t)n, .depth = depth + 1};
    p->too_deep |= depth > TN_GRAMMAR_DEPTH;
    p->n_items = first + n;
    *number = *slot = (uint32_t)p->n_sets++;
    return TN_OK;
}

/* The stack that goes on at `step` with what is below. */
static tn_status push(tn_places *p, uint32_t step, uint32_t below, uint32_t *stack) {
    size_t first = p->n_items;
    TN_TRY(put_item(p, step, below));
    return number_set(p, first, stack);
}

/* ---- closures ---- */

/* The slot of an item in a table of `n` of which those of this round are in use, or the free one where it belongs. */
static tn_visit *find_visit(tn_visit *table, size_t n, uint32_t round, tn_item item) {
    size_t i = key_of(item);
    for (;; i++) {
        tn_visit *slot = &table[i & (n - 1)];
        if (slot->round != round || (slot->item.step == item.step && slot->item.stack == item.stack)) return slot;
    }
}

static tn_status grow_seen(tn_places *p) {
    size_t n = p->seen_cap ? 2 * p->seen_cap : FIRST_SEEN;
    tn_visit *grown = tn_heap_zalloc(n, sizeof *grown);
    if (!grown) return TN_E_NOMEM;
    for (size_t i = 0; i < p->seen_cap; i++)
        if (p->seen[i].round == p->round) *find_visit(grown, n, p->round, p->seen[i].item) = p->seen[i];
    tn_heap_free(p->seen);
    p->seen = grown;
    p->seen_cap = n;
    return TN_OK;
}

static void begin_closure(tn_places *p) {
    p->n_todo = p->n_seen = p->n_opened = 0;
    p->n_callers = 1;
    p->too_deep = false;
    if (++p->round) return;
    if (p->seen_cap) memset(p->seen, 0, p->seen_cap * sizeof *p->seen);
    p->round = 1;
}

/* Look at an item later, once in a closure. */
static tn_status note(tn_places *p, uint32_t step, uint32_t stack) {
    tn_item item = {step, stack};
    if (2 * (p->n_seen + 1) > p->seen_cap) TN_TRY(grow_seen(p));
    tn_visit *slot = find_visit(p->seen, p->seen_cap, p->round, item);
    if (slot->round == p->round) return TN_OK;
    *slot = (tn_visit){item, p->round};
    p->n_seen++;
    TN_GROW(p->todo, &p->todo_cap, p->n_todo + 1);
    p->todo[p->n_todo++] = item;
    return TN_OK;
}

/* What a RETURN leads to. Parts that were opened in this closure have taken no byte yet: their callers have gone on
 * already if that is allowed. */
static tn_status note_return(tn_places *p, uint32_t stack) {
    if (stack >= TN_STACK_NEW) return TN_OK;
    if (stack == 0) return note(p, TN_ITEM_END, 0);
    tn_item_set set = p->sets[stack];
    for (uint32_t i = 0; i < set.count; i++) {
        tn_item item = p->items[set.first + i];
        TN_TRY(note(p, item.step, item.stack));
    }
    return TN_OK;
}

static tn_status note_call(tn_places *p, uint32_t part_number, tn_item behind) {
    const tn_part *part = &p->grammar->parts[part_number];
    uint32_t number = p->opened_number[part_number];
    if (number >= p->n_opened || p->opened[number].part != part_number) {
        TN_GROW(p->opened, &p->opened_cap, p->n_opened + 1);
        number = p->opened_number[part_number] = (uint32_t)p->n_opened++;
        p->opened[number] = (tn_opened){.part = part_number};
        TN_TRY(note(p, part->start, TN_STACK_NEW + number));
    }
    TN_GROW(p->callers, &p->callers_cap, p->n_callers + 1);
    p->callers[p->n_callers] = (tn_caller){behind, p->opened[number].callers};
    p->opened[number].callers = (uint32_t)p->n_callers++;
    return part->nullable ? note(p, behind.step, behind.stack) : TN_OK;
}

static tn_status keep(tn_places *p, tn_item item) {
    TN_GROW(p->kept, &p->kept_cap, p->n_kept + 1);
    p->kept[p->n_kept++] = item;
    return TN_OK;
}

/* Close over one item: kept when it waits for a byte, replaced by where it leads when it does not. */
static tn_status expand(tn_places *p, tn_item item) {
    if (item.step >= TN_ITEM_ROW) return keep(p, item);
    const tn_step *s = &p->grammar->steps[item.step];
    switch ((tn_step_kind)s->kind) {
    case TN_STEP_BYTE:
    case TN_STEP_CLASS: return keep(p, item);
    case TN_STEP_FORK: TN_TRY(note(p, item.step + 1, item.stack)); return note(p, s->arg, item.stack);
    case TN_STEP_JUMP: return note(p, s->arg, item.stack);
    case TN_STEP_CALL: return note_call(p, s->arg, (tn_item){item.step + 1, item.stack});
    case TN_STEP_RETURN: return note_return(p, item.stack);
    }
    TN_ASSERT(!"a kind of step");
    return TN_OK;
}

/* ---- the stacks of opened parts ---- */

static uint32_t stack_number(const tn_places *p, uint32_t stack) {
    return stack >= TN_STACK_NEW ? p->opened[stack - TN_STACK_NEW].stack : stack;
}

static tn_status number_stack(tn_places *p, tn_opened *opened) {
    size_t first = p->n_items;
    for (uint32_t i = opened->callers; i; i = p->callers[i].before) {
        tn_item item = p->callers[i].item;
        TN_TRY(put_item(p, item.step, stack_number(p, item.stack)));
    }
    return number_set(p, first, &opened->stack);
}

static int compare_descending(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return *x > *y ? -1 : *x < *y;
}

/* Callers come before what they call, that is, by descending ranks. */
static tn_status number_stacks(tn_places *p) {
    uint64_t *order = p->order;
    for (size_t i = 0; i < p->n_opened; i++) order[i] = (uint64_t)p->grammar->parts[p->opened[i].part].rank << 32 | i;
    if (p->n_opened > 1) qsort(order, p->n_opened, sizeof *order, compare_descending);
    for (size_t i = 0; i < p->n_opened; i++) TN_TRY(number_stack(p, &p->opened[(uint32_t)order[i]]));
    return TN_OK;
}

/* ---- places ---- */

static tn_status number_place(tn_places *p, uint32_t set_number, uint32_t *number) {
    tn_item_set *set = &p->sets[set_number];
    size_t n_kinds = (size_t)p->grammar->n_kinds;
    *number = set->place;
    if (set->place) return TN_OK;
    TN_GROW(p->places, &p->places_cap, p->n_places + 1);
    TN_GROW(p->moves, &p->moves_cap, (p->n_places + 1) * n_kinds);
    memset(p->moves + p->n_places * n_kinds, 0, n_kinds * sizeof *p->moves);
    bool may_end = p->items[set->first + set->count - 1].step == TN_ITEM_END;
    p->places[p->n_places] = (tn_place){.set = set_number, .may_end = may_end, .mask = -1};
    *number = set->place = (uint32_t)p->n_places++;
    return TN_OK;
}

/* The place of what was noted. */
static tn_status finish_closure(tn_places *p, uint32_t *number) {
    p->n_kept = 0;
    while (p->n_todo > 0 && p->n_seen <= TN_GRAMMAR_WIDTH) TN_TRY(expand(p, p->todo[--p->n_todo]));
    p->work += p->n_seen;
    *number = p->n_todo ? TN_PLACE_TOO_WIDE : TN_PLACE_DEAD;
    if (p->n_todo || !p->n_kept) return TN_OK;
    TN_TRY(number_stacks(p));
    size_t first = p->n_items;
    for (size_t i = 0; i < p->n_kept; i++) TN_TRY(put_item(p, p->kept[i].step, stack_number(p, p->kept[i].stack)));
    uint32_t set;
    TN_TRY(number_set(p, first, &set));
    *number = TN_PLACE_TOO_DEEP;
    return p->too_deep ? TN_OK : number_place(p, set, number);
}

tn_status tn_places_start(tn_places *p) {
    TN_GROW(p->sets, &p->sets_cap, 1);
    TN_GROW(p->places, &p->places_cap, TN_PLACE_FIRST);
    p->sets[p->n_sets++] = (tn_item_set){0};
    for (; p->n_places < TN_PLACE_FIRST; p->n_places++) p->places[p->n_places] = (tn_place){.mask = -1};
    begin_closure(p);
    TN_TRY(note(p, p->grammar->root, 0));
    TN_TRY(finish_closure(p, &p->start));
    if (p->start >= TN_PLACE_FIRST) return TN_OK;
    return TN_FAIL(RANGE, "the grammar can begin in more ways than can be followed");
}

/* ---- moves ---- */

static tn_status move_class(tn_places *p, tn_item item, uint8_t byte) {
    uint16_t takes = p->grammar->leads[p->grammar->steps[item.step].arg][byte];
    if (takes == TN_TAKES_NO) return TN_OK;
    if (takes == TN_TAKES_WHOLE) return note(p, item.step + 1, item.stack);
    uint32_t stack;
    TN_TRY(push(p, item.step + 1, item.stack, &stack));
    return note(p, TN_ITEM_ROW + (uint32_t)(takes - TN_TAKES_FIRST_ROW), stack);
}

static tn_status move_row(tn_places *p, tn_item item, uint8_t byte) {
    if ((byte & 0xC0) != 0x80) return TN_OK;
    uint16_t takes = p->grammar->tails[item.step - TN_ITEM_ROW][byte & 0x3F];
    if (takes == TN_TAKES_NO) return TN_OK;
    if (takes == TN_TAKES_WHOLE) return note_return(p, item.stack);
    return note(p, TN_ITEM_ROW + (uint32_t)(takes - TN_TAKES_FIRST_ROW), item.stack);
}

static tn_status move_item(tn_places *p, tn_item item, uint8_t byte) {
    if (item.step == TN_ITEM_END) return TN_OK;
    if (item.step >= TN_ITEM_ROW) return move_row(p, item, byte);
    const tn_step *s = &p->grammar->steps[item.step];
    if (s->kind == TN_STEP_CLASS) return move_class(p, item, byte);
    return s->arg == byte ? note(p, item.step + 1, item.stack) : TN_OK;
}

static tn_status find_move(tn_places *p, uint32_t from, uint8_t byte, uint32_t *to) {
    tn_item_set set = p->sets[p->places[from].set];
    begin_closure(p);
    for (uint32_t i = 0; i < set.count; i++) TN_TRY(move_item(p, p->items[set.first + i], byte));
    p->work += set.count;
    return finish_closure(p, to);
}

size_t tn_places_weight(const tn_places *p) {
    return p->n_places * ((size_t)p->grammar->n_kinds + 4) + 6 * p->n_sets + 2 * p->n_items;
}

tn_status tn_places_move(tn_places *p, uint32_t depth, uint8_t byte) {
    size_t n_kinds = (size_t)p->grammar->n_kinds, kind = p->grammar->kinds[byte];
    TN_ASSERT(depth < p->n_trail);
    p->n_trail = depth + 1;
    uint32_t to = p->moves[p->trail[depth] * n_kinds + kind];
    if (to == TN_PLACE_UNKNOWN) {
        if (p->work > p->work_limit)
            return TN_FAIL(RANGE, "the grammar can be read in too many ways here: gave up after %" PRIu64 " steps",
                           p->work);
        if (tn_places_weight(p) > p->weight_limit) TN_TRY(tn_places_forget(p));
        TN_TRY(find_move(p, p->trail[depth], byte, &to));
        p->moves[p->trail[depth] * n_kinds + kind] = to;
    }
    p->trail[depth + 1] = to;
    p->n_trail += to >= TN_PLACE_FIRST;
    return TN_OK;
}

void tn_places_begin(tn_places *p, uint32_t place) {
    p->trail[0] = place;
    p->n_trail = 1;
    p->work = 0;
}
