/* SPDX-License-Identifier: MIT */
#include "data/shuffle.h"

enum { ROUNDS = 8 };

/* A Feistel network over the next even number of bits, walked until it lands below n (at most four steps on average).
 */
uint64_t tn_shuffled(const tn_rng *rng, uint64_t key, uint64_t n, uint64_t i) {
    int half = 1;
    while (half < 31 && n > (uint64_t)1 << 2 * half) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 1; round <= ROUNDS; round++) {
            uint64_t next = left ^ (tn_rng_u64(rng, key << 40 | round << 32 | right) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}
