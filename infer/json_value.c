/* SPDX-License-Identifier: MIT
 * json_value.c - types and values of JSON: named, compared, written. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/json_schema_priv.h"

/* ---- types ---- */

/* In the order in which they are written where a schema allows several; number before integer, which is part of it. */
static const struct {
    const char *name;
    unsigned bits;
    tn_json_group group; /* whose keywords speak of this type alone */
} types_by_name[] = {
    {"object", TN_JSON_IS_OBJECT, TN_JSON_OBJECT},    {"array", TN_JSON_IS_ARRAY, TN_JSON_ARRAY},
    {"string", TN_JSON_IS_STRING, TN_JSON_STRING},    {"number", TN_JSON_IS_NUMBER, TN_JSON_NUMBER},
    {"integer", TN_JSON_IS_INTEGER, TN_JSON_UNKNOWN}, {"boolean", TN_JSON_IS_BOOLEAN, TN_JSON_UNKNOWN},
    {"null", TN_JSON_IS_NULL, TN_JSON_UNKNOWN},
};

static tn_status add_type(const tn_schema_writer *w, const json_t *name, unsigned *types) {
    const char *text = json_string_value(name);
    for (size_t i = 0; text && i < TN_COUNT(types_by_name); i++) {
        if (strcmp(types_by_name[i].name, text) != 0) continue;
        *types |= types_by_name[i].bits;
        return TN_OK;
    }
    return TN_SCHEMA_FAIL(w, FORMAT,
                          "\"type\" is \"%.40s\", expected object, array, string, number, integer, boolean or null",
                          text ? text : "no text");
}

tn_status tn_schema_type_bits(const tn_schema_writer *w, const json_t *type, unsigned *types) {
    size_t i;
    json_t *name;
    *types = 0;
    if (!json_is_array(type)) return add_type(w, type, types);
    json_array_foreach(type, i, name) TN_TRY(add_type(w, name, types));
    return TN_OK;
}

tn_status tn_json_put_types(json_t *list, unsigned types) {
    for (size_t i = 0; i < TN_COUNT(types_by_name); i++) {
        if ((types & types_by_name[i].bits) != types_by_name[i].bits) continue;
        types &= ~types_by_name[i].bits;
        if (json_array_append_new(list, json_string(types_by_name[i].name)))
            return TN_FAIL(NOMEM, "out of memory for a JSON schema");
    }
    return TN_OK;
}

tn_status tn_schema_types(const tn_schema_writer *w, const json_t *schema, unsigned *types) {
    const char *name;
    json_t *value;
    const json_t *type = json_object_get(schema, "type");
    if (type) return tn_schema_type_bits(w, type, types);
    *types = 0;
    json_object_foreach((json_t *)(uintptr_t)schema, name,
                        value) for (size_t i = 0; i < TN_COUNT(types_by_name);
                                    i++) if (types_by_name[i].group &&
                                             types_by_name[i].group == tn_json_keyword_group(name)) *types |=
        types_by_name[i].bits;
    if (!*types) *types = TN_JSON_IS_ANY;
    return TN_OK;
}

unsigned tn_json_types_of(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT: return TN_JSON_IS_OBJECT;
    case JSON_ARRAY: return TN_JSON_IS_ARRAY;
    case JSON_STRING: return TN_JSON_IS_STRING;
    case JSON_INTEGER: return TN_JSON_IS_INTEGER;
    case JSON_REAL:
        return floor(json_real_value(value)) == json_real_value(value) ? TN_JSON_IS_INTEGER : TN_JSON_IS_FRACTION;
    case JSON_NULL: return TN_JSON_IS_NULL;
    case JSON_TRUE:
    case JSON_FALSE: break;
    }
    return TN_JSON_IS_BOOLEAN;
}

/* ---- values ---- */

static bool are_same_objects(const json_t *a, const json_t *b) {
    const char *name;
    json_t *value;
    if (json_object_size(a) != json_object_size(b)) return false;
    json_object_foreach((json_t *)(uintptr_t)a, name, value) {
        const json_t *other = json_object_get(b, name);
        if (!other || !tn_json_same(value, other)) return false;
    }
    return true;
}

bool tn_json_same(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b))
        return json_number_value(a) == json_number_value(b);
    if (json_is_object(a) && json_is_object(b)) return are_same_objects(a, b);
    if (!json_is_array(a) || !json_is_array(b)) return json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b);
    if (json_array_size(a) != json_array_size(b)) return false;
    for (size_t i = 0; i < json_array_size(a); i++)
        if (!tn_json_same(json_array_get(a, i), json_array_get(b, i))) return false;
    return true;
}

