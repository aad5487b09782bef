/* SPDX-License-Identifier: MIT
 * bench_prompts.c - `tern bench infer --prompts F`: texts continued as a user has them continued, one at a time. */
#include "cmd/bench_infer_priv.h"
#include "cmd/cmd.h"
#include "core/clock.h"
#include "core/fs.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const size_t MAX_PROMPTS = (size_t)1 << 30;

typedef struct prompt_runs {
    const tn_bench_infer_job *job;
    tn_session *session;
    int generate;
    int64_t total, successful, tokens;
    double seconds;
    char failure[512]; /* of the first run that failed */
} prompt_runs;

static tn_status no_piece(void *context, const char *text, size_t len) {
    (void)context, (void)text, (void)len;
    return TN_OK;
}

static tn_status continue_prompt(prompt_runs *p, const tn_ids *ids) {
    tn_sampler_options greedy = tn_sampler_defaults();
    const tn_generate_options how = {.max_tokens = p->generate, .piece = no_piece};
    tn_generated done;
    tn_sampler *sampler;
    const double start = tn_clock_seconds();
    greedy.temperature = 0;
    TN_TRY(tn_sampler_create(&sampler, tn_model_get_config(p->job->loaded.model)->vocab_size, &greedy));
    tn_status status = tn_session_rewind(p->session, 0); /* each run reads its prompt */
    if (!status) status = tn_session_feed(p->session, ids->list, (int)ids->count);
    if (!status) status = tn_generate(p->session, sampler, &how, &done);
    tn_sampler_free(sampler);
    if (status) return status;
    p->successful++;
    p->tokens += done.tokens;
    p->seconds += tn_clock_seconds() - start;
    return TN_OK;
}

static tn_status run_prompt(prompt_runs *p, const char *text, size_t len) {
    tn_ids ids = {0};
    tn_status status = tn_prompt_encode(p->job->loaded.tokenizer, text, len, &ids);
    if (!status) status = continue_prompt(p, &ids);
    tn_ids_release(&ids);
    p->total++;
    if (status == TN_E_NOMEM) return status;
    if (status && !*p->failure) snprintf(p->failure, sizeof p->failure, "%s", tn_error_message());
    return TN_OK;
}

/* A line is a prompt, or a JSON object that has one. */
static tn_status run_line(prompt_runs *p, const char *text, size_t len, int64_t line) {
    json_error_t error;
    if (*text != '{') return run_prompt(p, text, len);
    json_t *row = json_loadb(text, len, 0, &error);
    const json_t *prompt = json_object_get(row, "prompt");
    tn_status status =
        json_is_string(prompt)
            ? run_prompt(p, json_string_value(prompt), json_string_length(prompt))
            : TN_FAIL(TEXT, "%s: line %lld: expected a JSON object with \"prompt\", a text", p->job->s->prompts_file,
                      (long long)line);
    json_decref(row);
    return status;
}

static tn_status run_lines(prompt_runs *p, const char *text, size_t len) {
    const char *end = text + len;
    for (int64_t line = 1; text < end; line++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t here = (size_t)((stop ? stop : end) - text);
        const char *next = text + here + (stop ? 1 : 0);
        if (here && text[here - 1] == '\r') here--;
        if (here) TN_TRY(run_line(p, text, here, line));
        text = next;
    }
    return TN_OK;
}

static tn_status report(const prompt_runs *p) {
    const double n = (double)p->successful;
    const double rate = (double)p->successful / (double)p->total, each = n > 0 ? p->seconds / n : 0,
                 speed = p->seconds > 0 ? (double)p->tokens / p->seconds : 0;
    if (p->job->s->json)
        return tn_cmd_print_json(json_pack(
            "{s:I, s:I, s:f, s:f, s:f, s:I}", "total_runs", (json_int_t)p->total, "successful_runs",
            (json_int_t)p->successful, "success_rate", rate, "average_generation_time", each,
            "average_tokens_per_second", speed, "total_tokens_generated", (json_int_t)p->tokens));
    TN_TRY(tn_cmd_print("%lld of %lld runs went through: %lld tokens, %.2f s a run, %.2f tokens/s, prompts included\n",
                        (long long)p->successful, (long long)p->total, (long long)p->tokens, each, speed));
    return *p->failure ? tn_cmd_print("the first that did not: %s\n", p->failure) : TN_OK;
}

static tn_status run_all(prompt_runs *p) {
    tn_buf text = {0};
    tn_status status = tn_file_read(p->job->s->prompts_file, MAX_PROMPTS, &text);
    for (int run = 0; run < p->job->s->repeats && !status; run++) status = run_lines(p, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    if (!status && !p->total) status = TN_FAIL(EMPTY, "%s: no line holds a prompt", p->job->s->prompts_file);
    return status ? status : report(p);
}

tn_status tn_bench_prompts(const tn_bench_infer_job *job, int generate) {
    prompt_runs p = {.job = job, .generate = generate};
    TN_TRY(tn_session_create(&p.session, &job->loaded, job->session));
    const tn_status status = run_all(&p);
    tn_session_free(p.session);
    return status;
}
