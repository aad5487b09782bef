/* SPDX-License-Identifier: MIT */
#include "infer/sampler.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { V = 6 };

/* Everything off: the plain softmax. */
static const tn_sampler_options plain = {.temperature = 1, .top_p = 1, .typical = 1, .repeat_penalty = 1};

static const tn_real logits[V] = {1, 3, 0, 2, 3, -1};

typedef struct distribution {
    int n, ids[V];
    double p[V];
} distribution;

static distribution ask(tn_sampler_options options, const tn_real *x, const int32_t *history, int n) {
    distribution out = {0};
    tn_sampler *sampler;
    const tn_candidate *list;
    assert_ok(tn_sampler_create(&sampler, V, &options));
    assert_ok(tn_sampler_distribution(sampler, x, &(tn_place){.history = history, .n = n}, &list, &out.n));
    for (int i = 0; i < out.n; i++) {
        out.ids[i] = list[i].id;
        out.p[i] = list[i].p;
    }
    tn_sampler_free(sampler);
    return out;
}

static void assert_near(double a, double b) {
    if (!(fabs(a - b) <= 1e-12)) fail_msg("%.17g is not %.17g", a, b);
}

static void sampler__without_samplers_is_softmax_most_likely_first(void **state) {
    (void)state;
    distribution d = ask(plain, logits, NULL, 0);
    const int order[V] = {1, 4, 3, 0, 2, 5}; /* equal logits by id */
    double sum = 2 * exp(3) + exp(2) + exp(1) + exp(0) + exp(-1);
    assert_int_equal(d.n, V);
    for (int i = 0; i < V; i++) {
        assert_int_equal(d.ids[i], order[i]);
        assert_near(d.p[i], exp((double)logits[order[i]]) / sum);
    }
}

static void sampler__top_k_keeps_the_k_most_likely(void **state) {
    (void)state;
    tn_sampler_options o = plain;
    for (o.top_k = 1; o.top_k <= V + 1; o.top_k++) {
        distribution all = ask(plain, logits, NULL, 0), d = ask(o, logits, NULL, 0);
        assert_int_equal(d.n, TN_MIN(o.top_k, V));
        assert_memory_equal(d.ids, all.ids, (size_t)d.n * sizeof *d.ids);
    }
    o.top_k = 3;
    distribution d = ask(o, logits, NULL, 0);
    assert_near(d.p[2], exp(2) / (2 * exp(3) + exp(2)));
}

static void sampler__top_p_keeps_the_fewest_that_reach_p(void **state) {
    (void)state;
    static const tn_real x[V] = {0, 0, 0, 0, -HUGE_VALF, -HUGE_VALF}; /* four tokens of a quarter each */
    static const struct {
        double p;
        int n;
    } cases[] = {{0, 1}, {0.25, 1}, {0.26, 2}, {0.5, 2}, {0.74, 3}, {0.76, 4}, {1, 4}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_sampler_options o = plain;
        o.top_p = cases[i].p;
        assert_int_equal(ask(o, x, NULL, 0).n, cases[i].n);
    }
}

static void sampler__min_p_keeps_what_is_as_likely_as_the_best_times_p(void **state) {
    (void)state;
    tn_sampler_options o = plain;
    o.min_p = exp(-1) - 1e-9; /* the token one below the best just stays */
    assert_int_equal(ask(o, logits, NULL, 0).n, 3);
    o.min_p = exp(-1) + 1e-9;
    assert_int_equal(ask(o, logits, NULL, 0).n, 2);
    o.min_p = 1;
    assert_int_equal(ask(o, logits, NULL, 0).n, 2); /* both of the best */
}

static void sampler__temperature_comes_after_the_cuts(void **state) {
    (void)state;
    tn_sampler_options o = plain;
    o.min_p = 0.3;
    o.temperature = 2;
    distribution d = ask(o, logits, NULL, 0);
    assert_int_equal(d.n, 3); /* flattened first, more would pass */
    assert_near(d.p[0], exp(1.5) / (2 * exp(1.5) + exp(1)));
}

