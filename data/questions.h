/* SPDX-License-Identifier: MIT
 * questions.h - rows as questions: the tokens that a model is given, and the words that it should answer.
 *
 * The answer is the completion, what the assistant says last, or, of a preference, what was chosen. What is asked is
 * all before it, as training shows it: through the chat template up to where the answer begins, or a prompt that is a
 * string as it is. */
#ifndef TN_DATA_QUESTIONS_H
#define TN_DATA_QUESTIONS_H
#include "data/examples.h"

typedef struct tn_question {
    const tn_row *row;
    const int32_t *ids; /* [n_ids], n_ids > 0 */
    size_t n_ids;
    const char *answer; /* [len] without white space around it; len > 0 */
    size_t len;
} tn_question;

/* All of a question is borrowed for the call. A failure is taken as a tn_row_visit's (data/rows.h). */
typedef tn_status tn_question_visit(void *context, const tn_question *question);

/* Of `options`, rows, chat_template and max_samples count. Fails: what tn_read_rows gives; TN_E_MISMATCH, about the
 * row, for a row without an answer in words: texts, tokens, conversations whose last message is not the assistant's,
 * completions that are not wanted; TN_E_EMPTY, likewise, for an empty question or answer; as tn_chat_template_open. */
tn_status tn_read_questions(const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                            const tn_example_options *options, tn_question_visit *visit, void *context);

/* Leave out white space at both ends. */
void tn_question_trim(const char **text, size_t *len);

#endif
