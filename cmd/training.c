/* SPDX-License-Identifier: MIT */
#include "cmd/training.h"

#include "cmd/data_report_print.h"
#include "cmd/train_progress.h"
#include "core/fs.h"
#include "core/log.h"
#include "infer/session.h"
#include "train/plan.h"
#include "train/process.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_FLAGS = 24 };

typedef struct settings {
    const tn_training_command *command;
    const char *flags[MOST_FLAGS]; /* values of command->flags; NULL = not given */
    const char *config, *run_dir, *resume;
    tn_option_list sets;
    int64_t max_ram;
    int threads, progress;
    bool plan, json;
} settings;

static volatile sig_atomic_t stop_signal;
static char early_text[96]; /* made before a signal can come: a handler formats nothing */

/* While the data are read there is nothing to finish or to save, so the process ends at once. */
static void on_early_signal(int number) {
    ssize_t written = write(STDERR_FILENO, early_text, strlen(early_text));
    (void)written;
    tn_atomic_abort_all();
    _exit(TN_EXIT_SIGNAL + number);
}

/* Later, the first signal lets the step finish and saves; a second Ctrl-C or SIGTERM ends the process. */
static void on_signal(int number) { stop_signal = number; }

/* A lost terminal sends SIGHUP twice, by the kernel and by the shell, so the second one must not end the process. Under
 * nohup it stays ignored. */
static void catch_signals(void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = (int)SA_RESETHAND}, present;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_flags = 0;
    if (sigaction(SIGHUP, NULL, &present) == 0 && present.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL);
}

/* ---- configuration ---- */

static bool is_for_other_command(const settings *s, const char *path, tn_arena *arena) {
    tn_run_config config;
    if (!s->command->other || s->command->other_init(&config, arena)) return false;
    return !tn_config_load_file(&config.config, path);
}

static tn_status load_file(tn_run_config *config, const settings *s, const char *path) {
    tn_status status = tn_config_load_file(&config->config, path);
    if (status != TN_E_CONFIG) return status;
    if (is_for_other_command(s, path, config->config.arena))
        return TN_FAIL(CONFIG, "%s is a configuration for tern %s", path, s->command->other);
    return tn_config_load_file(&config->config, path); /* the first sentence again */
}

static tn_status load_stored(tn_run_config *config, const settings *s) {
    char stored[4096];
    TN_TRY(tn_path_join(stored, sizeof stored, s->resume, "config.yaml"));
    if (!tn_path_exists(stored))
        return TN_FAIL(MISSING, "%s: there is no config.yaml, so no run to go on with; name its configuration file too",
                       s->resume);
    TN_TRY(load_file(config, s, stored));
    if (config->finetunes && !*config->based.base)
        return TN_FAIL(CONFIG, "%s: names no model.base, so this is no run of tern finetune", stored);
    return TN_OK;
}

static tn_status set_flags(tn_run_config *config, const settings *s) {
    for (int i = 0; i < s->command->n_flags; i++) {
        char assignment[4096];
        if (!s->flags[i]) continue;
        int len = snprintf(assignment, sizeof assignment, "%s=%s", s->command->flags[i].key, s->flags[i]);
        if (len >= (int)sizeof assignment)
            return TN_FAIL(RANGE, "the value for %s is too long", s->command->flags[i].key);
        TN_TRY(tn_config_set(&config->config, assignment));
    }
    return TN_OK;
}

/* Defaults < CONFIG, or the config.yaml of the run that is resumed < flags that stand for settings < --set. */
static tn_status load_config(tn_run_config *config, const settings *s, tn_arena *arena) {
    TN_TRY(s->command->init(config, arena));
    TN_TRY(s->config ? load_file(config, s, s->config) : load_stored(config, s));
    TN_TRY(set_flags(config, s));
    for (int i = 0; i < s->sets.count; i++) TN_TRY(tn_config_set(&config->config, s->sets.items[i]));
    return TN_OK;
}

static tn_status log_config(const tn_run_config *config) {
    tn_buf text = {0};
    tn_status status = tn_config_dump(&config->config, &text);
    for (char *line = text.data, *end; !status && line && (end = strchr(line, '\n')); line = end + 1)
        tn_log(TN_LOG_DEBUG, "train", "%.*s", (int)(end - line), line);
    tn_buf_release(&text);
    return status;
}

