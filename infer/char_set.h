/* SPDX-License-Identifier: MIT
 * char_set.h - a set of characters as ranges of code points. Life: set = {0}; add ...; tidy; release. */
#ifndef TN_INFER_CHAR_SET_H
#define TN_INFER_CHAR_SET_H
#include "core/status.h"

typedef struct tn_range {
    uint32_t low, high; /* code points, both in the set */
} tn_range;

enum { TN_CHAR_LAST = 0x10FFFF };

typedef struct tn_char_set {
    tn_range *ranges; /* heap [n] */
    size_t n, cap;
} tn_char_set;

tn_status tn_char_set_add(tn_char_set *set, uint32_t low, uint32_t high);
/* Sort, and join what touches: then equal sets have equal ranges. */
void tn_char_set_tidy(tn_char_set *set);
/* These need a tidy set and leave one. */
tn_status tn_char_set_negate(tn_char_set *set);                              /* within 0..TN_CHAR_LAST */
tn_status tn_char_set_remove(tn_char_set *set, uint32_t low, uint32_t high); /* that may not have been in it */
bool tn_char_set_has(const tn_char_set *set, uint32_t code);
void tn_char_set_release(tn_char_set *set);

#endif
