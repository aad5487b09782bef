/* SPDX-License-Identifier: MIT
 * chat_prompt.h - messages to the ids that a model was taught to continue.
 * The template is, in this order: the one that is asked for, the one in the model's file, one that the model's special
 * tokens tell (chat_hints in chat_prompt.c), and `none`, for models that were never taught roles. */
#ifndef TN_INFER_CHAT_PROMPT_H
#define TN_INFER_CHAT_PROMPT_H
#include "data/chat_template.h"
#include "models/model_file.h"

/* `setting`: a built-in name, a file, or NULL. `source` receives where the template is from, for people: "the model's
 * own chat template". Fails as tn_chat_template_open. */
tn_status tn_chat_template_choose(tn_chat_template **out, const tn_loaded *loaded, const char *setting,
                                  const char **source);

typedef struct tn_chat_prompt {
    const tn_chat_template *chat_template;
    const json_t *messages;
    const json_t *variables;    /* further ones for the template, or NULL */
    bool add_generation_prompt; /* end with what the assistant's answer follows on */
} tn_chat_prompt;

/* Append the ids of the messages: special tokens as such, and exactly one BOS where the tokenizer or the template wants
 * it. Fails as tn_chat_template_render and tn_tokenizer_encode. */
tn_status tn_chat_prompt_encode(const tn_tokenizer *tokenizer, const tn_chat_prompt *prompt, tn_ids *ids);

#endif
