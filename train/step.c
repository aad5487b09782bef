/* SPDX-License-Identifier: MIT */
#include "train/step.h"

#include <math.h>

static tn_optimizer_settings optimizer_of(const tn_run_config *config) {
    tn_optimizer_settings settings = tn_train_optimizer(&config->train);
    const tn_finetune_config *f = &config->finetune;
    settings.relative = config->finetunes && f->method == TN_METHOD_FULL && f->relative_learning_rate;
    return settings;
}

static tn_status take_batch(tn_stepper *s, tn_arena *arena) {
    const tn_course *course = s->course;
    TN_TAKE(s->batch.tokens, arena, course->tokens_per_step, "batch");
    TN_TAKE(s->batch.targets, arena, course->tokens_per_step, "batch");
    if (course->documents) TN_TAKE(s->batch.first, arena, course->tokens_per_step, "batch");
    if (s->objective->settings.kind != TN_OBJECTIVE_DPO) return TN_OK;
    TN_TAKE(s->pairs, arena, course->tokens_per_step / 2, "batch");
    TN_TAKE0(s->pairs_end, arena, course->accumulation, "batch");
    return TN_OK;
}

tn_status tn_stepper_init(tn_stepper *s, tn_arena *arena, tn_model *model, const tn_trained *trained, tn_tape *tape,
                          tn_objective *objective, const tn_run_config *config, const tn_course *course) {
    *s = (tn_stepper){.model = model, .tape = tape, .objective = objective, .config = &config->train, .course = course};
    s->context = tn_run_config_row_length(config);
    TN_TRY(tn_param_blocks_init(&s->blocks, arena, trained->list, trained->count));
    TN_TRY(tn_clip_init(&s->clip, arena, &s->blocks));
    tn_optimizer_settings settings = optimizer_of(config);
    TN_TRY(tn_optimizer_create(&s->optimizer, arena, &s->blocks, &settings));
    return take_batch(s, arena);
}

/* ---- passes ---- */

static tn_objective_pass pass_of(const tn_stepper *s, int micro) {
    const int64_t first = (int64_t)micro * s->config->batch_size * s->context;
    const int pair = s->pairs && micro ? s->pairs_end[micro - 1] : 0;
    return (tn_objective_pass){.rows = s->config->batch_size,
                               .context = s->context,
                               .tokens = s->batch.tokens + first,
                               .targets = s->batch.targets + first,
                               .first = s->batch.first ? s->batch.first + first : NULL,
                               .pairs = s->pairs ? s->pairs + pair : NULL,
                               .n_pairs = s->pairs ? s->pairs_end[micro] - pair : 0};
}

static void find_pairs(tn_stepper *s, const tn_batches *batches, int64_t cursor) {
    int n = 0;
    for (int row = 0; row < s->course->rows_per_step; row++) {
        const int micro = row / s->config->batch_size, place = row % s->config->batch_size;
        tn_pairs_of_row(s->pairs, &n, tn_batches_row(batches, cursor + row), (int64_t)place * s->context,
                        s->references);
        s->pairs_end[micro] = n;
    }
}

int64_t tn_stepper_load(tn_stepper *s, const tn_batches *batches, int64_t cursor) {
    int64_t counted = 0;
    tn_batches_get(batches, cursor, (int)s->course->rows_per_step, &s->batch);
    if (s->pairs) find_pairs(s, batches, cursor);
    for (int micro = 0; micro < s->course->accumulation; micro++) {
        const tn_objective_pass pass = pass_of(s, micro);
        counted += tn_objective_count(s->objective, &pass);
    }
    return counted;
}

tn_status tn_stepper_pass(tn_stepper *s, int64_t step, int micro, double divisor, tn_objective_tally *tally) {
    uint64_t number = (uint64_t)step * (uint64_t)s->course->accumulation + (uint64_t)micro;
    tn_rng rng = tn_rng_make((uint64_t)s->config->seed, TN_PURPOSE_DROPOUT, (uint32_t)number);
    const tn_objective_pass pass = pass_of(s, micro);
    return tn_objective_train(s->objective, s->model, s->tape, &rng, &pass, divisor, tally);
}

void tn_stepper_update(tn_stepper *s, int64_t step, double norm) {
    const tn_train_config *c = s->config;
    tn_rates rates = tn_schedule_at(&s->course->schedule, step, s->course->total);
    double table = c->embedding_learning_rate > 0 ? c->embedding_learning_rate : c->learning_rate;
    tn_optimizer_rates now = {.learning_rate = c->learning_rate * rates.factor,
                              .table_learning_rate = table * rates.factor,
                              .weight_decay = rates.weight_decay,
                              .grad_scale = tn_clip_scale(norm, c->max_grad_norm)};
    tn_optimizer_step(s->optimizer, &now);
}

/* One divisor for the whole step, so that a long micro-batch weighs as much a token as a short one. */
static tn_status accumulate(tn_stepper *s, int64_t step, tn_step_result *r) {
    tn_objective_tally tally = {0};
    for (int micro = 0; micro < s->course->accumulation && isfinite(tally.loss); micro++) {
        tn_status status = tn_stepper_pass(s, step, micro, (double)r->counted, &tally);
        if (status && status != TN_E_NAN) return status;
        if (status) tally.loss = (double)NAN;
    }
    r->means = tn_objective_mean(s->objective, &tally, r->counted);
    r->grad_norm = isfinite(tally.loss) ? tn_clip_norm(&s->clip) : (double)NAN;
    if (!isfinite(tally.loss))
        r->skipped = "the loss is not a finite number";
    else if (!isfinite(r->grad_norm))
        r->skipped = "the gradient is not finite";
    return TN_OK;
}

tn_status tn_stepper_run(tn_stepper *s, const tn_batches *batches, int64_t cursor, int64_t step, tn_real lambda,
                         tn_step_result *result) {
    *result = (tn_step_result){.means = tn_objective_no_means(), .grad_norm = (double)NAN};
    result->counted = tn_stepper_load(s, batches, cursor);
    if (!result->counted)
        result->skipped = "no token of the batch is a target";
    else
        TN_TRY(accumulate(s, step, result));
    if (result->skipped)
        tn_optimizer_zero_grads(s->optimizer);
    else
        tn_stepper_update(s, step, result->grad_norm);
    tn_model_refresh_params(s->model, s->blocks.params, s->blocks.n_params, lambda);
    return TN_OK;
}
