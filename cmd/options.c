/* SPDX-License-Identifier: MIT */
#include "cmd/console.h"
#include "cmd/options_priv.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    bool help, verbose, disabled, jsonl;
    const char *file;
    int level;
    char ignored[256]; /* flags without effect, each after a space */
} common = {.level = TN_LOG_INFO};

/* The flags every command has. */
static const tn_option common_rows[] = {
    {"log-file", 0, TN_OPT_TEXT, &common.file, "FILE", "append log messages to FILE too", 0, 0, NULL},
    {"log-jsonl", 0, TN_OPT_ON, &common.jsonl, NULL, "log messages as one JSON object a line", 0, 0, NULL},
    {"log-verbosity|lv|verbosity", 0, TN_OPT_INT, &common.level, "N", "0 output, 1 error, 2 warn, 3 info ... 5 debug",
     0, 5, NULL},
    {"verbose|log-verbose", 'v', TN_OPT_ON, &common.verbose, NULL, "the same as --log-verbosity 5", 0, 0, NULL},
    {"log-disable", 0, TN_OPT_ON, &common.disabled, NULL, "no log messages", 0, 0, NULL},
    {"help", 'h', TN_OPT_ON, &common.help, NULL, "this text", 0, 0, NULL},
    TN_OPTIONS_END,
};

bool tn_option_takes_value(const tn_option *option) {
    switch (option->type) {
    case TN_OPT_ON:
    case TN_OPT_OFF: return false;
    case TN_OPT_IGNORED: return option->arg != NULL;
    default: return true;
    }
}

bool tn_option_get_name(const tn_option *option, int position, char out[TN_OPTION_NAME]) {
    tn_config_choice_name(option->names, position, out, TN_OPTION_NAME);
    return out[0] != '\0';
}

const tn_option *tn_usage_row(const tn_usage *usage, int i) {
    const tn_option *const tables[] = {usage->options, usage->shared[0], usage->shared[1], usage->shared[2],
                                       common_rows};
    for (size_t t = 0; t < TN_COUNT(tables); t++)
        for (const tn_option *row = tables[t]; row && row->type != TN_OPT_END; row++)
            if (i-- == 0) return row;
    return NULL;
}

/* Underscores serve for dashes, as llama.cpp has it: --top_k. */
static bool is_name(const char *known, const char *typed, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (known[i] == '\0' || known[i] != (typed[i] == '_' ? '-' : typed[i])) return false;
    return known[len] == '\0';
}

static const tn_option *find_name(const tn_usage *usage, const char *name, size_t len) {
    char known[TN_OPTION_NAME];
    const tn_option *option;
    for (int i = 0; (option = tn_usage_row(usage, i)) != NULL; i++)
        for (int k = 0; tn_option_get_name(option, k, known); k++)
            if (is_name(known, name, len)) return option;
    return NULL;
}

static const tn_option *find_letter(const tn_usage *usage, char letter) {
    const tn_option *option;
    for (int i = 0; (option = tn_usage_row(usage, i)) != NULL; i++)
        if (option->letter == letter) return option;
    return NULL;
}

/* Only a number may be glued to its letter ("-t4"), so that a mistyped long name never turns into a value. */
static bool may_be_glued(const tn_option *option, const char *value) {
    bool number = option->type == TN_OPT_INT || option->type == TN_OPT_COUNT || option->type == TN_OPT_REAL;
    return number && (isdigit((unsigned char)*value) || strchr("-+.", *value));
}

/* The row that `token` names; `value` gets what follows "=" or the letter, else NULL. */
static const tn_option *find_token(const tn_usage *usage, const char *token, const char **value) {
    bool two_dashes = token[1] == '-';
    const char *name = token + 1 + two_dashes;
    size_t len = strcspn(name, "=");
    *value = name[len] ? name + len + 1 : NULL;
    const tn_option *option = find_name(usage, name, len);
    if (option || two_dashes) return option;
    option = find_letter(usage, name[0]);
    if (!option || len == 1) return option;
    *value = name + 1;
    return may_be_glued(option, *value) ? option : NULL;
}

