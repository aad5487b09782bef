/* SPDX-License-Identifier: MIT
 * json_schema.c - a schema is visited from the root; each visit gives an expression, mostly the name of a rule that it
 * wrote. A $ref is a rule with the name of its target, so recursion in the schema is recursion in the grammar. */
#include "infer/json_schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/grow.h"
#include "infer/json_schema_priv.h"

static const char tag[] = "JSON schema";

enum { MAX_NEEDS = 6, MAX_NAME = 60 };

/* ---- tables ---- */

typedef struct json_rule {
    const char *name, *body;
    bool is_format;
    const char *needs[MAX_NEEDS + 1];
} json_rule;

#define RULE(name, body, ...)   {name, body, false, {__VA_ARGS__}},
#define FORMAT(name, body, ...) {name, body, true, {__VA_ARGS__}},
static const json_rule rules[] = {
#include "infer/json_rules.def"
};

static const struct {
    const char *name;
    tn_json_group group;
} keywords[] = {
#define KEYWORD(name, group) {name, TN_JSON_##group},
#include "infer/json_keywords.def"
#undef KEYWORD
};

tn_json_group tn_json_keyword_group(const char *name) {
    for (size_t i = 0; i < TN_COUNT(keywords); i++)
        if (strcmp(keywords[i].name, name) == 0) return keywords[i].group;
    return strncmp(name, "x-", 2) == 0 ? TN_JSON_NOTE : TN_JSON_UNKNOWN;
}

const char *tn_schema_use(tn_schema_writer *w, const char *name) {
    size_t i = 0;
    while (i < TN_COUNT(rules) && strcmp(rules[i].name, name) != 0) i++;
    TN_ASSERT(i < TN_COUNT(rules) && i < 64);
    if (w->used >> i & 1) return rules[i].name;
    w->used |= (uint64_t)1 << i;
    for (const char *const *need = rules[i].needs; *need; need++) tn_schema_use(w, *need);
    return rules[i].name;
}

const char *tn_schema_use_format(tn_schema_writer *w, const char *name) {
    for (size_t i = 0; i < TN_COUNT(rules); i++)
        if (rules[i].is_format && strcmp(rules[i].name, name) == 0) return tn_schema_use(w, name);
    return NULL;
}

const char *tn_schema_formats(char *list, size_t size) {
    size_t len = 0;
    list[0] = '\0';
    for (size_t i = 0; i < TN_COUNT(rules); i++)
        if (rules[i].is_format && len < size)
            len += (size_t)snprintf(list + len, size - len, "%s%s", len ? ", " : "", rules[i].name);
    return list;
}

static tn_status put_used_rules(const tn_schema_writer *w) {
    for (size_t i = 0; i < TN_COUNT(rules); i++)
        if (w->used >> i & 1) TN_TRY(tn_buf_printf(w->out, "%s ::= %s\n", rules[i].name, rules[i].body));
    return TN_OK;
}

/* ---- messages ---- */

