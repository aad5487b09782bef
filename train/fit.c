/* SPDX-License-Identifier: MIT */
#include "train/fit.h"

#include "core/log.h"

#include <stdio.h>
#include <string.h>

enum { MOST_PASSES = 65536 }; /* of train.grad_accumulation */

typedef struct search {
    tn_run_config *config;
    tn_course *course;
    tn_epoch epoch;
    tn_train_config asked;
    int asked_passes, asked_blocks; /* of a step; of a segment that runs again */
} search;

/* Let a pass have an n-th of the rows. What counts passes counts n times as many. */
static void divide(tn_train_config *c, int passes, int n) {
    if (n == 1) return;
    c->batch_size /= n;
    c->grad_accumulation = passes * n;
    c->batch_tokens = 0;
    c->eval_batches *= n;
}

static tn_status count(const search *s, tn_plan *plan) {
    *plan = (tn_plan){0};
    TN_TRY(tn_train_course(s->course, &s->config->train, tn_run_config_row_length(s->config), s->epoch));
    return tn_plan_count_memory(plan, s->config, s->course);
}

static void describe(const search *s, char out[TN_PLAN_TEXT]) {
    const tn_train_config *c = &s->config->train;
    int len = 0;
    out[0] = '\0';
    if (c->checkpoint_activations != s->asked.checkpoint_activations)
        len = snprintf(out, TN_PLAN_TEXT, "train.checkpoint_activations %s", c->checkpoint_activations);
    if (c->batch_size != s->asked.batch_size)
        snprintf(out + len, (size_t)(TN_PLAN_TEXT - len), "%strain.batch_size %d with train.grad_accumulation %d",
                 len ? ", " : "", c->batch_size, c->grad_accumulation);
}

/* The settings with an n-th of the batch, counted into `best` when they take less than it. */
static tn_status attempt(const search *s, int n, bool recomputes, tn_plan *best) {
    tn_plan plan;
    s->config->train = s->asked;
    divide(&s->config->train, s->asked_passes, n);
    if (recomputes) s->config->train.checkpoint_activations = "block";
    TN_TRY(count(s, &plan));
    if (plan.memory.total >= best->memory.total) return TN_OK;
    *best = plan;
    describe(s, best->chosen);
    return TN_OK;
}

/* The first that fits, else the smallest. */
static tn_status look(const search *s, int64_t max_ram, tn_plan *best) {
    for (int n = 1; n <= s->asked.batch_size && (int64_t)s->asked_passes * n <= MOST_PASSES; n++) {
        if (s->asked.batch_size % n) continue;
        for (int recomputes = n == 1; recomputes <= (s->asked_blocks != 1); recomputes++) {
            TN_TRY(attempt(s, n, recomputes, best));
            if (best->memory.total <= max_ram) return TN_OK;
        }
    }
    return TN_OK;
}

static tn_status choose(search *s, tn_plan *plan, int64_t max_ram) {
    tn_plan asked = *plan, best = *plan;
    TN_TRY(look(s, max_ram, &best));
    if (best.memory.total <= max_ram) {
        *plan = best;
        tn_log(TN_LOG_WARN, "train", "--max-ram %.1f MiB: %s; the run takes %.1f MiB so, and would have taken %.1f MiB",
               (double)max_ram / 0x1p20, plan->chosen, (double)best.memory.total / 0x1p20,
               (double)asked.memory.total / 0x1p20);
        return TN_OK;
    }
    plan->least = best.memory.total;
    memcpy(plan->least_with, best.chosen, sizeof best.chosen);
    s->config->train = s->asked;
    return tn_train_course(s->course, &s->asked, tn_run_config_row_length(s->config), s->epoch);
}

tn_status tn_fit(tn_plan *plan, tn_run_config *config, tn_course *course, tn_epoch epoch, int64_t max_ram) {
    search s = {.config = config, .course = course, .epoch = epoch, .asked = config->train};
    TN_TRY(count(&s, plan));
    s.asked_passes = course->accumulation;
    TN_TRY(tn_train_recompute(&s.asked, &s.asked_blocks));
    return max_ram && plan->memory.total > max_ram ? choose(&s, plan, max_ram) : TN_OK;
}
