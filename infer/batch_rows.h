/* SPDX-License-Identifier: MIT
 * batch_rows.h - rows of questions in JSONL answered through a batch, as rows of answers.
 *   in   {"id": "a7", "prompt": "Once", "max_tokens": 20}       the keys of request.h; "id" is a text or a whole number
 *        {"id": 8, "messages": [{"role": "user", "content": "Why?"}]}
 *   out  {"request_id": "a7", "index": 0, "status": "success", "response": " upon a time", "tokens": 4,
 *         "prompt_tokens": 2, "stop_reason": "eos", "seed": 7}
 *        {"request_id": "a7", "index": 0, "status": "error", "response": "", "error": "line 1: ..."}
 * A row without id is "req_<index>"; rows are counted from 0, blank lines are none. A row without seed draws by the
 * seed of the run plus a hash of its id, so an answer does not depend on the other rows, their order or their number.
 * A row that cannot be answered gets its sentence, and the others go on. */
#ifndef TN_INFER_BATCH_ROWS_H
#define TN_INFER_BATCH_ROWS_H
#include "infer/answer_file.h"
#include "infer/batch.h"
#include "data/chat_prompt.h"
#include "infer/request.h"

typedef struct tn_batch_rows {
    const tn_loaded *loaded;
    tn_batch *batch;
    tn_answer_file *answers; /* rows that it has are passed over; its seed is that of the run */
    const char *text;        /* [len] JSONL, UTF-8 */
    size_t len;
    const tn_request *defaults;            /* what rows do not say */
    const tn_chat_template *chat_template; /* for messages; NULL: rows with messages fail */
    const json_t *variables;               /* for the template, or NULL */
    const char *system;                    /* the system message of messages that have none, or NULL */
    bool chat;                             /* a prompt is a message of the user */
    const tn_grammar_state *grammar;       /* of rows that ask for none, in its first state; NULL = anything */
    bool (*stop)(void *context);           /* asked between passes; or NULL */
    void *context;
} tn_batch_rows;

typedef struct tn_batch_report {
    int64_t rows, kept; /* read, and of them answered before */
    int64_t answered, failed;
} tn_batch_report;

/* Answer all rows. Fails: TN_E_STOPPED when `stop` says so, with answers of the texts under way missing; what the model
 * and the answer file give, and TN_E_NOMEM. `report` is filled in either case. */
tn_status tn_batch_rows_answer(const tn_batch_rows *rows, tn_batch_report *report);

#endif
