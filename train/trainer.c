/* SPDX-License-Identifier: MIT
 * The loop. Within one step: update, evaluate, row of metrics, checkpoint - so a checkpoint never knows more than the
 * metrics files do, and what lies beyond it can be dropped and done again. */
#include "train/trainer_priv.h"

#include "core/clock.h"
#include "core/log.h"
#include "train/process.h"

#include <math.h>
#include <stdio.h>

/* What one turn of the loop has found out. */
typedef struct turn {
    tn_step_result step;
    double seconds;
    bool evaluates, last, stopped, improved;
    bool measured; /* shares are known */
    tn_ternary_shares shares;
} turn;

static bool every(int64_t step, int64_t period) { return period && step % period == 0; }

static double elapsed(const tn_trainer *t) { return t->state.elapsed + (tn_clock_seconds() - t->started); }

static bool out_of_time(const tn_trainer *t) {
    return t->course.max_seconds > 0 && elapsed(t) >= t->course.max_seconds;
}

static bool is_stopped(const tn_trainer *t) { return t->hooks.stop && *t->hooks.stop; }

/* ---- one step ---- */

static tn_status guard(tn_trainer *t, const tn_step_result *result) {
    if (!result->skipped) {
        t->failures = 0;
        t->state.last_loss = result->means.loss;
        return TN_OK;
    }
    t->state.skipped++;
    t->failures++;
    tn_log(TN_LOG_WARN, "train", "step %lld skipped: %s (%lld in a row)", (long long)t->state.step, result->skipped,
           (long long)t->failures);
    if (t->failures < t->config->train.guard_patience) return TN_OK;
    char saved[64] = "there is no good checkpoint";
    if (t->saved_step >= 0)
        snprintf(saved, sizeof saved, "the last good checkpoint is of step %lld", (long long)t->saved_step);
    return TN_FAIL(NAN, "%s: stopped at step %lld after %lld steps without an update: %s; %s", t->dir.path,
                   (long long)t->state.step, (long long)t->failures, result->skipped, saved);
}

static tn_status take_step(tn_trainer *t, turn *now) {
    double begin = tn_clock_seconds();
    int64_t tokens = t->state.tokens + t->course.tokens_per_step;
    bool measures = every(t->state.step + 1, t->config->train.eval_steps);
    if (measures) tn_diagnostics_before(t->engine.diagnostics);
    TN_TRY(tn_stepper_run(&t->engine.stepper, &t->data.train, t->state.cursor, t->state.step,
                          tn_trainer_lambda(t, tokens), &now->step));
    if (measures) now->shares = tn_diagnostics_after(t->engine.diagnostics);
    now->measured = measures;
    t->state.step++;
    t->state.cursor += t->course.rows_per_step;
    t->state.tokens = tokens;
    now->seconds = tn_clock_seconds() - begin;
    double rate = (double)t->course.tokens_per_step / now->seconds;
    t->step_rate = t->step_rate > 0 ? 0.9 * t->step_rate + 0.1 * rate : rate;
    return guard(t, &now->step);
}

/* ---- evaluation ---- */

/* What is exported and run is quantised in full, so that is what evaluations and samples look at, also during
 * train.quant_warmup_tokens. */
static void quantise_in_full(tn_trainer *t) {
    if (tn_trainer_lambda(t, t->state.tokens) < 1) tn_model_refresh(t->engine.model, 1);
}

static void quantise_as_trained(tn_trainer *t) {
    tn_real lambda = tn_trainer_lambda(t, t->state.tokens);
    if (lambda < 1) tn_model_refresh(t->engine.model, lambda);
}

static tn_status measure_text(tn_trainer *t) {
    const tn_train_config *c = &t->config->train;
    tn_evaluation found;
    TN_TRY(tn_evaluate(&found, t->engine.model, t->engine.tape, &t->data.validation, t->data.tokenizer, c->batch_size,
                       c->eval_batches));
    t->evaluation.loss = found.loss;
    t->bits_per_byte = found.bits_per_byte;
    return TN_OK;
}

static tn_status measure_objective(tn_trainer *t) {
    const tn_train_config *c = &t->config->train;
    tn_engine *e = &t->engine;
    tn_objective_tally tally;
    int64_t counted;
    const double *references = e->references;
    if (references) references += tn_train_data_held_out_answer(&t->data);
    TN_TRY(tn_objective_evaluate(&tally, &counted, &e->objective, e->model, e->tape, &t->data.validation, references,
                                 c->batch_size, c->eval_batches));
    t->evaluation = tn_objective_mean(&e->objective, &tally, counted);
    return TN_OK;
}

static tn_status measure(tn_trainer *t) {
    const bool text = t->engine.objective.settings.kind == TN_OBJECTIVE_SFT;
    t->evaluation = tn_objective_no_means();
    t->bits_per_byte = (double)NAN;
    quantise_in_full(t);
    tn_diagnostics_observe(t->engine.diagnostics);
    tn_status status = text ? measure_text(t) : measure_objective(t);
    tn_diagnostics_stop(t->engine.diagnostics);
    quantise_as_trained(t);
    return status == TN_E_NAN ? TN_OK : status;
}

