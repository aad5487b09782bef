/* SPDX-License-Identifier: MIT
 * objective_rows.h - an objective and the rows of a data set: whether they fit, what it measures of those that are held
 * out, and, of preferences, the references of all. */
#ifndef TN_TRAIN_OBJECTIVE_ROWS_H
#define TN_TRAIN_OBJECTIVE_ROWS_H
#include "data/batches.h"
#include "train/objective.h"

/* DPO needs documents of preferences that do not see each other, the others anything else. Fails: TN_E_CONFIG. */
tn_status tn_objective_check_rows(tn_objective_kind kind, const tn_batches *batches);
/* Every row once, `rows` at a time in the order of validation, at most `max_batches` passes, 0 = all. The objective was
 * made for passes of rows x context tokens at least. `references` [documents of the store] of DPO. `counted` receives
 * what the tally is to be divided by. Fails: what a pass gives; TN_E_NAN. */
tn_status tn_objective_evaluate(tn_objective_tally *tally, int64_t *counted, tn_objective *objective, tn_model *model,
                                tn_tape *tape, const tn_batches *batches, const double *references, int rows,
                                int64_t max_batches);
/* references [documents of the store]: the log-probability of every answer in the rows, under the model as it is.
 * Others are left alone. */
tn_status tn_objective_refer_rows(double *references, tn_objective *objective, tn_model *model, tn_tape *tape,
                                  const tn_batches *batches, int rows);

#endif