static void sampler__temperature_zero_takes_the_smallest_of_the_best_ids(void **state) {
    (void)state;
    tn_sampler_options o = plain;
    o.temperature = 0;
    distribution d = ask(o, logits, NULL, 0);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.ids[0], 1);
}

static double logit_after(tn_sampler_options o, int id, const int32_t *history, int n) {
    tn_sampler *sampler;
    const tn_candidate *list;
    int count;
    double found = NAN;
    assert_ok(tn_sampler_create(&sampler, V, &o));
    assert_ok(tn_sampler_distribution(sampler, logits, &(tn_place){.history = history, .n = n}, &list, &count));
    for (int i = 0; i < count; i++)
        if (list[i].id == id) found = list[i].logit;
    tn_sampler_free(sampler);
    return found;
}

static void sampler__penalties_follow_their_formulas(void **state) {
    (void)state;
    static const int32_t history[] = {5, 1, 1, 3};
    tn_sampler_options o = plain;
    o.repeat_last_n = 64;
    o.repeat_penalty = 2;
    assert_near(logit_after(o, 1, history, 4), 1.5); /* positive: divided */
    assert_near(logit_after(o, 5, history, 4), -2);  /* negative: multiplied */
    assert_near(logit_after(o, 4, history, 4), 3);   /* not seen */
    o.repeat_penalty = 1;
    o.frequency_penalty = 0.5;
    assert_near(logit_after(o, 1, history, 4), 2); /* twice */
    assert_near(logit_after(o, 3, history, 4), 1.5);
    o.presence_penalty = 0.25;
    assert_near(logit_after(o, 1, history, 4), 1.75); /* once, however often */
}

static void sampler__repeat_last_n_limits_what_is_seen(void **state) {
    (void)state;
    static const int32_t history[] = {5, 1, 1, 3};
    tn_sampler_options o = plain;
    o.frequency_penalty = 1;
    static const struct {
        int n;
        double logit;
    } cases[] = {{0, 3}, {1, 3}, {2, 2}, {3, 1}, {64, 1}, {-1, 1}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        o.repeat_last_n = cases[i].n;
        assert_near(logit_after(o, 1, history, 4), cases[i].logit);
    }
}

static void sampler__draws_as_often_as_the_probabilities_say(void **state) {
    (void)state;
    enum { DRAWS = 20000 };
    tn_sampler_options o = plain;
    o.seed = 3;
    tn_sampler *sampler;
    distribution d = ask(o, logits, NULL, 0);
    int counts[V] = {0};
    assert_ok(tn_sampler_create(&sampler, V, &o));
    for (int i = 0; i < DRAWS; i++) {
        int32_t id;
        assert_ok(tn_sampler_pick(sampler, logits, &(tn_place){.position = i}, &id));
        counts[id]++;
    }
    tn_sampler_free(sampler);
    double chi = 0;
    for (int i = 0; i < V; i++) {
        double expected = d.p[i] * DRAWS, off = counts[d.ids[i]] - expected;
        chi += off * off / expected;
    }
    if (chi > 20.5) fail_msg("chi-square %.2f: above what 5 degrees of freedom exceed once in a thousand", chi);
}

static void sampler__same_seed_and_place_same_draw(void **state) {
    (void)state;
    tn_sampler *a, *b;
    tn_sampler_options o = plain;
    o.seed = 11;
    assert_ok(tn_sampler_create(&a, V, &o));
    assert_ok(tn_sampler_create(&b, V, &o));
    int differ = 0;
    for (int i = 99; i >= 0; i--) { /* the order of asking is of no account */
        int32_t x, y, z;
        assert_ok(tn_sampler_pick(a, logits, &(tn_place){.position = i}, &x));
        assert_ok(tn_sampler_pick(b, logits, &(tn_place){.position = i}, &y));
        assert_int_equal(x, y);
        tn_sampler_set_seed(b, 12);
        assert_ok(tn_sampler_pick(b, logits, &(tn_place){.position = i}, &z));
        tn_sampler_set_seed(b, 11);
        differ += x != z;
    }
    assert_true(differ > 20);
    tn_sampler_free(a);
    tn_sampler_free(b);
}

