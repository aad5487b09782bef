/* SPDX-License-Identifier: MIT
 * What the whole chain of samplers promises: the order that is asked for, and that the head of the list gives what all
 * logits give. */
#include "tests/sampler_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

static void chain__runs_in_the_order_that_is_given(void **state) {
    (void)state;
    tn_real x[TN_TEST_V];
    tn_sampler_options o = tn_test_plain;
    tn_test_logits_make(4, x);
    o.temperature = 3;
    o.min_p = 0.4;
    o.top_k = 2;
    assert_ok(tn_sampler_order_parse("temperature;min-p", &o.order));
    tn_test_pool p = tn_test_all_of(x);
    for (int i = 0; i < TN_TEST_V; i++) p.list[i].logit /= 3;
    for (p.n = 1; p.n < TN_TEST_V && exp(p.list[p.n].logit - p.list[0].logit) >= 0.4;) p.n++;
    assert_true(p.n > 2);
    tn_test_settle(&p);
    tn_test_assert_distribution(&o, x, &(tn_place){0}, &p);
    assert_ok(tn_sampler_order_parse_letters("kt", &o.order));
    p.n = 2;
    tn_test_settle(&p);
    tn_test_assert_distribution(&o, x, &(tn_place){0}, &p);
}

static void chain__refuses_names_it_does_not_know_with_the_list(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "top_k;", "top_k;topp", "temperatur", "temperature2", ";"};
    tn_sampler_order order;
    for (size_t i = 0; i < TN_COUNT(wrong); i++) {
        assert_int_equal(tn_sampler_order_parse(wrong[i], &order), TN_E_RANGE);
        assert_non_null(
            strstr(tn_error_message(), "penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, temp"));
    }
    assert_int_equal(tn_sampler_order_parse_letters("kq", &order), TN_E_RANGE);
    assert_int_equal(tn_sampler_order_parse_letters("", &order), TN_E_RANGE);
    char many[3 * TN_SAMPLER_STEPS] = "";
    memset(many, 'k', TN_SAMPLER_STEPS + 1);
    assert_int_equal(tn_sampler_order_parse_letters(many, &order), TN_E_RANGE);
    assert_ok(tn_sampler_order_parse("penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature", &order));
    tn_sampler_order letters_order;
    assert_ok(tn_sampler_order_parse_letters("edskypmxt", &letters_order)); /* llama.cpp's default, both ways */
    assert_memory_equal(&order, &letters_order, sizeof order);
    for (int i = 0; i < TN_SAMPLERS; i++) assert_int_equal(order.rows[i], i);
}

/* One of n, at random. */
static int any_of(int number, int what, int n) { return (int)(tn_test_uniform(number, 2000 + (uint64_t)what) * n); }

/* Options that lead to every way of gathering. */
static tn_sampler_options mixed(int number, const tn_logit_bias *biases) {
    static const char *const orders[] = {"edskypmxt", "edskypmxt", "ekt", "tkpme", "kept", "edt", "xkt", "pmedt", "mk"};
    tn_sampler_options o = tn_sampler_defaults();
    assert_ok(tn_sampler_order_parse_letters(orders[any_of(number, 0, 9)], &o.order));
    o.seed = (uint64_t)number;
    o.temperature = 0.3 * TN_MAX(0, any_of(number, 1, 8) - 3);
    o.top_k = any_of(number, 2, 4) ? 1 + any_of(number, 3, 23) : 0;
    o.top_p = (const double[]){1, 0.9, 0.4}[any_of(number, 4, 3)];
    o.repeat_last_n = any_of(number, 5, 5) ? 16 : -1;
    o.repeat_penalty = (const double[]){1, 1.3, 0.8}[any_of(number, 6, 3)];
    o.frequency_penalty = (const double[]){0, 0, 0, 0.7, -0.4}[any_of(number, 7, 5)];
    o.dry_multiplier = any_of(number, 8, 3) == 0;
    o.typical = any_of(number, 9, 6) ? 1 : 0.8;
    o.xtc_probability = any_of(number, 10, 9) ? 0 : 0.5;
    o.xtc_threshold = 0.02;
    o.mirostat = any_of(number, 11, 20) ? 0 : 1 + number % 2;
    o.biases = biases;
    o.n_biases = any_of(number, 12, 4);
    return o;
}

/* The list that the needs describe, and no more, in an order of its own. */
static int part_of(const tn_real x[TN_TEST_V], const tn_place *at, const tn_sampler_needs *needs, tn_candidate *out) {
    tn_test_pool all = tn_test_all_of(x);
    bool taken[TN_TEST_V] = {false};
    int best = 0, n = 0;
    for (int i = 0; i < TN_TEST_V && (needs->best == 0 || best < needs->best); i++) {
        int32_t id = all.list[i].id;
        if (at->allowed && !(at->allowed[id / 64] >> (id % 64) & 1)) continue;
        taken[id] = true;
        best++;
    }
    for (int i = 0; i < needs->n_extra; i++) taken[needs->extra[i]] = true;
    for (int id = TN_TEST_V; id-- > 0;)
        if (taken[id]) out[n++] = (tn_candidate){.id = id, .logit = (double)x[id]};
    return n;
}

