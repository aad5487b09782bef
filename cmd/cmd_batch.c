/* SPDX-License-Identifier: MIT
 * cmd_batch.c - `tern batch`: rows of JSONL answered many at once, as they finish, in a file that can be gone on with.
 */
#include "cmd/chat_options.h"
#include "cmd/console.h"
#include "cmd/generation_options.h"
#include "cmd/model_options.h"
#include "cmd/output_guard.h"
#include "cmd/run_presets.h"
#include "core/clock.h"
#include "core/fs.h"
#include "core/log.h"
#include "formats/checksum.h"
#include "infer/batch_rows.h"
#include "models/fingerprint.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const size_t MAX_INPUT = (size_t)1 << 32;
static const double REDRAW = 0.1; /* seconds */

typedef struct settings {
    tn_model_options model;
    tn_generation generation;
    tn_chat_options chat;
    const char *input, *output;
    int parallel;
    bool restart, conversation, json;
} settings;

typedef struct run {
    settings *settings;
    tn_buf input;
    tn_arena *arena;
    tn_loaded loaded;
    tn_request defaults;
    tn_batch *batch;
    tn_answer_file *answers;
    tn_batch_report report;
    double start, drawn; /* clock */
} run;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number) { interrupted = number; }

/* The first Ctrl-C waits for the pass under way, the second one ends the program. */
static void catch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- what the answers depend on ---- */

static tn_status read_input(run *r) {
    static const char mark[] = "\xEF\xBB\xBF", gzip[] = "\x1f\x8b";
    const char *path = r->settings->input;
    TN_TRY(tn_file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, MAX_INPUT, &r->input));
    if (r->input.len >= 2 && memcmp(r->input.data, gzip, 2) == 0)
        return TN_FAIL(UNSUPPORTED, "%s: is compressed with gzip, expected plain JSONL", path);
    if (r->input.len >= 3 && memcmp(r->input.data, mark, 3) == 0) memset(r->input.data, ' ', 3);
    return TN_OK;
}

/* 16 hex digits of a file's content, "" for no file. */
static tn_status hash_file(const char *path, char hex[17]) {
    tn_map map;
    *hex = '\0';
    if (!path || !tn_path_exists(path)) return TN_OK;
    TN_TRY(tn_map_init(&map, path));
    snprintf(hex, 17, "%016llx", (unsigned long long)tn_checksum64_map(&map, 0, map.size));
    tn_map_release(&map);
    return TN_OK;
}

static const char *or_nothing(const char *text) { return text ? text : ""; }

/* All settings that an answer depends on; not how many rows are answered at once, nor threads. */
static tn_status describe_settings(const run *r, json_t **out) {
    const settings *s = r->settings;
    const tn_chat_options *chat = &s->chat;
    const char *setting = chat->template_file ? chat->template_file : or_nothing(chat->template_arg);
    char template_hash[17], adapters[TN_FINGERPRINT];
    TN_TRY(hash_file(setting, template_hash));
    TN_TRY(tn_model_adapters_fingerprint(r->loaded.model, adapters));
    json_t *more = json_pack("{s:i, s:i, s:b, s:s, s:s, s:s, s:s, s:s}", "context", tn_batch_context(r->batch), "kv",
                             s->model.kv, "conversation", s->conversation, "system", tn_buf_text(&chat->system),
                             "chat_template", setting, "chat_template_hash", template_hash, "chat_template_kwargs",
                             or_nothing(chat->variables_arg), "grammar_hash", s->generation.grammar_hash);
    *out = tn_request_settings(&r->defaults);
    int failed = !more || !*out || json_object_update(*out, more);
    if (*adapters && !failed) failed = json_object_set_new(*out, "adapters", json_string(adapters));
    json_decref(more);
    return failed ? TN_FAIL(TEXT, "the settings cannot be written as JSON") : TN_OK;
}