static int fail_unknown(const tn_usage *usage, const char *token) {
    const char *typed = token + 1 + (token[1] == '-');
    char name[TN_OPTION_NAME], best[TN_OPTION_NAME] = "";
    int limit = TN_MAX((int)strlen(typed) / 3, 1);
    const tn_option *option;
    for (int i = 0; (option = tn_usage_row(usage, i)) != NULL; i++)
        for (int k = 0; tn_option_get_name(option, k, name); k++) {
            int distance = tn_edit_distance(typed, name);
            if (distance > limit) continue;
            limit = distance - 1;
            memcpy(best, name, sizeof best);
        }
    if (best[0]) return tn_cmd_usage_error("unknown flag %.60s; did you mean --%s?", token, best);
    return tn_cmd_usage_error("unknown flag %.60s", token);
}

static tn_status store_list(const tn_option *option, const char *what, const char *text) {
    tn_option_list *list = option->target;
    if (list->count == TN_OPTION_VALUES)
        return TN_FAIL(RANGE, "%s: is given more than %d times", what, TN_OPTION_VALUES);
    list->items[list->count++] = text;
    return TN_OK;
}

/* In any letter case, as other tools take the names of types. */
static tn_status store_choice(const tn_option *option, const char *what, const char *text) {
    char lower[64] = "";
    for (size_t i = 0; i + 1 < sizeof lower && text[i]; i++) lower[i] = (char)tolower((unsigned char)text[i]);
    return tn_parse_choice(what, strlen(text) < sizeof lower ? lower : text, option->choices, option->target);
}

static tn_status store(const tn_option *option, const char *what, const char *text) {
    bool any = option->min == 0 && option->max == 0;
    double min = option->min, max = option->max;
    bool named = option->type == TN_OPT_TEXT || option->type == TN_OPT_LIST;
    if (named && !*text) return TN_FAIL(RANGE, "%s: is empty, expected %s", what, option->arg);
    switch (option->type) {
    case TN_OPT_INT:
        return tn_parse_int(what, text, any ? INT_MIN : (int)min, any ? INT_MAX : (int)max, option->target);
    case TN_OPT_COUNT:
        return tn_parse_count(what, text, any ? INT64_MIN : (int64_t)min, any ? INT64_MAX : (int64_t)max,
                              option->target);
    case TN_OPT_REAL: return tn_parse_real(what, text, any ? -1e308 : min, any ? 1e308 : max, option->target);
    case TN_OPT_SIZE: return tn_parse_size(what, text, option->target);
    case TN_OPT_SECONDS: return tn_parse_seconds(what, text, option->target);
    case TN_OPT_CHOICE: return store_choice(option, what, text);
    case TN_OPT_TEXT:
    case TN_OPT_ANY: *(const char **)option->target = text; return TN_OK;
    case TN_OPT_LIST: return store_list(option, what, text);
    default: return TN_OK;
    }
}

static void switch_on(const tn_option *option, bool on) {
    if (option->type == TN_OPT_ON) *(bool *)option->target = on;
    if (option->type == TN_OPT_OFF) *(bool *)option->target = !on;
}

static void note_ignored(const char *what) {
    size_t used = strlen(common.ignored);
    snprintf(common.ignored + used, sizeof common.ignored - used, " %s", what);
}

