/* SPDX-License-Identifier: MIT */
#include "train/plan.h"

#include "core/clock.h"
#include "train/base.h"
#include "train/engine.h"
#include "train/fit.h"
#include "train/process.h"
#include "train/teacher.h"
#include "train/train_data.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MEASURED_TOKENS = 1024 };
static const double MEASURED_SECONDS = 0.5;
static const int64_t MEASURED_PARAMETERS = 200000000; /* above, a step takes too long for a plan */

/* ---- memory ---- */

/* While the data were read the process may have had more than it will have while it trains. */
static void add_reading(tn_plan *plan) {
    int64_t peak = tn_process_peak_bytes();
    if (peak > plan->memory.total)
        tn_memory_table_add(&plan->memory, "reading the data, before", peak - plan->memory.total);
}

static int64_t count_trained(const tn_trained *trained) {
    int64_t n = 0;
    for (int i = 0; i < trained->count; i++) n += tn_param_count(trained->list[i]);
    return n;
}

/* What a model reads where it lies in its file takes memory too. */
static void add_tables(tn_plan *plan, tn_model *model, const char *name) {
    int n;
    tn_param **params = tn_model_params(model, &n);
    for (int i = 0; i < n; i++)
        if (params[i]->table.data) tn_memory_table_add(&plan->memory, name, tn_param_table_bytes(params[i]));
}

/* Keys and values of a sample text (cmd/cmd_train.c). A character makes at most one token, and BOS one more. */
static tn_status add_sample(tn_plan *plan, const tn_run_config *config) {
    const tn_train_config *c = &config->train;
    if (!c->sample_steps) return TN_OK;
    int64_t tokens = (int64_t)strlen(c->sample_prompt) + 1 + c->sample_tokens;
    tn_cache cache;
    tn_arena *arena = tn_arena_create_virtual("sample");
    if (!arena) return TN_E_NOMEM;
    tn_status status =
        tn_cache_init(&cache, arena, &config->model, TN_KV_F32, (int)TN_MIN(tokens, (int64_t)config->model.context));
    if (!status) tn_memory_table_add_arena(&plan->memory, arena);
    tn_arena_free(arena);
    return status;
}

/* A head of floats is packed for logits: samples ask for them, losses do not, and what nobody writes takes no memory.
 */
static void leave_out_packed_head(tn_plan *plan, const tn_run_config *config, tn_model *model) {
    const int64_t bytes = tn_param_packed_bytes(tn_model_head(model));
    if (bytes && !config->train.sample_steps) tn_memory_table_add(&plan->memory, "packed floats", -bytes);
}

tn_status tn_plan_count_memory(tn_plan *plan, const tn_run_config *config, const tn_course *course) {
    tn_engine engine = {0};
    tn_memory_table_add(&plan->memory, "program and data", tn_process_resident_bytes());
    tn_status status = tn_engine_init(&engine, TN_ENGINE_DRY, config, course);
    if (!status) status = add_sample(plan, config);
    if (!status) {
        tn_engine_count_memory(&engine, &plan->memory);
        leave_out_packed_head(plan, config, engine.model);
        add_tables(plan, engine.model, "tables in the base's file");
        if (engine.teacher) add_tables(plan, engine.teacher, "tables in the teacher's file");
        plan->trained = count_trained(&engine.trained);
        add_reading(plan);
        tn_memory_table_sort(&plan->memory);
    }
    tn_engine_release(&engine);
    return status;
}

tn_status tn_plan_check_ram(const tn_plan *plan, int64_t max_ram) {
    if (!max_ram || plan->memory.total <= max_ram) return TN_OK;
    double mib = (double)plan->memory.total / 0x1p20, most = (double)max_ram / 0x1p20;
    if (plan->least)
        return TN_FAIL(RANGE,
                       "the run takes %.1f MiB of memory, more than the %.1f MiB of --max-ram; the least it can do "
                       "with is %.1f MiB (%s); a smaller model.context or a smaller model takes less",
                       mib, most, (double)plan->least / 0x1p20, *plan->least_with ? plan->least_with : "as it is");
    return TN_FAIL(RANGE,
                   "the run takes %.1f MiB of memory, more than the %.1f MiB of --max-ram; a smaller train.batch_size "
                   "(with train.grad_accumulation) or model.context takes less",
                   mib, most);
}

/* ---- time ---- */

typedef struct speed {
    double pass;   /* seconds a token, forward and backward */
    double update; /* seconds an optimizer step */
} speed;

static tn_status time_steps(tn_engine *e, const tn_course *course, const tn_batches *batches, speed *out) {
    tn_objective_tally tally = {0};
    const double divisor = (double)course->tokens_per_step;
    double start, passes = 0, begin;
    tn_stepper_load(&e->stepper, batches, 0);
    TN_TRY(tn_stepper_pass(&e->stepper, 0, 0, divisor, &tally)); /* warms caches, takes memory */
    start = tn_clock_seconds();
    do {
        TN_TRY(tn_stepper_pass(&e->stepper, 0, 0, divisor, &tally));
        passes++;
    } while (tn_clock_seconds() - start < MEASURED_SECONDS);
    out->pass = (tn_clock_seconds() - start) / passes / (double)course->tokens_per_step;
    begin = tn_clock_seconds();
    tn_stepper_update(&e->stepper, 0, tn_clip_norm(&e->stepper.clip));
    tn_model_refresh(e->model, 1);
    out->update = tn_clock_seconds() - begin;
    return TN_OK;
}

