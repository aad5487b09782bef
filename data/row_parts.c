/* SPDX-License-Identifier: MIT
 * row_parts.c - what the values of a row must be, kind by kind, and what they come to: conversations, texts, tokens. */
#include "data/grow.h"
#include "data/rows_priv.h"
#include "formats/json_text.h"

#include <stdio.h>
#include <string.h>

enum { PLACE = 160 }; /* "messages[12].content[3].text" */

const char *tn_row_field(const tn_row_options *options, const char *key) {
    size_t len = strlen(key);
    for (int i = 0; i < options->n_fields; i++)
        if (strncmp(options->fields[i], key, len) == 0 && options->fields[i][len] == '=')
            return options->fields[i] + len + 1;
    return key;
}

void tn_row_parts_reset(tn_row_parts *p) {
    for (int i = 0; i < 2; i++) {
        json_decref(p->messages[i]);
        p->messages[i] = NULL;
        tn_buf_reset(&p->text[i]);
    }
    p->row = (tn_row){0};
}

void tn_row_parts_release(tn_row_parts *p) {
    tn_row_parts_reset(p);
    for (int i = 0; i < 2; i++) tn_buf_release(&p->text[i]);
    tn_heap_free(p->ids);
    tn_heap_free(p->wanted);
    p->ids = NULL;
    p->wanted = NULL;
}

/* ---- sentences ---- */

static tn_status fail_found(const char *place, const json_t *found, const char *expected) {
    char text[64];
    return TN_FAIL(CORRUPT, "\"%.150s\" is %s, expected %s", place,
                   found ? tn_json_text_describe(found, text) : "missing", expected);
}

static tn_status no_memory(void) { return TN_FAIL(NOMEM, "out of memory for a row"); }

/* jansson counts references even of what is not changed. */
static json_t *counted(const json_t *json) { return (json_t *)(uintptr_t)json; }

/* ---- messages ---- */

typedef struct text {
    const char *at;
    size_t len;
} text;

static text text_of(const json_t *string) { return (text){json_string_value(string), json_string_length(string)}; }

static tn_status add_message(json_t *list, const char *role, text content) {
    return json_array_append_new(list, json_pack("{s:s, s:s%}", "role", role, "content", content.at, content.len))
               ? no_memory()
               : TN_OK;
}

bool tn_message_is_learnt(const json_t *message) {
    const json_t *weight = json_object_get(message, "weight");
    return !json_is_false(json_object_get(message, "train")) &&
           !(json_is_number(weight) && json_number_value(weight) == 0);
}

/* "weight" is 0 or 1, "train" a truth value; null is nothing. */
static tn_status check_weight(const char *place, const json_t *object) {
    char field[PLACE];
    const json_t *weight = json_object_get(object, "weight"), *train = json_object_get(object, "train");
    bool whole = json_is_number(weight) && (json_number_value(weight) == 0 || json_number_value(weight) == 1);
    snprintf(field, sizeof field, "%.120s.%s", place, weight && !whole ? "weight" : "train");
    if (weight && !json_is_null(weight) && !whole) return fail_found(field, weight, "0 or 1");
    if (train && !json_is_null(train) && !json_is_boolean(train)) return fail_found(field, train, "true or false");
    return TN_OK;
}

static tn_status check_part(const char *place, const json_t *part) {
    char field[PLACE];
    const json_t *type = json_object_get(part, "type"), *words = json_object_get(part, "text");
    if (!json_is_object(part)) return fail_found(place, part, "a text part {\"type\": \"text\", \"text\": ...}");
    if (type && strcmp(json_is_string(type) ? json_string_value(type) : "", "text") != 0)
        return TN_FAIL(CORRUPT, "\"%s.type\" is \"%.40s\", expected \"text\"", place,
                       json_is_string(type) ? json_string_value(type) : "no string");
    snprintf(field, sizeof field, "%.120s.text", place);
    if (!json_is_string(words)) return fail_found(field, words, "a string");
    return check_weight(place, part);
}

static tn_status check_content(const char *place, const json_t *content, const json_t *message) {
    char field[PLACE];
    if (json_is_string(content)) return TN_OK;
    if ((!content || json_is_null(content)) && json_object_get(message, "tool_calls")) return TN_OK;
    if (!json_is_array(content)) return fail_found(place, content, "a string or a list of text parts");
    for (size_t i = 0; i < json_array_size(content); i++) {
        snprintf(field, sizeof field, "%.120s[%zu]", place, i);
        TN_TRY(check_part(field, json_array_get(content, i)));
    }
    return TN_OK;
}