/* argv[*at] is a flag; *at moves on when its value is the next word. TN_OPTIONS_GO, or the exit status. */
static int read_flag(const tn_usage *usage, int argc, char **argv, int *at) {
    const char *token = argv[*at], *value;
    const tn_option *option = find_token(usage, token, &value);
    if (!option) return fail_unknown(usage, token);
    char what[TN_OPTION_NAME + 2];
    snprintf(what, sizeof what, "%.*s", value && value[-1] != '=' ? 2 : (int)strcspn(token, "="), token);
    if (option->type == TN_OPT_REFUSED) return tn_cmd_usage_error("%s: %s", what, option->help);

    if (!tn_option_takes_value(option)) {
        if (value) return tn_cmd_usage_error("%s: takes no value, found \"%.60s\"", what, value);
        switch_on(option, true);
    } else {
        if (!value && *at + 1 == argc) return tn_cmd_usage_error("%s: needs a value (%s)", what, option->arg);
        if (!value) value = argv[++*at];
        if (store(option, what, value)) return tn_cmd_usage_error("%s", tn_error_message());
    }
    if (option->type == TN_OPT_IGNORED) note_ignored(what);
    return TN_OPTIONS_GO;
}

static tn_status read_environment(const tn_usage *usage) {
    const tn_option *option;
    for (int i = 0; (option = tn_usage_row(usage, i)) != NULL; i++) {
        char name[TN_OPTION_NAME + 8];
        snprintf(name, sizeof name, "TERN_%.*s", (int)strcspn(option->names, "|"), option->names);
        for (char *p = name; *p; p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        const char *text = option->type == TN_OPT_LIST || option->type == TN_OPT_REFUSED ? NULL : getenv(name);
        if (!text) continue;
        bool on = false;
        if (tn_option_takes_value(option))
            TN_TRY(store(option, name, text));
        else if (option->type != TN_OPT_IGNORED) {
            TN_TRY(tn_parse_bool(name, text, &on));
            switch_on(option, on);
        }
    }
    return TN_OK;
}

static int read_words(const tn_usage *usage, int *argc, char **argv) {
    int n_arguments = 0;
    bool flags = true;
    for (int i = 1; i < *argc; i++) {
        bool is_flag = flags && argv[i][0] == '-' && argv[i][1];
        if (is_flag && strcmp(argv[i], "--") == 0)
            flags = false;
        else if (!is_flag)
            argv[1 + n_arguments++] = argv[i]; /* never ahead of i */
        else {
            int status = read_flag(usage, *argc, argv, &i);
            if (status != TN_OPTIONS_GO || common.help) return status;
        }
    }
    *argc = 1 + n_arguments;
    return TN_OPTIONS_GO;
}

static int check_arguments(const tn_usage *usage, int n, char **argv) {
    if (n < usage->min_arguments) return tn_cmd_usage_error("something is missing: expected %s", usage->synopsis);
    if (usage->max_arguments >= 0 && n > usage->max_arguments)
        return tn_cmd_usage_error("too many arguments: expected %s", usage->synopsis);
    for (int i = 1; i <= n; i++)
        if (!*argv[i]) return tn_cmd_usage_error("argument %d is empty: expected %s", i, usage->synopsis);
    return TN_OPTIONS_GO;
}

static tn_status open_console(void) {
    if (common.disabled) return TN_OK;
    TN_TRY(tn_console_open(common.file, common.verbose ? TN_LOG_DEBUG : (tn_log_level)common.level, common.jsonl));
    if (common.ignored[0]) tn_log(TN_LOG_DEBUG, "cmd", "accepted, without effect here:%s", common.ignored);
    return TN_OK;
}

int tn_options_parse(const tn_usage *usage, int *argc, char **argv) {
    tn_cmd_set_name(usage->command);
    if (read_environment(usage)) return tn_cmd_usage_error("%s", tn_error_message());
    int status = read_words(usage, argc, argv);
    if (status == TN_OPTIONS_GO && common.help) return tn_options_print_help(usage) ? TN_EXIT_FAILED : TN_EXIT_DONE;
    if (status == TN_OPTIONS_GO) status = check_arguments(usage, *argc - 1, argv);
    if (status != TN_OPTIONS_GO) return status;
    tn_status opened = open_console();
    return opened ? tn_cmd_fail(opened) : TN_OPTIONS_GO;
}
