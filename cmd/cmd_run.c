/* SPDX-License-Identifier: MIT
 * cmd_run.c - `tern run`: continue a text. Flags, defaults and behaviour are those of llama-cli on a base
 * model: the prompt is shown, then what the model makes of it, as it comes. */
#include "cmd/options.h"
#include "core/clock.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/par.h"
#include "core/rng.h"
#include "infer/session.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PROMPT = 1 << 26 };

typedef struct settings {
    const char *model, *prompt, *file;
    int max_tokens, context, chunk, threads, prompt_threads, samples, gpu_layers, head, key_type, value_type;
    int64_t seed; /* negative: drawn from the clock */
    tn_sampler_options sampler;
    tn_option_list stops;
    bool ignore_eos, escape, show_prompt, json;
} settings;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number) { interrupted = number; }

/* The first Ctrl-C ends the text, the second one the program. */
static void catch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- the prompt ---- */

static int hex_digit(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Read the escape that `text` begins with, after its backslash; returns how many characters it took, 0 when unknown. */
static size_t unescape_one(const char *text, char *out) {
    static const char from[] = "nrt\"'\\", to[] = "\n\r\t\"'\\";
    const char *at = *text ? strchr(from, *text) : NULL;
    if (at) {
        *out = to[at - from];
        return 1;
    }
    int high = *text == 'x' ? hex_digit(text[1]) : -1, low = high >= 0 ? hex_digit(text[2]) : -1;
    if (low < 0) return 0;
    *out = (char)(high * 16 + low);
    return 3;
}

static void unescape(tn_buf *text) {
    size_t to = 0;
    for (size_t from = 0; from < text->len;) {
        size_t took = text->data[from] == '\\' ? unescape_one(text->data + from + 1, &text->data[to]) : 0;
        if (!took) text->data[to] = text->data[from];
        to++;
        from += 1 + took;
    }
    if (text->data) text->data[to] = '\0';
    text->len = to;
}

/* A file's last newline belongs to the file, not to the prompt. */
static tn_status read_prompt(const settings *s, tn_buf *out) {
    if (s->prompt) TN_TRY(tn_buf_puts(out, s->prompt));
    if (s->file) {
        TN_TRY(tn_file_read(strcmp(s->file, "-") == 0 ? "/dev/stdin" : s->file, MAX_PROMPT, out));
        if (out->len && out->data[out->len - 1] == '\n') out->data[--out->len] = '\0';
    }
    if (s->escape) unescape(out);
    return TN_OK;
}

/* ---- one run ---- */

typedef struct run {
    const settings *settings;
    tn_arena *arena;
    tn_loaded loaded;
    tn_session *session;
    tn_sampler *sampler;
    tn_buf prompt, shown, text; /* as given; as the tokens say it; of the sample under way, for JSON */
    tn_ids ids;                 /* of the prompt */
    tn_buf stop_texts;          /* stop strings without escapes, one after the other with their NULs */
    const char *stops[TN_OPTION_VALUES];
    uint64_t seed;
    double prompt_seconds, seconds;
    int64_t tokens;
    json_t *samples; /* with --json */
} run;

static uint64_t pick_seed(int64_t wanted) {
    if (wanted >= 0) return (uint64_t)wanted;
    tn_rng clock = tn_rng_make((uint64_t)(tn_clock_unix() * 1e6), TN_PURPOSE_SAMPLE, (uint32_t)getpid());
    return tn_rng_u64(&clock, 0) >> 32;
}

static tn_status take_stops(run *r) {
    const tn_option_list *list = &r->settings->stops;
    size_t starts[TN_OPTION_VALUES];
    for (int i = 0; i < list->count; i++) {
        tn_buf one = {0};
        tn_status status = tn_buf_puts(&one, list->items[i]);
        if (!status && r->settings->escape) unescape(&one);
        starts[i] = r->stop_texts.len;
        if (!status) status = tn_buf_append(&r->stop_texts, tn_buf_text(&one), strlen(tn_buf_text(&one)) + 1);
        tn_buf_release(&one);
        TN_TRY(status);
    }
    for (int i = 0; i < list->count; i++) r->stops[i] = r->stop_texts.data + starts[i];
    return TN_OK;
}

static tn_status open_session(run *r) {
    const settings *s = r->settings;
    r->arena = tn_arena_create("model");
    if (!r->arena) return TN_E_NOMEM;
    TN_TRY(tn_model_file_load(s->model, r->arena, TN_MODEL_RUN, &r->loaded));
    tn_log(TN_LOG_INFO, "run", "%s: %s", r->loaded.path, r->loaded.description);
    tn_session_options options = {.context = s->context, .chunk = s->chunk, .head = (tn_head_kind)s->head};
    TN_TRY(tn_cmd_cache_type(s->key_type, s->value_type, &options.kv));
    TN_TRY(tn_session_create(&r->session, &r->loaded, options));
    return tn_sampler_create(&r->sampler, tn_model_get_config(r->loaded.model)->vocab_size, &s->sampler);
}

static tn_status feed_prompt(run *r) {
    const settings *s = r->settings;
    TN_TRY(read_prompt(s, &r->prompt));
    TN_TRY(tn_prompt_encode(r->loaded.tokenizer, tn_buf_text(&r->prompt), r->prompt.len, &r->ids));
    for (size_t i = 0; i < r->ids.count; i++)
        TN_TRY(tn_tokenizer_decode(r->loaded.tokenizer, r->ids.list[i], false, &r->shown));
    if (r->ids.count > (size_t)tn_session_context(r->session))
        return TN_FAIL(RANGE, "the prompt has %zu tokens, the context holds %d", r->ids.count,
                       tn_session_context(r->session));
    double start = tn_clock_seconds();
    TN_TRY(tn_par_set_threads(s->prompt_threads ? s->prompt_threads : s->threads));
    TN_TRY(tn_session_feed(r->session, r->ids.list, (int)r->ids.count));
    r->prompt_seconds = tn_clock_seconds() - start;
    return tn_par_set_threads(s->threads);
}

static tn_status on_piece(void *context, const char *text, size_t len) {
    run *r = context;
    TN_TRY(r->settings->json ? tn_buf_append(&r->text, text, len) : tn_cmd_write(text, len));
    return interrupted ? TN_FAIL(STOPPED, "interrupted") : TN_OK;
}

static tn_status keep_sample(run *r, uint64_t seed, const tn_generated *done) {
    json_t *sample =
        json_pack("{s:o, s:s, s:i, s:I}", "text", tn_cmd_json_text(tn_buf_text(&r->text), r->text.len), "stop_reason",
                  tn_stop_reason_name(done->reason), "tokens", done->tokens, "seed", (json_int_t)seed);
    if (json_array_append_new(r->samples, sample)) return TN_FAIL(TEXT, "the text cannot be written as JSON");
    return TN_OK;
}

static tn_status write_sample(run *r, int number) {
    const settings *s = r->settings;
    const tn_generate_options options = {.max_tokens = s->max_tokens < 0 ? -1 : s->max_tokens,
                                         .ignore_eos = s->ignore_eos,
                                         .stops = r->stops,
                                         .n_stops = s->stops.count,
                                         .piece = on_piece,
                                         .context = r};
    uint64_t seed = r->seed + (uint64_t)number;
    tn_generated done;
    tn_buf_reset(&r->text);
    TN_TRY(tn_session_rewind(r->session, (int)r->ids.count));
    tn_sampler_set_seed(r->sampler, seed);
    if (s->show_prompt) TN_TRY(on_piece(r, tn_buf_text(&r->shown), r->shown.len));
    tn_status status = tn_generate(r->session, r->sampler, &options, &done);
    r->tokens += done.tokens;
    r->seconds += done.seconds;
    if (status) return status;
    if (done.reason == TN_STOP_CONTEXT && s->max_tokens >= 0)
        tn_log(TN_LOG_WARN, "run", "text %d ends after %d tokens: the context of %d tokens is full", number + 1,
               done.tokens, tn_session_context(r->session));
    tn_log(TN_LOG_DEBUG, "run", "text %d: %d tokens, seed %llu, ended by %s", number + 1, done.tokens,
           (unsigned long long)seed, tn_stop_reason_name(done.reason));
    if (s->json) return keep_sample(r, seed, &done);
    return tn_cmd_print(number + 1 < s->samples ? "\n\n" : "\n");
}

static double rate(double count, double seconds) { return seconds > 0 ? count / seconds : 0; }

static tn_status report(run *r) {
    double prompt = rate((double)r->ids.count, r->prompt_seconds), text = rate((double)r->tokens, r->seconds);
    tn_log(TN_LOG_INFO, "run", "prompt: %zu tokens, %.1f tokens/s; text: %lld tokens, %.1f tokens/s; seed %llu",
           r->ids.count, prompt, (long long)r->tokens, text, (unsigned long long)r->seed);
    if (!r->settings->json) return TN_OK;
    return tn_cmd_print_json(json_pack("{s:o, s:o, s:i, s:O, s:f, s:f}", "model", tn_cmd_json_path(r->loaded.path),
                                       "prompt", tn_cmd_json_text(tn_buf_text(&r->prompt), r->prompt.len),
                                       "prompt_tokens", (int)r->ids.count, "samples", r->samples, "prompt_per_second",
                                       prompt, "predicted_per_second", text));
}

static tn_status run_all(run *r) {
    TN_TRY(tn_cmd_start_compute(r->settings->threads));
    TN_TRY(take_stops(r));
    TN_TRY(open_session(r));
    TN_TRY(feed_prompt(r));
    r->seed = pick_seed(r->settings->seed);
    r->samples = json_array();
    tn_status status = TN_OK;
    for (int i = 0; i < r->settings->samples && !status; i++) status = write_sample(r, i);
    if (!status || interrupted) TN_TRY(report(r));
    return status;
}

static int run_command(const settings *s) {
    run r = {.settings = s};
    catch_interrupts();
    tn_status status = run_all(&r);
    tn_session_free(r.session);
    tn_sampler_free(r.sampler);
    tn_loaded_release(&r.loaded);
    tn_arena_free(r.arena);
    tn_ids_release(&r.ids);
    tn_buf_release(&r.prompt);
    tn_buf_release(&r.shown);
    tn_buf_release(&r.text);
    tn_buf_release(&r.stop_texts);
    json_decref(r.samples);
    if (status && interrupted) return TN_EXIT_SIGNAL + interrupted;
    return status ? tn_cmd_fail(status) : TN_EXIT_DONE;
}

/* ---- the command line ---- */

#define IGNORED(names)                                                                                                 \
    { names, 0, TN_OPT_IGNORED, NULL, NULL, "no effect here", 0, 0, NULL }
#define IGNORED_VALUE(names)                                                                                           \
    { names, 0, TN_OPT_IGNORED, NULL, "V", "no effect here", 0, 0, NULL }
#define REFUSED(names, why)                                                                                            \
    { names, 0, TN_OPT_REFUSED, NULL, "V", why, 0, 0, NULL }

int tn_cmd_run(int argc, char **argv) {
    settings s = {.max_tokens = -1,
                  .chunk = 512,
                  .seed = -1,
                  .samples = 1,
                  .key_type = TN_KV_F16,
                  .value_type = TN_KV_F16,
                  .sampler = tn_sampler_defaults(),
                  .escape = true,
                  .show_prompt = true};
    const tn_option options[] = {
        {"model", 'm', TN_OPT_TEXT, &s.model, "F", "run folder, checkpoint or GGUF file", 0, 0, NULL},
        {"prompt", 'p', TN_OPT_ANY, &s.prompt, "TEXT", "the text to continue", 0, 0, NULL},
        {"file", 'f', TN_OPT_TEXT, &s.file, "FILE", "the text to continue is in FILE, - for stdin", 0, 0, NULL},
        {"predict|n-predict", 'n', TN_OPT_INT, &s.max_tokens, "N", "tokens to write; -1: until the end", -2, 1 << 30,
         NULL},
        {"samples", 0, TN_OPT_INT, &s.samples, "N", "texts, with seeds S, S+1, ...", 1, 1 << 20, NULL},
        {"ctx-size", 'c', TN_OPT_INT, &s.context, "N", "context in tokens; 0: the model's", 0, 1 << 20, NULL},
        {"ubatch-size|ub", 0, TN_OPT_INT, &s.chunk, "N", "tokens of the prompt in one pass", 1, 1 << 20, NULL},
        TN_OPTION_THREADS(&s.threads),
        {"threads-batch|tb", 0, TN_OPT_INT, &s.prompt_threads, "N", "threads for the prompt; 0: as -t", 0, 256, NULL},
        TN_OPTION_CACHE_TYPES(&s.key_type, &s.value_type),
        {"head", 0, TN_OPT_CHOICE, &s.head, "KIND", "screened: bounds spare most of the output head; same tokens", 0, 0,
         "screened|exact"},
        {"seed", 's', TN_OPT_COUNT, &s.seed, "S", "same seed, same text; -1: random, and said", -1, 9e15, NULL},
        {"temperature|temp", 0, TN_OPT_REAL, &s.sampler.temperature, "T", "0: always the most likely token", 0, 1e6,
         NULL},
        {"top-k", 0, TN_OPT_INT, &s.sampler.top_k, "K", "draw from the K most likely; 0: all", 0, 1 << 20, NULL},
        {"top-p", 0, TN_OPT_REAL, &s.sampler.top_p, "P", "draw from the fewest that reach P; 1: all", 0, 1, NULL},
        {"min-p", 0, TN_OPT_REAL, &s.sampler.min_p, "P", "at least P times as likely as the best", 0, 1, NULL},
        {"repeat-penalty", 0, TN_OPT_REAL, &s.sampler.repeat_penalty, "R", "divide logits seen; 1: off", 1e-6, 1e6,
         NULL},
        {"repeat-last-n", 0, TN_OPT_INT, &s.sampler.repeat_last_n, "N", "how far back is seen; -1: all", -1, 1 << 30,
         NULL},
        {"presence-penalty", 0, TN_OPT_REAL, &s.sampler.presence_penalty, "A", "off logits seen", -1e6, 1e6, NULL},
        {"frequency-penalty", 0, TN_OPT_REAL, &s.sampler.frequency_penalty, "A", "the same, each time", -1e6, 1e6,
         NULL},
        {"reverse-prompt", 'r', TN_OPT_LIST, &s.stops, "TEXT", "end the text before TEXT; may be repeated", 0, 0, NULL},
        {"ignore-eos", 0, TN_OPT_ON, &s.ignore_eos, NULL, "never choose a token that ends the text", 0, 0, NULL},
        {"escape", 'e', TN_OPT_ON, &s.escape, NULL, "read \\n \\t \\xHH in -p, -f and -r", 0, 0, NULL},
        {"no-escape", 0, TN_OPT_OFF, &s.escape, NULL, "take backslashes as they are", 0, 0, NULL},
        {"display-prompt", 0, TN_OPT_ON, &s.show_prompt, NULL, "begin with the prompt", 0, 0, NULL},
        {"no-display-prompt", 0, TN_OPT_OFF, &s.show_prompt, NULL, "do not", 0, 0, NULL},
        TN_OPTION_JSON(&s.json),
        {"n-gpu-layers|gpu-layers|ngl", 0, TN_OPT_INT, &s.gpu_layers, "N", "0: Tern runs on CPUs", -1, 1 << 20, NULL},
        IGNORED_VALUE("batch-size|b"),
        IGNORED_VALUE("flash-attn|fa"),
        IGNORED_VALUE("keep"),
        IGNORED_VALUE("cpu-strict"),
        IGNORED_VALUE("prio"),
        IGNORED_VALUE("poll"),
        IGNORED_VALUE("numa"),
        IGNORED("offline"),
        IGNORED("no-conversation|no-cnv"),
        IGNORED("no-context-shift"),
        IGNORED("no-warmup"),
        IGNORED("simple-io"),
        REFUSED("conversation|cnv", "there is no chat here; tern run continues a text"),
        REFUSED("context-shift", "not built: the text ends when the context is full"),
        REFUSED("hf-repo|hf|hff|hft|model-url|mu", "Tern does not download; fetch the file, then give it with -m"),
        REFUSED("lora|lora-scaled", "adapters are not built"),
        REFUSED("typical|top-nsigma|dry-multiplier|xtc-probability|dynatemp-range|mirostat",
                "this sampler is not built"),
        REFUSED("samplers", "the order is fixed: penalties, top_k, top_p, min_p, temperature"),
        REFUSED("grammar|grammar-file|json-schema|j|jf", "grammars are not built"),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "run",
        .synopsis = "-m MODEL [-p TEXT | -f FILE]",
        .about = "Continue a text. Without a prompt the model begins one.",
        .options = options,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    if (!s.model) return tn_cmd_usage_error("-m is missing: a run folder, checkpoint or GGUF file");
    if (s.prompt && s.file) return tn_cmd_usage_error("-p and -f cannot both be given");
    if (s.gpu_layers > 0) return tn_cmd_usage_error("-ngl %d: Tern runs on CPUs only", s.gpu_layers);
    return run_command(&s);
}
