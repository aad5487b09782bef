/* SPDX-License-Identifier: MIT
 * chat_prompt.h - messages to the ids that a model was taught to continue.
 * The template is, in this order: the one that is asked for, the one in the model's file, one that the model's special
 * tokens tell (chat_hints in chat_prompt.c), and `none`, for models that were never taught roles. */
#ifndef TN_DATA_CHAT_PROMPT_H
#define TN_DATA_CHAT_PROMPT_H
#include "data/chat_template.h"
#include "data/tokenizer.h"

/* `setting`: a built-in name, a file, or NULL. `source` receives where the template is from, for people: "the model's
 * own chat template". Fails as tn_chat_template_open. */
tn_status tn_chat_template_choose(tn_chat_template **out, const tn_tokenizer *tokenizer, const char *setting,
                                  const char **source);

/* Whether a setting of a configuration is "model" or a built-in name rather than a file. */
bool tn_chat_template_is_name(const char *setting);

typedef struct tn_chat_prompt {
    const tn_chat_template *chat_template;
    const json_t *messages;
    const json_t *tools;        /* array, or NULL */
    const json_t *variables;    /* further ones for the template, or NULL */
    bool add_generation_prompt; /* end with what the assistant's answer follows on */
    int64_t now;                /* for templates that tell the date, in seconds since 1970; 0 = the clock */
} tn_chat_prompt;

/* The text of the messages. Fails as tn_chat_template_render. */
tn_status tn_chat_prompt_render(const tn_tokenizer *tokenizer, const tn_chat_prompt *prompt, tn_chat_text *out);
/* Whether the ids of that text want a BOS in front, so that there is exactly one. */
bool tn_chat_text_wants_bos(const tn_tokenizer *tokenizer, const tn_chat_text *text);
/* Append the ids of the messages: special tokens as such, and exactly one BOS where the tokenizer or the template wants
 * it. Fails as tn_chat_template_render and tn_tokenizer_encode. */
tn_status tn_chat_prompt_encode(const tn_tokenizer *tokenizer, const tn_chat_prompt *prompt, tn_ids *ids);

#endif
