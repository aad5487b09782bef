/* SPDX-License-Identifier: MIT */
#include "data/questions.h"

#include "data/examples_priv.h"

#include <string.h>

typedef struct reader {
    tn_example_maker maker;
    tn_question_visit *visit;
    void *context;
    tn_ids ids;
    tn_buf answer;
    int64_t samples, most; /* 0 = any */
    bool full;             /* max_samples is reached */
} reader;

void tn_question_trim(const char **text, size_t *len) {
    static const char white[] = " \t\r\n\v\f";
    while (*len && memchr(white, **text, sizeof white - 1)) ++*text, --*len;
    while (*len && memchr(white, (*text)[*len - 1], sizeof white - 1)) --*len;
}

/* ---- conversations ---- */

/* A string, or text parts one after the other. */
static tn_status put_words(const json_t *content, tn_buf *out) {
    if (json_is_string(content)) return tn_buf_append(out, json_string_value(content), json_string_length(content));
    for (size_t i = 0; i < json_array_size(content); i++)
        TN_TRY(put_words(json_object_get(json_array_get(content, i), "text"), out));
    return TN_OK;
}

static tn_status ask_conversation(reader *r, const tn_row *row, const json_t *messages) {
    const size_t count = json_array_size(messages);
    const json_t *last = json_array_get(messages, count - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    if (strcmp(role, "assistant") != 0)
        return TN_FAIL(MISMATCH, "the last message is of the role %s, so there is no answer to compare with", role);
    if (count == 1) return TN_FAIL(EMPTY, "the answer is the only message, so nothing is asked");
    TN_TRY(put_words(json_object_get(last, "content"), &r->answer));
    json_t *asked = json_copy((json_t *)(uintptr_t)messages);
    if (!asked) return TN_FAIL(NOMEM, "out of memory for messages");
    json_array_remove(asked, count - 1);
    tn_status status = tn_conversation_ask(&r->maker, row, asked, &r->ids);
    json_decref(asked);
    return status;
}

/* ---- strings ---- */

static tn_status ask_string(reader *r, const tn_said *said) {
    const tn_tokenizer *tokenizer = r->maker.tokenizer;
    if (tn_example_wants_bos(tokenizer, said->text, said->answer))
        TN_TRY(tn_ids_append(&r->ids, tn_tokenizer_vocabulary(tokenizer)->bos));
    TN_TRY(tn_buf_append(&r->answer, said->text + said->answer, said->len - said->answer));
    return tn_tokenizer_encode(tokenizer, said->text, said->answer, true, &r->ids);
}

/* ---- rows ---- */

static tn_status check_kind(const tn_row *row) {
    const char *kind = tn_row_kind_names[row->kind];
    if (row->kind == TN_ROW_TEXT || row->kind == TN_ROW_TOKENS)
        return TN_FAIL(MISMATCH, "is of kind %s, which has no answer to compare with", kind);
    if (row->kind == TN_ROW_KTO && !row->label)
        return TN_FAIL(MISMATCH, "has a completion that is not wanted, so there is no answer to compare with");
    return TN_OK;
}

static tn_status ask(reader *r, const tn_row *row) {
    const tn_said *said = &row->said[0];
    r->ids.count = 0;
    tn_buf_reset(&r->answer);
    TN_TRY(check_kind(row));
    return said->messages ? ask_conversation(r, row, said->messages) : ask_string(r, said);
}

static tn_status visit_row(void *context, const tn_row *row) {
    reader *r = context;
    TN_TRY(ask(r, row));
    tn_question question = {
        .row = row, .ids = r->ids.list, .n_ids = r->ids.count, .answer = tn_buf_text(&r->answer), .len = r->answer.len};
    tn_question_trim(&question.answer, &question.len);
    if (!question.len) return TN_FAIL(EMPTY, "has an empty answer, with which nothing can be compared");
    if (!question.n_ids) return TN_FAIL(EMPTY, "comes to no tokens to be answered");
    TN_TRY(r->visit(r->context, &question));
    r->full = r->most && ++r->samples >= r->most;
    return r->full ? TN_E_STOPPED : TN_OK;
}

tn_status tn_read_questions(const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                            const tn_example_options *options, tn_question_visit *visit, void *context) {
    reader r = {.maker = {.tokenizer = tokenizer, .options = options},
                .visit = visit,
                .context = context,
                .most = options->max_samples};
    tn_data_report report = {0};
    tn_status status = tn_read_rows(paths, n_paths, &options->rows, &report, visit_row, &r);
    if (status == TN_E_STOPPED && r.full) status = TN_OK;
    tn_data_report_release(&report);
    tn_chat_template_free(r.maker.chat_template);
    tn_ids_release(&r.ids);
    tn_buf_release(&r.answer);
    return status;
}
