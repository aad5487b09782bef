/* SPDX-License-Identifier: MIT
 * What a session keeps: logits of several places, the beginning of another prompt, the rest after a shift. Each time
 * the bits are those of a session that was fed from nothing. */
#include "infer/logprobs.h"
#include "tests/session_rig.h"
#include "tests/tiny_model.h"

#include <math.h>
#include <string.h>

enum { N = TN_TEST_IDS };

/* The session holds ids [n], its logits are those of a new one, and so is what it makes of one more token. */
static void assert_like_new(const tn_test_model *f, tn_session *session, const int32_t *ids, int n) {
    int v = tn_test_vocab(&f->loaded);
    tn_session *fresh = tn_test_session(&f->loaded, 0, 0);
    assert_int_equal(tn_session_length(session), n);
    assert_memory_equal(tn_session_history(session), ids, (size_t)n * sizeof *ids);
    assert_ok(tn_session_feed(fresh, ids, n));
    tn_test_assert_same(tn_session_logits(fresh), tn_session_logits(session), v);
    if (n < tn_session_context(session)) {
        assert_ok(tn_session_feed(session, &ids[0], 1));
        assert_ok(tn_session_feed(fresh, &ids[0], 1));
        tn_test_assert_same(tn_session_logits(fresh), tn_session_logits(session), v);
        assert_ok(tn_session_rewind(session, n));
    }
    tn_session_free(fresh);
}

static void session__keeps_the_logits_of_as_many_places_as_asked(void **state) {
    tn_test_model *f = *state;
    int v = tn_test_vocab(&f->loaded);
    const tn_real *all = tn_test_logits(f->loaded.model, f->ids, N, f->arena);
    static const int chunks[] = {1, 3, 8, 512}, rows[] = {1, 2, 5, N - 4};
    for (size_t c = 0; c < TN_COUNT(chunks); c++)
        for (size_t r = 0; r < TN_COUNT(rows); r++) {
            tn_session *session = tn_test_session(&f->loaded, 0, chunks[c]);
            assert_ok(tn_session_feed(session, f->ids, 4));
            assert_ok(tn_session_feed_all(session, f->ids + 4, N - 4, rows[r]));
            assert_null(tn_session_logits_at(session, N - rows[r]));
            assert_null(tn_session_logits_at(session, N + 1));
            for (int n = N - rows[r] + 1; n <= N; n++)
                tn_test_assert_same(all + (int64_t)(n - 1) * v, tn_session_logits_at(session, n), v);
            for (int n = N; n > 0; n -= 3) { /* within the rows, and then beyond them */
                assert_ok(tn_session_rewind(session, n));
                tn_test_assert_same(all + (int64_t)(n - 1) * v, tn_session_logits(session), v);
                assert_null(tn_session_logits_at(session, n + 1));
            }
            tn_session_free(session);
        }
}

static void session__a_failed_feed_leaves_it_as_it_was(void **state) {
    tn_test_model *f = *state;
    int v = tn_test_vocab(&f->loaded);
    const tn_real *all = tn_test_logits(f->loaded.model, f->ids, N, f->arena);
    tn_session *session = tn_test_session(&f->loaded, 0, 4);
    int32_t ids[12];
    memcpy(ids, f->ids + 6, sizeof ids);
    ids[10] = v;
    assert_ok(tn_session_feed(session, f->ids, 6));
    assert_int_equal(tn_session_feed_all(session, ids, 12, 1), TN_E_RANGE);
    assert_int_equal(tn_session_length(session), 6);
    tn_test_assert_same(all + 5 * (int64_t)v, tn_session_logits(session), v);
    assert_int_equal(tn_session_feed_all(session, ids, 12, 6), TN_E_RANGE); /* two rows were there already */
    assert_int_equal(tn_session_length(session), 6);
    assert_ok(tn_session_rewind(session, 6));
    tn_test_assert_same(all + 5 * (int64_t)v, tn_session_logits(session), v);
    tn_session_free(session);
}

