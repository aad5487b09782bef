/* SPDX-License-Identifier: MIT */
#include "cmd/chat_room.h"
#include "core/config.h"
#include "core/fs.h"
#include "formats/json_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SAVED = 1 << 26, VERSION = 1, NAMES = 64 };

#define CHAT_COMMAND(name, others, argument, help)                                                                     \
    static tn_status command_##name(tn_chat_room *room, const char *text);
#include "cmd/chat_commands.def"
#undef CHAT_COMMAND

static const struct {
    const char *name, *others, *argument, *help;
    tn_status (*run)(tn_chat_room *room, const char *text); /* text: what follows the name, "" when nothing does */
} commands[] = {
#define CHAT_COMMAND(name, others, argument, help) {#name, others, argument, help, command_##name},
#include "cmd/chat_commands.def"
#undef CHAT_COMMAND
};

/* ---- what is said about things ---- */

static void say(const tn_buf *text) { fwrite(tn_buf_text(text), 1, text->len, stderr); }

static tn_status say_json(const char *name, const json_t *value) {
    tn_buf text = {0};
    tn_status status = tn_json_text_put(value, &text);
    if (!status) fprintf(stderr, "%-22s %s\n", name, tn_buf_text(&text));
    tn_buf_release(&text);
    return status;
}

tn_status tn_chat_list_commands(tn_buf *out) {
    char form[64];
    TN_TRY(tn_buf_puts(out, "In a chat:\n"));
    for (size_t i = 0; i < TN_COUNT(commands); i++) {
        snprintf(form, sizeof form, "%s %s", commands[i].name, commands[i].argument);
        TN_TRY(tn_buf_printf(out, "  /%-22s %s\n", form, commands[i].help));
    }
    return tn_buf_puts(out,
                       "  Ctrl-C stops an answer, or clears the line; twice, or Ctrl-D, leaves. A line that ends in "
                       "\\\n  goes on in the next. A message that begins with / needs a space before it.\n");
}

static tn_status command_help(tn_chat_room *room, const char *text) {
    (void)room, (void)text;
    tn_buf out = {0};
    tn_status status = tn_chat_list_commands(&out);
    if (!status) say(&out);
    tn_buf_release(&out);
    return status;
}

static tn_status command_stats(tn_chat_room *room, const char *text) {
    (void)text;
    tn_chat_room_show_totals(room);
    return TN_OK;
}

/* ---- adapters ---- */

static tn_status list_adapters(const tn_lora_options *lora) {
    if (!lora->count) fprintf(stderr, "there are no adapters; --lora FILE brings one\n");
    for (int i = 0; i < lora->count; i++)
        fprintf(stderr, "%d  %-8g %s: %s\n", i, lora->list[i].scale, lora->list[i].path, lora->list[i].description);
    return TN_OK;
}

/* "name scale": names of files may have blanks in them, so the scale is the last word. False: there is one word alone.
 */
static bool split(char *text, char **scale) {
    static const char blanks[] = " \t\n";
    size_t len = strlen(text);
    while (len && strchr(blanks, text[len - 1])) text[--len] = '\0';
    while (len && !strchr(blanks, text[len - 1])) len--;
    *scale = text + len;
    while (len && strchr(blanks, text[len - 1])) text[--len] = '\0';
    return len > 0;
}

static tn_status change_adapter(tn_chat_room *room, char *name) {
    char *scale;
    tn_lora *lora;
    if (!split(name, &scale)) return TN_FAIL(ARG, "/lora %.60s: which scale? expected /lora N SCALE", name);
    TN_TRY(tn_lora_find(room->lora, name, &lora));
    return tn_lora_set_scale(lora, room->model, scale);
}

/* What the conversation has read is read again by its next turn. */
static tn_status command_lora(tn_chat_room *room, const char *text) {
    tn_buf copy = {0};
    tn_status status = tn_buf_puts(&copy, text);
    if (!status && *text) status = change_adapter(room, copy.data);
    tn_buf_release(&copy);
    return status ? status : list_adapters(room->lora);
}

static tn_status command_exit(tn_chat_room *room, const char *text) {
    (void)text;
    room->leaving = true;
    return TN_OK;
}

/* ---- the conversation ---- */

static tn_status command_reset(tn_chat_room *room, const char *text) {
    (void)text;
    tn_conversation_reset(room->conversation);
    room->read = 0;
    fprintf(stderr, "a new conversation\n");
    return TN_OK;
}