/* ---- samples ---- */

static tn_status append_piece(void *context, const char *text, size_t len) { return tn_buf_append(context, text, len); }

static tn_status write_sample(tn_session *session, tn_sampler *sampler, const tn_tokenizer *tokenizer,
                              const char *prompt, int n_tokens, tn_buf *out) {
    tn_ids ids = {0};
    tn_generated done;
    const tn_generate_options options = {.max_tokens = n_tokens, .piece = append_piece, .context = out};
    tn_status status = tn_prompt_encode(tokenizer, prompt, strlen(prompt), &ids);
    if (!status) status = tn_session_feed(session, ids.list, (int)ids.count);
    if (!status) status = tn_buf_puts(out, prompt);
    if (!status) status = tn_generate(session, sampler, &options, &done);
    tn_ids_release(&ids);
    return status;
}

static tn_status sample(void *context, tn_model *model, const tn_tokenizer *tokenizer, const char *prompt, int n_tokens,
                        uint64_t seed, tn_buf *out) {
    (void)context;
    const tn_loaded loaded = {.model = model, .tokenizer = (tn_tokenizer *)(uintptr_t)tokenizer};
    tn_sampler_options options = tn_sampler_defaults();
    tn_session *session = NULL;
    tn_sampler *sampler = NULL;
    options.seed = seed;
    tn_status status = tn_session_create(&session, &loaded, (tn_session_options){0});
    if (!status) status = tn_sampler_create(&sampler, tn_model_get_config(model)->vocab_size, &options);
    if (!status) status = write_sample(session, sampler, tokenizer, prompt, n_tokens, out);
    tn_sampler_free(sampler);
    tn_session_free(session);
    return status;
}

/* ---- the plan ---- */

static tn_status print_plan_json(const tn_plan *p) {
    double flops = p->flops.ternary + p->flops.attention + p->flops.head;
    json_t *memory = json_object();
    for (int i = 0; i < p->memory.count; i++)
        json_object_set_new(memory, p->memory.rows[i].name, json_integer((json_int_t)p->memory.rows[i].bytes));
    json_t *parameters = json_pack("{s:I, s:I, s:I, s:I, s:I}", "total", (json_int_t)p->parameters.total, "ternary",
                                   (json_int_t)p->parameters.ternary, "table", (json_int_t)p->parameters.table, "gain",
                                   (json_int_t)p->parameters.gain, "trained", (json_int_t)p->trained);
    json_t *object = json_pack("{s:o, s:o, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:s}", "parameters", parameters, "memory",
                               memory, "memory_bytes", (json_int_t)p->memory.total, "flops_per_token", 3 * flops,
                               "ternary_share", p->flops.ternary / flops, "head_share", p->flops.head / flops, "steps",
                               (json_int_t)p->steps, "tokens_per_step", (json_int_t)p->tokens_per_step, "tokens",
                               (json_int_t)p->tokens, "estimate", p->how);
    if (*p->chosen) json_object_set_new(object, "chosen", json_string(p->chosen));
    if (p->seconds > 0) json_object_set_new(object, "seconds", json_real(p->seconds));
    if (p->tokens_per_second > 0) json_object_set_new(object, "tokens_per_second", json_real(p->tokens_per_second));
    return tn_cmd_print_json(object);
}

