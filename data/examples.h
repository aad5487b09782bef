/* SPDX-License-Identifier: MIT
 * examples.h - rows become documents: tokens, and which of them are learnt.
 *
 * A conversation goes through the chat template and is tokenised once. What its answers are is known by bytes of that
 * text: from the {% generation %} blocks of the template where it has them, else by rendering the messages up to each
 * answer and comparing. A token belongs to the part in which it begins. Of an answer its text is learnt and the token
 * that ends the turn, not what the template writes behind that. Texts, prompts and completions that are strings are
 * read as they are, with EOS behind. There is exactly one BOS, where the tokenizer or the template wants it. */
#ifndef TN_DATA_EXAMPLES_H
#define TN_DATA_EXAMPLES_H
#include "data/rows.h"
#include "data/tokenizer.h"

/* As data.loss_on, data.train_on_eos and data.overflow have them (data_keys.def). */
enum { TN_LOSS_AUTO, TN_LOSS_ALL, TN_LOSS_COMPLETION, TN_LOSS_ASSISTANT };
enum { TN_EOS_TURN, TN_EOS_LAST, TN_EOS_ALL, TN_EOS_NONE };
enum { TN_OVERFLOW_CUT, TN_OVERFLOW_SPLIT, TN_OVERFLOW_DROP, TN_OVERFLOW_ERROR };

/* Zeros are the defaults. */
typedef struct tn_example_options {
    tn_row_options rows;
    const char *chat_template;     /* "model" (also NULL), a built-in name or a file */
    int loss_on;                   /* auto: all of a text, else the completion or what the assistant says */
    int train_on_eos;              /* ends of turns: of those that are learnt, of the last of them, of all, or none */
    const char *const *eot_tokens; /* tokens that end turns, besides those that the tokenizer knows */
    int n_eot_tokens;
    int64_t max_length;  /* tokens of a document; 0 = any */
    int overflow;        /* what becomes of a longer one; cut keeps its beginning */
    int64_t max_samples; /* rows in all; 0 = any */
    bool dedup;          /* leave out a row that gives the tokens of one before */
    bool running_text;   /* texts are one stream: no BOS, no max_length, special tokens in them are plain text */
    bool counts_texts;   /* look for duplicates among texts too */
    bool shows_all;      /* visit documents without anything to learn too, which are left out nevertheless */
} tn_example_options;

typedef struct tn_document {
    const int32_t *ids;
    const uint8_t *mask; /* 1 = learnt, predicted from the token before; of the first always 0 */
    size_t count;        /* > 0 */
    size_t bytes;        /* of text behind it */
    bool ends_open;      /* running text without its EOS yet: it gets one unless it is all there is */
} tn_document;

typedef struct tn_example {
    const tn_row *row;
    tn_document documents[2]; /* of a preference, what was chosen and what was rejected; else one */
    int count;
    size_t prompt_tokens; /* PREFERENCE: at the beginning of both, the same, not learnt */
} tn_example;

/* A failure stops the reading; one that is about the row makes it a bad one (data/rows.h). */
typedef tn_status tn_example_visit(void *context, const tn_example *example);

/* All examples of `paths`; `report` has then all its counts. A document without anything to learn is left out, but for
 * running text. Fails: what tn_read_rows gives; TN_E_CONFIG for eot_tokens that are no tokens; as
 * tn_chat_template_open. */
tn_status tn_read_examples(const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                           const tn_example_options *options, tn_data_report *report, tn_example_visit *visit,
                           void *context);

/* Documents of `count` tokens under a limit (0 = none): the pieces they come to, 0 = it is left out. Piece i begins
 * with token i (limit - 1): its first token is the last of the piece before, so that every token but the first of all
 * is predicted once. */
int64_t tn_overflow_pieces(int overflow, int64_t count, int64_t limit);

/* The text of the chat template that conversations went through when `options` ask for another than the tokenizer's;
 * NULL: they do not. Heap; free it. Fails as tn_chat_template_open. */
tn_status tn_example_template(const tn_example_options *options, char **source);

#endif
