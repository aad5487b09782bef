/* SPDX-License-Identifier: MIT
 * examples_priv.h - what examples.c (rows, limits, counts) and the making of tokens and masks share. */
#ifndef TN_DATA_EXAMPLES_PRIV_H
#define TN_DATA_EXAMPLES_PRIV_H
#include "data/chat_prompt.h"
#include "data/examples.h"

/* Bytes [begin, end) of a text in which tokens are learnt, or, for a hole, are not. */
typedef struct tn_region {
    size_t begin, end;
    bool learnt;
} tn_region;

typedef struct tn_regions {
    tn_region *list;
    size_t count, cap;
} tn_regions;

tn_status tn_regions_add(tn_regions *regions, size_t begin, size_t end, bool learnt);

/* A text and what is known of it, to be made into a document. Starts as {0}. */
typedef struct tn_marked_text {
    tn_chat_text chat; /* the text, when it is a conversation's */
    const char *text;  /* [len] */
    size_t len;
    tn_regions turns; /* what the assistant says, or the completion, in order */
    tn_regions holes; /* stretches of these that are not learnt after all */
    bool specials;    /* names of special tokens in the text are these tokens */
    bool wants_bos, wants_eos;
    bool all; /* everything is learnt, not the turns alone */
} tn_marked_text;

typedef struct tn_example_maker {
    const tn_tokenizer *tokenizer;
    const tn_example_options *options;
    tn_chat_template *chat_template; /* made when the first conversation comes */
    tn_ids ends;                     /* eot_tokens */
    bool told_bos, told_words;       /* said once */
} tn_example_maker;

bool tn_example_is_end(const tn_example_maker *maker, int32_t id); /* of a turn, or of a text */
/* Whether the ids of a text that is read as it is want a BOS in front. */
bool tn_example_wants_bos(const tn_tokenizer *tokenizer, const char *text, size_t len);

/* conversation_text.c: the text of said, its turns and holes. `row` tells the kind. */
tn_status tn_conversation_text(tn_example_maker *maker, const tn_row *row, const tn_said *said, tn_marked_text *out);
/* Append the ids of messages of a row up to where the assistant's answer begins. */
tn_status tn_conversation_ask(tn_example_maker *maker, const tn_row *row, const json_t *messages, tn_ids *ids);
void tn_marked_text_release(tn_marked_text *text);

/* A document under construction. Starts as {0}; reset before each. */
typedef struct tn_tokens {
    tn_ids ids;
    uint8_t *mask;
    size_t mask_cap;
    size_t *offsets; /* where each token begins in the text, rising */
    size_t offsets_cap;
    bool closed; /* the last token is EOS, put behind the text */
} tn_tokens;

/* loss_mask.c: `out` has the tokens of the text and which are learnt. */
tn_status tn_tokens_make(const tn_example_maker *maker, const tn_marked_text *text, tn_tokens *out);
void tn_tokens_release(tn_tokens *tokens);

#endif