static tn_status open_answers(run *r) {
    const settings *s = r->settings;
    char model[17];
    json_t *all = NULL;
    TN_TRY(hash_file(r->loaded.path, model));
    tn_status status = describe_settings(r, &all);
    const tn_answer_origin origin = {.input = tn_buf_text(&r->input),
                                     .input_len = r->input.len,
                                     .model = model,
                                     .settings = all,
                                     .seed = s->generation.seed,
                                     .new_seed = (int64_t)tn_generation_seed(&s->generation)};
    if (!status)
        status =
            tn_answer_file_open(&r->answers, s->output, &origin, s->restart ? TN_ANSWERS_RESTART : TN_ANSWERS_GO_ON);
    json_decref(all);
    return status;
}

/* ---- answering ---- */

static void draw_progress(run *r) {
    double now = tn_clock_seconds();
    if (!tn_console_can_redraw() || now - r->drawn < REDRAW) return;
    char line[160];
    tn_batch_counts counts = tn_batch_get_counts(r->batch);
    double seconds = now - r->start;
    snprintf(line, sizeof line, "%lld rows answered, %lld failed, %d under way; %.1f tokens/s",
             (long long)(r->report.answered + r->report.kept), (long long)r->report.failed,
             tn_batch_under_way(r->batch), seconds > 0 ? (double)counts.text / seconds : 0);
    tn_console_progress(line);
    r->drawn = now;
}

static bool look_up(void *context) {
    draw_progress(context);
    return interrupted;
}

static tn_status open_batch(run *r) {
    settings *s = r->settings;
    r->arena = tn_arena_create("model");
    if (!r->arena) return TN_E_NOMEM;
    TN_TRY(tn_model_options_load(&s->model, s->parallel, r->arena, &r->loaded));
    const tn_session_options session = tn_model_options_session(&s->model);
    const tn_batch_options options = {
        .slots = s->parallel, .context = session.context, .chunk = session.chunk, .kv = session.kv};
    TN_TRY(tn_generation_open(&s->generation, r->loaded.tokenizer));
    TN_TRY(tn_chat_options_open(&s->chat, &r->loaded, s->generation.escape));
    TN_TRY(tn_batch_create(&r->batch, &r->loaded, options));
    r->defaults = tn_generation_request(&s->generation);
    return TN_OK;
}

static tn_status answer_rows(run *r) {
    const settings *s = r->settings;
    const tn_batch_rows rows = {.loaded = &r->loaded,
                                .batch = r->batch,
                                .answers = r->answers,
                                .text = tn_buf_text(&r->input),
                                .len = r->input.len,
                                .defaults = &r->defaults,
                                .chat_template = s->chat.chat_template,
                                .variables = s->chat.variables,
                                .system = s->chat.system.len ? s->chat.system.data : NULL,
                                .chat = s->conversation,
                                .grammar = s->generation.how.grammar,
                                .stop = look_up,
                                .context = r};
    r->start = tn_clock_seconds();
    tn_status status = tn_batch_rows_answer(&rows, &r->report);
    tn_console_progress("");
    return status;
}

static tn_status report(const run *r) {
    const tn_batch_report *n = &r->report;
    tn_batch_counts counts = tn_batch_get_counts(r->batch);
    double seconds = tn_clock_seconds() - r->start, per_second = seconds > 0 ? (double)counts.text / seconds : 0;
    long long seed = (long long)tn_answer_file_seed(r->answers);
    tn_log(TN_LOG_INFO, "batch",
           "%lld rows: %lld answered, %lld failed, %lld were there; %lld tokens in %.1f s, %.1f tokens/s; seed %lld",
           (long long)n->rows, (long long)n->answered, (long long)n->failed, (long long)n->kept, (long long)counts.text,
           seconds, per_second, seed);
    if (n->failed)
        tn_log(TN_LOG_WARN, "batch", "%lld rows failed: their \"error\" in %s says why", (long long)n->failed,
               r->settings->output);
    if (!r->settings->json) return TN_OK;
    return tn_cmd_print_json(json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:I}", "output",
                                       tn_cmd_json_path(r->settings->output), "rows", (json_int_t)n->rows, "answered",
                                       (json_int_t)n->answered, "failed", (json_int_t)n->failed, "kept",
                                       (json_int_t)n->kept, "prompt_tokens", (json_int_t)counts.prompt, "reused_tokens",
                                       (json_int_t)counts.reused, "tokens", (json_int_t)counts.text, "seconds", seconds,
                                       "tokens_per_second", per_second, "seed", (json_int_t)seed));
}

