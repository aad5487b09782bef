/* SPDX-License-Identifier: MIT */
#include "core/rng.h"

#include <Random123/philox.h>
#include <math.h>

tn_rng tn_rng_make(uint64_t seed, tn_purpose purpose, uint32_t stream) {
    return (tn_rng){.seed = seed, .purpose = (uint32_t)purpose, .stream = stream};
}

void tn_rng_words(const tn_rng *rng, uint64_t index, uint32_t words[4]) {
    philox4x32_ctr_t counter = {{(uint32_t)index, (uint32_t)(index >> 32), rng->stream, rng->purpose}};
    philox4x32_key_t key = {{(uint32_t)rng->seed, (uint32_t)(rng->seed >> 32)}};
    philox4x32_ctr_t out = philox4x32(counter, key);
    for (int i = 0; i < 4; i++) words[i] = out.v[i];
}

uint64_t tn_rng_u64(const tn_rng *rng, uint64_t index) {
    uint32_t w[4];
    tn_rng_words(rng, index, w);
    return (uint64_t)w[1] << 32 | w[0];
}

static double to_unit(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

double tn_rng_uniform(const tn_rng *rng, uint64_t index) { return to_unit(tn_rng_u64(rng, index)); }

uint64_t tn_rng_below(const tn_rng *rng, uint64_t index, uint64_t n) {
    TN_ASSERT(n > 0);
    /* High word of a 128-bit product (Lemire 2019) without the rejection step: n stays far below 2^64 here, so the
     * bias is under n / 2^64, and one index always gives one number. */
    return (uint64_t)((unsigned __int128)tn_rng_u64(rng, index) * n >> 64);
}

double tn_rng_normal(const tn_rng *rng, uint64_t index) {
    uint32_t w[4];
    tn_rng_words(rng, index, w);
    double u = to_unit((uint64_t)w[1] << 32 | w[0]);
    double v = to_unit((uint64_t)w[3] << 32 | w[2]);
    return sqrt(-2.0 * log(1.0 - u)) * cos(6.283185307179586476925 * v);
}