/* Names of roles, ShareGPT's too. */
static const char *const roles[][2] = {{"system", "system"},       {"user", "user"},     {"human", "user"},
                                       {"assistant", "assistant"}, {"gpt", "assistant"}, {"tool", "tool"}};

static const char *role_of(const json_t *value) {
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < TN_COUNT(roles); i++)
        if (strcmp(name, roles[i][0]) == 0) return roles[i][1];
    return NULL;
}

/* One message of `list`, whose keys are `role_key` and `content_key`, under our names to `to`. */
static tn_status take_message(const tn_row_parts *p, const char *list, size_t i, const json_t *message,
                              const char *role_key, const char *content_key, json_t *to) {
    char place[PLACE];
    const char *their_role = tn_row_field(p->options, role_key), *theirs = tn_row_field(p->options, content_key);
    snprintf(place, sizeof place, "%.60s[%zu]", list, i);
    if (!json_is_object(message)) return fail_found(place, message, "an object");
    const json_t *role = json_object_get(message, their_role), *content = json_object_get(message, theirs);
    TN_TRY(check_weight(place, message));
    snprintf(place, sizeof place, "%.60s[%zu].%.60s", list, i, their_role);
    if (!role && json_object_get(message, *role_key == 'r' ? "from" : "role"))
        return TN_FAIL(CORRUPT, "\"%s\" is missing beside \"%s\", expected a string (data.fields %s)", place,
                       *role_key == 'r' ? "from" : "role",
                       *role_key == 'r' ? "role=from, content=value" : "from=role, value=content");
    if (!json_is_string(role)) return fail_found(place, role, "a string");
    if (!role_of(role))
        return TN_FAIL(CORRUPT, "\"%s\" is \"%.40s\", expected system, user, assistant or tool", place,
                       json_string_value(role));
    snprintf(place, sizeof place, "%.60s[%zu].%.60s", list, i, theirs);
    TN_TRY(check_content(place, content, message));
    json_t *copy = json_copy(counted(message)); /* with what else the template may read */
    bool failed = !copy || json_object_set_new(copy, "role", json_string(role_of(role))) ||
                  json_object_set(copy, "content", content ? counted(content) : json_null());
    return json_array_append_new(to, failed ? (json_decref(copy), NULL) : copy) ? no_memory() : TN_OK;
}

/* `value` is a list of messages, or a string that `role` says. `key`: ours, for sentences. */
static tn_status take_messages(const tn_row_parts *p, const char *key, const json_t *value, const char *role,
                               json_t *to) {
    const char *place = tn_row_field(p->options, key);
    if (role && json_is_string(value)) return add_message(to, role, text_of(value));
    if (!json_is_array(value))
        return fail_found(place, value, role ? "a string or a list of messages" : "a list of messages");
    if (!json_array_size(value)) return TN_FAIL(CORRUPT, "\"%s\" is an empty list, expected messages", place);
    bool shares = strcmp(key, "conversations") == 0;
    for (size_t i = 0; i < json_array_size(value); i++)
        TN_TRY(take_message(p, place, i, json_array_get(value, i), shares ? "from" : "role",
                            shares ? "value" : "content", to));
    return TN_OK;
}

/* The messages of said[i], empty yet. */
static tn_status begin_messages(tn_row_parts *p, int i, json_t **list) {
    *list = p->messages[i] = json_array();
    p->row.said[i].messages = *list;
    p->row.n_said = i + 1;
    return *list ? TN_OK : no_memory();
}

/* ---- texts ---- */

static tn_status want_string(const tn_row_parts *p, const json_t *object, const char *key, text *out) {
    const json_t *value = tn_row_get(p->options, object, key);
    if (!json_is_string(value)) return fail_found(tn_row_field(p->options, key), value, "a string");
    *out = text_of(value);
    return TN_OK;
}

/* The same for a key that may be missing or null: then it is empty. */
static tn_status may_string(const tn_row_parts *p, const json_t *object, const char *key, text *out) {
    const json_t *value = tn_row_get(p->options, object, key);
    *out = (text){"", 0};
    return !value || json_is_null(value) ? TN_OK : want_string(p, object, key, out);
}

