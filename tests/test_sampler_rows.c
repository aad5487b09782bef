/* SPDX-License-Identifier: MIT
 * Each sampler of the chain against its formula, computed here over plain sorted arrays. */
#include "tests/sampler_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

/* ---- the cuts ---- */

static void top_n_sigma__keeps_what_is_within_n_deviations_of_the_best(void **state) {
    (void)state;
    for (int number = 0; number < TN_TEST_CASES; number++) {
        tn_real x[TN_TEST_V];
        tn_sampler_options o = tn_test_plain;
        tn_test_logits_make(number, x);
        o.top_n_sigma = 0.25 + 0.17 * number;
        double sum = 0, squares = 0, best = -HUGE_VAL;
        for (int i = 0; i < TN_TEST_V; i++) {
            sum += (double)x[i];
            best = fmax(best, (double)x[i]);
        }
        for (int i = 0; i < TN_TEST_V; i++) squares += pow((double)x[i] - sum / TN_TEST_V, 2);
        tn_test_pool p = {0};
        for (int i = 0; i < TN_TEST_V; i++)
            if ((double)x[i] >= best - o.top_n_sigma * sqrt(squares / TN_TEST_V))
                p.list[p.n++] = (tn_candidate){.id = i, .logit = (double)x[i]};
        tn_test_settle(&p);
        tn_test_assert_distribution(&o, x, &(tn_place){0}, &p);
    }
}

static void typ_p__keeps_the_nearest_to_the_mean_surprise(void **state) {
    (void)state;
    for (int number = 0; number < TN_TEST_CASES; number += 2) { /* no ties: their order among equal distances is open */
        tn_real x[TN_TEST_V];
        tn_sampler_options o = tn_test_plain;
        tn_test_logits_make(number, x);
        o.typical = 0.05 + 0.03 * number;
        tn_test_pool all = tn_test_all_of(x), kept = {0};
        bool taken[TN_TEST_V] = {false};
        double entropy = 0, sum = 0;
        for (int i = 0; i < TN_TEST_V; i++) entropy -= all.list[i].p * log(all.list[i].p);
        while (sum <= o.typical && kept.n < TN_TEST_V) {
            int nearest = -1;
            for (int i = 0; i < TN_TEST_V; i++)
                if (!taken[i] &&
                    (nearest < 0 || fabs(-log(all.list[i].p) - entropy) < fabs(-log(all.list[nearest].p) - entropy)))
                    nearest = i;
            taken[nearest] = true;
            sum += all.list[nearest].p;
            kept.list[kept.n++] = all.list[nearest];
        }
        tn_test_settle(&kept);
        tn_test_assert_distribution(&o, x, &(tn_place){0}, &kept);
    }
}

static void xtc__leaves_out_all_but_the_last_of_the_likely(void **state) {
    (void)state;
    int cut = 0;
    for (int number = 0; number < TN_TEST_CASES; number++) {
        tn_real x[TN_TEST_V];
        tn_sampler_options o = tn_test_plain;
        tn_test_logits_make(number, x);
        o.xtc_threshold = 0.02;
        o.xtc_probability = 1;
        tn_test_pool p = tn_test_all_of(x);
        int likely = 0;
        while (p.list[likely].p >= o.xtc_threshold) likely++;
        if (likely > 1) {
            cut++;
            memmove(p.list, p.list + likely - 1, (size_t)(TN_TEST_V - likely + 1) * sizeof *p.list);
            p.n -= likely - 1;
            tn_test_settle(&p);
        }
        tn_test_assert_distribution(&o, x, &(tn_place){0}, &p);
    }
    assert_true(cut > 5);
}

