/* SPDX-License-Identifier: MIT */
#include "cmd/cmd_data.h"
#include "cmd/data_report_print.h"
#include "cmd/data_settings.h"
#include "cmd/tokenizer_source.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/utf8.h"
#include "data/stories.h"
#include "data/text_reader.h"
#include "data/token_store.h"

#include <jansson.h>
#include <string.h>

/* ---- tern data prepare ---- */

typedef struct prepare_settings {
    const char *output;
    tn_tokenizer_flags tokenizer;
    tn_data_settings data;
    bool json;
} prepare_settings;

/* Rows that were left out, or of which not all is learnt, are worth more than one line. */
static bool is_plain(const tn_file_report *total) {
    return total->rows == total->kept && !total->cut && total->targets + total->documents >= total->tokens;
}

static tn_status print_store(const prepare_settings *s, const tn_data_report *report, const tn_tokenizer *tokenizer) {
    tn_file_report r = tn_data_report_total(report);
    int vocab_size = tn_tokenizer_size(tokenizer);
    double bytes_per_token = r.tokens ? (double)r.bytes / (double)r.tokens : 0;
    if (s->json)
        return tn_cmd_print_json(
            json_pack("{s:o, s:I, s:I, s:I, s:I, s:i, s:f, s:I, s:o}", "path", tn_cmd_json_path(s->output), "files",
                      (json_int_t)report->count, "documents", (json_int_t)r.documents, "bytes", (json_int_t)r.bytes,
                      "tokens", (json_int_t)r.tokens, "vocab_size", vocab_size, "bytes_per_token", bytes_per_token,
                      "targets", (json_int_t)r.targets, "data", tn_data_report_json(report)));
    TN_TRY(tn_cmd_print("%s: %lld tokens of %lld document%s in %lld file%s, vocabulary %d, %.2f bytes a token\n",
                        s->output, (long long)r.tokens, (long long)r.documents, r.documents == 1 ? "" : "s",
                        (long long)report->count, report->count == 1 ? "" : "s", vocab_size, bytes_per_token));
    return is_plain(&r) ? TN_OK : tn_data_report_print(report);
}

static tn_status prepare(const prepare_settings *s, const char *const *paths, int n_paths) {
    const tn_example_options options = tn_data_examples(&s->data.config, 0);
    tn_tokenizer *tokenizer;
    TN_TRY(tn_tokenizer_flags_guard(&s->tokenizer, s->output, paths, n_paths));
    TN_TRY(tn_tokenizer_from_flags(&tokenizer, &s->tokenizer, &options.rows, paths, n_paths, NULL));
    tn_data_report report = {0};
    tn_status status = tn_store_build_examples(s->output, paths, n_paths, tokenizer, &options, &report);
    if (!status) status = print_store(s, &report, tokenizer);
    tn_data_report_release(&report);
    tn_tokenizer_free(tokenizer);
    return status;
}