static tn_status put_text(tn_row_parts *p, int i, text prompt, text completion) {
    TN_TRY(tn_buf_append(&p->text[i], prompt.at, prompt.len));
    TN_TRY(tn_buf_append(&p->text[i], completion.at, completion.len));
    p->row.said[i] = (tn_said){.text = tn_buf_text(&p->text[i]), .len = p->text[i].len, .answer = prompt.len};
    p->row.n_said = i + 1;
    return TN_OK;
}

/* said[i]: two strings are one text; where one of them is a list of messages, so is the other. */
static tn_status take_completion(tn_row_parts *p, int i, const json_t *prompt, const char *key,
                                 const json_t *completion) {
    json_t *list;
    if (json_is_string(prompt) && json_is_string(completion))
        return put_text(p, i, text_of(prompt), text_of(completion));
    TN_TRY(begin_messages(p, i, &list));
    TN_TRY(take_messages(p, "prompt", prompt, "user", list));
    p->row.said[i].answer = json_array_size(list);
    return take_messages(p, key, completion, "assistant", list);
}

/* ---- kinds ---- */

static tn_status read_TEXT(tn_row_parts *p, const json_t *object) {
    text t;
    TN_TRY(want_string(p, object, "text", &t));
    p->row.said[0] = (tn_said){.text = t.at, .len = t.len};
    p->row.n_said = 1;
    return TN_OK;
}

static tn_status read_COMPLETION(tn_row_parts *p, const json_t *object) {
    return take_completion(p, 0, tn_row_get(p->options, object, "prompt"), "completion",
                           tn_row_get(p->options, object, "completion"));
}

static tn_status read_KTO(tn_row_parts *p, const json_t *object) {
    const json_t *label = tn_row_get(p->options, object, "label");
    double number = json_number_value(label);
    if (!json_is_boolean(label) && (!json_is_number(label) || (number != 0 && number != 1)))
        return fail_found(tn_row_field(p->options, "label"), label, "true or false");
    p->row.label = json_is_true(label) || number == 1;
    return read_COMPLETION(p, object);
}

static tn_status read_CHAT(tn_row_parts *p, const json_t *object) {
    const json_t *tools = tn_row_get(p->options, object, "tools");
    json_t *list;
    if (tools && !json_is_null(tools) && !json_is_array(tools))
        return fail_found(tn_row_field(p->options, "tools"), tools, "a list");
    p->row.tools = json_is_array(tools) ? tools : NULL;
    TN_TRY(begin_messages(p, 0, &list));
    return take_messages(p, "messages", tn_row_get(p->options, object, "messages"), NULL, list);
}

static bool is_system(const json_t *messages, size_t i) {
    const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
    return role && strcmp(role, "system") == 0;
}

static tn_status read_SHAREGPT(tn_row_parts *p, const json_t *object) {
    text system;
    json_t *list;
    TN_TRY(may_string(p, object, "system", &system));
    TN_TRY(begin_messages(p, 0, &list));
    if (system.len) TN_TRY(add_message(list, "system", system));
    TN_TRY(take_messages(p, "conversations", tn_row_get(p->options, object, "conversations"), NULL, list));
    if (!system.len || !is_system(list, 1)) return TN_OK;
    return TN_FAIL(CORRUPT, "\"%s\" stands beside a conversation that begins with one of its own",
                   tn_row_field(p->options, "system"));
}

/* What is given follows the instruction after a blank line. */
static tn_status read_ALPACA(tn_row_parts *p, const json_t *object) {
    text system, instruction, input, output;
    json_t *list;
    TN_TRY(may_string(p, object, "system", &system));
    TN_TRY(want_string(p, object, "instruction", &instruction));
    TN_TRY(may_string(p, object, "input", &input));
    TN_TRY(want_string(p, object, "output", &output));
    TN_TRY(tn_buf_append(&p->text[0], instruction.at, instruction.len));
    if (input.len) TN_TRY(tn_buf_puts(&p->text[0], "\n\n"));
    TN_TRY(tn_buf_append(&p->text[0], input.at, input.len));
    TN_TRY(begin_messages(p, 0, &list));
    if (system.len) TN_TRY(add_message(list, "system", system));
    TN_TRY(add_message(list, "user", (text){tn_buf_text(&p->text[0]), p->text[0].len}));
    return add_message(list, "assistant", output);
}

static tn_status read_IO(tn_row_parts *p, const json_t *object) {
    text input, output;
    json_t *list;
    TN_TRY(want_string(p, object, "input", &input));
    TN_TRY(want_string(p, object, "output", &output));
    TN_TRY(begin_messages(p, 0, &list));
    TN_TRY(add_message(list, "user", input));
    return add_message(list, "assistant", output);
}

