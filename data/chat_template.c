/* SPDX-License-Identifier: MIT */
#include "data/chat_template.h"

#include "core/arena.h"
#include "core/config.h"
#include "core/fs.h"

#include <stdio.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

struct tn_chat_template {
    tn_jinja *jinja;
    char *name, *source;
    bool builtin;
    bool joins_parts; /* it cannot read a list of text parts, so their texts are joined for it */
};

#define TEMPLATE(name, text) #name,
static const char *const names[] = {
#include "data/chat_templates.def"
};
#undef TEMPLATE
#define TEMPLATE(name, text) text,
static const char *const texts[] = {
#include "data/chat_templates.def"
};

const char *const *tn_chat_template_names(int *count) {
    *count = TN_COUNT(names);
    return names;
}

/* ---- life ---- */

/* A text part is of use to a template that says "text". */
static bool reads_parts(const char *source) {
    static const char *const ways[] = {"'text'", "\"text\"", ".text"};
    for (size_t i = 0; i < TN_COUNT(ways); i++)
        if (strstr(source, ways[i])) return true;
    return false;
}

static tn_status copy_texts(tn_chat_template *t, const char *name, const char *source, size_t len) {
    t->name = tn_heap_strdup(name);
    t->source = tn_heap_resize(NULL, len + 1);
    if (!t->name || !t->source) return TN_E_NOMEM;
    memcpy(t->source, source, len);
    t->source[len] = '\0';
    t->joins_parts = !reads_parts(t->source);
    return TN_OK;
}

tn_status tn_chat_template_create(tn_chat_template **out, const char *name, const char *source, size_t len) {
    *out = tn_heap_zalloc(1, sizeof **out);
    if (!*out) return TN_E_NOMEM;
    tn_status status = tn_jinja_create(&(*out)->jinja, name, source, len);
    if (!status) status = copy_texts(*out, name, source, len);
    if (!status) return TN_OK;
    tn_chat_template_free(*out);
    *out = NULL;
    return status;
}

static tn_status create_builtin(tn_chat_template **out, size_t row) {
    char name[64];
    snprintf(name, sizeof name, "chat template %s", names[row]);
    TN_TRY(tn_chat_template_create(out, name, texts[row], strlen(texts[row])));
    (*out)->builtin = true;
    return TN_OK;
}

static tn_status fail_unknown(const char *setting) {
    const char *near = tn_nearest_name(setting, names, TN_COUNT(names));
    tn_buf list = {0};
    tn_status status = TN_OK;
    for (size_t i = 0; i < TN_COUNT(names) && !status; i++)
        status = tn_buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    if (!status)
        status = TN_FAIL(MISSING, "chat template \"%.200s\" is neither a file nor one of %s%s%s%s", setting,
                         tn_buf_text(&list), near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    tn_buf_release(&list);
    return status;
}

tn_status tn_chat_template_open(tn_chat_template **out, const char *setting) {
    *out = NULL;
    for (size_t i = 0; i < TN_COUNT(names); i++)
        if (strcmp(setting, names[i]) == 0) return create_builtin(out, i);
    if (!tn_path_exists(setting)) return fail_unknown(setting);
    tn_buf source = {0};
    tn_status status = tn_file_read(setting, FILE_MAX, &source);
    if (!status) status = tn_chat_template_create(out, setting, tn_buf_text(&source), source.len);
    tn_buf_release(&source);
    return status;
}

void tn_chat_template_free(tn_chat_template *chat_template) {
    if (!chat_template) return;
    tn_jinja_free(chat_template->jinja);
    tn_heap_free(chat_template->name);
    tn_heap_free(chat_template->source);
    tn_heap_free(chat_template);
}

const char *tn_chat_template_source(const tn_chat_template *chat_template) { return chat_template->source; }

void tn_chat_text_release(tn_chat_text *text) {
    tn_buf_release(&text->text);
    tn_jinja_spans_release(&text->answers);
    *text = (tn_chat_text){0};
}

/* ---- messages ---- */

static tn_status check_messages(const json_t *messages) {
    if (!json_is_array(messages)) return TN_FAIL(ARG, "messages: expected a list");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        if (!json_is_object(message)) return TN_FAIL(ARG, "messages[%zu]: expected an object", i);
        if (!json_is_string(json_object_get(message, "role")))
            return TN_FAIL(ARG, "messages[%zu]: has no \"role\" that is a string", i);
    }
    return TN_OK;
}

static tn_status add_part(const json_t *part, size_t message, tn_buf *out) {
    const json_t *text = json_object_get(part, "text");
    const char *type = json_string_value(json_object_get(part, "type"));
    if (!json_is_string(text) || (type && strcmp(type, "text") != 0))
        return TN_FAIL(ARG, "messages[%zu].content: a part of type \"%.40s\", expected \"text\"", message,
                       type ? type : "");
    return tn_buf_append(out, json_string_value(text), json_string_length(text));
}

