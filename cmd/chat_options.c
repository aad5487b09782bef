/* SPDX-License-Identifier: MIT */
#include "cmd/chat_options.h"
#include "cmd/escapes.h"
#include "formats/json_text.h"

#include <string.h>

const tn_option *tn_chat_options_init(tn_chat_options *o) {
    *o = (tn_chat_options){0};
    const tn_option rows[] = {
        {"system-prompt|sys", 0, TN_OPT_ANY, &o->system_arg, "TEXT", "the system message", 0, 0, NULL},
        {"system-prompt-file|sysf", 0, TN_OPT_TEXT, &o->system_file, "FILE", "the same from FILE", 0, 0, NULL},
        {"chat-template", 0, TN_OPT_TEXT, &o->template_arg, "T", "built-in name or file; else the model's own", 0, 0,
         NULL},
        {"chat-template-file", 0, TN_OPT_TEXT, &o->template_file, "FILE", "the same", 0, 0, NULL},
        {"chat-template-kwargs", 0, TN_OPT_TEXT, &o->variables_arg, "JSON", "an object of variables for the template",
         0, 0, NULL},
        {"jinja|no-jinja", 0, TN_OPT_IGNORED, NULL, NULL, "no effect here", 0, 0, NULL},
        TN_OPTIONS_END,
    };
    _Static_assert(TN_COUNT(rows) <= TN_CHAT_OPTION_ROWS, "room for the rows");
    memcpy(o->rows, rows, sizeof rows);
    return o->rows;
}

bool tn_chat_options_has_system(const tn_chat_options *options) { return options->system_arg || options->system_file; }

int tn_chat_options_check(const tn_chat_options *o) {
    if (o->system_arg && o->system_file) return tn_cmd_usage_error("-sys and -sysf cannot both be given");
    if (o->template_arg && o->template_file)
        return tn_cmd_usage_error("--chat-template and --chat-template-file cannot both be given");
    return TN_OPTIONS_GO;
}

static tn_status read_variables(tn_chat_options *o) {
    json_error_t error;
    char found[64];
    if (!o->variables_arg) return TN_OK;
    o->variables = json_loads(o->variables_arg, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!o->variables)
        return TN_FAIL(FORMAT, "--chat-template-kwargs: column %d: %s, expected an object in JSON", error.column,
                       error.text);
    if (json_is_object(o->variables)) return TN_OK;
    return TN_FAIL(FORMAT, "--chat-template-kwargs: is %s, expected an object",
                   tn_json_text_describe(o->variables, found));
}

tn_status tn_chat_options_open(tn_chat_options *options, const tn_loaded *loaded, bool escape) {
    const char *setting = options->template_file ? options->template_file : options->template_arg;
    TN_TRY(read_variables(options));
    TN_TRY(tn_text_argument(options->system_arg, options->system_file, escape, &options->system));
    return tn_chat_template_choose(&options->chat_template, loaded->tokenizer, setting, &options->source);
}

void tn_chat_options_release(tn_chat_options *options) {
    tn_chat_template_free(options->chat_template);
    json_decref(options->variables);
    tn_buf_release(&options->system);
}
