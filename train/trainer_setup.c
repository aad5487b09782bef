/* SPDX-License-Identifier: MIT
 * Makes a trainer: folder, data, model, and the state it starts from. */
#include "train/trainer_priv.h"

#include "core/clock.h"
#include "core/log.h"
#include "train/fit.h"

#include <math.h>
#include <string.h>

tn_real tn_trainer_lambda(const tn_trainer *trainer, int64_t tokens) {
    int64_t warmup = trainer->config->train.quant_warmup_tokens;
    return tokens >= warmup ? 1 : (tn_real)((double)tokens / (double)warmup);
}

tn_checkpoint tn_trainer_checkpoint(tn_trainer *t) {
    return (tn_checkpoint){.trained = &t->engine.trained,
                           .optimizer = t->engine.stepper.optimizer,
                           .state = &t->state,
                           .config = t->config,
                           .tokenizer = t->data.tokenizer,
                           .references = t->engine.references,
                           .n_references = t->course.answers,
                           .arena = t->engine.arena};
}

/* ---- folder and data ---- */

static tn_status open_data(tn_trainer *t, bool resume) {
    char file[TN_RUN_PATH];
    if (resume) TN_TRY(tn_run_dir_file(&t->dir, "tokenizer.json", file));
    TN_TRY(tn_train_data_open(&t->data, &t->config->data, tn_base_tokenizer(&t->base), resume ? file : NULL,
                              tn_run_config_row_length(t->config), (uint64_t)t->config->train.seed));
    return tn_train_data_check(&t->data, (tn_objective_kind)t->config->finetune.objective);
}

static tn_status write_text(const tn_trainer *t, const char *name, const tn_buf *text) {
    char path[TN_RUN_PATH];
    TN_TRY(tn_run_dir_file(&t->dir, name, path));
    return tn_file_write(path, tn_buf_text(text), text->len);
}

/* tokenizer.json first: a folder with a config.yaml has all that a resumed run needs. */
static tn_status write_head(const tn_trainer *t) {
    tn_buf text = {0};
    tn_status status = t->data.own ? tn_tokenizer_to_json(t->data.tokenizer, &text) : TN_OK;
    if (!status && t->data.own) status = write_text(t, "tokenizer.json", &text);
    tn_buf_reset(&text);
    if (!status) status = tn_config_dump(&t->config->config, &text);
    if (!status) status = write_text(t, "config.yaml", &text);
    tn_buf_release(&text);
    return status;
}

/* ---- samples ---- */

/* What the hook will have to do with the prompt: encode it, and find room behind it (infer/generate.h). */
static tn_status encode_prompt(const tn_trainer *t, tn_ids *ids) {
    const char *prompt = t->config->train.sample_prompt;
    const tn_vocabulary *v = tn_tokenizer_vocabulary(t->data.tokenizer);
    int64_t context = t->config->model.context, begin = v->add_bos && v->bos >= 0;
    tn_status status = tn_tokenizer_encode(t->data.tokenizer, prompt, strlen(prompt), true, ids);
    if (status) return tn_fail_at(status, __FILE__, __LINE__, "train.sample_prompt: %s", tn_error_message());
    int64_t count = begin + (int64_t)ids->count;
    if (!count && v->bos < 0 && v->eos < 0)
        return TN_FAIL(CONFIG, "train.sample_prompt is empty, and the tokenizer has no token to begin a text with");
    if (count >= context)
        return TN_FAIL(CONFIG, "train.sample_prompt has %lld tokens, but must be shorter than model.context, %lld",
                       (long long)count, (long long)context);
    return TN_OK;
}

static tn_status check_prompt(const tn_trainer *t) {
    if (!t->hooks.sample || !t->config->train.sample_steps) return TN_OK;
    tn_ids ids = {0};
    tn_status status = encode_prompt(t, &ids);
    tn_ids_release(&ids);
    return status;
}

/* ---- state ---- */

static tn_status start_state(tn_trainer *t) {
    TN_TRY(tn_train_state_init(&t->state, t->engine.arena));
    t->state.train_id = t->data.train_id;
    t->state.validation_id = t->data.validation_id;
    return TN_OK;
}