static tn_status print_plan_table(const tn_plan *p) {
    double flops = p->flops.ternary + p->flops.attention + p->flops.head;
    char time[24];
    TN_TRY(tn_cmd_print("parameters        %12lld\n", (long long)p->parameters.total));
    TN_TRY(tn_cmd_print("  in the blocks   %12lld   (ternary, or floats in a float twin)\n",
                        (long long)p->parameters.ternary));
    TN_TRY(tn_cmd_print("  embedding, head %12lld\n", (long long)p->parameters.table));
    TN_TRY(tn_cmd_print("  gains           %12lld\n", (long long)p->parameters.gain));
    if (p->trained != p->parameters.total)
        TN_TRY(tn_cmd_print("trained           %12lld   (%.2f %%)\n", (long long)p->trained,
                            100.0 * (double)p->trained / (double)p->parameters.total));
    TN_TRY(tn_cmd_print("memory            %12.1f MiB\n", (double)p->memory.total / 0x1p20));
    for (int i = 0; i < p->memory.count; i++)
        TN_TRY(tn_cmd_print("  %-22s%6.1f MiB\n", p->memory.rows[i].name, (double)p->memory.rows[i].bytes / 0x1p20));
    if (*p->chosen) TN_TRY(tn_cmd_print("  with %s\n", p->chosen));
    TN_TRY(tn_cmd_print("arithmetic        %12.2f MFLOP a token, forward and backward\n", 3 * flops / 1e6));
    TN_TRY(tn_cmd_print("  blocks %.0f %%, attention %.0f %%, head %.0f %%\n", 100 * p->flops.ternary / flops,
                        100 * p->flops.attention / flops, 100 * p->flops.head / flops));
    TN_TRY(tn_cmd_print("data              %12lld tokens to learn from, %lld held out\n", (long long)p->train_tokens,
                        (long long)p->validation_tokens));
    if (p->steps)
        TN_TRY(tn_cmd_print("run               %12lld steps of %lld tokens, %lld tokens in all\n", (long long)p->steps,
                            (long long)p->tokens_per_step, (long long)p->tokens));
    if (p->tokens_per_second > 0) TN_TRY(tn_cmd_print("speed             %12.0f tokens/s\n", p->tokens_per_second));
    return tn_cmd_print("time              %12s   (%s)\n", p->seconds > 0 ? tn_duration_text(p->seconds, time) : "?",
                        p->how);
}

static tn_status make_plan(const settings *s, tn_run_config *config) {
    tn_plan plan;
    char tokenizer[4096];
    if (s->resume) TN_TRY(tn_path_join(tokenizer, sizeof tokenizer, s->resume, "tokenizer.json"));
    TN_TRY(tn_plan_make(&plan, config, s->resume ? tokenizer : NULL, s->max_ram));
    TN_TRY(s->json ? print_plan_json(&plan) : print_plan_table(&plan));
    return tn_plan_check_ram(&plan, s->max_ram);
}

/* ---- the run ---- */

static void show_progress(void *context, const tn_progress *progress) { tn_progress_view_show(context, progress); }

static const char *end_name(tn_run_end end) {
    static const char *const names[] = {"done", "time", "patience", "stopped"};
    return names[end];
}

static tn_status print_summary_json(const tn_run_summary *r, const char *dir) {
    json_t *object = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:s}", "run_dir", dir, "end", end_name(r->end),
                               "step", (json_int_t)r->step, "total", (json_int_t)r->total, "tokens",
                               (json_int_t)r->tokens, "skipped", (json_int_t)r->skipped, "train_loss", r->train_loss,
                               "seconds", r->seconds, "checkpoint", r->checkpoint);
    json_object_set_new(object, "peak_rss_bytes", json_integer((json_int_t)tn_process_peak_bytes()));
    if (isfinite(r->val_loss)) json_object_set_new(object, "val_loss", json_real(r->val_loss));
    if (isfinite(r->val_kl)) json_object_set_new(object, "val_kl", json_real(r->val_kl));
    if (isfinite(r->val_accuracy)) json_object_set_new(object, "val_rewards_accuracies", json_real(r->val_accuracy));
    if (isfinite(r->val_bits_per_byte))
        json_object_set_new(object, "val_bits_per_byte", json_real(r->val_bits_per_byte));
    if (r->best_step >= 0) {
        json_object_set_new(object, "best_val_loss", json_real(r->best_loss));
        json_object_set_new(object, "best_step", json_integer((json_int_t)r->best_step));
    }
    if (isfinite(r->flipped_share)) json_object_set_new(object, "flipped_share", json_real(r->flipped_share));
    if (r->rows.rows) json_object_set_new(object, "rows", tn_data_rows_json(&r->rows));
    return tn_cmd_print_json(object);
}