static tn_status fill(const tn_run_config *config, tn_engine *e) {
    if (config->teacher) TN_TRY(tn_teacher_fill(config->teacher, e->teacher));
    if (config->base) return tn_base_fill(config->base, config, e->model);
    tn_model_init(e->model, (uint64_t)config->train.seed);
    return TN_OK;
}

/* A real engine with a small batch. */
static tn_status measure(tn_plan *plan, const tn_run_config *config, const tn_batches *batches, speed *out) {
    tn_run_config small = *config;
    tn_course course;
    int length = tn_run_config_row_length(config), rows = (MEASURED_TOKENS + length - 1) / length;
    small.train.batch_size = TN_MIN(config->train.batch_size, rows);
    small.train.grad_accumulation = 1;
    small.train.batch_tokens = 0;
    TN_TRY(tn_train_course(&course, &small.train, length, tn_batches_epoch(batches)));
    tn_engine engine = {0};
    tn_status status = tn_engine_init(&engine, TN_ENGINE_REAL, &small, &course);
    if (!status) status = fill(&small, &engine);
    if (!status) {
        tn_model_refresh(engine.model, 1);
        status = time_steps(&engine, &course, batches, out);
    }
    tn_engine_release(&engine);
    if (!status)
        snprintf(plan->how, sizeof plan->how, "measured on this machine with passes of %lld tokens",
                 (long long)course.tokens_per_step);
    return status;
}

static void expect_time(tn_plan *plan, const tn_run_config *config, const tn_course *course, const speed *measured) {
    const tn_train_config *c = &config->train;
    double step = measured->pass * (double)course->tokens_per_step + measured->update;
    double evaluated = (double)plan->validation_tokens;
    double batch = (double)c->batch_size * tn_run_config_row_length(config);
    if (c->eval_batches) evaluated = fmin(evaluated, (double)c->eval_batches * batch);
    double evaluations = (c->eval_steps ? floor((double)course->total / (double)c->eval_steps) : 0) + 1;
    plan->tokens_per_second = (double)course->tokens_per_step / step;
    const double referred = course->answers ? (double)(plan->train_tokens + plan->validation_tokens) : 0;
    plan->seconds = step * (double)course->total +
                    (evaluations * evaluated + referred) * measured->pass / 3; /* forward alone: a third */
    if (course->max_seconds > 0) plan->seconds = fmin(plan->seconds, course->max_seconds);
}

static tn_status plan_time(tn_plan *plan, const tn_run_config *config, const tn_course *course,
                           const tn_batches *batches, int64_t max_ram) {
    int64_t room = tn_process_available_bytes();
    speed measured;
    if (max_ram) room = TN_MIN(room, max_ram);
    if (plan->parameters.total > MEASURED_PARAMETERS) {
        snprintf(plan->how, sizeof plan->how,
                 "not measured: above %lld million parameters a step takes too long for a plan",
                 (long long)(MEASURED_PARAMETERS / 1000000));
        return TN_OK;
    }
    if (plan->memory.total > room) {
        snprintf(plan->how, sizeof plan->how, "not measured: the run does not fit into the %.1f MiB at hand",
                 (double)room / 0x1p20);
        return TN_OK;
    }
    TN_TRY(measure(plan, config, batches, &measured));
    expect_time(plan, config, course, &measured);
    return TN_OK;
}

/* ---- all of it ---- */

static tn_status plan_with_data(tn_plan *plan, tn_run_config *config, const tn_train_data *data, int64_t max_ram) {
    tn_course course;
    TN_TRY(tn_run_config_complete(config, data->tokenizer));
    TN_TRY(tn_train_data_check(data, (tn_objective_kind)config->finetune.objective));
    TN_TRY(tn_fit(plan, config, &course, tn_train_data_epoch(data), max_ram));
    plan->parameters = tn_model_config_counts(&config->model);
    plan->flops = tn_model_flops_per_token(&config->model, tn_run_config_row_length(config));
    plan->steps = course.endless ? 0 : course.total;
    plan->tokens_per_step = course.tokens_per_step;
    plan->tokens = course.endless ? 0 : course.total * course.tokens_per_step;
    plan->train_tokens = data->train.count;
    plan->validation_tokens = data->validates ? data->validation.count : 0;
    return plan_time(plan, config, &course, &data->train, max_ram);
}

static tn_status plan_with_base(tn_plan *plan, tn_run_config *config, const tn_base *base, const char *tokenizer_file,
                                int64_t max_ram) {
    tn_train_data data;
    TN_TRY(tn_train_data_open(&data, &config->data, tn_base_tokenizer(base), tokenizer_file,
                              tn_run_config_row_length(config), (uint64_t)config->train.seed));
    tn_status status = plan_with_data(plan, config, &data, max_ram);
    tn_train_data_release(&data);
    return status;
}

tn_status tn_plan_make(tn_plan *plan, tn_run_config *config, const char *tokenizer_file, int64_t max_ram) {
    tn_base base = {0};
    tn_teacher_file teacher = {0};
    *plan = (tn_plan){0};
    tn_status status = tn_base_open(&base, config);
    if (!status) status = tn_teacher_open(&teacher, config);
    if (!status) status = plan_with_base(plan, config, &base, tokenizer_file, max_ram);
    tn_teacher_release(&teacher);
    tn_base_release(&base);
    config->base = NULL;
    config->teacher = NULL;
    return status;
}
