/* SPDX-License-Identifier: MIT */
#include "train/objective.h"

#include <math.h>
#include <string.h>

static bool is_dpo(const tn_objective *o) { return o->settings.kind == TN_OBJECTIVE_DPO; }

static int64_t tokens_of(const tn_objective_pass *pass) { return (int64_t)pass->rows * pass->context; }

static bool is_distillation(const tn_objective *o) { return o->settings.kind == TN_OBJECTIVE_DISTILL; }

static tn_status check(const tn_objective *o) {
    const tn_objective_settings *s = &o->settings;
    if (is_dpo(o) && (!(s->beta > 0) || !isfinite(s->beta)))
        return TN_FAIL(CONFIG, "dpo.beta is %g, expected a number above 0", s->beta);
    if (is_dpo(o) && s->z_loss != 0)
        return TN_FAIL(CONFIG, "train.z_loss is %g, but the loss of dpo has no such term; expected 0", s->z_loss);
    if (is_distillation(o) && (!(s->temperature > 0) || !isfinite(s->temperature)))
        return TN_FAIL(CONFIG, "distill.temperature is %g, expected a number above 0", s->temperature);
    if (is_distillation(o) && (!(s->weight >= 0) || !isfinite(s->weight)))
        return TN_FAIL(CONFIG, "distill.weight is %g, expected a number from 0 on", s->weight);
    TN_ASSERT(!is_distillation(o) || (s->teacher && s->teacher_tape));
    return TN_OK;
}

tn_status tn_objective_init(tn_objective *o, tn_arena *arena, const tn_objective_settings *settings, int64_t tokens) {
    *o = (tn_objective){.settings = *settings};
    TN_TRY(check(o));
    if (!is_dpo(o)) return TN_OK;
    TN_TAKE(o->row_nll, arena, tokens, "objective");
    TN_TAKE(o->row_weight, arena, tokens, "objective");
    return TN_OK;
}

int64_t tn_objective_count(const tn_objective *o, const tn_objective_pass *pass) {
    if (is_dpo(o)) return pass->n_pairs;
    int64_t n = 0;
    for (int64_t i = 0; i < tokens_of(pass); i++) n += pass->targets[i] >= 0;
    return n;
}

tn_objective_means tn_objective_no_means(void) {
    const double none = (double)NAN;
    return (tn_objective_means){none, none, none, none, none, none};
}

tn_objective_means tn_objective_mean(const tn_objective *o, const tn_objective_tally *tally, int64_t counted) {
    const tn_dpo_tally *pairs = &tally->pairs;
    const double n = (double)counted;
    tn_objective_means means = tn_objective_no_means();
    if (!counted) return means;
    means.loss = tally->loss / n;
    if (is_distillation(o)) means.divergence = tally->divergence / n;
    if (!is_dpo(o)) return means;
    means.chosen = pairs->chosen / n;
    means.rejected = pairs->rejected / n;
    means.margin = pairs->margin / n;
    means.accuracy = (double)pairs->right / n;
    return means;
}

static tn_tensor *loss_of(tn_model *model, tn_tape *tape, tn_tape_mode mode, const tn_rng *rng,
                          const tn_objective_pass *pass, tn_loss_options options) {
    const int dims[2] = {pass->rows, pass->context};
    tn_tape_begin(tape, mode, rng);
    tn_tensor *ids = tn_tape_ids(tape, 2, dims, pass->tokens);
    tn_tensor *targets = tn_tape_ids(tape, 2, dims, pass->targets);
    return tn_model_loss(model, tape, ids, targets, pass->first, options);
}

/* ---- the next token, and what a teacher says of it ---- */