static void session__a_new_prompt_feeds_only_what_is_new(void **state) {
    tn_test_model *f = *state;
    tn_session *session = tn_test_session(&f->loaded, 0, 7);
    int32_t other[N];
    static const struct { int common, n; } cases[] = {{0, 5}, {5, 30}, {12, 30}, {20, 20}, {0, 40}, {40, 40}, {1, 2}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        int reused = -1, before = tn_session_length(session);
        memcpy(other, f->ids, sizeof other);
        if (before) memcpy(other, tn_session_history(session), (size_t)before * sizeof *other);
        for (int k = cases[i].common; k < N; k++) other[k] = (other[k] + 1 + (int32_t)i) % tn_test_vocab(&f->loaded);
        assert_ok(tn_session_set_prompt(session, other, cases[i].n, &reused));
        assert_int_equal(reused, TN_MIN(cases[i].common, before));
        assert_like_new(f, session, other, cases[i].n);
    }
    assert_int_equal(tn_session_set_prompt(session, f->ids, TN_TEST_CONTEXT + 1, NULL), TN_E_RANGE);
    assert_like_new(f, session, other, 2); /* a refusal changes nothing */
    assert_ok(tn_session_set_prompt(session, f->ids, 0, NULL));
    assert_int_equal(tn_session_length(session), 0);
    tn_session_free(session);
}

static void session__a_shift_leaves_what_a_new_session_would_have(void **state) {
    tn_test_model *f = *state;
    tn_session *session = tn_test_session(&f->loaded, 16, 5);
    int32_t left[16];
    assert_ok(tn_session_feed(session, f->ids, 15));
    assert_ok(tn_session_shift(session, 3)); /* 6 of 12 go */
    memcpy(left, f->ids, 3 * sizeof *left);
    memcpy(left + 3, f->ids + 9, 6 * sizeof *left);
    assert_int_equal(tn_session_position(session), 15);
    assert_like_new(f, session, left, 9);
    assert_ok(tn_session_shift(session, 0)); /* 4 of 9 */
    assert_like_new(f, session, left + 4, 5);
    assert_int_equal(tn_session_position(session), 15);
    assert_int_equal(tn_session_shift(session, 4), TN_E_RANGE);
    assert_int_equal(tn_session_length(session), 5);
    assert_ok(tn_session_set_prompt(session, left + 4, 5, NULL)); /* a prompt counts from its own beginning */
    assert_int_equal(tn_session_position(session), 5);
    tn_session_free(session);
}

static void logprobs__are_the_softmax_of_all_logits(void **state) {
    (void)state;
    enum { V = 50 };
    tn_real x[V];
    tn_logprob best[TN_LOGPROBS_MOST];
    for (int number = 0; number < 4; number++) {
        double sum = 0;
        for (int i = 0; i < V; i++)
            sum += exp((double)(x[i] = (tn_real)((i * 37 + number) % (number == 3 ? 5 : V)) / 7));
        for (int n = 0; n <= TN_LOGPROBS_MOST; n++)
            for (int id = 0; id < V; id++) {
                double chosen = tn_logprobs(best, n, x, V, id);
                assert_true(fabs(chosen - log(exp((double)x[id]) / sum)) < 1e-12);
                for (int i = 0; i < n; i++) {
                    int ahead = 0; /* each place is right when so many come before it */
                    for (int j = 0; j < V; j++)
                        ahead += x[j] > x[best[i].id] || (x[j] == x[best[i].id] && j < best[i].id);
                    assert_int_equal(ahead, i);
                    assert_true(fabs(best[i].value - log(exp((double)x[best[i].id]) / sum)) < 1e-12);
                    if (best[i].id == id) assert_true(best[i].value == chosen);
                }
            }
    }
    for (int i = 0; i < V; i++) x[i] = i == 9 ? 1e30f : -HUGE_VALF;
    assert_true(tn_logprobs(best, 2, x, V, 9) == 0);
    assert_true(best[0].id == 9 && best[1].id == 0 && best[1].value == -HUGE_VAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(session__keeps_the_logits_of_as_many_places_as_asked, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(session__a_failed_feed_leaves_it_as_it_was, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(session__a_new_prompt_feeds_only_what_is_new, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(session__a_shift_leaves_what_a_new_session_would_have, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test(logprobs__are_the_softmax_of_all_logits),
    };
    return cmocka_run_group_tests_name("session_reuse", tests, NULL, NULL);
}