static tn_status evaluate(tn_trainer *t, turn *now) {
    TN_TRY(measure(t));
    if (t->failures) return TN_OK; /* the weights of an evaluation before */
    double loss = t->evaluation.loss;
    now->improved = isfinite(loss) && (t->state.best_step < 0 || loss < t->state.best_loss);
    if (!now->improved) {
        t->state.stale++;
        return TN_OK;
    }
    t->state.best_step = t->state.step;
    t->state.best_loss = loss;
    t->state.stale = 0;
    return TN_OK;
}

static bool out_of_patience(const tn_trainer *t) {
    int64_t patience = t->config->train.patience;
    return patience && t->state.stale >= patience;
}

/* ---- rows ---- */

static tn_rates rates_of_last_step(const tn_trainer *t) {
    return tn_schedule_at(&t->course.schedule, TN_MAX(t->state.step - 1, 0), t->course.total);
}

static tn_metrics_row make_row(const tn_trainer *t, const turn *now) {
    tn_metrics_row row = tn_metrics_row_empty();
    tn_rates rates = rates_of_last_step(t);
    row.step = (double)t->state.step;
    row.epoch = (double)t->state.cursor / (double)tn_batches_per_epoch(&t->data.train);
    row.tokens = (double)t->state.tokens;
    row.flipped_share = tn_flipped_share(t->engine.model);
    row.skipped = (double)t->state.skipped;
    row.rss_bytes = (double)tn_process_resident_bytes();
    row.time = tn_clock_unix();
    if (now->evaluates) {
        row.val_loss = t->evaluation.loss;
        row.val_bits_per_byte = t->bits_per_byte;
        row.val_kl = t->evaluation.divergence;
        row.val_rewards_chosen = t->evaluation.chosen;
        row.val_rewards_rejected = t->evaluation.rejected;
        row.val_rewards_margins = t->evaluation.margin;
        row.val_rewards_accuracies = t->evaluation.accuracy;
    }
    if (now->measured) {
        row.zero_share = now->shares.zero_share;
        row.flip_share = now->shares.flip_share;
    }
    if (!t->state.step) return row; /* the initial weights: no step was taken */
    row.train_loss = now->step.means.loss;
    row.kl = now->step.means.divergence;
    row.rewards_chosen = now->step.means.chosen;
    row.rewards_rejected = now->step.means.rejected;
    row.rewards_margins = now->step.means.margin;
    row.rewards_accuracies = now->step.means.accuracy;
    row.grad_norm = now->step.grad_norm;
    row.learning_rate = rates.factor * t->config->train.learning_rate;
    row.weight_decay = rates.weight_decay;
    row.step_seconds = now->seconds;
    row.tokens_per_second = (double)t->course.tokens_per_step / now->seconds;
    return row;
}

static tn_status write_row(const tn_trainer *t, const turn *now) {
    tn_metrics_row row = make_row(t, now);
    tn_buf layers = {0};
    tn_status status = now->measured ? tn_diagnostics_json(t->engine.diagnostics, &layers) : TN_OK;
    if (!status) status = tn_metrics_append(&t->metrics, &row, layers.len ? tn_buf_text(&layers) : NULL);
    tn_buf_release(&layers);
    return status;
}

static double seconds_left(const tn_trainer *t) {
    int64_t done = t->state.step - t->first_step;
    double spent = tn_clock_seconds() - t->started;
    double left = spent / (double)TN_MAX(done, 1) * (double)(t->course.total - t->state.step);
    return t->course.max_seconds > 0 ? fmax(fmin(left, t->course.max_seconds - elapsed(t)), 0) : left;
}

static void report(const tn_trainer *t, const turn *now, bool row) {
    if (!t->hooks.progress) return;
    tn_progress p = {.step = t->state.step,
                     .total = t->course.endless ? 0 : t->course.total,
                     .train = now->step.means,
                     .val = t->evaluation,
                     .grad_norm = now->step.grad_norm,
                     .learning_rate = rates_of_last_step(t).factor * t->config->train.learning_rate,
                     .tokens_per_second = t->step_rate,
                     .seconds_left = seconds_left(t),
                     .skipped = t->state.skipped,
                     .rss_bytes = tn_process_resident_bytes(),
                     .row = row};
    t->hooks.progress(t->hooks.context, &p);
}

/* ---- checkpoints and samples ---- */

/* Nothing is saved while steps are being skipped: the weights may be what is broken. */
static tn_status save(tn_trainer *t) {
    char path[TN_RUN_PATH];
    if (t->failures) return TN_OK;
    TN_TRY(tn_run_dir_checkpoint(&t->dir, t->state.step, path));
    tn_train_state state = t->state;
    state.elapsed = t->course.max_seconds > 0 ? elapsed(t) : 0;
    tn_checkpoint checkpoint = tn_trainer_checkpoint(t);
    checkpoint.state = &state;
    tn_status status = tn_checkpoint_save(&checkpoint, path);
    if (status == TN_E_NAN) {
        tn_log(TN_LOG_WARN, "train", "%s", tn_error_message());
        return TN_OK;
    }
    TN_TRY(status);
    t->saved_step = t->state.step;
    TN_TRY(tn_run_dir_mark(&t->dir, "latest", t->state.step));
    if (t->state.best_step == t->state.step) TN_TRY(tn_run_dir_mark(&t->dir, "best", t->state.step));
    return tn_run_dir_prune(&t->dir, t->state.step, t->state.best_step, t->config->train.save_total_limit);
}