static void xtc__happens_as_often_as_asked_by_place(void **state) {
    (void)state;
    enum { PLACES = 4000 };
    tn_real x[TN_TEST_V];
    tn_sampler_options o = tn_test_plain;
    tn_test_logits_make(9, x);
    o.xtc_threshold = 0.02;
    o.xtc_probability = 0.3;
    tn_sampler *sampler = tn_test_sampler(&o);
    int happened = 0;
    for (int i = 0; i < PLACES; i++) {
        const tn_candidate *list;
        int n, again;
        assert_ok(tn_sampler_distribution(sampler, x, &(tn_place){.position = i}, &list, &n));
        assert_ok(tn_sampler_distribution(sampler, x, &(tn_place){.position = i}, &list, &again));
        assert_int_equal(n, again);
        happened += n < TN_TEST_V;
    }
    double sigma = sqrt(PLACES * 0.3 * 0.7);
    if (fabs(happened - 0.3 * PLACES) > 4 * sigma) fail_msg("%d of %d", happened, PLACES);
    tn_sampler_free(sampler);
}

static void temperature__follows_the_entropy_when_it_has_a_range(void **state) {
    (void)state;
    for (int number = 0; number < TN_TEST_CASES; number++) {
        tn_real x[TN_TEST_V];
        tn_sampler_options o = tn_test_plain;
        tn_test_logits_make(number, x);
        o.temperature = 0.7;
        o.dynatemp_range = 0.05 * (1 + number);
        o.dynatemp_exponent = 0.5 + 0.1 * number;
        tn_test_pool p = tn_test_all_of(x);
        double entropy = 0, low = fmax(0, 0.7 - o.dynatemp_range);
        for (int i = 0; i < TN_TEST_V; i++) entropy -= p.list[i].p * log(p.list[i].p);
        double t = low + (0.7 + o.dynatemp_range - low) * pow(entropy / log(TN_TEST_V), o.dynatemp_exponent);
        for (int i = 0; i < TN_TEST_V; i++) p.list[i].logit /= t;
        tn_test_settle(&p);
        tn_test_assert_distribution(&o, x, &(tn_place){0}, &p);
    }
}

/* ---- what looks back ---- */

static void dry__lowers_what_goes_on_with_the_longest_repetition(void **state) {
    (void)state;
    enum { N = 60 };
    int lowered = 0;
    for (int number = 0; number < TN_TEST_CASES; number++) {
        int32_t history[N];
        tn_real x[TN_TEST_V];
        tn_sampler_options o = tn_test_plain;
        tn_test_logits_make(number, x);
        tn_test_history(number, history, N, 2 + number % 3);
        o.dry_multiplier = 0.8;
        o.dry_base = 1.75;
        o.dry_allowed_length = number % 4;
        o.dry_penalty_last_n = number % 5 ? 20 + number : -1;
        int n = o.dry_penalty_last_n < 0 ? N : TN_MIN(N, o.dry_penalty_last_n);
        const int32_t *ids = history + N - n;
        tn_test_pool p = tn_test_all_of(x);
        for (int i = 0; i < TN_TEST_V; i++) {
            int longest = -1;
            for (int j = 0; j < n; j++) { /* had the text gone on with it before, after how many equal tokens? */
                int len = 0;
                if (j == 0 || ids[j] != p.list[i].id) continue;
                while (len < j && ids[j - 1 - len] == ids[n - 1 - len]) len++;
                longest = TN_MAX(longest, len);
            }
            if (longest < o.dry_allowed_length) continue;
            p.list[i].logit -= 0.8 * pow(1.75, longest - o.dry_allowed_length);
            lowered++;
        }
        tn_test_settle(&p);
        tn_test_assert_distribution(&o, x, &(tn_place){.history = history, .n = N}, &p);
    }
    assert_true(lowered > TN_TEST_CASES);
}

static tn_tokenizer *letters(void) {
    const tn_tokenizer_options options = {.kind = TN_TOKENIZER_CHAR};
    tn_tokenizer_trainer *trainer;
    tn_tokenizer *tokenizer;
    assert_ok(tn_tokenizer_trainer_create(&trainer, &options));
    assert_ok(tn_tokenizer_trainer_add(trainer, "abcdef:*\n", 9));
    assert_ok(tn_tokenizer_trainer_finish(trainer, &tokenizer));
    return tokenizer;
}