static tn_status command_system(tn_chat_room *room, const char *text) {
    if (*text) return tn_conversation_set_system(room->conversation, strcmp(text, "-") == 0 ? NULL : text);
    const json_t *first = json_array_get(tn_conversation_messages(room->conversation), 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    bool has = role && strcmp(role, "system") == 0;
    fprintf(stderr, "%s\n", has ? json_string_value(json_object_get(first, "content")) : "there is no system message");
    return TN_OK;
}

static tn_status need_file(const char *command, const char *text) {
    return *text ? TN_OK : TN_FAIL(ARG, "/%s: which file?", command);
}

static tn_status command_save(tn_chat_room *room, const char *text) {
    TN_TRY(need_file("save", text));
    tn_buf out = {0};
    json_t *saved = json_pack("{s:s, s:i, s:O, s:O}", "format", "tern-chat", "version", VERSION, "messages",
                              tn_conversation_messages(room->conversation), "settings", room->changes);
    tn_status status = tn_json_text_put(saved, &out);
    if (!status) status = tn_buf_putc(&out, '\n');
    if (!status) status = tn_file_write(text, out.data, out.len);
    if (!status) fprintf(stderr, "%zu messages are in %s\n", json_array_size(json_object_get(saved, "messages")), text);
    json_decref(saved);
    tn_buf_release(&out);
    return status;
}

static tn_status take_saved(tn_chat_room *room, const char *path, json_t *saved) {
    const char *format = json_string_value(json_object_get(saved, "format"));
    json_t *settings = json_object_get(saved, "settings");
    if (!format || strcmp(format, "tern-chat") != 0)
        return TN_FAIL(FORMAT, "%s: is no saved chat, expected \"format\": \"tern-chat\"", path);
    if (json_integer_value(json_object_get(saved, "version")) != VERSION || !json_is_object(settings))
        return TN_FAIL(FORMAT, "%s: expected \"version\": %d and \"settings\" with an object", path, VERSION);
    TN_TRY(tn_conversation_set_messages(room->conversation, json_object_get(saved, "messages")));
    room->read = 0;
    return tn_chat_room_change(room, json_incref(settings));
}

static tn_status command_load(tn_chat_room *room, const char *text) {
    TN_TRY(need_file("load", text));
    tn_buf in = {0};
    json_error_t error;
    tn_status status = tn_file_read(text, MAX_SAVED, &in);
    if (!status) {
        json_t *saved = json_loadb(tn_buf_text(&in), in.len, JSON_REJECT_DUPLICATES, &error);
        status =
            saved ? take_saved(room, text, saved)
                  : TN_FAIL(FORMAT, "%s:%d:%d: %s, expected a saved chat", text, error.line, error.column, error.text);
        json_decref(saved);
    }
    tn_buf_release(&in);
    if (!status) fprintf(stderr, "%zu messages\n", json_array_size(tn_conversation_messages(room->conversation)));
    return status;
}

/* ---- settings ---- */

static tn_status show_settings(const tn_chat_room *room, const char *name) {
    json_t *all = tn_request_settings(&room->settings), *value;
    const char *key;
    tn_status status = all ? TN_OK : TN_E_TEXT;
    json_object_set_new(all, "seed", json_integer((json_int_t)tn_chat_room_seed(room)));
    json_object_update_missing(all, room->changes); /* grammars */
    bool found = !*name;
    json_object_foreach(all, key, value) {
        if (*name && strcmp(name, key) != 0) continue;
        found = true;
        if (!status) status = say_json(key, value);
    }
    json_decref(all);
    return status || found ? status : TN_FAIL(MISSING, "/set: there is no setting \"%.60s\"", name);
}

static tn_status fail_unknown_setting(const char *name) {
    const char *names[NAMES];
    const char *near = tn_nearest_name(name, names, tn_request_names(names, NAMES));
    return TN_FAIL(MISSING, "/set: there is no setting \"%.60s\"%s%s%s", name, near ? "; did you mean " : "",
                   near ? near : "", near ? "?" : "");
}

/* 0.5 and ["a", "b"] are what JSON makes of them, anything else is a text. */
static json_t *read_value(const char *text) {
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    return value ? value : json_string(text);
}

static tn_status change(tn_chat_room *room, const char *name, const char *text) {
    tn_request probe = room->settings;
    json_t *value = read_value(text), *changes = json_copy(room->changes);
    tn_status status = value && changes ? tn_request_set(&probe, name, value) : TN_E_NOMEM;
    if (status == TN_E_MISSING || probe.prompt || probe.messages) status = fail_unknown_setting(name);
    if (!status && json_object_set(changes, name, value)) status = TN_FAIL(NOMEM, "out of memory for settings");
    json_decref(value);
    if (!status) return tn_chat_room_change(room, changes);
    json_decref(changes);
    return status;
}

static tn_status command_set(tn_chat_room *room, const char *text) {
    char name[64];
    size_t len = strcspn(text, " \t=");
    if (len >= sizeof name) return TN_FAIL(RANGE, "/set: \"%.60s...\" is no name of a setting", text);
    for (size_t i = 0; i < len; i++) name[i] = text[i] == '-' ? '_' : text[i];
    name[len] = '\0';
    text += len + strspn(text + len, " \t=");
    return *text ? change(room, name, text) : show_settings(room, name);
}

/* ---- from a line to its command ---- */

static bool is_called(size_t i, const char *name) {
    char other[32];
    if (strcmp(commands[i].name, name) == 0) return true;
    for (int k = 0; *tn_config_choice_name(commands[i].others, k, other, sizeof other); k++)
        if (strcmp(other, name) == 0) return true;
    return false;
}

tn_status tn_chat_command(tn_chat_room *room, const char *line) {
    char name[64];
    const char *names[TN_COUNT(commands)];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(line + 1, " \t\n"), line + 1);
    const char *text = line + 1 + strcspn(line + 1, " \t\n");
    text += strspn(text, " \t\n");
    for (size_t i = 0; i < TN_COUNT(commands); i++) {
        if (is_called(i, name)) return commands[i].run(room, text);
        names[i] = commands[i].name;
    }
    const char *near = tn_nearest_name(name, names, TN_COUNT(commands));
    return TN_FAIL(MISSING, "there is no /%s%s%s%s", name, near ? "; did you mean /" : ", /help lists what there is",
                   near ? near : "", near ? "?" : "");
}
