/* SPDX-License-Identifier: MIT
 * dpo.h - direct preference optimisation (Rafailov 2023): the loss of pairs of answers, and what it makes the rows of a
 * pass weigh. With log pi(y), the sum of log-probabilities over the targets of answer y, and that of the reference:
 *
 *   delta = (log pi(chosen) - log ref(chosen)) - (log pi(rejected) - log ref(rejected)),   L = -log sigmoid(beta delta)
 *
 * A head gives -log p of each row in forward (tn_loss_options.row_nll) and reads there what each row counts in backward
 * (row_weight): + and - beta sigmoid(-beta delta). Knows nothing of models; threads: none. */
#ifndef TN_TRAIN_DPO_H
#define TN_TRAIN_DPO_H
#include "data/row_packing.h"

/* The places [begin, end) of a pass [rows, context]: a document, its targets are those of the answer. */
typedef struct tn_answer {
    int64_t begin, end;
    int64_t document; /* of the store */
    double reference; /* log ref(answer) */
} tn_answer;

typedef struct tn_pair {
    tn_answer chosen, rejected;
} tn_pair;

/* Sums over pairs. */
typedef struct tn_dpo_tally {
    double loss;
    double chosen, rejected; /* rewards: beta (log pi - log ref) */
    double margin;           /* beta delta */
    int64_t pairs, right;    /* right: delta > 0 */
} tn_dpo_tally;

/* Appends the pairs of a row of preferences (tn_batches_row), which stand in turn, chosen and rejected; its places in
 * the pass are those from `begin` on. references [documents of the store], NULL: zeros. `pairs` has room for as many
 * more as half the places of a row. */
void tn_pairs_of_row(tn_pair *pairs, int *n_pairs, tn_row_packing_cursor row, int64_t begin, const double *references);
/* The sum of -row_nll over targets. */
double tn_answer_log_prob(const tn_answer *answer, const int32_t *targets, const double *row_nll);
/* Adds the pairs to the tally and sets row_weight of their targets. beta > 0. Fails: TN_E_NAN, naming the pair, when a
 * log-probability is not finite; the tally is then as it was. */
tn_status tn_dpo_weigh(const tn_pair *pairs, int n_pairs, double beta, const int32_t *targets, const double *row_nll,
                       tn_real *row_weight, tn_dpo_tally *tally);

#endif
