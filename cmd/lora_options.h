/* SPDX-License-Identifier: MIT
 * lora_options.h - the flags of adapters, for every command that runs a model: which ones, and how strongly each one
 * speaks. What they add is summed up in the order given.
 * Life: TN_OPTIONS_LORA among the rows of flags; tn_options_parse; tn_lora_open; load a model; tn_lora_load. */
#ifndef TN_CMD_LORA_OPTIONS_H
#define TN_CMD_LORA_OPTIONS_H
#include "cmd/options.h"
#include "layers/adapter.h"
#include "models/model_file.h"

enum { TN_LORA_MOST = 64 };

typedef struct tn_lora {
    char path[4096];
    double scale;
    char description[128]; /* for people, once it is loaded */
    tn_adapter *adapter;
} tn_lora;

typedef struct tn_lora_options {
    tn_option_list given; /* FILE, FILE:SCALE, or several of them with commas between */
    bool idle;            /* all begin with a scale of 0 */
    tn_lora *list;        /* [count] in the order given, and then those of the model itself */
    int count;
} tn_lora_options;

#define TN_OPTIONS_LORA(options)                                                                                       \
    {"lora|lora-scaled",                                                                                               \
     0,                                                                                                                \
     TN_OPT_LIST,                                                                                                      \
     &(options)->given,                                                                                                \
     "F[:SCALE]",                                                                                                      \
     "an adapter: run folder, PEFT folder or GGUF file, for 1 or SCALE; repeatable",                                   \
     0,                                                                                                                \
     0,                                                                                                                \
     NULL},                                                                                                            \
    {                                                                                                                  \
        "lora-init-without-apply", 0, TN_OPT_ON, &(options)->idle, NULL,                                               \
            "load adapters with a scale of 0, for /lora in a chat", 0, 0, NULL                                         \
    }

/* Read what was given. A path may have colons and commas in it: what is there as a whole is taken as it is. Fails:
 * TN_E_CONFIG for a scale that is none, TN_E_MISSING for a path where nothing is, TN_E_ARG for one that is given twice,
 * TN_E_RANGE for too many. */
tn_status tn_lora_open(tn_lora_options *options, tn_arena *arena);
/* Load all into `arena` and attach them to the model; say what they are. Fails as tn_adapter_file_load and
 * tn_model_attach. */
tn_status tn_lora_load(tn_lora_options *options, tn_arena *arena, const tn_loaded *loaded);

/* The one that a person means: its number from 0, its path, or the last part of its path. Fails: TN_E_MISSING, with
 * what there is; TN_E_ARG where several are called so. */
tn_status tn_lora_find(const tn_lora_options *options, const char *name, tn_lora **out);
/* Let it speak with another scale. Fails: TN_E_RANGE. */
tn_status tn_lora_set_scale(tn_lora *lora, tn_model *model, const char *scale);

#endif
