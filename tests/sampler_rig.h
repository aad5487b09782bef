/* SPDX-License-Identifier: MIT
 * sampler_rig.h - logits, histories and plain sorted lists to hold samplers against. */
#ifndef TN_TESTS_SAMPLER_RIG_H
#define TN_TESTS_SAMPLER_RIG_H
#include "infer/sampler.h"

enum { TN_TEST_V = 211, TN_TEST_CASES = 30 };

/* Everything off: the plain softmax. */
extern const tn_sampler_options tn_test_plain;

/* Tokens left, most likely first. */
typedef struct tn_test_pool {
    int n;
    tn_candidate list[TN_TEST_V];
} tn_test_pool;

double tn_test_uniform(int number, uint64_t index);
/* Logits of case `number` < TN_TEST_CASES, from flat to steep, the odd ones with many ties. */
void tn_test_logits_make(int number, tn_real x[TN_TEST_V]);
void tn_test_history(int number, int32_t *ids, int n, int variety); /* ids below `variety` */

void tn_test_settle(tn_test_pool *p); /* in order, p the softmax of the logits */
tn_test_pool tn_test_all_of(const tn_real x[TN_TEST_V]);
tn_sampler *tn_test_sampler(const tn_sampler_options *options);
/* What the sampler would draw from is `expected`, within 1e-12. */
void tn_test_assert_distribution(const tn_sampler_options *options, const tn_real x[TN_TEST_V], const tn_place *at,
                                 const tn_test_pool *expected);

#endif
