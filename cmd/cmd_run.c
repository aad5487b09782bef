/* SPDX-License-Identifier: MIT
 * cmd_run.c - `tern run`: continue a text. Flags, defaults and behaviour are those of llama-cli on a base
 * model: the prompt is shown, then what the model makes of it, as it comes. */
#include "cmd/escapes.h"
#include "cmd/generation_options.h"
#include "cmd/model_options.h"
#include "cmd/run_presets.h"
#include "core/clock.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/par.h"
#include "infer/logprobs.h"
#include "infer/session_file.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct settings {
    tn_model_options model;
    tn_generation generation;
    const char *prompt, *file, *session;
    int samples, logprobs;
    bool show_prompt, json, read_only;
} settings;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number) { interrupted = number; }

/* The first Ctrl-C ends the text, the second one the program. */
static void catch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- one run ---- */

typedef struct run {
    settings *settings;
    tn_arena *arena;
    tn_loaded loaded;
    tn_session *session;
    tn_sampler *sampler;
    tn_buf prompt, shown, text; /* as given; as the tokens say it; of the sample under way, for JSON */
    tn_ids ids;                 /* of the prompt, or of a session that is gone on with */
    bool goes_on;               /* with a session, from where it ended */
    int reused;                 /* tokens of it that a session had already */
    uint64_t seed;
    double prompt_seconds, seconds;
    int64_t tokens, drafted, guessed;
    int number;      /* of the sample under way */
    json_t *samples; /* with --json */
} run;

static tn_status open_session(run *r) {
    settings *s = r->settings;
    r->arena = tn_arena_create("model");
    if (!r->arena) return TN_E_NOMEM;
    TN_TRY(tn_model_options_load(&s->model, 1, r->arena, &r->loaded));
    TN_TRY(tn_session_create(&r->session, &r->loaded, tn_model_options_session(&s->model)));
    TN_TRY(tn_generation_open(&s->generation, r->loaded.tokenizer));
    int vocab = tn_model_get_config(r->loaded.model)->vocab_size;
    return tn_sampler_create(&r->sampler, vocab, &s->generation.sampler);
}

/* A file that cannot be written is known before the text, not after it. */
static tn_status try_to_write(const char *path) {
    tn_atomic file;
    TN_TRY(tn_atomic_begin(&file, path));
    tn_atomic_abort(&file);
    return TN_OK;
}

/* What --session holds, if there is such a file; without a prompt it is gone on with. */
static tn_status restore_session(run *r) {
    const settings *s = r->settings;
    if (!s->session) return TN_OK;
    if (!s->read_only) TN_TRY(try_to_write(s->session));
    if (!tn_path_exists(s->session)) return TN_OK;
    TN_TRY(tn_session_restore(r->session, r->sampler, s->session));
    tn_log(TN_LOG_INFO, "run", "%s: %d tokens", s->session, tn_session_length(r->session));
    r->goes_on = !s->prompt && !s->file;
    if (r->goes_on) r->reused = tn_session_length(r->session);
    const int32_t *history = tn_session_history(r->session);
    for (int i = 0; i < tn_session_length(r->session) && r->goes_on; i++) TN_TRY(tn_ids_append(&r->ids, history[i]));
    return TN_OK;
}

static tn_status encode_prompt(run *r) {
    const settings *s = r->settings;
    TN_TRY(tn_text_argument(s->prompt, s->file, s->generation.escape, &r->prompt));
    TN_TRY(tn_prompt_encode(r->loaded.tokenizer, tn_buf_text(&r->prompt), r->prompt.len, &r->ids));
    for (size_t i = 0; i < r->ids.count; i++)
        TN_TRY(tn_tokenizer_decode(r->loaded.tokenizer, r->ids.list[i], false, &r->shown));
    if (r->ids.count <= (size_t)tn_session_context(r->session)) return TN_OK;
    return TN_FAIL(RANGE, "the prompt has %zu tokens, the context holds %d", r->ids.count,
                   tn_session_context(r->session));
}

static bool is_interrupted(void *context) {
    (void)context;
    return interrupted;
}