/* Of the limits on steps the tightest one: a larger one of the others would change nothing. */
static const char *limit_that_ended(const tn_run_summary *r, const tn_train_config *c) {
    if (c->max_steps && r->total >= c->max_steps) return "max_steps";
    if (c->max_tokens && r->tokens >= c->max_tokens) return "max_tokens";
    return c->epochs > 0 ? "epochs" : "max_steps";
}

/* What can be done next: a limit that has ended the run would end it again. */
static void say_how_to_go_on(const tn_run_summary *r, const tn_train_config *c, const char *command, const char *dir) {
    if (r->end == TN_END_STEPS || r->end == TN_END_PATIENCE)
        fprintf(stderr, "try it: tern run -m %s -p \"...\"\n", dir);
    if (r->end == TN_END_STOPPED)
        fprintf(stderr, "go on: tern %s --resume %s\n", command, dir);
    else if (r->end == TN_END_TIME)
        fprintf(stderr, "go on: tern %s --resume %s --set train.max_time=TIME   (now %s, over all parts)\n", command,
                dir, c->max_time);
    else if (r->end == TN_END_PATIENCE)
        fprintf(stderr, "go on: tern %s --resume %s --set train.patience=N   (now %lld; 0 = no limit)\n", command, dir,
                (long long)c->patience);
    else
        fprintf(stderr,
                "more steps (the learning rate then follows the longer schedule): tern %s --resume %s --set "
                "train.%s=N\n",
                command, dir, limit_that_ended(r, c));
}

static void say_rows(const tn_file_report *rows) {
    tn_buf dropped = {0};
    if (rows->rows != rows->kept && !tn_data_report_put_dropped(rows, &dropped))
        fprintf(stderr, "\nof %lld rows %lld are used%s", (long long)rows->rows, (long long)rows->kept,
                tn_buf_text(&dropped));
    tn_buf_release(&dropped);
}

static void say_summary(const tn_run_summary *r, const tn_train_config *c, const char *command, const char *dir) {
    static const char *const ends[] = {"all steps are done", "train.max_time is over",
                                       "the held-out loss has not improved for train.patience evaluations",
                                       "stopped by a signal"};
    char time[24];
    fprintf(stderr, "%s: step %lld, %lld tokens in %s, training loss %.4f", ends[r->end], (long long)r->step,
            (long long)r->tokens, tn_duration_text(r->seconds, time), r->train_loss);
    if (r->skipped) fprintf(stderr, ", %lld steps skipped", (long long)r->skipped);
    if (r->best_step >= 0)
        fprintf(stderr, "\nbest held-out loss %.4f at step %lld", r->best_loss, (long long)r->best_step);
    if (isfinite(r->flipped_share))
        fprintf(stderr, "\n%.3g %% of the ternary states under the adapter differ from the base's",
                100 * r->flipped_share);
    if (isfinite(r->val_accuracy))
        fprintf(stderr, "\nof the held-out pairs %.1f %% are right in the end", 100 * r->val_accuracy);
    say_rows(&r->rows);
    fprintf(stderr, "\nwritten: %s/metrics.jsonl, %s/metrics.csv, %s\n", dir, dir,
            *r->checkpoint ? r->checkpoint : "no checkpoint");
    say_how_to_go_on(r, c, command, dir);
}

static tn_status train(const settings *s, tn_run_config *config, tn_run_summary *summary) {
    const char *dir = s->resume ? s->resume : s->run_dir;
    tn_progress_view view = tn_progress_view_make((tn_progress_style)s->progress);
    const tn_trainer_options options = {
        .run_dir = dir,
        .resume = s->resume != NULL,
        .max_ram = s->max_ram,
        .hooks = {.context = &view, .progress = show_progress, .sample = sample, .stop = &stop_signal},
    };
    tn_trainer *trainer;
    catch_signals(on_early_signal);
    TN_TRY(tn_trainer_create(&trainer, config, &options));
    catch_signals(on_signal);
    tn_status status = log_config(config);
    if (!status) status = tn_trainer_run(trainer, summary);
    tn_progress_view_end(&view);
    tn_trainer_free(trainer);
    if (status) return status;
    if (s->progress != TN_PROGRESS_OFF) say_summary(summary, &config->train, s->command->name, dir);
    return s->json ? print_summary_json(summary, dir) : TN_OK;
}

