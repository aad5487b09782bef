/* SPDX-License-Identifier: MIT
 * training.h - what `tern train` and `tern finetune` share, which is all but their settings: from a configuration to a
 * run folder; going on with one; planning one. */
#ifndef TN_CMD_TRAINING_H
#define TN_CMD_TRAINING_H
#include "cmd/options.h"
#include "train/run_config.h"

/* A flag of other tools that stands for a setting: --lora-rank 8 is --set lora.rank=8. */
typedef struct tn_setting_flag {
    const char *names; /* as tn_option has them */
    const char *key;   /* "lora.rank" */
} tn_setting_flag;

typedef tn_status tn_run_config_start(tn_run_config *config, tn_arena *arena);

typedef struct tn_training_command {
    const char *name; /* "finetune" */
    const char *about;
    tn_run_config_start *init;
    tn_status (*settings)(tn_buf *out); /* tn_training_settings of `init` */
    const tn_setting_flag *flags;       /* [n_flags] */
    int n_flags;
    /* The command that a configuration may be for which this one cannot read; or NULL. */
    const char *other;
    tn_run_config_start *other_init;
} tn_training_command;

int tn_training_run(const tn_training_command *command, int argc, char **argv);
/* Append all settings with their defaults, from the tables that read them. */
tn_status tn_training_settings(tn_run_config_start *init, tn_buf *out);

#endif
