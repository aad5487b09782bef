/* SPDX-License-Identifier: MIT
 * config_dump.c - prints the effective settings as YAML that loads back to the same values, and the table of all keys.
 * Written by hand rather than with libyaml's emitter: a text is quoted exactly when it must be. */
#include "core/utf8.h"
#include "core/config_priv.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Letters, digits and the signs of paths and numbers mean nothing to YAML; the schema gives the type. */
static bool is_plain(const char *text) {
    if (!*text) return false;
    if (!isalnum((unsigned char)*text) && !strchr("/._", *text)) return false;
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("/._+-", *p)) return false;
    return true;
}

/* Code points that YAML folds, drops or refuses when they stand in a text as themselves. */
static bool must_escape(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code <= 0xa0) || code == 0x2028 || code == 0x2029 || code == 0xfeff ||
           code == 0xfffe || code == 0xffff;
}

static tn_status put_quoted(tn_buf *out, const char *text) {
    TN_TRY(tn_buf_putc(out, '"'));
    size_t len = strlen(text);
    for (size_t i = 0; i < len;) {
        uint32_t code = 0;
        int n = tn_utf8_read(text + i, len - i, &code);
        if (!n) return TN_FAIL(TEXT, "a setting is not valid UTF-8");
        if (code == '"' || code == '\\')
            TN_TRY(tn_buf_printf(out, "\\%c", (char)code));
        else if (code == '\n')
            TN_TRY(tn_buf_puts(out, "\\n"));
        else if (must_escape(code))
            TN_TRY(tn_buf_printf(out, "\\u%04x", (unsigned)code));
        else
            TN_TRY(tn_buf_append(out, text + i, (size_t)n));
        i += (size_t)n;
    }
    return tn_buf_putc(out, '"');
}

static tn_status put_text(tn_buf *out, const char *text) {
    return is_plain(text) ? tn_buf_puts(out, text) : put_quoted(out, text);
}

static tn_status put_list(tn_buf *out, const tn_text_list *list) {
    TN_TRY(tn_buf_putc(out, '['));
    for (int i = 0; i < list->count; i++) {
        if (i) TN_TRY(tn_buf_puts(out, ", "));
        TN_TRY(put_text(out, list->items[i]));
    }
    return tn_buf_putc(out, ']');
}

static tn_status put_value(tn_buf *out, const tn_key *key, const void *field) {
    char name[64];
    switch (key->type) {
    case TN_KEY_INT: return tn_buf_printf(out, "%d", *(const int *)field);
    case TN_KEY_COUNT: return tn_buf_printf(out, "%lld", (long long)*(const int64_t *)field);
    case TN_KEY_REAL: return tn_buf_put_real(out, *(const double *)field);
    case TN_KEY_BOOL: return tn_buf_puts(out, *(const bool *)field ? "true" : "false");
    case TN_KEY_CHOICE:
        return tn_buf_puts(out, tn_config_choice_name(key->choices, *(const int *)field, name, sizeof name));
    case TN_KEY_TEXT: return put_text(out, *(const char *const *)field);
    case TN_KEY_LIST: return put_list(out, field);
    }
    TN_ASSERT(!"key type");
    return TN_E_CONFIG;
}

static tn_status put_setting(tn_buf *out, const tn_section *section, const tn_key *key) {
    TN_TRY(tn_buf_printf(out, "%s: ", key->name));
    return put_value(out, key, tn_config_field(section, key));
}

tn_status tn_config_value_text(const tn_section *section, const tn_key *key, tn_buf *out) {
    tn_buf_reset(out);
    return put_setting(out, section, key);
}

static tn_status dump_section(const tn_section *section, tn_buf *out) {
    const char *indent = *section->name ? "  " : "";
    if (*section->name) TN_TRY(tn_buf_printf(out, "%s:\n", section->name));
    for (int k = 0; k < section->n_keys; k++) {
        TN_TRY(tn_buf_puts(out, indent));
        TN_TRY(put_setting(out, section, &section->keys[k]));
        TN_TRY(tn_buf_putc(out, '\n'));
    }
    return TN_OK;
}

tn_status tn_config_dump(const tn_config *config, tn_buf *out) {
    for (int s = 0; s < config->n_sections; s++) TN_TRY(dump_section(&config->sections[s], out));
    return TN_OK;
}

static void describe_domain(const tn_key *key, char *out, size_t size) {
    switch (key->type) {
    case TN_KEY_INT:
    case TN_KEY_COUNT: snprintf(out, size, "%.0f..%.0f", key->min, key->max); break;
    case TN_KEY_REAL: snprintf(out, size, "%.12g..%.12g", key->min, key->max); break;
    case TN_KEY_BOOL: snprintf(out, size, "true|false"); break;
    case TN_KEY_CHOICE: snprintf(out, size, "%s", key->choices); break;
    case TN_KEY_TEXT: snprintf(out, size, "text"); break;
    case TN_KEY_LIST: snprintf(out, size, "text or list"); break;
    }
}

tn_status tn_config_help(const tn_config *config, tn_buf *out) {
    for (int s = 0; s < config->n_sections; s++) {
        const tn_section *section = &config->sections[s];
        for (int k = 0; k < section->n_keys; k++) {
            const tn_key *key = &section->keys[k];
            char name[TN_CONFIG_NAME], domain[160];
            tn_config_full_name(name, section->name, key->name);
            describe_domain(key, domain, sizeof domain);
            const char *initial = *key->initial ? key->initial : "-";
            TN_TRY(tn_buf_printf(out, "  %-28s %-12s %s [%s]\n", name, initial, key->help, domain));
        }
    }
    return TN_OK;
}
