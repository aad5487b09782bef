/* SPDX-License-Identifier: MIT */
#include "cmd/generation_options.h"
#include "cmd/escapes.h"
#include "core/clock.h"
#include "core/fs.h"
#include "core/rng.h"
#include "formats/checksum.h"
#include "infer/json_schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_GRAMMAR = 1 << 20, DRAFT = 16 };

#define REFUSED(names, letter, why)                                                                                    \
    { names, letter, TN_OPT_REFUSED, NULL, "V", why, 0, 0, NULL }

const tn_option *tn_generation_init(tn_generation *g) {
    *g = (tn_generation){.sampler = tn_sampler_defaults(), .how = {.max_tokens = -1}, .seed = -1, .escape = true};
    const tn_option rows[] = {
        {"predict|n-predict", 'n', TN_OPT_INT, &g->how.max_tokens, "N", "tokens to write; -1: until the end", -2,
         1 << 30, NULL},
        {"seed", 's', TN_OPT_COUNT, &g->seed, "S", "same seed, same text; -1: random, and said", -1, 9e15, NULL},
        {"samplers", 0, TN_OPT_TEXT, &g->order, "LIST", "which samplers, in which order: names with ; between", 0, 0,
         NULL},
        {"sampler-seq|sampling-seq", 0, TN_OPT_TEXT, &g->letters, "LETTERS", "the same with a letter each: edskypmxt",
         0, 0, NULL},
#define OPTION(type, field, initial, min, max, flags, arg, help)                                                       \
    {flags, 0, TN_OPT_##type, &g->sampler.field, arg, help, min, max, NULL},
#include "infer/sampler_options.def"
#undef OPTION
        {"dry-sequence-breaker", 0, TN_OPT_LIST, &g->breaker_list, "TEXT",
         "repetitions end at TEXT; may be repeated; none: nowhere [\\n : \" *]", 0, 0, NULL},
        {"logit-bias", 'l', TN_OPT_LIST, &g->bias_list, "ID+B", "add B to the logit of a token, ID-inf bans it", 0, 0,
         NULL},
        {"ignore-eos", 0, TN_OPT_ON, &g->how.ignore_eos, NULL, "never choose a token that ends the text", 0, 0, NULL},
        {"reverse-prompt", 'r', TN_OPT_LIST, &g->stop_list, "TEXT", "end the text before TEXT; may be repeated", 0, 0,
         NULL},
        {"escape", 'e', TN_OPT_ON, &g->escape, NULL, "read \\n \\t \\xHH in texts of the command line", 0, 0, NULL},
        {"no-escape", 0, TN_OPT_OFF, &g->escape, NULL, "take backslashes as they are", 0, 0, NULL},
        {"grammar", 0, TN_OPT_TEXT, &g->grammar_text, "GBNF", "what the text may be", 0, 0, NULL},
        {"grammar-file", 0, TN_OPT_TEXT, &g->grammar_file, "FILE", "the same in a file", 0, 0, NULL},
        {"json-schema", 'j', TN_OPT_TEXT, &g->schema_text, "SCHEMA", "the text is JSON that fits; {}: any object", 0, 0,
         NULL},
        {"json-schema-file|jf", 0, TN_OPT_TEXT, &g->schema_file, "FILE", "the same in a file", 0, 0, NULL},
        {"context-shift", 0, TN_OPT_ON, &g->how.shift, NULL, "a full context drops its older half and goes on", 0, 0,
         NULL},
        {"no-context-shift", 0, TN_OPT_OFF, &g->how.shift, NULL, "a full context ends the text", 0, 0, NULL},
        {"keep", 0, TN_OPT_INT, &g->how.keep, "N", "tokens of the prompt that stay then; -1: all", -1, 1 << 20, NULL},
        {"lookup", 0, TN_OPT_ON, &g->lookup, NULL, "guess ahead from the text itself; same text, at times sooner", 0, 0,
         NULL},
        {"draft|draft-max|draft-n", 0, TN_OPT_INT, &g->how.draft, "N", "the same, at most N tokens; --lookup: 16", 0,
         TN_DRAFT_MOST, NULL},
        REFUSED("adaptive-target|adaptive-decay", 0, "this sampler is not built"),
        REFUSED("model-draft|md", 0, "there are no draft models; --lookup guesses from the text"),
        TN_OPTIONS_END,
    };
    _Static_assert(TN_COUNT(rows) <= TN_GENERATION_ROWS, "room for the rows");
    memcpy(g->rows, rows, sizeof rows);
    return g->rows;
}

/* ---- values that are more than one number or text ---- */

static tn_status read_texts(const tn_option_list *list, bool escape, tn_text_values *out) {
    size_t starts[TN_OPTION_VALUES];
    for (int i = 0; i < list->count; i++) {
        tn_buf one = {0};
        tn_status status = tn_buf_puts(&one, list->items[i]);
        if (!status && escape) tn_unescape(&one);
        starts[i] = out->texts.len;
        if (!status) status = tn_buf_append(&out->texts, tn_buf_text(&one), strlen(tn_buf_text(&one)) + 1);
        tn_buf_release(&one);
        TN_TRY(status);
    }
    for (int i = 0; i < list->count; i++) out->items[i] = out->texts.data + starts[i];
    out->count = list->count;
    return TN_OK;
}

/* "15043+1", "15043-0.5", "15043-inf" */
static tn_status read_bias(const char *text, tn_logit_bias *out) {
    char id[16] = "";
    size_t digits = strspn(text, "0123456789");
    const char *bias = text + digits;
    if (digits == 0 || digits >= sizeof id || (*bias != '+' && *bias != '-'))
        return TN_FAIL(RANGE, "--logit-bias: \"%.60s\" is not ID+B or ID-B", text);
    memcpy(id, text, digits);
    out->bias = -HUGE_VAL;
    TN_TRY(tn_parse_int("--logit-bias", id, 0, INT32_MAX, &out->id));
    return strcmp(bias, "-inf") == 0 ? TN_OK : tn_parse_real("--logit-bias", bias, -1e6, 1e6, &out->bias);
}

static tn_status read_breakers(tn_generation *g) {
    bool none = g->breaker_list.count == 1 && strcmp(g->breaker_list.items[0], "none") == 0;
    if (g->breaker_list.count == 0) return TN_OK;
    if (!none) TN_TRY(read_texts(&g->breaker_list, g->escape, &g->breakers));
    g->sampler.dry_breakers = g->breakers.items;
    g->sampler.n_dry_breakers = g->breakers.count;
    return TN_OK;
}

static tn_status read_values(tn_generation *g) {
    if (g->order && g->letters) return TN_FAIL(ARG, "--samplers and --sampler-seq cannot both be given");
    if (!!g->grammar_text + !!g->grammar_file + !!g->schema_text + !!g->schema_file > 1)
        return TN_FAIL(ARG, "of --grammar, --grammar-file, --json-schema and --json-schema-file only one can be given");
    if (g->order) TN_TRY(tn_sampler_order_parse(g->order, &g->sampler.order));
    if (g->letters) TN_TRY(tn_sampler_order_parse_letters(g->letters, &g->sampler.order));
    for (int i = 0; i < g->bias_list.count; i++) TN_TRY(read_bias(g->bias_list.items[i], &g->biases[i]));
    g->sampler.biases = g->biases;
    g->sampler.n_biases = g->bias_list.count;
    TN_TRY(read_texts(&g->stop_list, g->escape, &g->stops));
    g->how.stops = g->stops.items;
    g->how.n_stops = g->stops.count;
    if (g->how.max_tokens < 0) g->how.max_tokens = -1; /* -2, "until the context is full", is the same */
    if (g->lookup && g->how.draft == 0) g->how.draft = DRAFT;
    return read_breakers(g);
}

int tn_generation_check(tn_generation *g) {
    return read_values(g) ? tn_cmd_usage_error("%s", tn_error_message()) : TN_OPTIONS_GO;
}

/* ---- with a tokenizer ---- */

static tn_status open_grammar(tn_generation *g, const char *file, const char *text, const tn_tokenizer *tokenizer) {
    tn_buf source = {0};
    tn_status status = file ? tn_file_read(file, MAX_GRAMMAR, &source) : tn_buf_puts(&source, text);
    if (!status && (g->schema_file || g->schema_text))
        status = tn_grammar_from_json_schema(&g->grammar, tn_buf_text(&source), source.len);
    else if (!status)
        status = tn_grammar_create(&g->grammar, tn_buf_text(&source), source.len);
    if (!status) status = tn_grammar_state_create(&g->how.grammar, g->grammar, tokenizer);
    snprintf(g->grammar_hash, sizeof g->grammar_hash, "%016llx",
             (unsigned long long)tn_checksum64(tn_buf_text(&source), source.len));
    tn_buf_release(&source);
    return status;
}

tn_status tn_generation_open(tn_generation *g, const tn_tokenizer *tokenizer) {
    const char *file = g->grammar_file ? g->grammar_file : g->schema_file;
    const char *text = g->grammar_text ? g->grammar_text : g->schema_text;
    g->sampler.tokenizer = tokenizer;
    return file || text ? open_grammar(g, file, text, tokenizer) : TN_OK;
}

void tn_generation_release(tn_generation *g) {
    tn_grammar_state_free(g->how.grammar);
    tn_grammar_free(g->grammar);
    tn_buf_release(&g->stops.texts);
    tn_buf_release(&g->breakers.texts);
}

uint64_t tn_generation_seed(const tn_generation *g) {
    if (g->seed >= 0) return (uint64_t)g->seed;
    tn_rng clock = tn_rng_make((uint64_t)(tn_clock_unix() * 1e6), TN_PURPOSE_SAMPLE, (uint32_t)getpid());
    return tn_rng_u64(&clock, 0) >> 32;
}

tn_request tn_generation_request(const tn_generation *g) {
    tn_request request = {.max_tokens = g->how.max_tokens,
                          .seed = -1,
                          .ignore_eos = g->how.ignore_eos,
                          .n_stops = g->how.n_stops,
                          .sampler = g->sampler};
    for (int i = 0; i < g->how.n_stops; i++) request.stops[i] = g->how.stops[i];
    return request;
}

int tn_generation_keep(const tn_generation *g, const tn_tokenizer *tokenizer, const tn_ids *prompt) {
    int bos = tn_tokenizer_vocabulary(tokenizer)->bos, n = (int)prompt->count;
    bool begins = n > 0 && bos >= 0 && prompt->list[0] == bos;
    return g->how.keep < 0 || g->how.keep > n ? n : TN_MIN(n, g->how.keep + begins);
}
