/* SPDX-License-Identifier: MIT
 * example_rig.h - what the suites of examples share: a tokenizer with special tokens, rows in a file, and documents
 * written down: learnt tokens in brackets, a bar behind each document, "+" for an EOS that may follow, the number of
 * tokens of a shared prompt in parentheses. */
#ifndef TN_TESTS_EXAMPLE_RIG_H
#define TN_TESTS_EXAMPLE_RIG_H
#include "core/buf.h"
#include "data/examples.h"
#include "tests/testing.h"

/* Byte-level BPE with the special tokens of chatml and llama3, <s>, </s> and <turn>; " yes", "say" and "hel" are
 * tokens.
 */
tn_tokenizer *tn_example_tokenizer(bool add_bos, const char *chat_template);

typedef struct tn_notes {
    const tn_tokenizer *tokenizer;
    tn_buf text;
} tn_notes;

/* A tn_example_visit over a tn_notes. */
tn_status tn_note_example(void *context, const tn_example *example);

/* The path of a.jsonl with these rows, in the folder of a tn_test_files. */
const char *tn_put_rows(tn_test_files *files, const char *rows);
/* `total` may be NULL. */
tn_status tn_note_examples(tn_notes *notes, const char *path, const tn_example_options *options, tn_file_report *total);
tn_file_report tn_assert_documents(void **state, const tn_tokenizer *tokenizer, tn_example_options options,
                                   const char *rows, const char *expected);
void tn_assert_bad_rows(void **state, const tn_tokenizer *tokenizer, tn_example_options options, const char *rows,
                        const char *sentence);

#define U(text)   "{\"role\": \"user\", \"content\": \"" text "\"}"
#define A(text)   "{\"role\": \"assistant\", \"content\": \"" text "\"}"
#define CHAT(...) "{\"messages\": [" __VA_ARGS__ "]}\n"

#endif