static void dry__does_not_look_across_a_breaker(void **state) {
    (void)state;
    static const struct {
        const char *text, *breaker; /* "" = none */
        int expected;               /* length of the repetition that 'd' would prolong */
    } cases[] = {
        {"abcdefabc", "", 3},   {"abcdefabc", "f", 3},  {"abcdefabc", "fa", 2}, {"abcdefabc", "ab", 1},
        {"abcdefabc", "bc", 0}, {"abcdefabc", "cd", 3}, {"abcdefabc", "c", 0},  {"ab:cdefab:c", ":", 1},
    };
    tn_tokenizer *tokenizer = letters();
    int32_t d = tn_tokenizer_find(tokenizer, "d", 1);
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_sampler_options o = tn_test_plain;
        tn_ids ids = {0};
        tn_real x[TN_TEST_V] = {0};
        const tn_candidate *list;
        int n, at = 0;
        o.dry_multiplier = 1;
        o.dry_base = 2;
        o.dry_allowed_length = 0;
        o.dry_penalty_last_n = 64;
        o.dry_breakers = &cases[i].breaker;
        o.n_dry_breakers = cases[i].breaker[0] != '\0';
        o.tokenizer = tokenizer;
        assert_ok(tn_tokenizer_encode(tokenizer, cases[i].text, strlen(cases[i].text), false, &ids));
        tn_sampler *sampler = tn_test_sampler(&o);
        const tn_place place = {.history = ids.list, .n = (int64_t)ids.count};
        assert_ok(tn_sampler_distribution(sampler, x, &place, &list, &n));
        while (list[at].id != d) at++;
        assert_true(list[at].logit == -pow(2, cases[i].expected));
        tn_sampler_free(sampler);
        tn_ids_release(&ids);
    }
    tn_tokenizer_free(tokenizer);
}

static void logit_bias__is_added_before_everything_and_bans(void **state) {
    (void)state;
    const tn_logit_bias biases[] = {{3, 2.5}, {7, -HUGE_VAL}, {200, -1}, {3, 0.5}};
    static const int32_t history[] = {3};
    tn_real x[TN_TEST_V];
    tn_sampler_options o = tn_test_plain;
    tn_test_logits_make(2, x);
    o.biases = biases;
    o.n_biases = 4;
    o.repeat_penalty = 1.5;
    o.repeat_last_n = 8;
    tn_test_pool p = {0};
    for (int i = 0; i < TN_TEST_V; i++) {
        double logit = (double)x[i] + (i == 3 ? 3 : i == 200 ? -1 : 0);
        if (i == 3) logit = logit > 0 ? logit / 1.5 : logit * 1.5;
        if (i != 7) p.list[p.n++] = (tn_candidate){.id = i, .logit = logit};
    }
    tn_test_settle(&p);
    tn_test_assert_distribution(&o, x, &(tn_place){.history = history, .n = 1}, &p);
    tn_sampler *sampler;
    o.biases = &(tn_logit_bias){TN_TEST_V, 1};
    o.n_biases = 1;
    assert_int_equal(tn_sampler_create(&sampler, TN_TEST_V, &o), TN_E_RANGE);
    o.biases = &(tn_logit_bias){0, NAN};
    assert_int_equal(tn_sampler_create(&sampler, TN_TEST_V, &o), TN_E_RANGE);
}

/* ---- mirostat ---- */