static int run_prepare(int argc, char **argv) {
    prepare_settings s = {.tokenizer = TN_TOKENIZER_FLAGS_DEFAULT};
    const tn_option options[] = {
        {"output", 'o', TN_OPT_TEXT, &s.output, "FILE", "the token store to write (.h5)", 0, 0, NULL},
        TN_OPTIONS_TOKENIZER(&s.tokenizer),
        TN_OPTION_DATA_SETTINGS(&s.data),
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "data prepare",
        .synopsis = "INPUT... -o FILE",
        .about = "Tokenise texts and rows of JSONL (.txt, .jsonl, either gzipped, folders of these) into a store that\n"
                 "tern train reads. docs/format.md tells the kinds of rows.",
        .more = tn_data_settings_help,
        .options = options,
        .min_arguments = 1,
        .max_arguments = -1,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    if (!s.output) return tn_cmd_usage_error("-o is missing: the token store to write");
    tn_status done = tn_data_settings_open(&s.data);
    if (!done) done = prepare(&s, (const char *const *)argv + 1, argc - 1);
    tn_data_settings_close(&s.data);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}

/* ---- tern data stories ---- */

enum { DEFAULT_STORIES = 10, FLUSH_BYTES = 1 << 20, MAX_CHECKED = 1 << 30 };

typedef struct story_settings {
    int64_t count, seed;
    const char *output, *check;
    bool questions, json;
} story_settings;

static bool ends_with(const char *text, const char *end) {
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* A story is plain ASCII without line breaks, so only quotes and backslashes need care in JSON. */
static tn_status put_row(const char *story, tn_buf *out) {
    TN_TRY(tn_buf_puts(out, "{\"text\": \""));
    for (const char *p = story; *p; p++) {
        if (*p == '"' || *p == '\\') TN_TRY(tn_buf_putc(out, '\\'));
        TN_TRY(tn_buf_putc(out, *p));
    }
    return tn_buf_puts(out, "\"}\n");
}

static tn_status put_story(const story_settings *s, int64_t i, tn_buf *out) {
    uint64_t seed = (uint64_t)s->seed, index = (uint64_t)i;
    if (s->questions) return tn_story_write_question(seed, index, out);
    if (s->output && ends_with(s->output, ".jsonl")) {
        tn_buf story = {0};
        tn_status status = tn_story_write(seed, index, &story);
        if (!status) status = put_row(tn_buf_text(&story), out);
        tn_buf_release(&story);
        return status;
    }
    if (i) TN_TRY(tn_buf_putc(out, '\n')); /* a blank line between stories */
    TN_TRY(tn_story_write(seed, index, out));
    return tn_buf_putc(out, '\n');
}

/* To the end of `temp`, or to stdout when that is NULL; `out` is empty afterwards. */
static tn_status flush_stories(const char *temp, tn_buf *out) {
    tn_status status = temp ? tn_file_append(temp, out->data, out->len) : tn_cmd_write(out->data, out->len);
    tn_buf_reset(out);
    return status;
}

static tn_status write_stories_to(const story_settings *s, const char *temp, tn_buf *out) {
    for (int64_t i = 0; i < s->count; i++) {
        TN_TRY(put_story(s, i, out));
        if (out->len >= FLUSH_BYTES) TN_TRY(flush_stories(temp, out));
    }
    return flush_stories(temp, out);
}

static tn_status write_stories(const story_settings *s) {
    tn_buf out = {0};
    tn_atomic file = {{0}, {0}};
    tn_status status = s->output ? tn_atomic_begin(&file, s->output) : TN_OK;
    if (!status) status = write_stories_to(s, s->output ? file.temp : NULL, &out);
    if (!status && s->output) status = tn_atomic_commit(&file);
    tn_atomic_abort(&file);
    tn_buf_release(&out);
    if (!status && s->output)
        tn_log(TN_LOG_INFO, "data", "%s: %lld stories, of about %.1e that can be told", s->output, (long long)s->count,
               tn_stories_distinct());
    return status;
}

static tn_status print_verdict(const story_settings *s, const tn_story_report *r) {
    double stories = r->stories ? (double)r->consistent / (double)r->stories : 0;
    double sentences = r->sentences ? (double)r->accepted / (double)r->sentences : 0;
    if (s->json)
        return tn_cmd_print_json(json_pack("{s:I, s:I, s:f, s:I, s:I, s:f}", "stories", (json_int_t)r->stories,
                                           "consistent", (json_int_t)r->consistent, "consistent_share", stories,
                                           "sentences", (json_int_t)r->sentences, "accepted", (json_int_t)r->accepted,
                                           "accepted_share", sentences));
    return tn_cmd_print("stories    %lld, consistent %lld (%.1f %%)\nsentences  %lld, accepted   %lld (%.1f %%)\n",
                        (long long)r->stories, (long long)r->consistent, 100 * stories, (long long)r->sentences,
                        (long long)r->accepted, 100 * sentences);
}

typedef struct verdict {
    tn_story_report report;
    tn_buf why;
    bool explains;
} verdict;

static tn_status judge(void *context, const char *text, size_t len, int source, const char *name) {
    (void)source, (void)name;
    verdict *v = context;
    return tn_story_check(text, len, &v->report, v->explains ? &v->why : NULL);
}

/* Of a stream: standard input, or what a shell passes as /dev/fd/N. */
static tn_status judge_stream(verdict *v, const char *path) {
    tn_buf text = {0};
    tn_status status = tn_file_read(path, MAX_CHECKED, &text);
    if (!status) status = tn_utf8_check(path, 0, tn_buf_text(&text), text.len);
    if (!status) status = judge(v, tn_buf_text(&text), text.len, 0, path);
    tn_buf_release(&text);
    return status;
}

static tn_status check_stories(const story_settings *s) {
    verdict v = {.explains = !s->json};
    const char *path = strcmp(s->check, "-") == 0 ? "/dev/stdin" : s->check;
    tn_status status =
        tn_path_special(path) || path != s->check ? judge_stream(&v, path) : tn_read_documents(&path, 1, judge, &v);
    if (!status && !v.report.stories) status = TN_FAIL(EMPTY, "%s: has no stories", s->check);
    if (!status && v.why.len) status = tn_cmd_write(v.why.data, v.why.len);
    if (!status) status = print_verdict(s, &v.report);
    tn_buf_release(&v.why);
    return status;
}

static int run_stories(int argc, char **argv) {
    story_settings s = {0};
    const tn_option options[] = {
        {"count", 'n', TN_OPT_COUNT, &s.count, "N", "how many stories, else 10", 1, 1e12, NULL},
        {"seed", 's', TN_OPT_COUNT, &s.seed, "N", "same seed, same stories", 0, 1e18, NULL},
        {"output", 'o', TN_OPT_TEXT, &s.output, "FILE", "write there; .jsonl: a row {\"text\"} a story", 0, 0, NULL},
        {"questions", 0, TN_OPT_ON, &s.questions, NULL, "chat rows: a story with a question, and the answer", 0, 0,
         NULL},
        {"check", 0, TN_OPT_TEXT, &s.check, "FILE", "judge the stories in FILE (.txt, .jsonl, .gz; - = stdin) instead",
         0, 0, NULL},
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "data stories",
        .synopsis = "[-n N] [-o FILE] | --check FILE",
        .about = "Make a training corpus of short English stories from a grammar, or judge stories by that grammar.",
        .options = options,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    if (s.check && (s.count || s.output)) return tn_cmd_usage_error("--check judges stories; -n and -o write them");
    if (!s.count) s.count = DEFAULT_STORIES;
    tn_status done = s.check ? check_stories(&s) : write_stories(&s);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}

int tn_cmd_data(int argc, char **argv) {
    static const tn_command list[] = {
        {"prepare", "tokenise texts into a store to train on", run_prepare},
        {"inspect", "show rows as tokens, and which of them are learnt", tn_cmd_data_inspect},
        {"stories", "make a corpus of stories, or judge one", run_stories},
    };
    const tn_command_set set = {"tern data", "Training data.", list, TN_COUNT(list)};
    return tn_cmd_dispatch(&set, argc, argv);
}
