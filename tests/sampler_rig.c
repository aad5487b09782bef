/* SPDX-License-Identifier: MIT */
#include "tests/sampler_rig.h"
#include "core/rng.h"
#include "tests/testing.h"

#include <math.h>
#include <stdlib.h>

const tn_sampler_options tn_test_plain = {.temperature = 1, .top_p = 1, .typical = 1, .repeat_penalty = 1};

double tn_test_uniform(int number, uint64_t index) {
    tn_rng rng = tn_rng_make(7, TN_PURPOSE_TEST, (uint32_t)number);
    return tn_rng_uniform(&rng, index);
}

void tn_test_logits_make(int number, tn_real x[TN_TEST_V]) {
    double spread = 0.2 + 0.3 * number;
    for (int i = 0; i < TN_TEST_V; i++) {
        double normal = sqrt(-2 * log(1 - tn_test_uniform(number, (uint64_t)i))) *
                        cos(6.2831853 * tn_test_uniform(number, 500 + i));
        x[i] = (tn_real)(number % 2 ? rint(spread * normal) : spread * normal);
    }
}

void tn_test_history(int number, int32_t *ids, int n, int variety) {
    for (int i = 0; i < n; i++) ids[i] = (int32_t)(tn_test_uniform(number, 1000 + (uint64_t)i) * variety);
}

static int by_logit(const void *a, const void *b) {
    const tn_candidate *x = a, *y = b;
    return x->logit != y->logit ? (x->logit < y->logit ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

void tn_test_settle(tn_test_pool *p) {
    double sum = 0;
    qsort(p->list, (size_t)p->n, sizeof *p->list, by_logit);
    for (int i = 0; i < p->n; i++) sum += exp(p->list[i].logit - p->list[0].logit);
    for (int i = 0; i < p->n; i++) p->list[i].p = exp(p->list[i].logit - p->list[0].logit) / sum;
}

tn_test_pool tn_test_all_of(const tn_real x[TN_TEST_V]) {
    tn_test_pool p = {.n = TN_TEST_V};
    for (int i = 0; i < TN_TEST_V; i++) p.list[i] = (tn_candidate){.id = i, .logit = (double)x[i]};
    tn_test_settle(&p);
    return p;
}

tn_sampler *tn_test_sampler(const tn_sampler_options *options) {
    tn_sampler *sampler;
    assert_ok(tn_sampler_create(&sampler, TN_TEST_V, options));
    return sampler;
}

void tn_test_assert_distribution(const tn_sampler_options *options, const tn_real x[TN_TEST_V], const tn_place *at,
                                 const tn_test_pool *expected) {
    tn_sampler *sampler = tn_test_sampler(options);
    const tn_candidate *list;
    int n;
    assert_ok(tn_sampler_distribution(sampler, x, at, &list, &n));
    if (n != expected->n) fail_msg("%d tokens are left, expected %d", n, expected->n);
    for (int i = 0; i < n; i++) {
        if (list[i].id != expected->list[i].id) fail_msg("place %d: %d, not %d", i, list[i].id, expected->list[i].id);
        double off = fabs(list[i].p - expected->list[i].p);
        if (!(off <= 1e-12)) fail_msg("p of %d: %.17g, expected %.17g", list[i].id, list[i].p, expected->list[i].p);
    }
    tn_sampler_free(sampler);
}