static tn_status run(const settings *s, tn_arena *arena, tn_run_summary *summary) {
    tn_run_config config;
    TN_TRY(tn_cmd_start_compute(s->threads));
    tn_cmd_warn_of_slow_blas();
    TN_TRY(load_config(&config, s, arena));
    if (s->plan) return make_plan(s, &config);
    return train(s, &config, summary);
}

static int run_command(const settings *s) {
    tn_arena *arena = tn_arena_create("configuration");
    tn_run_summary summary = {.end = TN_END_STEPS};
    tn_status status = arena ? run(s, arena, &summary) : TN_E_NOMEM;
    tn_arena_free(arena);
    if (status) return tn_cmd_fail(status);
    return summary.end == TN_END_STOPPED ? TN_EXIT_SIGNAL + stop_signal : TN_EXIT_DONE;
}

tn_status tn_training_settings(tn_run_config_start *init, tn_buf *out) {
    tn_run_config config;
    tn_arena *arena = tn_arena_create("configuration");
    tn_status status = arena ? init(&config, arena) : TN_E_NOMEM;
    if (!status) status = tn_buf_puts(out, "\nSettings of CONFIG and --set:\n");
    if (!status) status = tn_config_help(&config.config, out);
    tn_arena_free(arena);
    return status;
}

/* Help lists settings once, under their own names. */
static void make_flag_options(settings *s, tn_option options[MOST_FLAGS + 1]) {
    TN_ASSERT(s->command->n_flags <= MOST_FLAGS);
    for (int i = 0; i < s->command->n_flags; i++)
        options[i] = (tn_option){s->command->flags[i].names, 0, TN_OPT_TEXT, &s->flags[i], "V",
                                 s->command->flags[i].key,   0, 0,           NULL};
    options[s->command->n_flags] = (tn_option)TN_OPTIONS_END;
}

static int check_command_line(const settings *s) {
    if (!s->config && !s->resume) return tn_cmd_usage_error("CONFIG is missing: a YAML file, see configs/");
    if (s->run_dir && s->resume)
        return tn_cmd_usage_error("--run-dir begins a run and --resume goes on with one; give one of them");
    if (!s->run_dir && !s->resume && !s->plan)
        return tn_cmd_usage_error("--run-dir is missing: the folder for the run");
    return TN_OPTIONS_GO;
}

int tn_training_run(const tn_training_command *command, int argc, char **argv) {
    settings s = {.command = command};
    tn_option flags[MOST_FLAGS + 1];
    const tn_option options[] = {
        {"set", 0, TN_OPT_LIST, &s.sets, "KEY=VALUE", "change a setting, train.max_steps=100; may be repeated", 0, 0,
         NULL},
        {"run-dir", 0, TN_OPT_TEXT, &s.run_dir, "DIR", "folder for the new run", 0, 0, NULL},
        {"resume", 0, TN_OPT_TEXT, &s.resume, "DIR", "go on with the run in DIR", 0, 0, NULL},
        {"plan", 0, TN_OPT_ON, &s.plan, NULL, "print memory, arithmetic and time; train nothing", 0, 0, NULL},
        {"max-ram", 0, TN_OPT_SIZE, &s.max_ram, "SIZE",
         "choose a batch size and recompute that take no more (for example 2GiB)", 0, 0, NULL},
        TN_OPTION_THREADS(&s.threads),
        {"progress", 0, TN_OPT_CHOICE, &s.progress, "STYLE", "how to show progress", 0, 0, TN_PROGRESS_STYLES},
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = command->name,
        .synopsis = "CONFIG --run-dir DIR | [CONFIG] --resume DIR",
        .about = command->about,
        .more = command->settings,
        .options = options,
        .max_arguments = 1,
        .shared = {flags},
    };
    make_flag_options(&s, flags);
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    s.config = argc > 1 ? argv[1] : NULL;
    status = check_command_line(&s);
    if (status != TN_OPTIONS_GO) return status;
    snprintf(early_text, sizeof early_text, "tern %s: stopped before the first step; nothing was trained\n",
             command->name);
    return run_command(&s);
}