tn_status tn_schema_fail_at(const tn_schema_writer *w, tn_status code, const char *file, int line, const char *fmt,
                            ...) {
    char sentence[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(sentence, sizeof sentence, fmt, args);
    va_end(args);
    return tn_fail_at(code, file, line, "JSON schema: %.300s: %s", tn_buf_text(&w->path), sentence);
}

tn_status tn_schema_enter(tn_schema_writer *w, const char *keyword, const char *name, size_t *back) {
    *back = w->path.len;
    TN_TRY(tn_buf_printf(&w->path, "/%.60s", keyword));
    return name ? tn_buf_printf(&w->path, "/%.60s", name) : TN_OK;
}

void tn_schema_leave(tn_schema_writer *w, size_t back) {
    w->path.len = back;
    w->path.data[back] = '\0';
}

/* ---- names and rules ---- */

tn_status tn_schema_hint(tn_schema_writer *w, const char *hint, const char *part, const char **out) {
    char name[MAX_NAME + 1];
    size_t len = strlen(hint);
    if (len > MAX_NAME - 1) len = MAX_NAME - 1;
    memcpy(name, hint, len);
    name[len++] = '-';
    for (; *part && len < MAX_NAME; part++) {
        char c = *part;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (plain || name[len - 1] != '-') name[len++] = plain ? c : '-';
    }
    name[len] = '\0';
    *out = tn_arena_strdup(w->arena, name, tag);
    return *out ? TN_OK : TN_E_NOMEM;
}

tn_status tn_schema_free_name(tn_schema_writer *w, const char *hint, const char **name) {
    char numbered[MAX_NAME + 16];
    size_t len = (size_t)snprintf(numbered, sizeof numbered, "%s", hint);
    while (tn_text_map_find(&w->names, numbered, len) >= 0)
        len = (size_t)snprintf(numbered, sizeof numbered, "%s-%d", hint, ++w->last_number);
    *name = tn_arena_strdup(w->arena, numbered, tag);
    return *name ? tn_text_map_put(&w->names, *name, len, 0) : TN_E_NOMEM;
}

/* A name that waits for its rule goes to the first rule that is put with it as its hint. */
tn_status tn_schema_put_rule(tn_schema_writer *w, const char *hint, tn_buf *body, const char **name) {
    tn_status status = TN_OK;
    if (hint == w->waiting)
        *name = hint, w->waiting = NULL;
    else
        status = tn_schema_free_name(w, hint, name);
    if (!status) status = tn_buf_printf(w->out, "%s ::= %s\n", *name, tn_buf_text(body));
    tn_buf_release(body);
    return status;
}

/* Write the rule `name` for a schema. */
static tn_status put_named(tn_schema_writer *w, const json_t *schema, const char *name) {
    const char *value, *before = w->waiting;
    tn_buf body = {0};
    w->waiting = name;
    tn_status status = tn_schema_visit(w, schema, name, &value);
    bool written = w->waiting != name;
    w->waiting = name;
    if (!status && !written) status = tn_buf_puts(&body, value);
    if (!status && !written) status = tn_schema_put_rule(w, name, &body, &value);
    w->waiting = before;
    return status;
}

tn_status tn_gbnf_put_literal(tn_buf *out, const char *bytes, size_t len) {
    TN_TRY(tn_buf_putc(out, '"'));
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c < ' ' || c == 0x7F)
            TN_TRY(tn_buf_printf(out, "\\x%02x", c));
        else if (c == '"' || c == '\\')
            TN_TRY(tn_buf_printf(out, "\\%c", c));
        else
            TN_TRY(tn_buf_putc(out, (char)c));
    }
    return tn_buf_putc(out, '"');
}

/* ---- references ---- */

/* The next name of a JSON pointer, "~1" and "%7E" decoded; moves behind it. */
static tn_status next_name(tn_schema_writer *w, const char **at, tn_buf *name) {
    tn_buf_reset(name);
    for (++*at; **at && **at != '/'; ++*at) {
        char c = **at;
        if (c == '~' && ((*at)[1] == '0' || (*at)[1] == '1')) {
            c = *++*at == '0' ? '~' : '/';
        } else if (c == '%') {
            if (strspn(*at + 1, "0123456789abcdefABCDEF") < 2)
                return TN_SCHEMA_FAIL(w, FORMAT, "$ref has %% without two hexadecimal digits behind it");
            c = (char)strtoul((const char[]){(*at)[1], (*at)[2], '\0'}, NULL, 16);
            *at += 2;
        }
        TN_TRY(tn_buf_putc(name, c));
    }
    return TN_OK;
}

static tn_status find_target(tn_schema_writer *w, const char *ref, const json_t **target, tn_buf *name) {
    const json_t *at = w->root;
    for (const char *p = ref + 1; *p && at;) {
        if (*p != '/') return TN_SCHEMA_FAIL(w, UNSUPPORTED, "$ref \"%.100s\" is an anchor, expected #/...", ref);
        TN_TRY(next_name(w, &p, name));
        unsigned long long number;
        int used = 0;
        if (json_is_array(at))
            at = sscanf(tn_buf_text(name), "%9llu%n", &number, &used) == 1 && (size_t)used == name->len
                     ? json_array_get(at, (size_t)number)
                     : NULL;
        else
            at = json_object_get(at, tn_buf_text(name));
    }
    if (!at) return TN_SCHEMA_FAIL(w, FORMAT, "$ref \"%.100s\" leads to nothing in the schema", ref);
    *target = at;
    return TN_OK;
}

