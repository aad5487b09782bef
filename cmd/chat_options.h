/* SPDX-License-Identifier: MIT
 * chat_options.h - the flags of every command that puts messages through a chat template.
 * Life: tn_usage.shared = tn_chat_options_init(&o); tn_options_parse; tn_chat_options_check; load a model;
 *       tn_chat_options_open; use what it made; tn_chat_options_release. */
#ifndef TN_CMD_CHAT_OPTIONS_H
#define TN_CMD_CHAT_OPTIONS_H
#include "cmd/options.h"
#include "data/chat_prompt.h"
#include "models/model_file.h"

enum { TN_CHAT_OPTION_ROWS = 8 };

typedef struct tn_chat_options {
    /* As given. */
    const char *system_arg, *system_file, *template_arg, *template_file, *variables_arg;
    tn_option rows[TN_CHAT_OPTION_ROWS];
    /* Made of these. */
    tn_buf system; /* "" = none */
    json_t *variables;
    tn_chat_template *chat_template;
    const char *source; /* of the template, for people */
} tn_chat_options;

/* Fill in defaults; gives the table of flags over `options`, for tn_usage.shared. */
const tn_option *tn_chat_options_init(tn_chat_options *options);
/* After tn_options_parse: TN_OPTIONS_GO, or the exit status for flags that contradict each other. */
int tn_chat_options_check(const tn_chat_options *options);
/* Read texts, with their escapes when `escape`, and open the template. */
tn_status tn_chat_options_open(tn_chat_options *options, const tn_loaded *loaded, bool escape);
void tn_chat_options_release(tn_chat_options *options);

/* Whether a system message was asked for. */
bool tn_chat_options_has_system(const tn_chat_options *options);

#endif
