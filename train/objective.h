/* SPDX-License-Identifier: MIT
 * objective.h - what training is after, on one pass of the tape: the next token (SFT), also as a teacher sees it
 * (DISTILL), or the chosen one of two answers (DPO, train/dpo.h). Everything else of a step is the same for all of
 * them. Losses and gradients of the passes of a step add up under one divisor: what tn_objective_count counts, over the
 * whole step. */
#ifndef TN_TRAIN_OBJECTIVE_H
#define TN_TRAIN_OBJECTIVE_H
#include "core/rng.h"
#include "layers/model.h"
#include "train/dpo.h"
#include "train/finetune_config.h"

typedef struct tn_objective_settings {
    tn_objective_kind kind;
    double z_loss; /* >= 0; not of DPO */
    double beta;   /* DPO: > 0 */
    /* DISTILL: to the loss of each target is added weight temperature^2 KL(teacher || student). The teacher is borrowed
     * for the life of the objective, and so is a tape for its passes, which is not the student's. */
    tn_model *teacher;
    tn_tape *teacher_tape;
    double temperature, weight; /* > 0, >= 0 */
} tn_objective_settings;

/* All borrowed for the call. */
typedef struct tn_objective_pass {
    int rows, context;
    const int32_t *tokens, *targets; /* [rows, context]; targets: negative = none */
    const int32_t *first;            /* [rows, context], NULL: every row is one document (tn_model_hidden_documents) */
    tn_pair *pairs; /* DPO: [n_pairs] the answers in these rows (tn_pairs_of_row); they do not see each other */
    int n_pairs;
} tn_objective_pass;

/* Sums over what is counted. */
typedef struct tn_objective_tally {
    double loss;       /* the objective's: -log p of the targets, without z-loss; or that of pairs */
    double divergence; /* DISTILL: KL(teacher || student), in the loss already */
    tn_dpo_tally pairs;
} tn_objective_tally;

/* The same of one target or pair; NAN for what the objective does not have. */
typedef struct tn_objective_means {
    double loss, divergence, chosen, rejected, margin;
    double accuracy; /* the share of pairs that are right */
} tn_objective_means;

typedef struct tn_objective {
    tn_objective_settings settings;
    /* [tokens of a pass] of DPO */
    double *row_nll;
    tn_real *row_weight;
} tn_objective;

/* For passes of at most `tokens` tokens; memory comes from `arena`. Settings of other kinds are left alone. Fails:
 * TN_E_CONFIG for settings out of range. */
tn_status tn_objective_init(tn_objective *objective, tn_arena *arena, const tn_objective_settings *settings,
                            int64_t tokens);
/* The targets of a pass, or its pairs. */
int64_t tn_objective_count(const tn_objective *objective, const tn_objective_pass *pass);
/* Of a tally over `counted` of them; all NAN where that is 0. */
tn_objective_means tn_objective_mean(const tn_objective *objective, const tn_objective_tally *tally, int64_t counted);
tn_objective_means tn_objective_no_means(void); /* all NAN */
/* Forward and backward: gradients and the tally add up. `rng` keys dropout, NULL = none. Fails: what a pass gives;
 * TN_E_NAN of DPO before there are gradients. */
tn_status tn_objective_train(tn_objective *objective, tn_model *model, tn_tape *tape, const tn_rng *rng,
                             const tn_objective_pass *pass, double divisor, tn_objective_tally *tally);
/* The tally alone, for held-out data: no dropout, no gradients. */
tn_status tn_objective_measure(tn_objective *objective, tn_model *model, tn_tape *tape, const tn_objective_pass *pass,
                               tn_objective_tally *tally);
/* Of DPO, once, before the model is trained: sets the references of the pairs to the log-probabilities under the model
 * as it is. They come out of the arithmetic of training, so that delta is 0 before the first step, to the bit. */
tn_status tn_objective_refer(tn_objective *objective, tn_model *model, tn_tape *tape, const tn_objective_pass *pass);

#endif