/* What the teacher's head reads of the pass goes into `options`. */
static tn_status ask_teacher(const tn_objective *o, const tn_objective_pass *pass, tn_loss_options *options,
                             double *divergence) {
    const tn_objective_settings *s = &o->settings;
    *divergence = 0;
    if (!is_distillation(o)) return TN_OK;
    tn_tape_begin(s->teacher_tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *ids = tn_tape_ids(s->teacher_tape, 2, (const int[]){pass->rows, pass->context}, pass->tokens);
    const tn_tensor *hidden = tn_model_hidden_documents(s->teacher, s->teacher_tape, ids, pass->first);
    options->teacher = (tn_teacher){.head = tn_model_head(s->teacher),
                                    .hidden = hidden->real,
                                    .temperature = (tn_real)s->temperature,
                                    .weight = (tn_real)s->weight,
                                    .divergence = divergence};
    return tn_tape_status(s->teacher_tape);
}

static void add_tokens(const tn_objective *o, double sum, double divergence, tn_objective_tally *tally) {
    const tn_objective_settings *s = &o->settings;
    tally->loss += sum;
    if (!is_distillation(o)) return;
    tally->loss += s->weight * s->temperature * s->temperature * divergence;
    tally->divergence += divergence;
}

static tn_status train_on_tokens(const tn_objective *o, tn_model *model, tn_tape *tape, const tn_rng *rng,
                                 const tn_objective_pass *pass, double divisor, tn_objective_tally *tally) {
    double sum = 0, divergence;
    tn_loss_options options = {.divisor = divisor, .z_loss = (tn_real)o->settings.z_loss, .sum = &sum, .final = true};
    TN_TRY(ask_teacher(o, pass, &options, &divergence));
    TN_TRY(tn_tape_backward(tape, loss_of(model, tape, TN_TAPE_RECORD, rng, pass, options)));
    add_tokens(o, sum, divergence, tally);
    return TN_OK;
}

static tn_status measure_tokens(const tn_objective *o, tn_model *model, tn_tape *tape, const tn_objective_pass *pass,
                                tn_objective_tally *tally) {
    double sum = 0, divergence;
    tn_loss_options options = {.divisor = 1, .sum = &sum};
    TN_TRY(ask_teacher(o, pass, &options, &divergence));
    (void)loss_of(model, tape, TN_TAPE_FORWARD, NULL, pass, options);
    TN_TRY(tn_tape_status(tape));
    add_tokens(o, sum, divergence, tally);
    return TN_OK;
}

/* ---- pairs ---- */

/* Forward alone, in the arithmetic of training: row_nll. */
static tn_status look_at_pairs(tn_objective *o, tn_model *model, tn_tape *tape, const tn_rng *rng,
                               const tn_objective_pass *pass, double divisor, tn_tensor **loss) {
    if (!tn_tape_is_dry(tape)) memset(o->row_weight, 0, (size_t)tokens_of(pass) * sizeof *o->row_weight);
    const tn_loss_options options = {.divisor = divisor, .row_nll = o->row_nll, .row_weight = o->row_weight};
    *loss = loss_of(model, tape, TN_TAPE_RECORD, rng, pass, options);
    return tn_tape_status(tape);
}

static tn_status weigh(tn_objective *o, const tn_tape *tape, const tn_objective_pass *pass, tn_objective_tally *tally) {
    if (tn_tape_is_dry(tape)) return TN_OK;
    TN_TRY(tn_dpo_weigh(pass->pairs, pass->n_pairs, o->settings.beta, pass->targets, o->row_nll, o->row_weight,
                        &tally->pairs));
    tally->loss = tally->pairs.loss;
    return TN_OK;
}

static tn_status train_on_pairs(tn_objective *o, tn_model *model, tn_tape *tape, const tn_rng *rng,
                                const tn_objective_pass *pass, double divisor, tn_objective_tally *tally) {
    tn_tensor *loss;
    TN_TRY(look_at_pairs(o, model, tape, rng, pass, divisor, &loss));
    TN_TRY(weigh(o, tape, pass, tally));
    return tn_tape_backward(tape, loss);
}

static tn_status measure_pairs(tn_objective *o, tn_model *model, tn_tape *tape, const tn_objective_pass *pass,
                               tn_objective_tally *tally) {
    tn_tensor *loss;
    TN_TRY(look_at_pairs(o, model, tape, NULL, pass, 1, &loss));
    return weigh(o, tape, pass, tally);
}

tn_status tn_objective_refer(tn_objective *o, tn_model *model, tn_tape *tape, const tn_objective_pass *pass) {
    tn_tensor *loss;
    TN_TRY(look_at_pairs(o, model, tape, NULL, pass, 1, &loss));
    for (int i = 0; i < pass->n_pairs && !tn_tape_is_dry(tape); i++) {
        tn_answer *answers[2] = {&pass->pairs[i].chosen, &pass->pairs[i].rejected};
        for (int k = 0; k < 2; k++) answers[k]->reference = tn_answer_log_prob(answers[k], pass->targets, o->row_nll);
    }
    return TN_OK;
}

/* ---- any of them ---- */

tn_status tn_objective_train(tn_objective *o, tn_model *model, tn_tape *tape, const tn_rng *rng,
                             const tn_objective_pass *pass, double divisor, tn_objective_tally *tally) {
    return is_dpo(o) ? train_on_pairs(o, model, tape, rng, pass, divisor, tally)
                     : train_on_tokens(o, model, tape, rng, pass, divisor, tally);
}

tn_status tn_objective_measure(tn_objective *o, tn_model *model, tn_tape *tape, const tn_objective_pass *pass,
                               tn_objective_tally *tally) {
    return is_dpo(o) ? measure_pairs(o, model, tape, pass, tally) : measure_tokens(o, model, tape, pass, tally);
}
