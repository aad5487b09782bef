/* SPDX-License-Identifier: MIT */
#include "cmd/data_settings.h"

static tn_config begin(tn_data_settings *s) {
    s->section = tn_data_section(&s->config);
    return (tn_config){.arena = s->arena, .sections = &s->section, .n_sections = 1};
}

tn_status tn_data_settings_open(tn_data_settings *s) {
    s->arena = tn_arena_create("configuration");
    if (!s->arena) return TN_E_NOMEM;
    tn_config config = begin(s);
    TN_TRY(tn_config_defaults(&config));
    for (int i = 0; i < s->sets.count; i++) TN_TRY(tn_config_set(&config, s->sets.items[i]));
    return TN_OK;
}

void tn_data_settings_close(tn_data_settings *s) {
    tn_arena_free(s->arena);
    s->arena = NULL;
}

tn_status tn_data_settings_help(tn_buf *out) {
    tn_data_settings s = {0};
    tn_status status = tn_data_settings_open(&s);
    tn_config config = begin(&s);
    if (!status) status = tn_buf_puts(out, "\nSettings of --set:\n");
    if (!status) status = tn_config_help(&config, out);
    tn_data_settings_close(&s);
    return status;
}