static void mirostat__cuts_by_zipfs_law_or_by_surprise(void **state) {
    (void)state;
    for (int number = 2; number < TN_TEST_CASES; number++) {
        tn_real x[TN_TEST_V];
        tn_test_logits_make(number, x);
        const tn_test_pool all = tn_test_all_of(x);
        for (int version = 1; version <= 2; version++) {
            tn_sampler_options o = tn_test_plain;
            o.mirostat = version;
            o.mirostat_tau = 1 + 0.1 * number;
            o.top_k = 5; /* of no account with mirostat */
            double mu = 2 * o.mirostat_tau, tb = 0, tt = 0, k = 0;
            for (int i = 1; i < 100; i++) {
                double t = log((i + 1.0) / i);
                tb += t * (log(all.list[i - 1].p) - log(all.list[i].p));
                tt += t * t;
            }
            double s = tb / tt, e = s - 1;
            if (version == 1) k = floor(pow(e * pow(2, mu) / (1 - pow(TN_TEST_V, -e)), 1 / s));
            while (version == 2 && k < TN_TEST_V && -log2(all.list[(int)k].p) <= mu) k++;
            tn_test_pool p = all;
            p.n = (int)fmin(fmax(k, 1), TN_TEST_V);
            tn_test_settle(&p);
            tn_test_assert_distribution(&o, x, &(tn_place){0}, &p);
        }
    }
}

static void mirostat__steers_the_surprise_and_can_be_rewound(void **state) {
    (void)state;
    enum { STEPS = 400 };
    for (int version = 1; version <= 2; version++) {
        tn_sampler_options o = tn_test_plain;
        tn_sampler_state middle = {0};
        int32_t ids[STEPS], again;
        tn_real x[TN_TEST_V];
        tn_test_logits_make(3, x);
        o.mirostat = version;
        o.mirostat_tau = 3;
        o.mirostat_eta = 0.1;
        tn_sampler *sampler = tn_test_sampler(&o);
        assert_true(tn_sampler_get_state(sampler).mu == 6);
        double surprise = 0;
        for (int i = 0; i < STEPS; i++) {
            const tn_candidate *list;
            int n, place = 0;
            const tn_place at = {.position = i};
            double mu = tn_sampler_get_state(sampler).mu;
            if (i == STEPS / 2) middle = tn_sampler_get_state(sampler);
            assert_ok(tn_sampler_distribution(sampler, x, &at, &list, &n));
            assert_true(tn_sampler_get_state(sampler).mu == mu); /* looking is not choosing */
            tn_candidate copy[TN_TEST_V];
            memcpy(copy, list, (size_t)n * sizeof *list);
            assert_ok(tn_sampler_pick(sampler, x, &at, &ids[i]));
            while (copy[place].id != ids[i]) place++;
            double observed = -log2(copy[place].p);
            assert_true(fabs(tn_sampler_get_state(sampler).mu - (mu - 0.1 * (observed - 3))) < 1e-12);
            surprise += i >= STEPS / 2 ? observed * 2 / STEPS : 0;
        }
        if (fabs(surprise - 3) > 0.2) fail_msg("mirostat %d: the mean surprise is %g, not 3", version, surprise);
        tn_sampler_set_state(sampler, middle);
        for (int i = STEPS / 2; i < STEPS; i++) {
            assert_ok(tn_sampler_pick(sampler, x, &(tn_place){.position = i}, &again));
            assert_int_equal(again, ids[i]);
        }
        tn_sampler_set_seed(sampler, o.seed);
        assert_ok(tn_sampler_pick(sampler, x, &(tn_place){0}, &again));
        assert_int_equal(again, ids[0]);
        tn_sampler_free(sampler);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_n_sigma__keeps_what_is_within_n_deviations_of_the_best),
        cmocka_unit_test(typ_p__keeps_the_nearest_to_the_mean_surprise),
        cmocka_unit_test(xtc__leaves_out_all_but_the_last_of_the_likely),
        cmocka_unit_test(xtc__happens_as_often_as_asked_by_place),
        cmocka_unit_test(temperature__follows_the_entropy_when_it_has_a_range),
        cmocka_unit_test(dry__lowers_what_goes_on_with_the_longest_repetition),
        cmocka_unit_test(dry__does_not_look_across_a_breaker),
        cmocka_unit_test(logit_bias__is_added_before_everything_and_bans),
        cmocka_unit_test(mirostat__cuts_by_zipfs_law_or_by_surprise),
        cmocka_unit_test(mirostat__steers_the_surprise_and_can_be_rewound),
    };
    return cmocka_run_group_tests_name("sampler_rows", tests, NULL, NULL);
}
