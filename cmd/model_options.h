/* SPDX-License-Identifier: MIT
 * model_options.h - the flags of every command that runs a model: which one, how much context, how many threads; and
 * what other tools' scripts pass that has no effect here, or that Tern does not do. */
#ifndef TN_CMD_MODEL_OPTIONS_H
#define TN_CMD_MODEL_OPTIONS_H
#include "cmd/lora_options.h"
#include "infer/session.h"

enum { TN_MODEL_OPTION_ROWS = 48 };

typedef struct tn_model_options {
    const char *model;
    int context, chunk, threads, prompt_threads, head, gpu_layers, preset;
    int key_type, value_type; /* as given; together they are kv, after tn_model_options_check */
    tn_kv_type kv;
    tn_lora_options lora;
    tn_option rows[TN_MODEL_OPTION_ROWS];
} tn_model_options;

/* Fill in defaults; gives the table of flags over `options`, for tn_usage.shared. */
const tn_option *tn_model_options_init(tn_model_options *options);
/* After tn_options_parse: TN_OPTIONS_GO, or the exit status when something is missing or cannot be. A preset fills in
 * what the command line leaves open. */
int tn_model_options_check(tn_model_options *options);
/* Make ready to compute, load the model and its adapters into `arena` and say what they are; warn when they and `slots`
 * texts take more memory than the preset allows. */
tn_status tn_model_options_load(tn_model_options *options, int slots, tn_arena *arena, tn_loaded *loaded);
tn_session_options tn_model_options_session(const tn_model_options *options); /* after tn_model_options_load */

#endif
