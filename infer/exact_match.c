/* SPDX-License-Identifier: MIT */
#include "infer/exact_match.h"

#include "core/log.h"

#include <string.h>

enum {
    SHOWN_MISMATCHES = 5,
    SPARE_TOKENS = 8 /* of an answer, for white space and its end */
};

typedef struct exam exam;

/* A question under way. */
typedef struct paper {
    exam *exam;
    int64_t line;
    tn_buf path, expected, given;
} paper;

struct exam {
    const tn_exact_match_options *options;
    tn_exact_match *result;
    tn_batch *batch;
    tn_sampler_options sampler;
    tn_status failed; /* of the batch, which is no fault of a row */
    paper *papers[TN_BATCH_SLOTS];
};

/* ---- papers ---- */

static void paper_free(paper *p) {
    if (!p) return;
    tn_buf_release(&p->path);
    tn_buf_release(&p->expected);
    tn_buf_release(&p->given);
    tn_heap_free(p);
}

static paper **place_of(exam *e, const paper *p) {
    int i = 0;
    while (e->papers[i] != p) i++;
    return &e->papers[i];
}

static tn_status paper_create(paper **out, exam *e, const tn_question *q) {
    paper *p = tn_heap_zalloc(1, sizeof *p);
    if (!p) return TN_E_NOMEM;
    *place_of(e, NULL) = *out = p;
    p->exam = e;
    p->line = q->row->line;
    TN_TRY(tn_buf_puts(&p->path, q->row->path));
    return tn_buf_append(&p->expected, q->answer, q->len);
}

static void collect(paper *p) {
    *place_of(p->exam, p) = NULL;
    paper_free(p);
}

/* ---- answers ---- */

static tn_status keep_piece(void *context, const char *text, size_t len) {
    paper *p = context;
    return tn_buf_append(&p->given, text, len);
}

static void tell_mismatch(const paper *p, const char *given, size_t len) {
    const tn_exact_match *r = p->exam->result;
    if (r->count - r->matched > SHOWN_MISMATCHES) return;
    tn_log(TN_LOG_DEBUG, "eval", "%s:%lld: expected \"%s\", answered \"%.*s\"", tn_buf_text(&p->path),
           (long long)p->line, tn_buf_text(&p->expected), (int)TN_MIN(len, (size_t)1000), given);
}

static tn_status mark(void *context, tn_status status, const tn_generated *generated) {
    paper *p = context;
    tn_exact_match *r = p->exam->result;
    const char *given = tn_buf_text(&p->given);
    size_t len = p->given.len;
    tn_question_trim(&given, &len);
    const bool matches = len == p->expected.len && memcmp(given, tn_buf_text(&p->expected), len) == 0;
    r->count++;
    r->answered += generated->reason == TN_STOP_EOS;
    r->matched += matches;
    if (!matches) tell_mismatch(p, given, len);
    collect(p);
    return status;
}

/* ---- questions ---- */

static tn_status step_until(exam *e, int under_way) {
    while (!e->failed && tn_batch_under_way(e->batch) > under_way) e->failed = tn_batch_step(e->batch);
    return e->failed;
}

/* No answer that is right has more tokens than bytes. */
static int most_tokens(const exam *e, const tn_question *q) {
    return e->options->max_tokens ? e->options->max_tokens : (int)TN_MIN(q->len, (size_t)1 << 30) + SPARE_TOKENS;
}

static tn_status hand_in(exam *e, paper *p, const tn_question *q) {
    const tn_batch_request request = {
        .ids = q->ids,
        .n_ids = (int)TN_MIN(q->n_ids, (size_t)INT32_MAX),
        .sampler = &e->sampler,
        .generate = {.max_tokens = most_tokens(e, q), .piece = keep_piece, .context = p},
        .done = mark,
        .context = p,
    };
    return tn_batch_add(e->batch, &request);
}

static tn_status ask(void *context, const tn_question *q) {
    exam *e = context;
    paper *p = NULL;
    if (!tn_batch_free_slots(e->batch) && step_until(e, tn_batch_under_way(e->batch) - 1)) return TN_E_STOPPED;
    tn_status status = paper_create(&p, e, q);
    if (!status) status = hand_in(e, p, q);
    if (status && p) collect(p);
    return status;
}

static tn_status ask_all(exam *e, const tn_loaded *loaded, const char *const *paths, int n_paths) {
    tn_status status = tn_read_questions(paths, n_paths, loaded->tokenizer, e->options->examples, ask, e);
    return status ? e->failed ? e->failed : status : step_until(e, 0);
}

tn_status tn_exact_match_count(tn_exact_match *out, const tn_loaded *loaded, const char *const *paths, int n_paths,
                               const tn_exact_match_options *options) {
    exam e = {.options = options, .result = out, .sampler = tn_sampler_defaults()};
    e.sampler.temperature = 0;
    *out = (tn_exact_match){0};
    TN_TRY(tn_batch_create(&e.batch, loaded, options->batch));
    tn_status status = ask_all(&e, loaded, paths, n_paths);
    tn_batch_free(e.batch);
    for (int i = 0; i < TN_BATCH_SLOTS; i++) paper_free(e.papers[i]);
    return status;
}
