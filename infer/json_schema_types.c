/* SPDX-License-Identifier: MIT
 * json_schema_types.c - strings, numbers and arrays; objects have a file of their own. */
#include <math.h>
#include <string.h>

#include "infer/json_schema_priv.h"

tn_status tn_schema_count(const tn_schema_writer *w, const json_t *schema, const char *keyword, int64_t missing,
                          int64_t *count) {
    const json_t *value = json_object_get(schema, keyword);
    *count = missing;
    if (!value) return TN_OK;
    double number = json_is_number(value) ? json_number_value(value) : -1;
    if (number < 0 || floor(number) != number)
        return TN_SCHEMA_FAIL(w, FORMAT, "\"%s\" is no whole number from 0 on", keyword);
    bool is_most = !strncmp(keyword, "max", 3); /* and a smaller one keeps to it */
    if (number > TN_SCHEMA_COUNT && !is_most)
        return TN_SCHEMA_FAIL(w, RANGE, "\"%s\" is above %d", keyword, TN_SCHEMA_COUNT);
    *count = (int64_t)TN_MIN(number, TN_SCHEMA_COUNT);
    return TN_OK;
}

tn_status tn_schema_counts(const tn_schema_writer *w, const json_t *schema, const char *min_word, const char *max_word,
                           int64_t *min, int64_t *max) {
    TN_TRY(tn_schema_count(w, schema, min_word, 0, min));
    TN_TRY(tn_schema_count(w, schema, max_word, TN_SCHEMA_NO_MAX, max));
    if (*max != TN_SCHEMA_NO_MAX && *max < *min)
        return TN_SCHEMA_FAIL(w, EMPTY, "\"%s\" is above \"%s\"", min_word, max_word);
    return TN_OK;
}

tn_status tn_schema_put_times(tn_buf *out, int64_t min, int64_t max) {
    if (max == TN_SCHEMA_NO_MAX) return tn_buf_printf(out, "{%lld,}", (long long)min);
    return tn_buf_printf(out, "{%lld,%lld}", (long long)min, (long long)max);
}

/* part, then part after part with commas: (part ("," ws part){min-1,max-1} ws)? */
tn_status tn_schema_put_commas(tn_schema_writer *w, const char *part, int64_t min, int64_t max, tn_buf *out) {
    if (max == 0) return TN_OK;
    int64_t more = max == TN_SCHEMA_NO_MAX ? max : max - 1;
    TN_TRY(tn_buf_printf(out, "(%s (\",\" %s %s)", part, tn_schema_use(w, "ws"), part));
    TN_TRY(tn_schema_put_times(out, TN_MAX(min - 1, 0), more));
    return tn_buf_printf(out, " ws)%s ", min == 0 ? "?" : "");
}

/* ---- strings ---- */

static const json_t *text_of(const json_t *schema, const char *keyword) { return json_object_get(schema, keyword); }

static tn_status put_string(tn_schema_writer *w, const json_t *schema, tn_buf *out) {
    const json_t *pattern = text_of(schema, "pattern"), *format = text_of(schema, "format");
    bool counted = json_object_get(schema, "minLength") || json_object_get(schema, "maxLength");
    int64_t min, max;
    TN_TRY(tn_schema_counts(w, schema, "minLength", "maxLength", &min, &max));
    if ((pattern != NULL) + (format != NULL) + counted > 1)
        return TN_SCHEMA_FAIL(w, UNSUPPORTED, "only one of pattern, format and lengths is supported for a string");
    if (pattern && !json_is_string(pattern)) return TN_SCHEMA_FAIL(w, FORMAT, "\"pattern\" is no text");
    if (format && !json_is_string(format)) return TN_SCHEMA_FAIL(w, FORMAT, "\"format\" is no text");
    if (pattern) return tn_json_pattern_put(w, json_string_value(pattern), json_string_length(pattern), out);
    if (format) {
        char list[200];
        const char *rule = tn_schema_use_format(w, json_string_value(format));
        if (rule) return tn_buf_puts(out, rule);
        return TN_SCHEMA_FAIL(w, UNSUPPORTED, "format \"%.40s\" is not supported, expected one of %s",
                              json_string_value(format), tn_schema_formats(list, sizeof list));
    }
    if (!counted) return tn_buf_puts(out, tn_schema_use(w, "string"));
    TN_TRY(tn_buf_printf(out, "\"\\\"\" %s", tn_schema_use(w, "char")));
    TN_TRY(tn_schema_put_times(out, min, max));
    return tn_buf_puts(out, " \"\\\"\"");
}

/* ---- numbers ---- */

