/* SPDX-License-Identifier: MIT */
#include "cmd/options_priv.h"

#include <stdio.h>
#include <string.h>

enum { HELP_COLUMN = 32 };

/* " [default]" of a row whose target says one; a count below its range says none. */
static tn_status put_default(const tn_option *option, tn_buf *out) {
    char word[TN_OPTION_NAME];
    const char *text = NULL;
    int64_t count;
    switch (option->type) {
    case TN_OPT_INT: return tn_buf_printf(out, " [%d]", *(const int *)option->target);
    case TN_OPT_COUNT:
        count = *(const int64_t *)option->target;
        return count < option->min ? TN_OK : tn_buf_printf(out, " [%lld]", (long long)count);
    case TN_OPT_REAL: return tn_buf_printf(out, " [%g]", *(const double *)option->target);
    case TN_OPT_CHOICE:
        text = tn_config_choice_name(option->choices, *(const int *)option->target, word, sizeof word);
        return tn_buf_printf(out, " [%s]", text);
    case TN_OPT_TEXT:
        text = *(const char *const *)option->target;
        return text && *text ? tn_buf_printf(out, " [%s]", text) : TN_OK;
    default: return TN_OK;
    }
}

static tn_status put_row(const tn_option *option, tn_buf *out) {
    if (option->type == TN_OPT_IGNORED || option->type == TN_OPT_REFUSED) return TN_OK;
    size_t start = out->len;
    char name[TN_OPTION_NAME];
    if (option->letter)
        TN_TRY(tn_buf_printf(out, "  -%c, ", option->letter));
    else
        TN_TRY(tn_buf_puts(out, "      "));
    for (int k = 0; tn_option_get_name(option, k, name); k++) TN_TRY(tn_buf_printf(out, "%s--%s", k ? ", " : "", name));
    if (tn_option_takes_value(option)) TN_TRY(tn_buf_printf(out, " %s", option->arg));
    size_t used = out->len - start;
    if (used >= HELP_COLUMN) TN_TRY(tn_buf_putc(out, '\n'));
    int gap = used >= HELP_COLUMN ? HELP_COLUMN : (int)(HELP_COLUMN - used);
    TN_TRY(tn_buf_printf(out, "%*s%s", gap, "", option->help));
    if (option->choices) TN_TRY(tn_buf_printf(out, " (%s)", option->choices));
    TN_TRY(put_default(option, out));
    return tn_buf_putc(out, '\n');
}

static tn_status put_help(const tn_usage *usage, tn_buf *out) {
    TN_TRY(tn_buf_printf(out, "Usage: tern %s %s\n\n%s\n\n", usage->command, usage->synopsis, usage->about));
    const tn_option *row;
    for (int i = 0; (row = tn_usage_row(usage, i)) != NULL; i++) TN_TRY(put_row(row, out));
    return usage->more ? usage->more(out) : TN_OK;
}

tn_status tn_options_print_help(const tn_usage *usage) {
    tn_buf out = {0};
    tn_status status = put_help(usage, &out);
    if (!status) status = tn_cmd_write(out.data, out.len);
    tn_buf_release(&out);
    return status;
}