/* From the newest checkpoint that is whole; TN_E_MISSING when there is none. */
static tn_status load_newest(tn_trainer *t, const int64_t *steps, int count) {
    tn_checkpoint checkpoint = tn_trainer_checkpoint(t);
    for (int i = count - 1; i >= 0; i--) {
        char path[TN_RUN_PATH];
        TN_TRY(tn_run_dir_checkpoint(&t->dir, steps[i], path));
        tn_status status = tn_checkpoint_load(&checkpoint, path);
        if (!status) t->saved_step = steps[i];
        if (status != TN_E_CORRUPT && status != TN_E_FORMAT) return status;
        tn_log(TN_LOG_WARN, "train", "%s; passed over for the checkpoint before it", tn_error_message());
    }
    return count ? TN_FAIL(CORRUPT, "%s: none of its %d checkpoints can be read", t->dir.path, count) : TN_E_MISSING;
}

/* A run that was killed before its first checkpoint, or has lost them all. */
static tn_status begin_again(const tn_trainer *t) {
    char path[TN_RUN_PATH];
    int64_t last;
    TN_TRY(tn_run_dir_file(&t->dir, "config.yaml", path));
    if (tn_path_exists(path)) TN_TRY(tn_run_config_compare_file(t->config, path));
    TN_TRY(tn_metrics_last_step(t->dir.path, &last));
    if (last < 0)
        tn_log(TN_LOG_INFO, "train", "%s: no checkpoint yet, so the run begins at step 0", t->dir.path);
    else
        tn_log(TN_LOG_WARN, "train",
               "%s: there is no checkpoint, so the run begins again at step 0; its metrics, up to step %lld, are "
               "dropped",
               t->dir.path, (long long)last);
    return TN_OK;
}

static tn_status restore(tn_trainer *t) {
    int64_t *steps;
    int count;
    TN_TRY(tn_run_dir_steps(&t->dir, &steps, &count));
    tn_status status = load_newest(t, steps, count);
    tn_heap_free(steps);
    t->resumed = !status;
    return status == TN_E_MISSING ? begin_again(t) : status;
}

/* The text files may be ahead of, or behind, what was restored, and old checkpoints may not be removed yet. */
static tn_status tidy_checkpoints(const tn_trainer *t) {
    char path[TN_RUN_PATH];
    int64_t best = t->resumed ? t->state.best_step : -1;
    TN_TRY(tn_run_dir_checkpoint(&t->dir, TN_MAX(best, 0), path));
    TN_TRY(tn_run_dir_mark(&t->dir, "best", best >= 0 && tn_path_exists(path) ? best : -1));
    TN_TRY(tn_run_dir_mark(&t->dir, "latest", t->resumed ? t->state.step : -1));
    if (!t->resumed) return TN_OK;
    return tn_run_dir_prune(&t->dir, t->state.step, best, t->config->train.save_total_limit);
}

static tn_status fill_models(tn_trainer *t) {
    if (t->config->teacher) TN_TRY(tn_teacher_fill(&t->teacher, t->engine.teacher));
    if (t->config->base) TN_TRY(tn_base_fill(&t->base, t->config, t->engine.model));
    t->state.teacher_id = t->teacher.id;
    t->state.base_id = t->base.id;
    return TN_OK;
}

/* Of all answers, by the base as it was opened. */
static tn_status make_references(tn_trainer *t) {
    tn_engine *e = &t->engine;
    const int rows = t->config->train.batch_size;
    const double start = tn_clock_seconds();
    if (!e->references) return TN_OK;
    tn_model_refresh(e->model, 1);
    TN_TRY(tn_objective_refer_rows(e->references, &e->objective, e->model, e->tape, &t->data.train, rows));
    if (t->data.validates)
        TN_TRY(tn_objective_refer_rows(e->references + tn_train_data_held_out_answer(&t->data), &e->objective, e->model,
                                       e->tape, &t->data.validation, rows));
    tn_log(TN_LOG_INFO, "train", "what the base makes of %lld answers was computed in %.1f s",
           (long long)t->course.answers, tn_clock_seconds() - start);
    return TN_OK;
}