static tn_status feed_prompt(run *r) {
    const settings *s = r->settings;
    double start = tn_clock_seconds();
    TN_TRY(tn_par_set_threads(s->model.prompt_threads ? s->model.prompt_threads : s->model.threads));
    TN_TRY(tn_session_read_prompt(r->session, r->ids.list, (int)r->ids.count, is_interrupted, NULL, &r->reused));
    r->prompt_seconds = tn_clock_seconds() - start;
    return tn_par_set_threads(s->model.threads);
}

/* ---- what is shown of a text ---- */

static tn_status on_piece(void *context, const char *text, size_t len) {
    run *r = context;
    TN_TRY(r->settings->json ? tn_buf_append(&r->text, text, len) : tn_cmd_write(text, len));
    return interrupted ? TN_FAIL(STOPPED, "interrupted") : TN_OK;
}

/* {"id", "token", "bytes", "logprob"}: a token's bytes need not be UTF-8, and JSON has no infinity. */
static json_t *describe_token(const run *r, int32_t id, double logprob) {
    tn_buf text = {0};
    json_t *bytes = json_array();
    bool known = id < tn_tokenizer_size(r->loaded.tokenizer);
    if (known && tn_tokenizer_decode(r->loaded.tokenizer, id, true, &text)) tn_buf_reset(&text);
    for (size_t i = 0; i < text.len; i++) json_array_append_new(bytes, json_integer((unsigned char)text.data[i]));
    json_t *token =
        json_pack("{s:i, s:o, s:o, s:f}", "id", (int)id, "token", tn_cmd_json_text(tn_buf_text(&text), text.len),
                  "bytes", bytes, "logprob", fmax(logprob, -9999));
    tn_buf_release(&text);
    return token;
}

static tn_status on_token(void *context, int32_t id, const tn_real *logits) {
    run *r = context;
    tn_logprob best[TN_LOGPROBS_MOST];
    int vocab = tn_model_get_config(r->loaded.model)->vocab_size, n = TN_MIN(r->settings->logprobs, vocab);
    json_t *line = describe_token(r, id, tn_logprobs(best, n, logits, vocab, id)), *top = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(top, describe_token(r, best[i].id, best[i].value));
    json_object_set_new(line, "top_logprobs", top);
    json_object_set_new(line, "sample", json_integer(r->number));
    return tn_cmd_print_json(line);
}

/* ---- texts ---- */

static tn_status keep_sample(run *r, uint64_t seed, const tn_generated *done, const char *reason) {
    json_t *sample = json_pack("{s:o, s:s, s:i, s:I}", "text", tn_cmd_json_text(tn_buf_text(&r->text), r->text.len),
                               "stop_reason", reason, "tokens", done->tokens, "seed", (json_int_t)seed);
    if (json_array_append_new(r->samples, sample)) return TN_FAIL(TEXT, "the text cannot be written as JSON");
    return TN_OK;
}

/* Keep what there is now; the last token was chosen, but there is nothing yet of it. */
static tn_status save_session(run *r, const tn_generated *done) {
    const settings *s = r->settings;
    if (!s->session || s->read_only) return TN_OK;
    bool fits = tn_session_length(r->session) < tn_session_context(r->session);
    if (done->last >= 0 && fits) TN_TRY(tn_session_feed(r->session, &done->last, 1));
    return tn_session_save(r->session, r->sampler, s->session);
}

/* The sample is written to its end; the counts are added up whatever that end is. */
static tn_status continue_prompt(run *r, uint64_t seed, tn_generated *done) {
    const settings *s = r->settings;
    tn_generate_options how = s->generation.how;
    how.piece = on_piece;
    how.token = s->logprobs >= 0 ? on_token : NULL;
    how.context = r;
    if (!r->goes_on || s->generation.seed >= 0) tn_sampler_set_seed(r->sampler, seed);
    if (how.grammar) tn_grammar_state_reset(how.grammar);
    if (r->number > 0) TN_TRY(tn_session_set_prompt(r->session, r->ids.list, (int)r->ids.count, NULL));
    if (s->show_prompt) TN_TRY(on_piece(r, tn_buf_text(&r->shown), r->shown.len));
    tn_status status = tn_generate(r->session, r->sampler, &how, done);
    r->tokens += done->tokens;
    r->drafted += done->drafted;
    r->guessed += done->guessed;
    r->seconds += done->seconds;
    tn_status saved = status && !interrupted ? TN_OK : save_session(r, done);
    return status ? status : saved;
}

