/* SPDX-License-Identifier: MIT
 * shuffle.h - permutations that are computed, not stored. */
#ifndef TN_DATA_SHUFFLE_H
#define TN_DATA_SHUFFLE_H
#include "core/rng.h"

/* Where i < n goes in the permutation number `key` < 2^24 of `rng`; n < 2^62. */
uint64_t tn_shuffled(const tn_rng *rng, uint64_t key, uint64_t n, uint64_t i);

#endif
