/* SPDX-License-Identifier: MIT
 * cmd_finetune.c - `tern finetune`: a model adapted to one's own data. */
#include "cmd/training.h"

static tn_status put_settings(tn_buf *out) { return tn_training_settings(tn_run_config_init_finetune, out); }

int tn_cmd_finetune(int argc, char **argv) {
    static const tn_setting_flag flags[] = {
#define FLAG(names, key) {names, key},
#include "cmd/finetune_flags.def"
#undef FLAG
    };
    static const tn_training_command command = {
        .name = "finetune",
        .about =
            "Adapt a model, model.base, to data of one's own: all its weights, an adapter beside it, or its norms.\n"
            "All settings are in CONFIG, a YAML file; configs/lora.yaml is one to start from.",
        .init = tn_run_config_init_finetune,
        .settings = put_settings,
        .flags = flags,
        .n_flags = (int)TN_COUNT(flags),
    };
    return tn_training_run(&command, argc, argv);
}