static tn_status get_bound(const tn_schema_writer *w, const json_t *schema, const char *inclusive,
                           const char *exclusive, int sign, tn_number_bound *bound) {
    const json_t *x = json_object_get(schema, inclusive), *y = json_object_get(schema, exclusive);
    if (x && !json_is_number(x)) return TN_SCHEMA_FAIL(w, FORMAT, "\"%s\" is no number", inclusive);
    if (y && !json_is_number(y)) return TN_SCHEMA_FAIL(w, FORMAT, "\"%s\" is no number", exclusive);
    double difference = x && y ? (json_number_value(y) - json_number_value(x)) * sign : 0;
    bool take_exclusive = y && (!x || difference >= 0);
    *bound = (tn_number_bound){take_exclusive ? y : x, take_exclusive};
    return TN_OK;
}

static tn_status put_number(tn_schema_writer *w, const json_t *schema, bool whole, tn_buf *out) {
    tn_number_bound low, high;
    const json_t *step = json_object_get(schema, "multipleOf");
    if (step && !(json_is_number(step) && json_number_value(step) == 1.0))
        return TN_SCHEMA_FAIL(w, UNSUPPORTED, "\"multipleOf\" is not supported, but for 1");
    whole |= step != NULL;
    TN_TRY(get_bound(w, schema, "minimum", "exclusiveMinimum", 1, &low));
    TN_TRY(get_bound(w, schema, "maximum", "exclusiveMaximum", -1, &high));
    if (!low.value && !high.value) return tn_buf_puts(out, tn_schema_use(w, whole ? "integer" : "number"));
    return tn_number_range_put(w, low, high, whole, out);
}

/* ---- arrays ---- */

typedef struct array_shape {
    const json_t *list; /* of schemas of the first items, or NULL */
    const json_t *rest; /* schema of the others; NULL = anything */
    int64_t min, max;
} array_shape;

static tn_status get_shape(const tn_schema_writer *w, const json_t *schema, array_shape *shape) {
    const json_t *items = json_object_get(schema, "items"), *unique = json_object_get(schema, "uniqueItems");
    bool old = json_is_array(items); /* before 2020: items was the list, additionalItems the rest */
    shape->list = old ? items : json_object_get(schema, "prefixItems");
    shape->rest = old ? json_object_get(schema, "additionalItems") : items;
    if (json_is_true(unique)) return TN_SCHEMA_FAIL(w, UNSUPPORTED, "\"uniqueItems\" is not supported");
    if (shape->list && !json_is_array(shape->list)) return TN_SCHEMA_FAIL(w, FORMAT, "\"prefixItems\" is no list");
    if (!json_array_size(shape->list)) shape->list = NULL;
    if (json_array_size(shape->list) > TN_SCHEMA_PREFIX)
        return TN_SCHEMA_FAIL(w, RANGE, "has a list of more than %d items", TN_SCHEMA_PREFIX);
    TN_TRY(tn_schema_counts(w, schema, "minItems", "maxItems", &shape->min, &shape->max));
    int64_t listed = (int64_t)json_array_size(shape->list);
    bool no_more = json_is_false(shape->rest) || (!shape->rest && listed); /* a list alone is a tuple */
    if (!shape->rest && shape->min > listed) no_more = false;
    if (no_more) shape->max = shape->max == TN_SCHEMA_NO_MAX ? listed : TN_MIN(shape->max, listed);
    if (!json_object_get(schema, "minItems"))
        shape->min = shape->max == TN_SCHEMA_NO_MAX ? listed : TN_MIN(listed, shape->max);
    if (no_more && shape->min > shape->max)
        return TN_SCHEMA_FAIL(w, EMPTY, "\"minItems\" asks for more items than may be there");
    return TN_OK;
}

static tn_status visit_item(tn_schema_writer *w, const json_t *item, const char *keyword, size_t i, const char *hint,
                            const char **expression) {
    char number[24];
    const char *name;
    size_t back;
    snprintf(number, sizeof number, "%zu", i);
    TN_TRY(tn_schema_hint(w, hint, keyword ? number : "item", &name));
    TN_TRY(tn_schema_enter(w, keyword ? keyword : "items", keyword ? number : NULL, &back));
    TN_TRY(tn_schema_visit(w, item, name, expression));
    tn_schema_leave(w, back);
    return TN_OK;
}

