/* SPDX-License-Identifier: MIT
 * model_options.h - the flags of every command that runs a model: which one, how much context, how many threads; and
 * what other tools' scripts pass that has no effect here, or that Tern does not do. */
#ifndef TN_CMD_MODEL_OPTIONS_H
#define TN_CMD_MODEL_OPTIONS_H
#include "cmd/options.h"
#include "infer/session.h"

enum { TN_MODEL_OPTION_ROWS = 48 };

typedef struct tn_model_options {
    const char *model;
    int context, chunk, threads, prompt_threads, head, key_type, value_type, gpu_layers;
    tn_option rows[TN_MODEL_OPTION_ROWS];
} tn_model_options;

/* Fill in defaults; gives the table of flags over `options`, for tn_usage.shared. */
const tn_option *tn_model_options_init(tn_model_options *options);
/* After tn_options_parse: TN_OPTIONS_GO, or the exit status when something is missing or cannot be. */
int tn_model_options_check(const tn_model_options *options);
/* Make ready to compute, load the model into `arena` and say what it is. */
tn_status tn_model_options_load(const tn_model_options *options, tn_arena *arena, tn_loaded *loaded);
tn_session_options tn_model_options_session(const tn_model_options *options);

#endif
