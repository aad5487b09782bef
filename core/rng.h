/* SPDX-License-Identifier: MIT
 * rng.h - random numbers as a function: number = f(seed, purpose, stream, index), Philox4x32-10 (Salmon 2011).
 * There is no state and no call order, so nothing depends on threads, and a mask can be recomputed instead of stored.
 * `stream` is what repeats: a step, a parameter's number, a document; `index` is the element in it. */
#ifndef TN_CORE_RNG_H
#define TN_CORE_RNG_H
#include "core/compiler.h"

typedef enum tn_purpose {
#define PURPOSE(name) TN_PURPOSE_##name,
#include "core/rng.def"
#undef PURPOSE
} tn_purpose;

typedef struct tn_rng {
    uint64_t seed;
    uint32_t purpose; /* tn_purpose */
    uint32_t stream;
} tn_rng;

tn_rng tn_rng_make(uint64_t seed, tn_purpose purpose, uint32_t stream);
uint64_t tn_rng_u64(const tn_rng *rng, uint64_t index);
/* Four 32-bit words at once, the cheapest way to many numbers. */
void tn_rng_words(const tn_rng *rng, uint64_t index, uint32_t words[4]);
double tn_rng_uniform(const tn_rng *rng, uint64_t index); /* [0,1), 53 bits */
/* [0,n), n > 0; the bias is below n / 2^64. */
uint64_t tn_rng_below(const tn_rng *rng, uint64_t index, uint64_t n);
double tn_rng_normal(const tn_rng *rng, uint64_t index); /* mean 0, variance 1 (Box-Muller) */

#endif