tn_status tn_schema_resolve(tn_schema_writer *w, const json_t *ref, const json_t **target) {
    const char *text = json_string_value(ref);
    if (!text) return TN_SCHEMA_FAIL(w, FORMAT, "$ref is no string");
    if (text[0] != '#')
        return TN_SCHEMA_FAIL(w, UNSUPPORTED, "$ref \"%.100s\" leads out of the schema, expected #/$defs/...", text);
    tn_buf name = {0};
    tn_status status = find_target(w, text, target, &name);
    tn_buf_release(&name);
    return status;
}

/* A rule with the name of the target, written when it is first referred to. */
static tn_status visit_ref(tn_schema_writer *w, const json_t *ref, const char **expression) {
    const json_t *target;
    const char *name, *hint, *text;
    TN_TRY(tn_schema_resolve(w, ref, &target));
    text = json_string_value(ref);
    int32_t known = tn_text_map_find(&w->refs, text, strlen(text));
    if (known >= 0) return *expression = w->ref_names[known], TN_OK;
    const char *last = strrchr(text, '/');
    TN_TRY(tn_schema_hint(w, "def", last ? last + 1 : "root", &hint));
    TN_TRY(tn_schema_free_name(w, hint, &name));
    TN_GROW(w->ref_names, &w->ref_names_cap, w->refs.count + 1);
    w->ref_names[w->refs.count] = name;
    TN_TRY(tn_text_map_put(&w->refs, text, strlen(text), (int32_t)w->refs.count));
    tn_buf path = w->path; /* messages speak of the target */
    w->path = (tn_buf){0};
    tn_status status = tn_buf_puts(&w->path, text);
    if (!status) status = put_named(w, target, name);
    tn_buf_release(&w->path);
    w->path = path;
    *expression = name;
    return status;
}

/* ---- schemas ---- */

tn_status tn_schema_check(const tn_schema_writer *w, const json_t *schema) {
    const char *name;
    json_t *value;
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return TN_SCHEMA_FAIL(w, FORMAT, "expected a schema: an object, true or false");
    json_object_foreach((json_t *)(uintptr_t)schema, name, value) {
        tn_json_group group = tn_json_keyword_group(name);
        if (group == TN_JSON_REFUSED) return TN_SCHEMA_FAIL(w, UNSUPPORTED, "\"%s\" is not supported", name);
        if (group == TN_JSON_UNKNOWN)
            return TN_SCHEMA_FAIL(w, UNSUPPORTED, "\"%.60s\" is no keyword that is known, nor does it begin with x-",
                                  name);
    }
    return TN_OK;
}

bool tn_schema_says_more(const json_t *schema, const char *but) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, name, value) if (tn_json_keyword_group(name) != TN_JSON_NOTE &&
                                                                      (!but || strcmp(name, but) != 0)) return true;
    return false;
}

static tn_status visit_flat(tn_schema_writer *w, const json_t *schema, const char *hint, const char **expression) {
    if (json_object_get(schema, "anyOf")) return tn_schema_visit_choice(w, schema, "anyOf", hint, expression);
    if (json_object_get(schema, "oneOf")) return tn_schema_visit_choice(w, schema, "oneOf", hint, expression);
    if (json_object_get(schema, "enum") || json_object_get(schema, "const"))
        return tn_schema_visit_values(w, schema, hint, expression);
    return tn_schema_visit_types(w, schema, hint, expression);
}

