/* SPDX-License-Identifier: MIT */
#include "infer/batch_rows.h"

#include <stdio.h>
#include <string.h>

#include "core/arena.h"
#include "core/log.h"
#include "formats/checksum.h"
#include "formats/json_text.h"

enum { SHOWN_FAILURES = 5 }; /* in the log; the answers have all */

static const uint64_t MAX_SEED = ((uint64_t)1 << 53) - 1; /* what every reader of JSON holds exactly */

typedef struct answering answering;

/* A grammar that rows ask for. The vocabulary is sorted for each (grammar.h), so the rows after it that ask for the
 * same share it. */
typedef struct shared_grammar {
    int users;
    json_t *object; /* of the row that asked first, which holds the form */
    tn_answer_form form;
    tn_grammar *grammar;
    tn_grammar_state *state; /* at the beginning */
} shared_grammar;

/* One question, from its line to its answer. */
typedef struct row {
    answering *all;
    int64_t line; /* from 1 */
    json_t *object, *id;
    int64_t index, seed;
    tn_request request;
    tn_ids ids;
    shared_grammar *grammar; /* NULL: that of all rows, or none */
    tn_grammar_state *state;
    tn_buf text; /* of the answer */
} row;

struct answering {
    const tn_batch_rows *rows;
    tn_batch_report *report;
    size_t at;               /* of the next line */
    int64_t line;            /* lines read */
    shared_grammar *grammar; /* the last that a row asked for, or NULL */
    row *under_way[TN_BATCH_SLOTS];
};

/* ---- grammars of rows ---- */

static void leave_grammar(shared_grammar *g) {
    if (!g || --g->users) return;
    tn_grammar_state_free(g->state);
    tn_grammar_free(g->grammar);
    json_decref(g->object);
    tn_heap_free(g);
}

static tn_status make_grammar(shared_grammar **out, const row *r) {
    shared_grammar *g = tn_heap_zalloc(1, sizeof *g);
    if (!g) return TN_E_NOMEM;
    *g = (shared_grammar){.users = 1, .object = json_incref(r->object), .form = r->request.form};
    tn_status status = tn_answer_form_grammar(&g->form, &g->grammar);
    if (!status) status = tn_grammar_state_create(&g->state, g->grammar, r->all->rows->loaded->tokenizer);
    if (status)
        leave_grammar(g);
    else
        *out = g;
    return status;
}

static tn_status choose_grammar(row *r) {
    answering *a = r->all;
    const tn_answer_form *form = &r->request.form;
    if (tn_answer_form_is_any(form))
        return a->rows->grammar ? tn_grammar_state_copy(&r->state, a->rows->grammar) : TN_OK;
    if (!a->grammar || !tn_answer_form_equal(&a->grammar->form, form)) {
        leave_grammar(a->grammar);
        a->grammar = NULL;
        TN_TRY(make_grammar(&a->grammar, r));
    }
    r->grammar = a->grammar;
    r->grammar->users++;
    return tn_grammar_state_copy(&r->state, r->grammar->state);
}

/* ---- life ---- */

static tn_status row_create(row **out, answering *a) {
    row *r = tn_heap_zalloc(1, sizeof *r);
    if (!r) return TN_E_NOMEM;
    r->all = a;
    r->line = a->line;
    r->index = a->report->rows - 1;
    r->id = json_sprintf("req_%lld", (long long)r->index);
    *out = r;
    return TN_OK;
}

static void row_free(row *r) {
    if (!r) return;
    json_decref(r->object);
    json_decref(r->id);
    tn_grammar_state_free(r->state);
    leave_grammar(r->grammar);
    tn_ids_release(&r->ids);
    tn_buf_release(&r->text);
    tn_heap_free(r);
}

/* ---- from a line to a question ---- */

static tn_status read_id(row *r) {
    json_t *id = json_object_get(r->object, "id");
    char found[64];
    if (!id || json_is_null(id)) return TN_OK;
    if (!json_is_string(id) && !json_is_integer(id))
        return TN_FAIL(DTYPE, "\"id\" is %s, expected a text or a whole number", tn_json_text_describe(id, found));
    json_decref(r->id);
    r->id = json_incref(id);
    return TN_OK;
}