static tn_status make_state(tn_trainer *t, bool resume) {
    TN_TRY(start_state(t));
    TN_TRY(fill_models(t));
    if (resume) TN_TRY(restore(t));
    if (!t->resumed && !t->config->base) tn_model_init(t->engine.model, (uint64_t)t->config->train.seed);
    if (!t->resumed) TN_TRY(make_references(t));
    tn_model_refresh(t->engine.model, tn_trainer_lambda(t, t->state.tokens));
    t->first_step = t->state.step;
    return TN_OK;
}

static void warn_of_warmup(const tn_trainer *t) {
    int64_t warmup = t->config->train.quant_warmup_tokens, tokens = t->course.total * t->course.tokens_per_step;
    if (!warmup || t->course.endless || tokens > warmup) return;
    tn_log(
        TN_LOG_WARN, "train",
        "train.quant_warmup_tokens %lld is not less than the %lld tokens of the run, so no step trains the quantised "
        "model that is evaluated and exported",
        (long long)warmup, (long long)tokens);
}

static void warn_of_rise(const tn_trainer *t) {
    if (t->course.endless || t->course.schedule.warmup < t->course.total) return;
    tn_log(TN_LOG_WARN, "train",
           "the warm-up (train.warmup_steps, train.warmup_ratio) takes all %lld steps of the run, so the learning rate "
           "never reaches its peak",
           (long long)t->course.total);
}

static tn_status fit_ram(tn_trainer *t, int64_t max_ram) {
    tn_plan plan = {0};
    if (!max_ram) return TN_OK;
    TN_TRY(tn_fit(&plan, t->config, &t->course, tn_train_data_epoch(&t->data), max_ram));
    return tn_plan_check_ram(&plan, max_ram);
}

/* A new folder is made last, so that a start that fails or is interrupted leaves nothing behind. */
static tn_status build(tn_trainer *t, const tn_trainer_options *options) {
    tn_run_config *c = t->config;
    TN_TRY(options->resume ? tn_run_dir_open(&t->dir, options->run_dir) : tn_run_dir_check(options->run_dir));
    TN_TRY(tn_base_open(&t->base, c));
    TN_TRY(tn_teacher_open(&t->teacher, c));
    TN_TRY(open_data(t, options->resume));
    TN_TRY(tn_run_config_make_absolute(c));
    TN_TRY(tn_run_config_complete(c, t->data.tokenizer));
    TN_TRY(check_prompt(t));
    TN_TRY(tn_train_course(&t->course, &c->train, tn_run_config_row_length(c), tn_train_data_epoch(&t->data)));
    warn_of_warmup(t);
    warn_of_rise(t);
    TN_TRY(fit_ram(t, options->max_ram));
    TN_TRY(tn_engine_init(&t->engine, TN_ENGINE_REAL, c, &t->course));
    TN_TRY(make_state(t, options->resume));
    if (!options->resume) TN_TRY(tn_run_dir_create(&t->dir, options->run_dir));
    TN_TRY(write_head(t));
    TN_TRY(tidy_checkpoints(t));
    return tn_metrics_open(&t->metrics, t->dir.path, t->resumed ? t->state.step : -1);
}

tn_status tn_trainer_create(tn_trainer **out, tn_run_config *config, const tn_trainer_options *options) {
    *out = NULL;
    tn_trainer *t = tn_heap_zalloc(1, sizeof *t);
    if (!t) return TN_E_NOMEM;
    t->config = config;
    t->hooks = options->hooks;
    t->dir.lock.fd = -1;
    t->saved_step = -1;
    t->evaluation = tn_objective_no_means();
    t->bits_per_byte = (double)NAN;
    tn_status status = build(t, options);
    if (!status) {
        *out = t;
        return TN_OK;
    }
    tn_run_dir_discard(&t->dir);
    tn_trainer_free(t);
    return status;
}

void tn_trainer_free(tn_trainer *t) {
    if (!t) return;
    tn_engine_release(&t->engine);
    tn_train_data_release(&t->data);
    tn_teacher_release(&t->teacher);
    tn_base_release(&t->base);
    tn_run_dir_release(&t->dir);
    tn_heap_free(t);
}

tn_model *tn_trainer_model(tn_trainer *trainer) { return trainer->engine.model; }
tn_optimizer *tn_trainer_optimizer(tn_trainer *trainer) { return trainer->engine.stepper.optimizer; }
const tn_tokenizer *tn_trainer_tokenizer(const tn_trainer *trainer) { return trainer->data.tokenizer; }