static tn_status write_sample(run *r, int number) {
    const settings *s = r->settings;
    uint64_t seed = r->seed + (uint64_t)number;
    tn_generated done = {0};
    r->number = number;
    tn_buf_reset(&r->text);
    tn_status status = continue_prompt(r, seed, &done);
    tn_status ended = TN_OK;
    if (!s->json) /* whatever is said next begins a line */
        ended = tn_cmd_print(number + 1 < s->samples ? "\n\n" : "\n");
    else if (!status || interrupted)
        ended = keep_sample(r, seed, &done, status ? "interrupted" : tn_stop_reason_name(done.reason));
    TN_TRY(status);
    TN_TRY(ended);
    if (done.reason == TN_STOP_CONTEXT)
        tn_log(s->generation.how.max_tokens < 0 ? TN_LOG_INFO : TN_LOG_WARN, "run",
               "text %d ends after %d tokens: the context of %d tokens is full (%s)", number + 1, done.tokens,
               tn_session_context(r->session),
               s->generation.how.shift ? "and --keep leaves nothing to drop" : "--context-shift drops older ones");
    tn_log(TN_LOG_DEBUG, "run", "text %d: %d tokens, seed %llu, ended by %s", number + 1, done.tokens,
           (unsigned long long)seed, tn_stop_reason_name(done.reason));
    return TN_OK;
}

static double rate(double count, double seconds) { return seconds > 0 ? count / seconds : 0; }

static tn_status report(run *r) {
    double prompt = rate((double)r->ids.count - r->reused, r->prompt_seconds),
           text = rate((double)r->tokens, r->seconds);
    char kept[32] = "";
    if (r->reused) snprintf(kept, sizeof kept, ", %d of them kept", r->reused);
    tn_log(TN_LOG_INFO, "run", "prompt: %zu tokens%s, %.1f tokens/s; text: %lld tokens, %.1f tokens/s; seed %llu",
           r->ids.count, kept, prompt, (long long)r->tokens, text, (unsigned long long)r->seed);
    if (r->settings->generation.how.draft)
        tn_log(TN_LOG_INFO, "run", "guesses: %lld tokens, of which %lld came true", (long long)r->drafted,
               (long long)r->guessed);
    if (!r->settings->json) return TN_OK;
    return tn_cmd_print_json(
        json_pack("{s:o, s:o, s:i, s:i, s:O, s:f, s:f, s:I, s:I}", "model", tn_cmd_json_path(r->loaded.path), "prompt",
                  tn_cmd_json_text(tn_buf_text(&r->prompt), r->prompt.len), "prompt_tokens", (int)r->ids.count,
                  "prompt_reused", r->reused, "samples", r->samples, "prompt_per_second", prompt,
                  "predicted_per_second", text, "drafted", (json_int_t)r->drafted, "guessed", (json_int_t)r->guessed));
}

static tn_status run_all(run *r) {
    tn_generation *g = &r->settings->generation;
    TN_TRY(open_session(r));
    TN_TRY(restore_session(r));
    if (!r->goes_on) {
        TN_TRY(encode_prompt(r));
        TN_TRY(feed_prompt(r));
    }
    g->how.keep = tn_generation_keep(g, r->loaded.tokenizer, &r->ids);
    r->seed = r->goes_on && g->seed < 0 ? tn_sampler_seed(r->sampler) : tn_generation_seed(g);
    r->samples = json_array();
    tn_status status = TN_OK;
    for (int i = 0; i < r->settings->samples && !status; i++) status = write_sample(r, i);
    if (!status || interrupted) TN_TRY(report(r));
    return status;
}