static tn_status read_object(row *r, const char *line, size_t len) {
    json_error_t error;
    char found[64];
    r->object = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!r->object) return TN_FAIL(CORRUPT, "column %d: %s", error.column, error.text);
    if (!json_is_object(r->object))
        return TN_FAIL(DTYPE, "is %s, expected an object", tn_json_text_describe(r->object, found));
    TN_TRY(read_id(r));
    r->request = *r->all->rows->defaults;
    return tn_request_read(&r->request, r->object);
}

/* A function of the seed of the run and the id, or the seed that the row gives. */
static int64_t choose_seed(const row *r) {
    char number[32];
    const char *id = json_string_value(r->id);
    if (r->request.seed >= 0) return r->request.seed;
    if (!id) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(r->id));
        id = number;
    }
    return (int64_t)(((uint64_t)tn_answer_file_seed(r->all->rows->answers) + tn_checksum64(id, strlen(id))) & MAX_SEED);
}

/* The messages of the row, with the system message where they have none; or the prompt as a message. NULL when memory
 * is out. */
static json_t *make_messages(const row *r) {
    const tn_request *q = &r->request;
    const char *system = r->all->rows->system;
    json_t *list = q->messages ? json_copy((json_t *)(uintptr_t)q->messages)
                               : json_pack("[{s:s, s:s%}]", "role", "user", "content", q->prompt, q->prompt_len);
    const char *role = json_string_value(json_object_get(json_array_get(list, 0), "role"));
    if (!system || (role && strcmp(role, "system") == 0)) return list;
    if (json_array_insert_new(list, 0, json_pack("{s:s, s:s}", "role", "system", "content", system)) == 0) return list;
    json_decref(list);
    return NULL;
}

static tn_status encode_messages(row *r) {
    const tn_batch_rows *rows = r->all->rows;
    if (!rows->chat_template) return TN_FAIL(UNSUPPORTED, "has \"messages\", but there is no chat template");
    json_t *messages = make_messages(r);
    if (!messages) return TN_FAIL(NOMEM, "out of memory for messages");
    const tn_chat_prompt prompt = {.chat_template = rows->chat_template,
                                   .messages = messages,
                                   .variables = rows->variables,
                                   .add_generation_prompt = true};
    tn_status status = tn_chat_prompt_encode(rows->loaded->tokenizer, &prompt, &r->ids);
    json_decref(messages);
    if (status) return status;
    return r->ids.count ? TN_OK : TN_FAIL(EMPTY, "the chat template makes nothing of the messages");
}

static tn_status encode(row *r) {
    const tn_request *q = &r->request;
    if (q->prompt && q->messages)
        return TN_FAIL(MISMATCH, "has both \"prompt\" and \"messages\", expected one of them");
    if (!q->prompt && !q->messages) return TN_FAIL(MISSING, "has no \"prompt\" and no \"messages\"");
    if (q->messages || r->all->rows->chat) return encode_messages(r);
    return tn_prompt_encode(r->all->rows->loaded->tokenizer, q->prompt, q->prompt_len, &r->ids);
}

static tn_status read_row(row *r, const char *line, size_t len) {
    TN_TRY(read_object(r, line, len));
    r->seed = choose_seed(r);
    TN_TRY(choose_grammar(r));
    return encode(r);
}

/* ---- from a text to an answer ---- */

static tn_status put_answer(const row *r, json_t *answer) {
    tn_status status = answer ? tn_answer_file_put(r->all->rows->answers, answer)
                              : TN_FAIL(NOMEM, "line %lld: the answer cannot be written as JSON", (long long)r->line);
    json_decref(answer);
    return status;
}

/* The message of the last failure is the row's. Want of memory is everybody's. */
static tn_status put_failure(const row *r, tn_status status) {
    tn_batch_report *report = r->all->report;
    if (status == TN_E_NOMEM) return status;
    tn_log(report->failed++ < SHOWN_FAILURES ? TN_LOG_WARN : TN_LOG_DEBUG, "batch", "line %lld: %s", (long long)r->line,
           tn_error_message());
    json_t *sentence = json_sprintf("line %lld: %s", (long long)r->line, tn_error_message());
    return put_answer(r, json_pack("{s:O, s:I, s:s, s:s, s:o}", "request_id", r->id, "index", (json_int_t)r->index,
                                   "status", "error", "response", "", "error", sentence));
}