static tn_status visit(tn_schema_writer *w, const json_t *schema, const char *hint, const char **expression) {
    if (json_is_true(schema)) return *expression = tn_schema_use(w, "value"), TN_OK;
    if (json_is_false(schema)) return TN_SCHEMA_FAIL(w, EMPTY, "nothing fits the schema \"false\"");
    TN_TRY(tn_schema_check(w, schema));
    const json_t *ref = json_object_get(schema, "$ref"), *all = json_object_get(schema, "allOf");
    if (ref && !tn_schema_says_more(schema, "$ref")) return visit_ref(w, ref, expression);
    if (json_array_size(all) == 1 && !tn_schema_says_more(schema, "allOf"))
        return tn_schema_visit(w, json_array_get(all, 0), hint, expression);
    const json_t *flat;
    TN_TRY(tn_schema_flatten(w, schema, &flat));
    return json_is_object(flat) ? visit_flat(w, flat, hint, expression) : tn_schema_visit(w, flat, hint, expression);
}

tn_status tn_schema_deeper(tn_schema_writer *w) {
    if (w->depth >= TN_SCHEMA_NESTING)
        return TN_SCHEMA_FAIL(w, RANGE, "schemas are nested more than %d deep here", TN_SCHEMA_NESTING);
    if (w->visits++ >= TN_SCHEMA_VISITS)
        return TN_SCHEMA_FAIL(w, RANGE, "there are more than %d schemas, those of allOf and anyOf multiplied",
                              TN_SCHEMA_VISITS);
    w->depth++;
    return TN_OK;
}

tn_status tn_schema_visit(tn_schema_writer *w, const json_t *schema, const char *hint, const char **expression) {
    TN_TRY(tn_schema_deeper(w));
    tn_status status = visit(w, schema, hint, expression);
    w->depth--;
    return status;
}

/* ---- the whole ---- */

static tn_status write_root(tn_schema_writer *w) {
    static const char any_object[] = "root ::= object\n";
    const char *name;
    TN_TRY(tn_buf_puts(&w->path, "#"));
    TN_TRY(tn_schema_free_name(w, "root", &name));
    TN_GROW(w->ref_names, &w->ref_names_cap, 1);
    w->ref_names[0] = name;
    TN_TRY(tn_text_map_put(&w->refs, "#", 1, 0));
    if (json_is_object(w->root) && !tn_schema_says_more(w->root, NULL)) {
        tn_schema_use(w, "object");
        TN_TRY(tn_buf_puts(w->out, any_object));
    } else {
        TN_TRY(put_named(w, w->root, name));
    }
    return put_used_rules(w);
}

static tn_status write_text(tn_schema_writer *w, const char *text, size_t len, json_t **root) {
    json_error_t error;
    if (len > TN_SCHEMA_TEXT)
        return TN_FAIL(RANGE, "JSON schema: has %zu bytes, expected at most %d", len, TN_SCHEMA_TEXT);
    w->root = *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!*root) return TN_FAIL(FORMAT, "JSON schema: line %d, column %d: %s", error.line, error.column, error.text);
    w->arena = tn_arena_create("JSON schema");
    w->made = json_array();
    return w->arena && w->made ? write_root(w) : TN_FAIL(NOMEM, "out of memory for a JSON schema");
}

tn_status tn_json_schema_to_gbnf(const char *text, size_t len, tn_buf *out) {
    tn_schema_writer w = {.out = out};
    json_t *root = NULL;
    tn_status status = write_text(&w, text, len, &root);
    json_decref(w.made);
    json_decref(root);
    tn_arena_free(w.arena);
    tn_buf_release(&w.path);
    tn_text_map_release(&w.names);
    tn_text_map_release(&w.refs);
    tn_heap_free(w.ref_names);
    return status;
}

tn_status tn_grammar_from_json_schema(tn_grammar **out, const char *text, size_t len) {
    tn_buf gbnf = {0};
    *out = NULL;
    tn_status status = tn_json_schema_to_gbnf(text, len, &gbnf);
    if (!status) {
        status = tn_grammar_create(out, tn_buf_text(&gbnf), gbnf.len);
        if (status) status = tn_fail_at(status, __FILE__, __LINE__, "JSON schema: its %s", tn_error_message());
    }
    tn_buf_release(&gbnf);
    return status;
}