static int run_command(settings *s) {
    run r = {.settings = s};
    catch_interrupts();
    tn_status status = run_all(&r);
    tn_session_free(r.session);
    tn_sampler_free(r.sampler);
    tn_generation_release(&s->generation);
    tn_loaded_release(&r.loaded);
    tn_arena_free(r.arena);
    tn_ids_release(&r.ids);
    tn_buf_release(&r.prompt);
    tn_buf_release(&r.shown);
    tn_buf_release(&r.text);
    json_decref(r.samples);
    if (status && interrupted) return TN_EXIT_SIGNAL + interrupted;
    return status ? tn_cmd_fail(status) : TN_EXIT_DONE;
}

/* ---- the command line ---- */

static int check(settings *s) {
    int status = tn_model_options_check(&s->model);
    if (status == TN_OPTIONS_GO) status = tn_generation_check(&s->generation);
    if (status != TN_OPTIONS_GO) return status;
    if (s->prompt && s->file) return tn_cmd_usage_error("-p and -f cannot both be given");
    if (s->session && s->samples > 1)
        return tn_cmd_usage_error("--session: keeps one text, not the %d of --n-best", s->samples);
    if (s->logprobs >= 0 && !s->json) return tn_cmd_usage_error("--logprobs: needs --json, one line for each token");
    return TN_OPTIONS_GO;
}

/* With one of these flags it is `tern chat`, which has flags of its own. The word behind -p is a text. */
static bool asks_for_chat(int argc, char **argv) {
    static const char *const flags[] = {"-cnv", "--cnv", "-conversation", "--conversation", "-i", "--interactive"};
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        for (size_t k = 0; k < TN_COUNT(flags); k++)
            if (strcmp(argv[i], flags[k]) == 0 && strcmp(argv[i - 1], "-p") != 0) return true;
    return false;
}

int tn_cmd_run(int argc, char **argv) {
    if (asks_for_chat(argc, argv)) return tn_cmd_chat(argc, argv);
    settings s = {.samples = 1, .logprobs = -1, .show_prompt = true};
    const tn_option *model_rows = tn_model_options_init(&s.model), *rows = tn_generation_init(&s.generation);
    const tn_option options[] = {
        {"prompt", 'p', TN_OPT_ANY, &s.prompt, "TEXT", "the text to continue", 0, 0, NULL},
        {"file", 'f', TN_OPT_TEXT, &s.file, "FILE", "the text to continue is in FILE, - for stdin", 0, 0, NULL},
        {"n-best|samples|parallel|np", 0, TN_OPT_INT, &s.samples, "N", "texts of one prompt, with seeds S, S+1, ...", 1,
         1 << 20, NULL},
        {"display-prompt", 0, TN_OPT_ON, &s.show_prompt, NULL, "begin with the prompt", 0, 0, NULL},
        {"no-display-prompt", 0, TN_OPT_OFF, &s.show_prompt, NULL, "do not", 0, 0, NULL},
        {"logprobs", 0, TN_OPT_INT, &s.logprobs, "N", "with --json, a line for each token with the N likeliest", -1,
         TN_LOGPROBS_MOST, NULL},
        {"session|prompt-cache", 0, TN_OPT_TEXT, &s.session, "F",
         "go on with the session in F, or with what the prompt shares with it; keep it there", 0, 0, NULL},
        {"prompt-cache-ro", 0, TN_OPT_ON, &s.read_only, NULL, "do not write to the file of --session", 0, 0, NULL},
        {"prompt-cache-all", 0, TN_OPT_IGNORED, NULL, NULL, "no effect here", 0, 0, NULL},
        TN_OPTION_JSON(&s.json),
        {"no-conversation|no-cnv", 0, TN_OPT_IGNORED, NULL, NULL, "no effect here", 0, 0, NULL},
        {"conversation|cnv", 0, TN_OPT_IGNORED, NULL, NULL, "the same as tern chat", 0, 0, NULL},
        {"interactive", 'i', TN_OPT_IGNORED, NULL, NULL, "the same as tern chat", 0, 0, NULL},
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "run",
        .synopsis = "-m MODEL [-p TEXT | -f FILE]",
        .about = "Continue a text. Without a prompt the model begins one. With -cnv it is tern chat.",
        .more = tn_run_presets_list,
        .options = options,
        .shared = {model_rows, rows},
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status == TN_OPTIONS_GO) status = check(&s);
    return status == TN_OPTIONS_GO ? run_command(&s) : status;
}