/* The listed items up to max, those from min on optional: first ("," ws second ("," ws third)?)? ... */
static tn_status put_listed(tn_schema_writer *w, const array_shape *shape, const char *hint, tn_buf *out) {
    int64_t listed = (int64_t)json_array_size(shape->list), open = 0;
    if (shape->max != TN_SCHEMA_NO_MAX) listed = TN_MIN(listed, shape->max);
    for (int64_t i = 0; i < listed; i++) {
        const char *item;
        TN_TRY(visit_item(w, json_array_get(shape->list, (size_t)i), "prefixItems", (size_t)i, hint, &item));
        bool optional = i >= shape->min;
        open += optional;
        TN_TRY(tn_buf_printf(out, "%s%s%s ", optional ? "(" : "", i ? "\",\" ws " : "", item));
    }
    int64_t more = shape->max == TN_SCHEMA_NO_MAX ? shape->max : shape->max - listed;
    if (more != 0) {
        const char *item = tn_schema_use(w, "value");
        if (shape->rest) TN_TRY(visit_item(w, shape->rest, NULL, 0, hint, &item));
        TN_TRY(tn_buf_printf(out, "(\",\" ws %s)", item));
        TN_TRY(tn_schema_put_times(out, TN_MAX(shape->min - listed, 0), more));
        TN_TRY(tn_buf_putc(out, ' '));
    }
    while (open-- > 0) TN_TRY(tn_buf_puts(out, ")? "));
    return tn_buf_puts(out, "ws ");
}

static tn_status put_array(tn_schema_writer *w, const json_t *schema, const char *hint, tn_buf *out) {
    array_shape shape;
    const char *item;
    TN_TRY(get_shape(w, schema, &shape));
    bool plain = !shape.list && !shape.rest && shape.min == 0 && shape.max == TN_SCHEMA_NO_MAX;
    if (plain) return tn_buf_puts(out, tn_schema_use(w, "array"));
    TN_TRY(tn_buf_printf(out, "\"[\" %s ", tn_schema_use(w, "ws")));
    if (shape.list && shape.max != 0) {
        TN_TRY(put_listed(w, &shape, hint, out));
    } else if (shape.max != 0) {
        item = tn_schema_use(w, "value");
        if (shape.rest) TN_TRY(visit_item(w, shape.rest, NULL, 0, hint, &item));
        TN_TRY(tn_schema_put_commas(w, item, shape.min, shape.max, out));
    }
    return tn_buf_puts(out, "\"]\"");
}

/* ---- all types ---- */

static tn_status put_type(tn_schema_writer *w, const json_t *schema, unsigned type, const char *hint, tn_buf *out) {
    switch (type) {
    case TN_JSON_IS_OBJECT: return tn_schema_put_object(w, schema, hint, out);
    case TN_JSON_IS_ARRAY: return put_array(w, schema, hint, out);
    case TN_JSON_IS_STRING: return put_string(w, schema, out);
    case TN_JSON_IS_INTEGER: return put_number(w, schema, true, out);
    case TN_JSON_IS_NUMBER: return put_number(w, schema, false, out);
    case TN_JSON_IS_BOOLEAN: return tn_buf_puts(out, tn_schema_use(w, "boolean"));
    default: return tn_buf_puts(out, tn_schema_use(w, "null"));
    }
}

static tn_status put_types(tn_schema_writer *w, const json_t *schema, unsigned types, const char *hint, tn_buf *out) {
    for (unsigned bit = 1; bit & TN_JSON_IS_ANY; bit <<= 1) {
        unsigned type = bit == TN_JSON_IS_INTEGER ? types & TN_JSON_IS_NUMBER : types & bit;
        if (!type || bit == TN_JSON_IS_FRACTION) continue;
        if (out->len) TN_TRY(tn_buf_puts(out, " | "));
        TN_TRY(put_type(w, schema, type, hint, out));
    }
    return TN_OK;
}

static bool is_name(const tn_buf *body) {
    for (const char *c = tn_buf_text(body); *c; c++)
        if (*c != '-' && !(*c >= 'a' && *c <= 'z')) return false;
    return true;
}

tn_status tn_schema_visit_types(tn_schema_writer *w, const json_t *schema, const char *hint, const char **expression) {
    unsigned types;
    tn_buf body = {0};
    TN_TRY(tn_schema_types(w, schema, &types));
    if (!types) return TN_SCHEMA_FAIL(w, EMPTY, "no type fits all that is asked for");
    if (!tn_schema_says_more(schema, NULL)) return *expression = tn_schema_use(w, "value"), TN_OK;
    tn_status status = put_types(w, schema, types, hint, &body);
    if (!status && is_name(&body)) {
        *expression = tn_arena_strdup(w->arena, body.data, "JSON schema");
        tn_buf_release(&body);
        return *expression ? TN_OK : TN_E_NOMEM;
    }
    if (!status) return tn_schema_put_rule(w, hint, &body, expression);
    tn_buf_release(&body);
    return status;
}