tn_status tn_json_put_number(tn_buf *out, const json_t *number) {
    char text[40];
    if (json_is_integer(number)) return tn_buf_printf(out, "%lld", (long long)json_integer_value(number));
    double value = json_real_value(number);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    if (!strpbrk(text, ".e")) return tn_buf_printf(out, "%s.0", text);
    return tn_buf_puts(out, text);
}

tn_status tn_json_put_text(tn_buf *out, const char *text, size_t len) {
    TN_TRY(tn_buf_putc(out, '"'));
    for (size_t i = 0; i < len; i++) {
        static const char shorts[] = "\b\f\n\r\t\"\\", names[] = "bfnrt\"\\";
        const char *at = text[i] ? strchr(shorts, text[i]) : NULL;
        if (at)
            TN_TRY(tn_buf_printf(out, "\\%c", names[at - shorts]));
        else if ((unsigned char)text[i] < ' ')
            TN_TRY(tn_buf_printf(out, "\\u%04x", (unsigned)text[i]));
        else
            TN_TRY(tn_buf_putc(out, text[i]));
    }
    return tn_buf_putc(out, '"');
}

static tn_status put_list(tn_buf *out, const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        TN_TRY(tn_buf_putc(out, i ? ',' : '['));
        TN_TRY(tn_json_put(out, json_array_get(list, i)));
    }
    return tn_buf_puts(out, json_array_size(list) ? "]" : "[]");
}

static tn_status put_object(tn_buf *out, const json_t *object) {
    const char *name;
    json_t *value;
    bool first = true;
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        TN_TRY(tn_buf_putc(out, first ? '{' : ','));
        TN_TRY(tn_json_put_text(out, name, strlen(name)));
        TN_TRY(tn_buf_putc(out, ':'));
        TN_TRY(tn_json_put(out, value));
        first = false;
    }
    return tn_buf_puts(out, first ? "{}" : "}");
}

tn_status tn_json_put(tn_buf *out, const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT: return put_object(out, value);
    case JSON_ARRAY: return put_list(out, value);
    case JSON_STRING: return tn_json_put_text(out, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
    case JSON_REAL: return tn_json_put_number(out, value);
    case JSON_TRUE: return tn_buf_puts(out, "true");
    case JSON_FALSE: return tn_buf_puts(out, "false");
    case JSON_NULL: break;
    }
    return tn_buf_puts(out, "null");
}

/* ---- enum and const ---- */

static tn_status refuse_others(const tn_schema_writer *w, const json_t *schema) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, name, value) {
        bool known = !strcmp(name, "enum") || !strcmp(name, "const") || !strcmp(name, "type");
        if (!known && tn_json_keyword_group(name) != TN_JSON_NOTE)
            return TN_SCHEMA_FAIL(w, UNSUPPORTED, "\"%s\" beside enum or const is not supported", name);
    }
    return TN_OK;
}

static tn_status put_value(const json_t *value, tn_buf *text, tn_buf *body) {
    tn_buf_reset(text);
    TN_TRY(tn_json_put(text, value));
    if (body->len) TN_TRY(tn_buf_puts(body, " | "));
    return tn_gbnf_put_literal(body, text->data, text->len);
}

static tn_status put_values(tn_schema_writer *w, const json_t *schema, tn_buf *text, tn_buf *body) {
    const json_t *list = json_object_get(schema, "enum"), *only = json_object_get(schema, "const");
    unsigned types;
    TN_TRY(tn_schema_types(w, schema, &types));
    if (list && !json_is_array(list)) return TN_SCHEMA_FAIL(w, FORMAT, "\"enum\" is no list");
    if (json_array_size(list) > TN_SCHEMA_LIST)
        return TN_SCHEMA_FAIL(w, RANGE, "\"enum\" has more than %d values", TN_SCHEMA_LIST);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        if ((types & tn_json_types_of(value)) && (!only || tn_json_same(only, value)))
            TN_TRY(put_value(value, text, body));
    }
    if (!list && (types & tn_json_types_of(only))) TN_TRY(put_value(only, text, body));
    return body->len ? TN_OK : TN_SCHEMA_FAIL(w, EMPTY, "no value of enum or const fits the other keywords");
}

tn_status tn_schema_visit_values(tn_schema_writer *w, const json_t *schema, const char *hint, const char **expression) {
    tn_buf text = {0}, body = {0};
    TN_TRY(refuse_others(w, schema));
    tn_status status = put_values(w, schema, &text, &body);
    tn_buf_release(&text);
    if (!status) return tn_schema_put_rule(w, hint, &body, expression);
    tn_buf_release(&body);
    return status;
}
