/* SPDX-License-Identifier: MIT */
#include "infer/char_set.h"

#include <stdlib.h>

#include "data/grow.h"

tn_status tn_char_set_add(tn_char_set *set, uint32_t low, uint32_t high) {
    TN_GROW(set->ranges, &set->cap, set->n + 1);
    set->ranges[set->n++] = (tn_range){low, high};
    return TN_OK;
}

static int compare(const void *a, const void *b) {
    const tn_range *x = a, *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

void tn_char_set_tidy(tn_char_set *set) {
    tn_range *ranges = set->ranges;
    size_t kept = 0;
    if (set->n > 1) qsort(ranges, set->n, sizeof *ranges, compare);
    for (size_t i = 0; i < set->n; i++) {
        if (kept && ranges[i].low <= ranges[kept - 1].high + 1)
            ranges[kept - 1].high = TN_MAX(ranges[kept - 1].high, ranges[i].high);
        else
            ranges[kept++] = ranges[i];
    }
    set->n = kept;
}

/* The gaps: each range moves its borders one place on. */
tn_status tn_char_set_negate(tn_char_set *set) {
    TN_GROW(set->ranges, &set->cap, set->n + 1);
    size_t kept = 0;
    uint32_t low = 0;
    for (size_t i = 0; i < set->n; i++) {
        tn_range range = set->ranges[i];
        if (range.low > low) set->ranges[kept++] = (tn_range){low, range.low - 1};
        low = range.high + 1;
    }
    if (low <= TN_CHAR_LAST) set->ranges[kept++] = (tn_range){low, TN_CHAR_LAST};
    set->n = kept;
    return TN_OK;
}

/* What is left of a set is all that is in neither its complement nor the range. */
tn_status tn_char_set_remove(tn_char_set *set, uint32_t low, uint32_t high) {
    TN_TRY(tn_char_set_negate(set));
    TN_TRY(tn_char_set_add(set, low, high));
    tn_char_set_tidy(set);
    return tn_char_set_negate(set);
}

bool tn_char_set_has(const tn_char_set *set, uint32_t code) {
    for (size_t i = 0; i < set->n; i++)
        if (code >= set->ranges[i].low && code <= set->ranges[i].high) return true;
    return false;
}

void tn_char_set_release(tn_char_set *set) {
    tn_heap_free(set->ranges);
    *set = (tn_char_set){0};
}