static tn_status plain_content(const json_t *content, size_t message, tn_buf *out) {
    if (!content || json_is_null(content)) return TN_OK;
    if (json_is_string(content)) return tn_buf_append(out, json_string_value(content), json_string_length(content));
    if (!json_is_array(content)) return TN_FAIL(ARG, "messages[%zu].content: expected a string or text parts", message);
    for (size_t i = 0; i < json_array_size(content); i++) TN_TRY(add_part(json_array_get(content, i), message, out));
    return TN_OK;
}

static tn_status no_memory(void) { return TN_FAIL(NOMEM, "out of memory for messages"); }

/* jansson counts references even of what is not changed. */
static json_t *counted(const json_t *json) { return (json_t *)(uintptr_t)json; }

/* A message with its text for content, and without what built-in templates do not read. */
static tn_status plain_message(const tn_chat_template *t, const json_t *message, size_t i, tn_buf *text, json_t *to) {
    tn_buf_reset(text);
    TN_TRY(plain_content(json_object_get(message, "content"), i, text));
    json_t *copy =
        t->builtin ? json_pack("{s:O}", "role", json_object_get(message, "role")) : json_copy(counted(message));
    if (!copy || json_object_set_new(copy, "content", json_stringn(tn_buf_text(text), text->len)))
        return json_decref(copy), no_memory();
    return json_array_append_new(to, copy) ? no_memory() : TN_OK;
}

static tn_status show_message(const tn_chat_template *t, const json_t *message, size_t i, tn_buf *text, json_t *to) {
    bool parts = json_is_array(json_object_get(message, "content"));
    if (json_array_size(json_object_get(message, "tool_calls")) && !strstr(t->source, "tool_calls"))
        return TN_FAIL(UNSUPPORTED, "%s: has no place for the tool_calls of messages[%zu]", t->name, i);
    if (t->builtin || (parts && t->joins_parts)) return plain_message(t, message, i, text, to);
    return json_array_append(to, counted(message)) ? no_memory() : TN_OK;
}

/* The messages as the template can read them. */
static tn_status show_messages(const tn_chat_template *t, const json_t *messages, json_t *to) {
    tn_buf text = {0};
    tn_status status = TN_OK;
    for (size_t i = 0; i < json_array_size(messages) && !status; i++)
        status = show_message(t, json_array_get(messages, i), i, &text, to);
    tn_buf_release(&text);
    return status;
}

/* ---- rendering ---- */

static tn_status set_token(json_t *context, const char *key, const char *text) {
    if (!text || json_object_get(context, key)) return TN_OK;
    json_t *value = json_string(text);
    if (!value) return TN_FAIL(TEXT, "%s: \"%.60s\" is not valid UTF-8", key, text);
    return json_object_set_new(context, key, value) ? no_memory() : TN_OK;
}

/* The variables that transformers gives to templates. */
static tn_status fill_context(const tn_chat_template *chat_template, const tn_chat *chat, json_t *context,
                              json_t *messages) {
    if (chat->variables && !json_is_object(chat->variables))
        return TN_FAIL(ARG, "variables of the chat template: expected an object");
    if (chat->tools && !json_is_array(chat->tools)) return TN_FAIL(ARG, "tools: expected a list");
    if (json_array_size(chat->tools) && !strstr(chat_template->source, "tools"))
        return TN_FAIL(UNSUPPORTED, "%s: has no place for tools", chat_template->name);
    TN_TRY(check_messages(chat->messages));
    TN_TRY(show_messages(chat_template, chat->messages, messages));
    bool failed = json_object_set_new(context, "documents", json_null()) ||
                  (chat->variables && json_object_update(context, counted(chat->variables))) ||
                  json_object_set(context, "messages", messages) ||
                  json_object_set(context, "tools", chat->tools ? counted(chat->tools) : json_null()) ||
                  json_object_set_new(context, "add_generation_prompt", json_boolean(chat->add_generation_prompt));
    if (failed) return no_memory();
    TN_TRY(set_token(context, "bos_token", chat->bos));
    return set_token(context, "eos_token", chat->eos);
}

static bool begins_with(const tn_buf *text, const char *start) {
    size_t len = start ? strlen(start) : 0;
    return len && text->len >= len && memcmp(text->data, start, len) == 0;
}

tn_status tn_chat_template_render(const tn_chat_template *chat_template, const tn_chat *chat, tn_chat_text *out) {
    const tn_jinja_options options = {.spans = &out->answers, .now = chat->now};
    json_t *context = json_object(), *messages = json_array();
    tn_buf_reset(&out->text);
    out->answers.count = 0;
    tn_status status = context && messages ? fill_context(chat_template, chat, context, messages) : no_memory();
    if (!status) status = tn_jinja_render(chat_template->jinja, context, &options, &out->text);
    out->begins_with_bos = !status && begins_with(&out->text, chat->bos);
    json_decref(context);
    json_decref(messages);
    return status;
}
