/* SPDX-License-Identifier: MIT */
#include "train/dpo.h"

#include <math.h>
#include <stdbool.h>

/* ---- where answers stand ---- */

typedef struct layout {
    const int32_t *targets, *first;
    int context;
} layout;

static int document_end(const layout *l, int row, int begin) {
    if (!l->first) return l->context;
    const int32_t *first = l->first + (int64_t)row * l->context;
    int end = begin + 1;
    while (end < l->context && first[end] == first[begin]) end++;
    return end;
}

static bool has_target(const layout *l, const tn_answer *a) {
    for (int64_t i = a->begin; i < a->end; i++)
        if (l->targets[i] >= 0) return true;
    return false;
}

/* From place *at of the row on. */
static bool next_answer(const layout *l, int row, int *at, tn_answer *answer) {
    while (*at < l->context) {
        const int64_t row_begin = (int64_t)row * l->context;
        answer->begin = row_begin + *at;
        *at = document_end(l, row, *at);
        answer->end = row_begin + *at;
        if (has_target(l, answer)) return true;
    }
    return false;
}

static int count_answers(const layout *l, int row) {
    tn_answer answer;
    int at = 0, n = 0;
    while (next_answer(l, row, &at, &answer)) n++;
    return n;
}

tn_status tn_pairs_find(tn_pair *pairs, int *n_pairs, const int32_t *targets, const int32_t *first, int rows,
                        int context) {
    const layout l = {targets, first, context};
    *n_pairs = 0;
    if (rows % 2) return TN_FAIL(SHAPE, "pairs: %d rows, expected as many of chosen as of rejected answers", rows);
    for (int chosen = 0; chosen < rows / 2; chosen++) {
        const int rejected = chosen + rows / 2, n = count_answers(&l, chosen), beside = count_answers(&l, rejected);
        if (n != beside)
            return TN_FAIL(SHAPE, "pairs: row %d has %d chosen answers, but row %d has %d rejected ones", chosen, n,
                           rejected, beside);
        int at[2] = {0, 0};
        for (int i = 0; i < n; i++) {
            tn_pair *pair = &pairs[(*n_pairs)++];
            (void)next_answer(&l, chosen, &at[0], &pair->chosen);
            (void)next_answer(&l, rejected, &at[1], &pair->rejected);
        }
    }
    return TN_OK;
}

/* ---- what they weigh ---- */

double tn_answer_log_prob(const tn_answer *answer, const int32_t *targets, const double *row_nll) {
    double sum = 0;
    for (int64_t i = answer->begin; i < answer->end; i++)
        if (targets[i] >= 0) sum -= row_nll[i];
    return sum;
}

static void weigh_answer(const tn_answer *answer, double weight, const int32_t *targets, tn_real *row_weight) {
    for (int64_t i = answer->begin; i < answer->end; i++)
        if (targets[i] >= 0) row_weight[i] = (tn_real)weight;
}

/* log(1 + exp(-x)) = -log sigmoid(x), and sigmoid(-x), without overflow and without losing what is small. */
static double softplus_of_minus(double x) { return x >= 0 ? log1p(exp(-x)) : log1p(exp(x)) - x; }
static double sigmoid_of_minus(double x) { return x >= 0 ? exp(-x) / (1 + exp(-x)) : 1 / (1 + exp(x)); }

static tn_status reward(const tn_answer *answer, int pair, const char *which, const int32_t *targets,
                        const double *row_nll, double *out) {
    const double log_prob = tn_answer_log_prob(answer, targets, row_nll);
    if (!isfinite(log_prob) || !isfinite(answer->reference))
        return TN_FAIL(NAN, "dpo: the log-probability of the %s answer of pair %d is %g, of the reference %g", which,
                       pair, log_prob, answer->reference);
    *out = log_prob - answer->reference;
    return TN_OK;
}

tn_status tn_dpo_weigh(const tn_pair *pairs, int n_pairs, double beta, const int32_t *targets, const double *row_nll,
                       tn_real *row_weight, tn_dpo_tally *tally) {
    tn_dpo_tally sums = *tally;
    for (int i = 0; i < n_pairs; i++) {
        double chosen, rejected;
        TN_TRY(reward(&pairs[i].chosen, i, "chosen", targets, row_nll, &chosen));
        TN_TRY(reward(&pairs[i].rejected, i, "rejected", targets, row_nll, &rejected));
        const double delta = chosen - rejected, weight = beta * sigmoid_of_minus(beta * delta);
        sums.loss += softplus_of_minus(beta * delta);
        sums.chosen += beta * chosen;
        sums.rejected += beta * rejected;
        sums.margin += beta * delta;
        sums.right += delta > 0;
        weigh_answer(&pairs[i].chosen, weight, targets, row_weight);
        weigh_answer(&pairs[i].rejected, -weight, targets, row_weight);
    }
    sums.pairs += n_pairs;
    *tally = sums;
    return TN_OK;
}
