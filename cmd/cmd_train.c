/* SPDX-License-Identifier: MIT
 * cmd_train.c - `tern train`: a new model. */
#include "cmd/training.h"

static tn_status put_settings(tn_buf *out) { return tn_training_settings(tn_run_config_init, out); }

int tn_cmd_train(int argc, char **argv) {
    static const tn_training_command command = {
        .name = "train",
        .about = "Train a model. All settings are in CONFIG, a YAML file; configs/ has examples.",
        .init = tn_run_config_init,
        .settings = put_settings,
        .other = "finetune",
        .other_init = tn_run_config_init_finetune,
    };
    return tn_training_run(&command, argc, argv);
}