static void chain__needs_no_more_of_the_logits_than_it_says(void **state) {
    (void)state;
    static const tn_logit_bias biases[] = {{5, 3}, {9, -HUGE_VAL}, {100, -2}};
    int partial = 0;
    for (int number = 0; number < 6000; number++) {
        tn_sampler_options o = mixed(number, biases);
        tn_sampler *whole = tn_test_sampler(&o), *part = tn_test_sampler(&o), *every = tn_test_sampler(&o);
        uint64_t allowed[(TN_TEST_V + 63) / 64];
        int32_t history[24], a, b, c;
        tn_real x[TN_TEST_V];
        tn_candidate list[TN_TEST_V];
        tn_sampler_needs needs;
        tn_test_logits_make(number % TN_TEST_CASES, x);
        tn_test_history(number, history, 24, number % 2 ? 1 + number % 9 : TN_TEST_V);
        for (int i = 0; i < TN_TEST_V; i++) x[i] -= (tn_real)(number % 5 ? 0 : 1000);
        const tn_test_pool all = tn_test_all_of(x);
        for (int i = 0; i < 24 && number % 2; i++) history[i] = all.list[history[i]].id; /* likely ones */
        for (size_t i = 0; i < TN_COUNT(allowed); i++)
            allowed[i] = (uint64_t)(0x1p64 * tn_test_uniform(number, 900 + i));
        for (int step = 0; step < 3; step++) {
            const tn_place at = {
                .history = history, .n = 22 + step, .position = 22 + step, .allowed = number % 3 ? allowed : NULL};
            assert_ok(tn_sampler_get_needs(part, &at, &needs));
            int n = part_of(x, &at, &needs, list);
            partial += n < TN_TEST_V / 2;
            assert_ok(tn_sampler_pick(whole, x, &at, &a));
            assert_ok(tn_sampler_pick_from(part, list, n, &at, &b));
            assert_ok(tn_sampler_pick_from(every, all.list, TN_TEST_V, &at, &c));
            if (a != c || b != c) fail_msg("case %d: %d of logits, %d of %d, %d of all", number, a, b, n, c);
            assert_true(tn_sampler_get_state(whole).mu == tn_sampler_get_state(part).mu);
        }
        tn_sampler_free(whole);
        tn_sampler_free(part);
        tn_sampler_free(every);
    }
    assert_true(partial > 6000);
}

static void chain__survives_extreme_logits_and_single_tokens(void **state) {
    (void)state;
    static const double values[] = {0, 1e30, -1e30, 3e38, -3e38, 1e-38};
    for (int number = 0; number < 200; number++) {
        tn_sampler_options o = mixed(number, NULL);
        tn_sampler *sampler;
        tn_real x[TN_TEST_V], one = (tn_real)values[number % 6];
        int32_t id, history[24];
        o.n_biases = 0;
        tn_test_history(number, history, 24, 4);
        for (int i = 0; i < TN_TEST_V; i++) x[i] = (tn_real)values[(i * 5 + number) % 6];
        sampler = tn_test_sampler(&o);
        assert_ok(tn_sampler_pick(sampler, x, &(tn_place){.history = history, .n = 24}, &id));
        assert_in_range(id, 0, TN_TEST_V - 1);
        x[7] = (tn_real)NAN;
        assert_int_equal(tn_sampler_pick(sampler, x, &(tn_place){.history = history, .n = 24}, &id), TN_E_NAN);
        x[7] = (tn_real)HUGE_VAL;
        assert_int_equal(tn_sampler_pick(sampler, x, &(tn_place){.history = history, .n = 24}, &id), TN_E_NAN);
        x[7] = 0;
        uint64_t allowed[(TN_TEST_V + 63) / 64] = {0};
        const tn_place at = {.history = history, .n = 24, .allowed = allowed};
        assert_int_equal(tn_sampler_pick(sampler, x, &at, &id), TN_E_EMPTY);
        allowed[2] = 1u << 5;
        assert_ok(tn_sampler_pick(sampler, x, &at, &id));
        assert_int_equal(id, 2 * 64 + 5);
        tn_sampler_free(sampler);
        assert_ok(tn_sampler_create(&sampler, 1, &o));
        assert_ok(tn_sampler_pick(sampler, &one, &(tn_place){0}, &id));
        assert_int_equal(id, 0);
        tn_sampler_free(sampler);
    }
}

static void chain__tells_when_memory_is_out_and_leaves_none_behind(void **state) {
    (void)state;
    tn_real x[TN_TEST_V];
    int32_t history[24], id;
    tn_sampler_options o = tn_sampler_defaults();
    const int64_t before = tn_memory_alive();
    o.repeat_penalty = 1.1;
    o.dry_multiplier = 1;
    tn_test_logits_make(3, x);
    tn_test_history(3, history, 24, 3);
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_sampler *sampler = NULL;
        tn_memory_fail_at(n);
        status = tn_sampler_create(&sampler, TN_TEST_V, &o);
        if (!status) status = tn_sampler_pick(sampler, x, &(tn_place){.history = history, .n = 24}, &id);
        tn_memory_fail_at(0);
        tn_sampler_free(sampler);
        assert_int_equal(tn_memory_alive(), before);
        assert_true(status == TN_OK || status == TN_E_NOMEM);
        if (n == 1) assert_int_equal(status, TN_E_NOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain__runs_in_the_order_that_is_given),
        cmocka_unit_test(chain__refuses_names_it_does_not_know_with_the_list),
        cmocka_unit_test(chain__needs_no_more_of_the_logits_than_it_says),
        cmocka_unit_test(chain__survives_extreme_logits_and_single_tokens),
        cmocka_unit_test(chain__tells_when_memory_is_out_and_leaves_none_behind),
    };
    return cmocka_run_group_tests_name("sampler_chain", tests, NULL, NULL);
}