static tn_status put_success(const row *r, const tn_generated *g) {
    r->all->report->answered++;
    json_t *text = json_stringn(tn_buf_text(&r->text), r->text.len);
    return put_answer(r, json_pack("{s:O, s:I, s:s, s:o, s:i, s:I, s:s, s:I}", "request_id", r->id, "index",
                                   (json_int_t)r->index, "status", "success", "response", text, "tokens", g->tokens,
                                   "prompt_tokens", (json_int_t)r->ids.count, "stop_reason",
                                   tn_stop_reason_name(g->reason), "seed", (json_int_t)r->seed));
}

static tn_status keep_piece(void *context, const char *text, size_t len) {
    row *r = context;
    return tn_buf_append(&r->text, text, len);
}

static void forget(row *r) {
    answering *a = r->all;
    for (int i = 0; i < TN_BATCH_SLOTS; i++)
        if (a->under_way[i] == r) a->under_way[i] = NULL;
    row_free(r);
}

static tn_status on_end(void *context, tn_status status, const tn_generated *generated) {
    row *r = context;
    tn_status put = status ? put_failure(r, status) : put_success(r, generated);
    forget(r);
    return put;
}

static void remember(row *r) {
    answering *a = r->all;
    int i = 0;
    while (a->under_way[i]) i++;
    a->under_way[i] = r;
}

static tn_status ask(row *r) {
    const tn_request *q = &r->request;
    tn_sampler_options sampler = tn_request_sampler(q);
    sampler.seed = (uint64_t)r->seed;
    const tn_batch_request request = {
        .ids = r->ids.list,
        .n_ids = (int)TN_MIN(r->ids.count, (size_t)INT32_MAX),
        .sampler = &sampler,
        .generate = {.max_tokens = q->max_tokens,
                     .ignore_eos = q->ignore_eos,
                     .stops = q->stops,
                     .n_stops = q->n_stops,
                     .grammar = r->state,
                     .piece = keep_piece,
                     .context = r},
        .done = on_end,
        .context = r,
    };
    return tn_batch_add(r->all->rows->batch, &request);
}

/* ---- all rows ---- */

/* The next line that is not blank; false at the end. */
static bool next_line(answering *a, const char **line, size_t *len) {
    const tn_batch_rows *rows = a->rows;
    while (a->at < rows->len) {
        *line = rows->text + a->at;
        const char *end = memchr(*line, '\n', rows->len - a->at);
        *len = end ? (size_t)(end - *line) : rows->len - a->at;
        a->at += *len + (end != NULL);
        a->line++;
        for (size_t i = 0; i < *len; i++)
            if (!memchr(" \t\r", (*line)[i], 3)) return true;
    }
    return false;
}

static tn_status start_row(answering *a, const char *line, size_t len) {
    row *r;
    TN_TRY(row_create(&r, a));
    tn_status status = r->id ? read_row(r, line, len) : TN_E_NOMEM;
    if (!status) status = ask(r);
    if (!status) {
        remember(r);
        return TN_OK;
    }
    status = put_failure(r, status);
    row_free(r);
    return status;
}

static tn_status fill_slots(answering *a) {
    const char *line;
    size_t len;
    while (tn_batch_free_slots(a->rows->batch) && next_line(a, &line, &len)) {
        bool kept = tn_answer_file_has(a->rows->answers, a->report->rows++);
        a->report->kept += kept;
        if (!kept) TN_TRY(start_row(a, line, len));
    }
    return TN_OK;
}

static tn_status answer_all(answering *a) {
    const tn_batch_rows *rows = a->rows;
    for (;;) {
        TN_TRY(fill_slots(a));
        if (!tn_batch_under_way(rows->batch)) return TN_OK;
        if (rows->stop && rows->stop(rows->context)) return TN_FAIL(STOPPED, "stopped, with rows left to answer");
        TN_TRY(tn_batch_step(rows->batch));
    }
}

tn_status tn_batch_rows_answer(const tn_batch_rows *rows, tn_batch_report *report) {
    answering a = {.rows = rows, .report = report};
    *report = (tn_batch_report){0};
    tn_status status = answer_all(&a);
    for (int i = 0; i < TN_BATCH_SLOTS; i++) row_free(a.under_way[i]);
    leave_grammar(a.grammar);
    return status;
}