/* ---- preferences ---- */

/* Messages, or bytes, that both begin with. A space in front of where two texts part belongs to the answers, and no
 * character is cut. */
static size_t common_messages(const json_t *a, const json_t *b) {
    size_t n = 0, most = TN_MIN(json_array_size(a), json_array_size(b));
    while (n < most && json_equal(json_array_get(a, n), json_array_get(b, n))) n++;
    return n;
}

static size_t common_bytes(text a, text b) {
    size_t n = 0, most = TN_MIN(a.len, b.len);
    while (n < most && a.at[n] == b.at[n]) n++;
    while (n && (((unsigned char)a.at[n] & 0xC0) == 0x80 || ((unsigned char)b.at[n] & 0xC0) == 0x80)) n--;
    return n && a.at[n - 1] == ' ' ? n - 1 : n;
}

static bool says(const json_t *messages, size_t count, const json_t *words) {
    for (size_t i = 0; i < count; i++)
        if (json_equal(json_object_get(json_array_get(messages, i), "content"), words)) return true;
    return false;
}

/* An answer to nothing is learnt where that is asked for: "prompt": "". */
static tn_status fail_no_prompt(const tn_row_parts *p) {
    return TN_FAIL(
        CORRUPT, "\"%s\" and \"%s\" begin with nothing in common, expected a \"%s\" (data.fields prompt=...)",
        tn_row_field(p->options, "chosen"), tn_row_field(p->options, "rejected"), tn_row_field(p->options, "prompt"));
}

/* Both are whole conversations; what they share is the prompt. A prompt beside them repeats a part of it. */
static tn_status take_conversations(tn_row_parts *p, const json_t *prompt, const json_t *const sides[2]) {
    static const char *const keys[] = {"chosen", "rejected"};
    json_t *list;
    for (int i = 0; i < 2; i++) {
        TN_TRY(begin_messages(p, i, &list));
        TN_TRY(take_messages(p, keys[i], sides[i], NULL, list));
    }
    size_t shared = common_messages(p->messages[0], p->messages[1]);
    if (!prompt && !shared) return fail_no_prompt(p);
    if (prompt && shared && !says(p->messages[0], shared, prompt))
        return TN_FAIL(CORRUPT, "\"%s\" is none of the messages that \"%s\" and \"%s\" begin with",
                       tn_row_field(p->options, "prompt"), tn_row_field(p->options, "chosen"),
                       tn_row_field(p->options, "rejected"));
    for (int i = 0; i < 2; i++) {
        if (prompt && !shared &&
            json_array_insert_new(p->messages[i], 0, json_pack("{s:s, s:O}", "role", "user", "content", prompt)))
            return no_memory();
        p->row.said[i].answer = prompt && !shared ? 1 : shared;
    }
    return TN_OK;
}

static tn_status take_sides(tn_row_parts *p, const json_t *prompt, const json_t *const sides[2]) {
    bool lists = json_is_array(sides[0]) && json_is_array(sides[1]);
    if (lists && (!prompt || json_is_string(prompt))) return take_conversations(p, prompt, sides);
    if (!prompt) {
        text a = text_of(sides[0]), b = text_of(sides[1]);
        size_t shared = common_bytes(a, b);
        if (!shared) return fail_no_prompt(p);
        TN_TRY(put_text(p, 0, (text){a.at, shared}, (text){a.at + shared, a.len - shared}));
        return put_text(p, 1, (text){b.at, shared}, (text){b.at + shared, b.len - shared});
    }
    TN_TRY(take_completion(p, 0, prompt, "chosen", sides[0]));
    return take_completion(p, 1, prompt, "rejected", sides[1]);
}

static tn_status read_PREFERENCE(tn_row_parts *p, const json_t *object) {
    static const char *const keys[] = {"chosen", "rejected"};
    const json_t *prompt = tn_row_get(p->options, object, "prompt"), *sides[2];
    if (json_is_null(prompt)) prompt = NULL;
    for (int i = 0; i < 2; i++) {
        sides[i] = tn_row_get(p->options, object, keys[i]);
        if (!json_is_array(sides[i]) && !json_is_string(sides[i]))
            return fail_found(tn_row_field(p->options, keys[i]), sides[i], "a string or a list of messages");
    }
    if (json_is_array(sides[0]) != json_is_array(sides[1]))
        return fail_found(tn_row_field(p->options, "rejected"), sides[1],
                          json_is_array(sides[0]) ? "a list of messages like \"chosen\"" : "a string like \"chosen\"");
    if (json_equal(sides[0], sides[1]))
        return TN_FAIL(CORRUPT, "\"%s\" and \"%s\" are the same, expected two answers",
                       tn_row_field(p->options, "chosen"), tn_row_field(p->options, "rejected"));
    TN_TRY(take_sides(p, prompt, sides));
    for (int i = 0; i < 2; i++)
        if (p->messages[i] && json_array_size(p->messages[i]) == p->row.said[i].answer)
            return TN_FAIL(CORRUPT, "\"%s\" has no message behind what both begin with, expected an answer",
                           tn_row_field(p->options, keys[i]));
    return TN_OK;
}

