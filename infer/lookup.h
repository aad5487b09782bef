/* SPDX-License-Identifier: MIT
 * lookup.h - guesses at what comes next from the text itself (prompt lookup, Saxena 2023): where the last few tokens
 * have occurred before, what followed them then may follow again. */
#ifndef TN_INFER_LOOKUP_H
#define TN_INFER_LOOKUP_H
#include "core/status.h"

enum { TN_LOOKUP_LEAST = 2, TN_LOOKUP_MOST = 8 }; /* tokens that must have occurred, and beyond which no more count */

/* Propose up to `most` tokens after history [n]: those that followed the longest earlier occurrence of its end, the
 * latest one of equals. A repetition that runs into the end goes on as it did. Returns how many were written to
 * `draft`, 0 when the end is new. */
int tn_lookup_draft(int32_t *draft, int most, const int32_t *history, int n);

#endif
