/* SPDX-License-Identifier: MIT
 * Pairs of answers and what their rows weigh, without a model. */
#include "tests/testing.h"
#include "train/dpo.h"

#include <math.h>
#include <string.h>

enum { T = 12, PAIRS = 2 };

/* A row of two chosen and one of two rejected answers; * is a target. */
static const char *const written[2] = {"aa**bbbb**--", "cc*dddd***--"};
static const tn_pair places[PAIRS] = {{{.begin = 0, .end = 4}, {.begin = T, .end = T + 3}},
                                      {{.begin = 4, .end = 10}, {.begin = T + 3, .end = T + 10}}};

typedef struct rows {
    int32_t targets[2 * T];
    double nll[2 * T];
    tn_real weight[2 * T];
    tn_pair pairs[PAIRS];
} rows;

static void init(rows *r) {
    memset(r, 0, sizeof *r);
    memcpy(r->pairs, places, sizeof places);
    for (int i = 0; i < 2 * T; i++) {
        const int row = i / T, t = i % T;
        r->targets[i] = written[row][t] == '*' ? t : -100;
        r->nll[i] = written[row][t] == '*' ? 0.25 * (t + 1) + row : (double)NAN;
    }
}

static tn_status weigh(rows *r, double beta, tn_dpo_tally *tally) {
    *tally = (tn_dpo_tally){0};
    return tn_dpo_weigh(r->pairs, PAIRS, beta, r->targets, r->nll, r->weight, tally);
}

/* So that the margins of the two pairs are `deltas`. */
static void set_deltas(rows *r, const double *deltas) {
    for (int i = 0; i < PAIRS; i++) {
        tn_answer *chosen = &r->pairs[i].chosen, *rejected = &r->pairs[i].rejected;
        rejected->reference = tn_answer_log_prob(rejected, r->targets, r->nll) - i;
        chosen->reference = tn_answer_log_prob(chosen, r->targets, r->nll) - i - deltas[i];
    }
}

static void dpo__sums_over_the_targets_of_an_answer(void **state) {
    rows r;
    (void)state;
    init(&r);
    assert_true(tn_answer_log_prob(&r.pairs[0].chosen, r.targets, r.nll) == -(0.75 + 1));
    assert_true(tn_answer_log_prob(&r.pairs[1].rejected, r.targets, r.nll) == -(3 + 2 + 2.25 + 2.5));
}

static void dpo__of_the_reference_itself_is_log_two(void **state) {
    rows r;
    tn_dpo_tally tally;
    (void)state;
    init(&r);
    set_deltas(&r, (const double[]){0, 0});
    assert_ok(weigh(&r, 0.1, &tally));
    assert_true(tally.loss == 2 * log(2) && tally.margin == 0 && tally.right == 0 && tally.pairs == 2);
    assert_true(tally.chosen == 0.1 && tally.rejected == 0.1); /* the second pair is 1 above its reference */
    for (int i = 0; i < 2 * T; i++)
        assert_true(r.weight[i] == (r.targets[i] < 0 ? 0 : (tn_real)(i < T ? 0.1 / 2 : -0.1 / 2)));
}

/* d L / d nll of every target, by central differences in double. */
static void dpo__weights_are_the_slope_of_the_loss(void **state) {
    rows r;
    tn_dpo_tally above, below, tally;
    const double step = 1e-5, beta = 0.7;
    int targets = 0;
    (void)state;
    init(&r);
    set_deltas(&r, (const double[]){1.5, -2.5});
    for (int i = 0; i < 2 * T; i++) {
        if (r.targets[i] < 0) continue;
        const double nll = r.nll[i];
        r.nll[i] = nll + step;
        assert_ok(weigh(&r, beta, &above));
        r.nll[i] = nll - step;
        assert_ok(weigh(&r, beta, &below));
        r.nll[i] = nll;
        assert_ok(weigh(&r, beta, &tally));
        const double slope = (above.loss - below.loss) / (2 * step);
        assert_true(fabs(slope - (double)r.weight[i]) < 1e-7); /* the weight is a float */
        targets++;
    }
    assert_int_equal(targets, 8);
    assert_int_equal(tally.right, 1);
    assert_true(fabs(tally.margin + beta) < 1e-12);
}

/* A sure pair costs exp(-x), a lost one x, however large. */
static void dpo__keeps_what_is_small_and_bears_what_is_large(void **state) {
    rows r;
    tn_dpo_tally sure, lost;
    (void)state;
    init(&r);
    set_deltas(&r, (const double[]){40, 45});
    assert_ok(weigh(&r, 1, &sure));
    assert_true(fabs(sure.loss / (exp(-40) + exp(-45)) - 1) < 1e-9);
    assert_true(fabs((double)r.weight[2] / exp(-40) - 1) < 1e-6);
    set_deltas(&r, (const double[]){1e6, -1e6});
    assert_ok(weigh(&r, 1, &lost));
    assert_true(lost.loss == 1e6 && lost.right == 1);
    assert_true(r.weight[2] == 0 && r.weight[T + 2] == 0 && r.weight[8] == 1 && r.weight[T + 7] == -1);
}

static void dpo__a_number_that_is_none_is_refused(void **state) {
    rows r;
    (void)state;
    init(&r);
    const double bad[] = {(double)NAN, -(double)INFINITY};
    for (int k = 0; k < 4; k++) {
        tn_dpo_tally tally = {.loss = 3, .pairs = 5};
        set_deltas(&r, (const double[]){1, 2});
        const double nll = r.nll[T + 7];
        if (k % 2)
            r.nll[T + 7] = bad[k / 2];
        else
            r.pairs[1].rejected.reference = bad[k / 2];
        assert_int_equal(tn_dpo_weigh(r.pairs, 2, 1, r.targets, r.nll, r.weight, &tally), TN_E_NAN);
        assert_non_null(strstr(tn_error_message(), "the rejected answer of pair 1"));
        assert_true(tally.loss == 3 && tally.pairs == 5);
        r.nll[T + 7] = nll;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dpo__sums_over_the_targets_of_an_answer),
        cmocka_unit_test(dpo__of_the_reference_itself_is_log_two),
        cmocka_unit_test(dpo__weights_are_the_slope_of_the_loss),
        cmocka_unit_test(dpo__keeps_what_is_small_and_bears_what_is_large),
        cmocka_unit_test(dpo__a_number_that_is_none_is_refused),
    };
    return cmocka_run_group_tests_name("dpo", tests, NULL, NULL);
}