/* A sample is for the eye: a run does not end for one that fails. */
static void sample(tn_trainer *t) {
    const tn_train_config *c = &t->config->train;
    if (!t->hooks.sample || !every(t->state.step, c->sample_steps)) return;
    tn_buf text = {0};
    quantise_in_full(t);
    tn_status status = t->hooks.sample(t->hooks.context, t->engine.model, t->data.tokenizer, c->sample_prompt,
                                       c->sample_tokens, (uint64_t)(c->seed + t->state.step), &text);
    quantise_as_trained(t);
    tn_log(status ? TN_LOG_WARN : TN_LOG_INFO, "train", "%s at step %lld: %s", status ? "no sample" : "sample",
           (long long)t->state.step, status ? tn_error_message() : tn_buf_text(&text));
    tn_buf_release(&text);
}

/* ---- merged adapters ---- */

/* A change of states is rounded away until some shift reaches 1/2: until then the loss stands still, and nothing else
 * says why. */
static void warn_of_rounding(const tn_trainer *t) {
    const tn_adapter_flips flips = tn_merged_flips(t->engine.model);
    if (!flips.states || flips.flipped || !t->state.step) return;
    tn_log(TN_LOG_WARN, "train",
           "step %lld: no ternary state has flipped yet, so the model still is its base: the largest shift is %.2g, "
           "and 1/2 flips a state; a larger train.learning_rate or lora.alpha gets there sooner",
           (long long)t->state.step, flips.largest);
}

/* ---- the loop ---- */

static tn_status finish_turn(tn_trainer *t, turn *now) {
    const tn_train_config *c = &t->config->train;
    if (now->evaluates) TN_TRY(evaluate(t, now));
    if (now->evaluates || now->last) warn_of_rounding(t);
    now->last |= now->evaluates && out_of_patience(t);
    bool row = now->evaluates || now->measured || now->last || every(t->state.step, c->log_steps) || !t->state.step;
    if (row) TN_TRY(write_row(t, now));
    if (t->state.step) report(t, now, row);
    now->stopped = is_stopped(t);
    if (now->improved || now->last || now->stopped || every(t->state.step, c->save_steps)) TN_TRY(save(t));
    sample(t);
    return TN_OK;
}

static tn_status turn_once(tn_trainer *t, turn *now) {
    *now = (turn){0};
    TN_TRY(take_step(t, now));
    now->last = t->state.step >= t->course.total || out_of_time(t);
    now->evaluates = t->data.validates && (now->last || every(t->state.step, t->config->train.eval_steps));
    return finish_turn(t, now);
}

static tn_status begin(tn_trainer *t) {
    turn now = {.step = {.means = tn_objective_no_means(), .grad_norm = (double)NAN}};
    now.evaluates = t->data.validates && t->config->train.eval_at_start;
    if (t->resumed || !now.evaluates) return TN_OK;
    return finish_turn(t, &now);
}

static tn_run_end end_of(const tn_trainer *t, const turn *now) {
    if (t->state.step >= t->course.total) return TN_END_STEPS;
    if (out_of_patience(t)) return TN_END_PATIENCE;
    return now->stopped || is_stopped(t) ? TN_END_STOPPED : TN_END_TIME;
}

static tn_status summarize(const tn_trainer *t, const turn *now, tn_run_summary *out) {
    *out = (tn_run_summary){.end = end_of(t, now),
                            .step = t->state.step,
                            .total = t->course.endless ? 0 : t->course.total,
                            .tokens = t->state.tokens,
                            .skipped = t->state.skipped,
                            .train_loss = t->state.last_loss,
                            .val_loss = t->evaluation.loss,
                            .val_kl = t->evaluation.divergence,
                            .val_accuracy = t->evaluation.accuracy,
                            .val_bits_per_byte = t->bits_per_byte,
                            .best_loss = t->state.best_loss,
                            .best_step = t->state.best_step,
                            .flipped_share = tn_flipped_share(t->engine.model),
                            .seconds = tn_clock_seconds() - t->started,
                            .rows = t->data.rows};
    return t->saved_step < 0 ? TN_OK : tn_run_dir_checkpoint(&t->dir, t->saved_step, out->checkpoint);
}

tn_status tn_trainer_run(tn_trainer *t, tn_run_summary *summary) {
    turn now = {0};
    t->started = tn_clock_seconds();
    TN_TRY(begin(t));
    bool over = t->state.step >= t->course.total || out_of_patience(t) || out_of_time(t);
    while (!over && !now.stopped) {
        TN_TRY(turn_once(t, &now));
        over = now.last;
    }
    return summarize(t, &now, summary);
}
