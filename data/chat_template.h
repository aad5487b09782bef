/* SPDX-License-Identifier: MIT
 * chat_template.h - messages become the text that a model was taught to continue.
 * Life: create from the text in a model's file, or open by a built-in name or a path -> render -> free.
 * Threads: a template is read-only; several threads may render with it.
 * The templates that have names are the rows of chat_templates.def. */
#ifndef TN_DATA_CHAT_TEMPLATE_H
#define TN_DATA_CHAT_TEMPLATE_H
#include "data/jinja.h"

typedef struct tn_chat_template tn_chat_template;

/* `name` begins the sentences of failures. Fails: as tn_jinja_create. */
tn_status tn_chat_template_create(tn_chat_template **out, const char *name, const char *source, size_t len);
/* `setting` is a built-in name or the path of a file. Fails: TN_E_MISSING when it is neither; as reading a file and
 * tn_jinja_create do. */
tn_status tn_chat_template_open(tn_chat_template **out, const char *setting);
void tn_chat_template_free(tn_chat_template *chat_template);                /* NULL is fine */
const char *tn_chat_template_source(const tn_chat_template *chat_template); /* its text, to be kept with a model */
/* The built-in names, in the order of their rows; `count` receives how many. */
const char *const *tn_chat_template_names(int *count);

typedef struct tn_chat {
    const json_t *messages;  /* array of objects with a string "role"; what else they hold is the template's affair */
    const json_t *tools;     /* array, or NULL for none */
    const json_t *variables; /* object of further variables (enable_thinking, documents ...), or NULL */
    const char *bos, *eos;   /* bos_token and eos_token; NULL where the vocabulary has none */
    bool add_generation_prompt; /* end with what the assistant's answer follows on */
    int64_t now;                /* for templates that tell the date, in seconds since 1970; 0 = the clock */
} tn_chat;

/* Starts as {0}; render empties it first. */
typedef struct tn_chat_text {
    tn_buf text;
    tn_jinja_spans answers; /* what the assistant says, where the template marks it */
    bool begins_with_bos;   /* the tokenizer must not add another */
} tn_chat_text;

/* Contents are strings, null (for built-in templates: nothing) or lists of text parts, whose texts are joined for a
 * template that does not read parts. Fails: TN_E_ARG for messages that are no messages, or that the template itself
 * refuses (its own words are then the sentence); TN_E_UNSUPPORTED for tools, or calls of tools, that it would leave
 * out; as tn_jinja_render. */
tn_status tn_chat_template_render(const tn_chat_template *chat_template, const tn_chat *chat, tn_chat_text *out);
void tn_chat_text_release(tn_chat_text *text);

#endif
