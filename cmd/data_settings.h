/* SPDX-License-Identifier: MIT
 * data_settings.h - the `data` section of a configuration, for commands that make documents of rows: --set
 * data.KEY=VALUE. Life: {0}, TN_OPTION_DATA_SETTINGS in the table of options, open, ..., close. */
#ifndef TN_CMD_DATA_SETTINGS_H
#define TN_CMD_DATA_SETTINGS_H
#include "cmd/options.h"
#include "data/data_config.h"

typedef struct tn_data_settings {
    tn_option_list sets;
    tn_data_config config;
    tn_section section;
    tn_arena *arena;
} tn_data_settings;

/* A row for a tn_data_settings *. */
#define TN_OPTION_DATA_SETTINGS(s)                                                                                     \
    {                                                                                                                  \
        "set", 0, TN_OPT_LIST, &(s)->sets, "KEY=VALUE",                                                                \
            "how rows become documents, data.chat_template=chatml; may be repeated", 0, 0, NULL                        \
    }

/* Defaults, then the sets. Fails: what tn_config_set gives. */
tn_status tn_data_settings_open(tn_data_settings *settings);
void tn_data_settings_close(tn_data_settings *settings);
/* All keys with their defaults, for tn_usage.more. */
tn_status tn_data_settings_help(tn_buf *out);

#endif
