/* SPDX-License-Identifier: MIT
 * grammar_class.c - a set of characters as tables that take UTF-8 byte by byte: one row of 256 for the first byte, and
 * rows of 64 for the others, so that any set is one step of a grammar and nothing but valid UTF-8 is taken. */
#include "data/grow.h"
#include "infer/grammar_priv.h"

#include <string.h>

typedef struct builder {
    tn_class_list *list;
    const tn_range *ranges;
    size_t n;
    tn_range whole; /* what sequences of this length stand for */
} builder;

typedef enum coverage { NONE, PART, ALL } coverage;

static coverage covers(const builder *b, uint32_t low, uint32_t high) {
    bool clipped = low < b->whole.low || high > b->whole.high;
    low = TN_MAX(low, b->whole.low);
    high = TN_MIN(high, b->whole.high);
    if (low > high) return NONE;
    size_t from = 0, to = b->n; /* the first range that does not end before `low` */
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (b->ranges[middle].high < low)
            from = middle + 1;
        else
            to = middle;
    }
    if (from == b->n || b->ranges[from].low > high) return NONE;
    return !clipped && b->ranges[from].low <= low && b->ranges[from].high >= high ? ALL : PART;
}

static tn_status add_row(tn_class_list *list, size_t *row) {
    if (list->n_tails + TN_TAKES_FIRST_ROW >= TN_TAKES_MOST)
        return TN_FAIL(RANGE, "the classes of characters need more than %d tables", TN_TAKES_MOST);
    TN_GROW(list->tails, &list->tails_cap, list->n_tails + 1);
    *row = list->n_tails++;
    memset(list->tails[*row], 0, sizeof list->tails[*row]);
    return TN_OK;
}

/* What to do after the bits `prefix`, when `left` bytes of six bits follow. Rows 0..2 take any 1..3 bytes. */
static tn_status take(const builder *b, uint32_t prefix, int left, uint16_t *takes) {
    uint32_t low = prefix << 6 * left;
    coverage part = covers(b, low, low + (1u << 6 * left) - 1);
    *takes = TN_TAKES_NO;
    if (part == NONE) return TN_OK;
    if (part == ALL) {
        *takes = (uint16_t)(left ? TN_TAKES_FIRST_ROW + left - 1 : TN_TAKES_WHOLE);
        return TN_OK;
    }
    size_t row;
    TN_TRY(add_row(b->list, &row));
    for (uint32_t i = 0; i < 64; i++) {
        uint16_t next;
        TN_TRY(take(b, prefix << 6 | i, left - 1, &next));
        b->list->tails[row][i] = next;
    }
    *takes = (uint16_t)(TN_TAKES_FIRST_ROW + row);
    return TN_OK;
}

static tn_status add_any_rows(tn_class_list *list) {
    for (int left = 1; left <= 3; left++) {
        size_t row;
        TN_TRY(add_row(list, &row));
        for (int i = 0; i < 64; i++)
            list->tails[row][i] = (uint16_t)(left > 1 ? TN_TAKES_FIRST_ROW + left - 2 : TN_TAKES_WHOLE);
    }
    return TN_OK;
}

static tn_status fill_lead(tn_class_list *list, const tn_range *ranges, size_t n, tn_lead_row lead) {
    static const struct {
        uint32_t first_byte, end_byte;
        int tail;
        tn_range whole;
    } lengths[] = {{0x00, 0x80, 0, {0, 0x7F}},
                   {0xC0, 0xE0, 1, {0x80, 0x7FF}},
                   {0xE0, 0xF0, 2, {0x800, 0xFFFF}},
                   {0xF0, 0xF8, 3, {0x10000, TN_CHAR_LAST}}};
    memset(lead, 0, sizeof(tn_lead_row));
    for (size_t k = 0; k < TN_COUNT(lengths); k++) {
        builder b = {list, ranges, n, lengths[k].whole};
        for (uint32_t byte = lengths[k].first_byte; byte < lengths[k].end_byte; byte++)
            TN_TRY(take(&b, byte - lengths[k].first_byte, lengths[k].tail, &lead[byte]));
    }
    return TN_OK;
}

static tn_status add(tn_class_list *list, const tn_range *ranges, size_t n, uint32_t *number) {
    if (list->count == TN_GRAMMAR_CLASSES)
        return TN_FAIL(RANGE, "there are more than %d classes of characters", TN_GRAMMAR_CLASSES);
    if (!list->n_tails) TN_TRY(add_any_rows(list));
    TN_GROW(list->leads, &list->leads_cap, list->count + 1);
    TN_TRY(fill_lead(list, ranges, n, list->leads[list->count]));
    TN_TRY(tn_text_map_put(&list->known, (const char *)ranges, n * sizeof *ranges, (int32_t)list->count));
    *number = (uint32_t)list->count++;
    return TN_OK;
}

tn_status tn_class_list_put(tn_class_list *list, tn_char_set *set, uint32_t *number) {
    tn_char_set_tidy(set);
    TN_TRY(tn_char_set_remove(set, 0xD800, 0xDFFF)); /* surrogates are no characters */
    if (!set->n) return TN_FAIL(EMPTY, "no character is in this class");
    size_t size = set->n * sizeof *set->ranges;
    int32_t known = tn_text_map_find(&list->known, (const char *)set->ranges, size);
    if (known >= 0) return *number = (uint32_t)known, TN_OK;
    tn_range *kept;
    TN_TAKE(kept, list->arena, set->n, "grammar");
    return add(list, memcpy(kept, set->ranges, size), set->n, number);
}

void tn_class_list_release(tn_class_list *list) {
    tn_text_map_release(&list->known);
    tn_heap_free(list->leads);
    tn_heap_free(list->tails);
    *list = (tn_class_list){0};
}