static tn_status run_all(run *r) {
    TN_TRY(tn_output_guard(r->settings->output, &r->settings->input, 1));
    TN_TRY(read_input(r));
    TN_TRY(open_batch(r));
    TN_TRY(open_answers(r));
    catch_interrupts();
    tn_status status = answer_rows(r);
    if (!status || interrupted) TN_TRY(report(r));
    if (interrupted) tn_log(TN_LOG_WARN, "batch", "stopped; the same command goes on where this ends");
    return status;
}

static int run_command(settings *s) {
    run r = {.settings = s};
    tn_status status = run_all(&r);
    tn_answer_file_close(r.answers);
    tn_batch_free(r.batch);
    tn_chat_options_release(&s->chat);
    tn_generation_release(&s->generation);
    tn_loaded_release(&r.loaded);
    tn_arena_free(r.arena);
    tn_buf_release(&r.input);
    if (status && interrupted) return TN_EXIT_SIGNAL + interrupted;
    return status ? tn_cmd_fail(status) : TN_EXIT_DONE;
}

/* ---- the command line ---- */

static int check(settings *s) {
    int status = tn_model_options_check(&s->model);
    if (status == TN_OPTIONS_GO) status = tn_generation_check(&s->generation);
    if (status == TN_OPTIONS_GO) status = tn_chat_options_check(&s->chat);
    if (status != TN_OPTIONS_GO) return status;
    if (!s->output) return tn_cmd_usage_error("-o is missing: where the answers go");
    if (strcmp(s->output, "-") == 0)
        return tn_cmd_usage_error("-o -: answers go to a file, so that a batch that was stopped can go on");
    if (s->generation.how.shift)
        return tn_cmd_usage_error("--context-shift: not in batches, whose rows end with their context");
    if (s->generation.how.draft)
        return tn_cmd_usage_error("--lookup, --draft: not in batches, whose rows share each pass");
    return TN_OPTIONS_GO;
}

int tn_cmd_batch(int argc, char **argv) {
    settings s = {.parallel = 8};
    const tn_option *model_rows = tn_model_options_init(&s.model);
    const tn_option *rows = tn_generation_init(&s.generation), *chat_rows = tn_chat_options_init(&s.chat);
    const tn_option options[] = {
        {"output", 'o', TN_OPT_TEXT, &s.output, "OUT.jsonl", "where the answers go, as they come", 0, 0, NULL},
        {"parallel|np", 0, TN_OPT_INT, &s.parallel, "N", "rows under way at once; the answers are the same", 1,
         TN_BATCH_SLOTS, NULL},
        {"restart", 0, TN_OPT_ON, &s.restart, NULL, "drop the answers that are there", 0, 0, NULL},
        {"conversation|cnv", 0, TN_OPT_ON, &s.conversation, NULL, "a prompt is a message of a user", 0, 0, NULL},
        {"no-conversation|no-cnv", 0, TN_OPT_OFF, &s.conversation, NULL, "a prompt is a text to continue", 0, 0, NULL},
        {"cont-batching|cb|no-cont-batching|nocb", 0, TN_OPT_IGNORED, NULL, NULL, "no effect here", 0, 0, NULL},
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "batch",
        .synopsis = "IN.jsonl -o OUT.jsonl -m MODEL",
        .about =
            "Answer rows {\"id\", \"prompt\" or \"messages\", \"max_tokens\", \"temperature\", ...}, many at once. The "
            "same command\ngoes on after a stop: rows that are answered stay.",
        .more = tn_run_presets_list,
        .options = options,
        .shared = {chat_rows, rows, model_rows},
        .min_arguments = 1,
        .max_arguments = 1,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    s.input = argv[1];
    status = check(&s);
    return status == TN_OPTIONS_GO ? run_command(&s) : status;
}
