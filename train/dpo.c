/* SPDX-License-Identifier: MIT */
#include "train/dpo.h"

#include <math.h>
#include <stdbool.h>

/* ---- where answers stand ---- */

static tn_answer answer_of(const tn_piece *piece, int64_t begin, const double *references) {
    return (tn_answer){.begin = begin + piece->begin,
                       .end = begin + piece->begin + piece->inputs,
                       .document = piece->document,
                       .reference = references ? references[piece->document] : 0};
}

void tn_pairs_of_row(tn_pair *pairs, int *n_pairs, tn_row_packing_cursor row, int64_t begin, const double *references) {
    tn_piece chosen, rejected;
    while (tn_row_packing_next(&row, &chosen)) {
        const bool both = tn_row_packing_next(&row, &rejected);
        TN_ASSERT(both && rejected.document == chosen.document + 1);
        pairs[(*n_pairs)++] = (tn_pair){answer_of(&chosen, begin, references), answer_of(&rejected, begin, references)};
    }
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