static void sampler__top_k_of_a_long_vocabulary_is_that_of_a_full_sort(void **state) {
    (void)state;
    enum { N = 5000, K = 37 };
    static tn_real x[N];
    for (int i = 0; i < N; i++) x[i] = (tn_real)((i * 7919) % 613); /* many ties */
    tn_sampler_options all = plain, some = plain;
    some.top_k = K;
    tn_sampler *a, *b;
    const tn_candidate *list_a, *list_b;
    int n_a, n_b;
    assert_ok(tn_sampler_create(&a, N, &all));
    assert_ok(tn_sampler_create(&b, N, &some));
    assert_ok(tn_sampler_distribution(a, x, &(tn_place){0}, &list_a, &n_a));
    assert_ok(tn_sampler_distribution(b, x, &(tn_place){0}, &list_b, &n_b));
    assert_int_equal(n_a, N);
    assert_int_equal(n_b, K);
    for (int i = 0; i < K; i++) assert_int_equal(list_a[i].id, list_b[i].id);
    tn_sampler_free(a);
    tn_sampler_free(b);
}

static void sampler__refuses_damaged_logits_and_a_ban_on_all(void **state) {
    (void)state;
    tn_sampler *sampler;
    int32_t id;
    tn_real x[V] = {0, 0, NAN, 0, 0, 0}, none[V];
    for (int i = 0; i < V; i++) none[i] = -HUGE_VALF;
    assert_ok(tn_sampler_create(&sampler, V, &plain));
    assert_int_equal(tn_sampler_pick(sampler, x, &(tn_place){.position = 0}, &id), TN_E_NAN);
    x[2] = HUGE_VALF;
    assert_int_equal(tn_sampler_pick(sampler, x, &(tn_place){.position = 0}, &id), TN_E_NAN);
    assert_int_equal(tn_sampler_pick(sampler, none, &(tn_place){.position = 0}, &id), TN_E_EMPTY);
    none[4] = 0;
    assert_ok(tn_sampler_pick(sampler, none, &(tn_place){.position = 0}, &id));
    assert_int_equal(id, 4);
    tn_sampler_free(sampler);
}

static void sampler__refuses_options_out_of_range_by_name(void **state) {
    (void)state;
    tn_sampler *sampler;
    tn_sampler_options o = plain;
    o.temperature = -1;
    assert_int_equal(tn_sampler_create(&sampler, V, &o), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "temperature"));
    o = plain;
    o.min_p = NAN;
    assert_int_equal(tn_sampler_create(&sampler, V, &o), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "min-p"));
    o = plain;
    o.repeat_penalty = 0;
    assert_int_equal(tn_sampler_create(&sampler, V, &o), TN_E_RANGE);
    assert_null(sampler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler__without_samplers_is_softmax_most_likely_first),
        cmocka_unit_test(sampler__top_k_keeps_the_k_most_likely),
        cmocka_unit_test(sampler__top_p_keeps_the_fewest_that_reach_p),
        cmocka_unit_test(sampler__min_p_keeps_what_is_as_likely_as_the_best_times_p),
        cmocka_unit_test(sampler__temperature_comes_after_the_cuts),
        cmocka_unit_test(sampler__temperature_zero_takes_the_smallest_of_the_best_ids),
        cmocka_unit_test(sampler__penalties_follow_their_formulas),
        cmocka_unit_test(sampler__repeat_last_n_limits_what_is_seen),
        cmocka_unit_test(sampler__draws_as_often_as_the_probabilities_say),
        cmocka_unit_test(sampler__same_seed_and_place_same_draw),
        cmocka_unit_test(sampler__top_k_of_a_long_vocabulary_is_that_of_a_full_sort),
        cmocka_unit_test(sampler__refuses_damaged_logits_and_a_ban_on_all),
        cmocka_unit_test(sampler__refuses_options_out_of_range_by_name),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