/* ---- tokens ---- */

/* A list of whole numbers as long as input_ids; NULL where the key may be missing and is. */
static tn_status want_numbers(const tn_row_parts *p, const json_t *object, const char *key, size_t count,
                              const json_t **list) {
    char place[PLACE];
    const char *theirs = tn_row_field(p->options, key);
    *list = json_object_get(object, theirs);
    if (json_is_null(*list)) *list = NULL;
    if (!*list) return TN_OK;
    if (!json_is_array(*list)) return fail_found(theirs, *list, "a list of whole numbers");
    if (json_array_size(*list) != count)
        return TN_FAIL(CORRUPT, "\"%s\" has %zu numbers, expected %zu, one for each of \"%s\"", theirs,
                       json_array_size(*list), count, tn_row_field(p->options, "input_ids"));
    for (size_t i = 0; i < count; i++) {
        snprintf(place, sizeof place, "%.60s[%zu]", theirs, i);
        if (!json_is_integer(json_array_get(*list, i)))
            return fail_found(place, json_array_get(*list, i), "a whole number");
    }
    return TN_OK;
}

static tn_status put_token(tn_row_parts *p, json_int_t id, bool wanted) {
    size_t n = p->row.n_ids;
    TN_GROW(p->ids, &p->ids_cap, n + 1);
    TN_GROW(p->wanted, &p->wanted_cap, n + 1);
    p->ids[n] = (int32_t)id;
    p->wanted[n] = wanted;
    p->row.n_ids = n + 1;
    p->row.ids = p->ids;
    p->row.wanted = p->wanted;
    return TN_OK;
}

static tn_status read_TOKENS(tn_row_parts *p, const json_t *object) {
    const char *name = tn_row_field(p->options, "input_ids");
    const json_t *ids = json_object_get(object, name), *mask, *labels;
    size_t n = json_array_size(ids);
    if (!json_is_array(ids)) return fail_found(name, ids, "a list of whole numbers");
    TN_TRY(want_numbers(p, object, "input_ids", n, &ids));
    TN_TRY(want_numbers(p, object, "attention_mask", n, &mask));
    TN_TRY(want_numbers(p, object, "labels", n, &labels));
    for (size_t i = 0; i < n; i++) {
        json_int_t id = json_integer_value(json_array_get(ids, i)), seen = 1, label = id;
        if (mask) seen = json_integer_value(json_array_get(mask, i));
        if (labels) label = json_integer_value(json_array_get(labels, i));
        if (id < 0 || id > INT32_MAX)
            return TN_FAIL(CORRUPT, "\"%s[%zu]\" is %lld, expected a token id", name, i, (long long)id);
        if (seen != 0 && seen != 1)
            return TN_FAIL(CORRUPT, "\"%s[%zu]\" is %lld, expected 0 or 1", tn_row_field(p->options, "attention_mask"),
                           i, (long long)seen);
        if (label != id && label != -100)
            return TN_FAIL(CORRUPT, "\"%s[%zu]\" is %lld, expected the token %lld or -100",
                           tn_row_field(p->options, "labels"), i, (long long)label, (long long)id);
        if (seen) TN_TRY(put_token(p, id, label == id));
    }
    return p->row.n_ids ? TN_OK : TN_FAIL(CORRUPT, "\"%s\" has no tokens that are not masked", name);
}

tn_status tn_row_parts_read(tn_row_parts *parts, tn_row_kind kind, const json_t *object) {
    static tn_status (*const read[])(tn_row_parts *, const json_t *) = {
#define ROW_KIND(id, name, keys, more_keys) read_##id,
#include "data/row_kinds.def"
#undef ROW_KIND
    };
    parts->row.kind = kind;
    return read[kind](parts, object);
}
