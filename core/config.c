/* SPDX-License-Identifier: MIT */
#include "core/utf8.h"
#include "core/config_priv.h"
#include "core/fs.h"

#include <stdio.h>
#include <string.h>

enum { MAX_FILE = 1 << 20 };

int tn_config_find_section(const tn_config *config, const char *name) {
    for (int i = 0; i < config->n_sections; i++)
        if (strcmp(config->sections[i].name, name) == 0) return i;
    return -1;
}

int tn_config_find_key(const tn_section *section, const char *name) {
    for (int i = 0; i < section->n_keys; i++)
        if (strcmp(section->keys[i].name, name) == 0) return i;
    return -1;
}

void tn_config_full_name(char out[TN_CONFIG_NAME], const char *section, const char *key) {
    snprintf(out, TN_CONFIG_NAME, "%.60s%s%.60s", section, *section ? "." : "", key);
}

void tn_config_mark_given(const tn_section *section, const tn_key *key) {
    if (section->given) section->given[key - section->keys] = true;
}

void *tn_config_field(const tn_section *section, const tn_key *key) { return (char *)section->values + key->offset; }

static tn_status copy_text(const tn_config *config, const char *what, const char *text, const char **out) {
    TN_TRY(tn_utf8_check(what, 0, text, strlen(text)));
    char *copy = tn_arena_strdup(config->arena, text, "config");
    if (!copy) return TN_E_NOMEM;
    *out = copy;
    return TN_OK;
}

/* Bounds are kept as doubles, which cannot hold INT64_MAX itself. */
static int64_t bound(double limit) {
    if (limit >= 0x1p63) return INT64_MAX;
    return limit <= -0x1p63 ? INT64_MIN : (int64_t)limit;
}

tn_status tn_config_store(const tn_config *config, const tn_section *section, const tn_key *key, const char *where,
                          const char *text) {
    char name[TN_CONFIG_NAME], what[TN_CONFIG_WHERE + TN_CONFIG_NAME];
    tn_config_full_name(name, section->name, key->name);
    snprintf(what, sizeof what, "%s: %s", where, name);
    void *field = tn_config_field(section, key);
    switch (key->type) {
    case TN_KEY_INT: return tn_parse_int(what, text, (int)key->min, (int)key->max, field);
    case TN_KEY_COUNT: return tn_parse_count(what, text, bound(key->min), bound(key->max), field);
    case TN_KEY_REAL: return tn_parse_real(what, text, key->min, key->max, field);
    case TN_KEY_BOOL: return tn_parse_bool(what, text, field);
    case TN_KEY_CHOICE: return tn_parse_choice(what, text, key->choices, field);
    case TN_KEY_TEXT: return copy_text(config, what, text, field);
    case TN_KEY_LIST: return tn_config_store_list(config, section, key, where, &text, 1);
    }
    TN_ASSERT(!"key type");
    return TN_E_CONFIG;
}

tn_status tn_config_store_list(const tn_config *config, const tn_section *section, const tn_key *key, const char *where,
                               const char *const *items, int count) {
    char name[TN_CONFIG_NAME], what[TN_CONFIG_WHERE + TN_CONFIG_NAME];
    tn_config_full_name(name, section->name, key->name);
    const char **copies;
    TN_TAKE(copies, config->arena, count, "config");
    for (int i = 0; i < count; i++) {
        snprintf(what, sizeof what, "%s: %s: item %d", where, name, i + 1);
        if (!*items[i]) return TN_FAIL(CONFIG, "%s is empty, expected a text ([] is the empty list)", what);
        TN_TRY(copy_text(config, what, items[i], &copies[i]));
    }
    *(tn_text_list *)tn_config_field(section, key) = (tn_text_list){copies, count};
    return TN_OK;
}

tn_status tn_config_defaults(tn_config *config) {
    for (int s = 0; s < config->n_sections; s++) {
        const tn_section *section = &config->sections[s];
        for (int k = 0; k < section->n_keys; k++) {
            const tn_key *key = &section->keys[k];
            if (key->type == TN_KEY_LIST && !*key->initial)
                TN_TRY(tn_config_store_list(config, section, key, "default", NULL, 0));
            else
                TN_TRY(tn_config_store(config, section, key, "default", key->initial));
        }
    }
    return TN_OK;
}

tn_status tn_config_load_file(tn_config *config, const char *path) {
    tn_buf text = {0};
    tn_status status = tn_file_read(path, MAX_FILE, &text);
    if (!status) status = tn_config_load_text(config, path, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}

tn_status tn_config_set(tn_config *config, const char *assignment) {
    char where[TN_CONFIG_WHERE];
    snprintf(where, sizeof where, "--set %.200s", assignment);
    const char *equals = strchr(assignment, '=');
    char name[TN_CONFIG_NAME];
    if (!equals || (size_t)(equals - assignment) >= sizeof name)
        return TN_FAIL(CONFIG, "%s: expected section.key=value", where);
    snprintf(name, sizeof name, "%.*s", (int)(equals - assignment), assignment);

    char *dot = strchr(name, '.');
    if (dot) *dot = '\0';
    const char *section_name = dot ? name : "", *key_name = dot ? dot + 1 : name;
    int s = tn_config_find_section(config, section_name);
    int k = s < 0 ? -1 : tn_config_find_key(&config->sections[s], key_name);
    if (k < 0) return tn_config_fail_unknown(config, where, section_name, key_name);

    const tn_section *section = &config->sections[s];
    const tn_key *key = &section->keys[k];
    tn_config_mark_given(section, key);
    if (key->type == TN_KEY_LIST && equals[1] == '[')
        return tn_config_store_flow_list(config, section, key, where, equals + 1);
    return tn_config_store(config, section, key, where, equals + 1);
}
