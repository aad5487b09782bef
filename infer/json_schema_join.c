/* SPDX-License-Identifier: MIT
 * json_schema_join.c - schemas made of schemas. What allOf joins becomes one schema that says all of it; what cannot be
 * said in one is refused. anyOf beside other keywords joins them with each of its parts. */
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "infer/json_schema_priv.h"

enum { MOST_COMPARED = 500 }; /* parts of oneOf, each with each */

#define EACH(object, name, value) json_object_foreach((json_t *)(uintptr_t)(object), name, value)

static tn_status out_of_memory(void) { return TN_FAIL(NOMEM, "out of memory for a JSON schema"); }

/* The writer keeps what was made until the end. */
static tn_status own(tn_schema_writer *w, json_t *made) {
    return made && !json_array_append_new(w->made, made) ? TN_OK : out_of_memory();
}

static tn_status set(json_t *object, const char *name, const json_t *value) {
    return json_object_set(object, name, (json_t *)(uintptr_t)value) ? out_of_memory() : TN_OK;
}

static tn_status append(json_t *array, const json_t *value) {
    return json_array_append(array, (json_t *)(uintptr_t)value) ? out_of_memory() : TN_OK;
}

/* {"allOf": [a, b]} */
static tn_status both(tn_schema_writer *w, const json_t *a, const json_t *b, const json_t **out) {
    json_t *made = json_object(), *list = json_array();
    tn_status status = made && !json_object_set_new(made, "allOf", list) ? TN_OK : out_of_memory();
    if (!status) status = append(list, a);
    if (!status) status = append(list, b);
    if (!status) return *out = made, own(w, made);
    json_decref(made);
    return status;
}

/* ---- one keyword in two schemas ---- */

typedef tn_status join_keyword(tn_schema_writer *w, const char *name, const json_t *a, const json_t *b,
                               const json_t **out);

static tn_status join_types(tn_schema_writer *w, const char *name, const json_t *a, const json_t *b,
                            const json_t **out) {
    unsigned x, y;
    TN_TRY(tn_schema_type_bits(w, a, &x));
    TN_TRY(tn_schema_type_bits(w, b, &y));
    json_t *list = json_array();
    (void)name;
    TN_TRY(own(w, list));
    *out = list;
    return tn_json_put_types(list, x & y);
}

static bool is_in(const json_t *list, const json_t *value) {
    size_t i;
    json_t *other;
    json_array_foreach(list, i, other) if (tn_json_same(other, value)) return true;
    return false;
}

static tn_status need_lists(const tn_schema_writer *w, const char *name, const json_t *a, const json_t *b) {
    if (!json_is_array(a) || !json_is_array(b)) return TN_SCHEMA_FAIL(w, FORMAT, "\"%s\" is no list", name);
    if (json_array_size(a) > TN_SCHEMA_LIST || json_array_size(b) > TN_SCHEMA_LIST)
        return TN_SCHEMA_FAIL(w, RANGE, "\"%s\" has more than %d entries", name, TN_SCHEMA_LIST);
    return TN_OK;
}

/* All of a, and of b what is not in it. */
static tn_status join_required(tn_schema_writer *w, const char *name, const json_t *a, const json_t *b,
                               const json_t **out) {
    TN_TRY(need_lists(w, name, a, b));
    json_t *list = json_copy((json_t *)(uintptr_t)a), *value;
    size_t i;
    TN_TRY(own(w, list));
    json_array_foreach(b, i, value) if (!is_in(a, value)) TN_TRY(append(list, value));
    *out = list;
    return TN_OK;
}

static tn_status join_enum(tn_schema_writer *w, const char *name, const json_t *a, const json_t *b,
                           const json_t **out) {
    TN_TRY(need_lists(w, name, a, b));
    json_t *list = json_array(), *value;
    size_t i;
    TN_TRY(own(w, list));
    json_array_foreach(a, i, value) if (is_in(b, value)) TN_TRY(append(list, value));
    *out = list;
    return TN_OK;
}

static tn_status need_numbers(const tn_schema_writer *w, const char *name, const json_t *a, const json_t *b) {
    return json_is_number(a) && json_is_number(b) ? TN_OK : TN_SCHEMA_FAIL(w, FORMAT, "\"%s\" is no number", name);
}

static bool is_below(const json_t *a, const json_t *b) {
    if (json_is_integer(a) && json_is_integer(b)) return json_integer_value(a) < json_integer_value(b);
    return json_number_value(a) < json_number_value(b);
}

static tn_status join_larger(tn_schema_writer *w, const char *name, const json_t *a, const json_t *b,
                             const json_t **out) {
    TN_TRY(need_numbers(w, name, a, b));
    *out = is_below(a, b) ? b : a;
    return TN_OK;
}

static tn_status join_smaller(tn_schema_writer *w, const char *name, const json_t *a, const json_t *b,
                              const json_t **out) {
    TN_TRY(need_numbers(w, name, a, b));
    *out = is_below(b, a) ? b : a;
    return TN_OK;
}

static tn_status join_items(tn_schema_writer *w, const char *name, const json_t *a, const json_t *b,
                            const json_t **out) {
    if (json_is_array(a) || json_is_array(b))
        return TN_SCHEMA_FAIL(w, UNSUPPORTED, "two lists of \"%s\" in one allOf are not supported", name);
    return both(w, a, b, out);
}

static const struct {
    const char *name;
    join_keyword *join;
} joins[] = {
    {"type", join_types},
    {"required", join_required},
    {"enum", join_enum},
    {"minimum", join_larger},
    {"exclusiveMinimum", join_larger},
    {"minLength", join_larger},
    {"minItems", join_larger},
    {"minProperties", join_larger},
    {"maximum", join_smaller},
    {"maxLength", join_smaller},
    {"maxItems", join_smaller},
    {"exclusiveMaximum", join_smaller},
    {"maxProperties", join_smaller},
    {"items", join_items},
};

static tn_status join_one(tn_schema_writer *w, json_t *out, const char *name, const json_t *b) {
    const json_t *a = json_object_get(out, name), *joined = NULL;
    if (!a) return set(out, name, b);
    if (tn_json_same(a, b)) return TN_OK;
    for (size_t i = 0; i < TN_COUNT(joins); i++) {
        if (strcmp(joins[i].name, name) != 0) continue;
        TN_TRY(joins[i].join(w, name, a, b, &joined));
        return set(out, name, joined);
    }
    return TN_SCHEMA_FAIL(w, UNSUPPORTED, "two different \"%s\" in one allOf are not supported", name);
}

/* ---- objects ---- */

/* Put what schema `b` asks of a property that `a` names and b does not, joined to what a asks of it. */
static tn_status restrict_property(tn_schema_writer *w, const json_t *a, const json_t *b, const json_t **out) {
    const json_t *others = json_object_get(b, "additionalProperties");
    *out = a;
    if (!others || json_is_true(others)) return TN_OK;
    if (json_is_false(others)) return *out = others, TN_OK;
    return both(w, a, others, out);
}

static tn_status need_properties(const tn_schema_writer *w, const json_t *schema) {
    const json_t *properties = json_object_get(schema, "properties");
    return !properties || json_is_object(properties) ? TN_OK : TN_SCHEMA_FAIL(w, FORMAT, "\"properties\" is no object");
}

static tn_status join_properties(tn_schema_writer *w, const json_t *a, const json_t *b, json_t *out) {
    const json_t *of_a = json_object_get(a, "properties"), *of_b = json_object_get(b, "properties"), *joined, *other;
    const char *name;
    json_t *value, *properties;
    TN_TRY(need_properties(w, a));
    TN_TRY(need_properties(w, b));
    if (!of_a && !of_b) return TN_OK;
    if (json_object_set_new(out, "properties", properties = json_object())) return out_of_memory();
    EACH(of_a, name, value) {
        if ((other = json_object_get(of_b, name)))
            TN_TRY(both(w, value, other, &joined));
        else
            TN_TRY(restrict_property(w, value, b, &joined));
        TN_TRY(set(properties, name, joined));
    }
    EACH(of_b, name, value) {
        if (json_object_get(of_a, name)) continue;
        TN_TRY(restrict_property(w, value, a, &joined));
        TN_TRY(set(properties, name, joined));
    }
    return TN_OK;
}

static tn_status join_others(tn_schema_writer *w, const json_t *a, const json_t *b, json_t *out) {
    const char *const name = "additionalProperties";
    const json_t *x = json_object_get(a, name), *y = json_object_get(b, name), *joined;
    if (!x || !y || json_is_true(x) || json_is_false(y)) {
        joined = y && !json_is_true(y) ? y : x ? x : y;
        return joined ? set(out, name, joined) : TN_OK;
    }
    if (json_is_false(x) || json_is_true(y)) return set(out, name, x);
    TN_TRY(both(w, x, y, &joined));
    return set(out, name, joined);
}

/* `items` of one schema speaks of all items, beside a list of the other it would speak of the rest only. */
static tn_status refuse_mixed_items(const tn_schema_writer *w, const json_t *a, const json_t *b) {
    const json_t *x = json_object_get(a, "items"), *y = json_object_get(b, "items");
    bool list = json_object_get(a, "prefixItems") || json_object_get(b, "prefixItems") || json_is_array(x) ||
                json_is_array(y) || json_object_get(a, "additionalItems") || json_object_get(b, "additionalItems");
    bool in_a = x || json_object_get(a, "prefixItems"), in_b = y || json_object_get(b, "prefixItems");
    return list && in_a && in_b ? TN_SCHEMA_FAIL(w, UNSUPPORTED, "lists of items in one allOf are not supported")
                                : TN_OK;
}

/* ---- allOf ---- */

static bool is_joined_apart(const char *name) {
    return tn_json_keyword_group(name) == TN_JSON_NOTE || !strcmp(name, "properties") ||
           !strcmp(name, "additionalProperties");
}

static tn_status join(tn_schema_writer *w, const json_t *a, const json_t *b, const json_t **out) {
    if (json_is_false(a) || json_is_true(b)) return *out = a, TN_OK;
    if (json_is_false(b) || json_is_true(a)) return *out = b, TN_OK;
    json_t *made = json_object(), *value;
    const char *name;
    TN_TRY(own(w, made));
    EACH(a, name, value) if (!is_joined_apart(name)) TN_TRY(set(made, name, value));
    EACH(b, name, value) if (!is_joined_apart(name)) TN_TRY(join_one(w, made, name, value));
    TN_TRY(refuse_mixed_items(w, a, b));
    TN_TRY(join_properties(w, a, b, made));
    TN_TRY(join_others(w, a, b, made));
    *out = made;
    return TN_OK;
}

static tn_status join_parts(tn_schema_writer *w, const json_t *schema, const json_t **flat) {
    const json_t *ref = json_object_get(schema, "$ref"), *all = json_object_get(schema, "allOf"), *part;
    json_t *rest = json_copy((json_t *)(uintptr_t)schema), *value;
    size_t i;
    TN_TRY(own(w, rest));
    json_object_del(rest, "$ref");
    json_object_del(rest, "allOf");
    *flat = rest;
    if (ref) {
        TN_TRY(tn_schema_resolve(w, ref, &part));
        TN_TRY(tn_schema_flatten(w, part, &part));
        TN_TRY(join(w, *flat, part, flat));
    }
    if (all && !json_array_size(all)) return TN_SCHEMA_FAIL(w, FORMAT, "\"allOf\" is no list of schemas");
    json_array_foreach(all, i, value) {
        TN_TRY(tn_schema_flatten(w, value, &part));
        TN_TRY(join(w, *flat, part, flat));
    }
    return TN_OK;
}

tn_status tn_schema_flatten(tn_schema_writer *w, const json_t *schema, const json_t **flat) {
    TN_TRY(tn_schema_check(w, schema));
    *flat = schema;
    if (!json_object_get(schema, "$ref") && !json_object_get(schema, "allOf")) return TN_OK;
    TN_TRY(tn_schema_deeper(w));
    tn_status status = join_parts(w, schema, flat);
    w->depth--;
    return status;
}

/* ---- anyOf and oneOf ---- */

static const json_t *one_value(const json_t *schema) {
    const json_t *list = json_object_get(schema, "enum"), *only = json_object_get(schema, "const");
    return only ? only : json_array_size(list) == 1 ? json_array_get(list, 0) : NULL;
}

/* A property that both must have, with one value here and another there. */
static bool are_tagged_apart(const json_t *a, const json_t *b) {
    const char *name;
    json_t *value;
    EACH(json_object_get(a, "properties"), name, value) {
        const json_t *x = one_value(value), *y = one_value(json_object_get(json_object_get(b, "properties"), name));
        json_t *key = x && y && !tn_json_same(x, y) ? json_string(name) : NULL;
        bool apart = key && is_in(json_object_get(a, "required"), key) && is_in(json_object_get(b, "required"), key);
        json_decref(key);
        if (apart) return true;
    }
    return false;
}

/* Whether it is plain that no value fits both flat schemas. */
static bool are_apart(const tn_schema_writer *w, const json_t *a, const json_t *b) {
    unsigned x, y;
    if (json_is_false(a) || json_is_false(b)) return true;
    if (!json_object_get(a, "type") || !json_object_get(b, "type")) {
        const json_t *one = one_value(a), *other = one_value(b);
        return one && other ? !tn_json_same(one, other) : false;
    }
    if (tn_schema_types(w, a, &x) || tn_schema_types(w, b, &y)) return false;
    if (!(x & y)) return true;
    const json_t *one = one_value(a), *other = one_value(b);
    if (one && other) return !tn_json_same(one, other);
    return (x & y) == TN_JSON_IS_OBJECT && are_tagged_apart(a, b);
}

/* Parts that are not plainly apart may both fit, and then oneOf would be broken. */
static tn_status warn_of_overlap(tn_schema_writer *w, const json_t *parts) {
    size_t n = json_array_size(parts);
    const json_t **flat;
    bool apart = n <= MOST_COMPARED;
    TN_TAKE(flat, w->arena, n, "JSON schema");
    for (size_t i = 0; i < n && apart; i++) {
        TN_TRY(tn_schema_flatten(w, json_array_get(parts, i), &flat[i]));
        for (size_t k = 0; k < i && apart; k++) apart = are_apart(w, flat[i], flat[k]);
    }
    if (!apart)
        tn_log(TN_LOG_WARN, "infer", "JSON schema: %s: oneOf is read as anyOf, and more than one part may fit",
               tn_buf_text(&w->path));
    return TN_OK;
}

/* A part of anyOf, joined with what stands beside it. NULL when nothing fits them both. */
static tn_status join_branch(tn_schema_writer *w, const json_t *beside, const json_t *part, const json_t **out) {
    const json_t *flat;
    unsigned types;
    *out = part;
    if (json_is_false(part)) return *out = NULL, TN_OK;
    if (!tn_schema_says_more(beside, NULL)) return TN_OK;
    TN_TRY(both(w, beside, part, out));
    TN_TRY(tn_schema_flatten(w, *out, &flat));
    *out = flat;
    if (json_is_false(flat)) return *out = NULL, TN_OK;
    TN_TRY(tn_schema_types(w, flat, &types));
    if (!types) *out = NULL;
    return TN_OK;
}

static tn_status put_branch(tn_schema_writer *w, const json_t *beside, const json_t *part, size_t i, const char *hint,
                            tn_buf *body) {
    const json_t *branch;
    const char *name, *expression;
    char number[24];
    TN_TRY(join_branch(w, beside, part, &branch));
    if (!branch) return TN_OK;
    snprintf(number, sizeof number, "%zu", i + 1);
    TN_TRY(tn_schema_hint(w, hint, number, &name));
    TN_TRY(tn_schema_visit(w, branch, name, &expression));
    return tn_buf_printf(body, "%s%s", body->len ? " | " : "", expression);
}

static tn_status put_branches(tn_schema_writer *w, const json_t *schema, const char *keyword, const char *hint,
                              tn_buf *body) {
    const json_t *parts = json_object_get(schema, keyword);
    json_t *beside = json_copy((json_t *)(uintptr_t)schema);
    TN_TRY(own(w, beside));
    json_object_del(beside, keyword);
    for (size_t i = 0; i < json_array_size(parts); i++) {
        size_t back;
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        TN_TRY(tn_schema_enter(w, keyword, number, &back));
        TN_TRY(put_branch(w, beside, json_array_get(parts, i), i, hint, body));
        tn_schema_leave(w, back);
    }
    return body->len ? TN_OK : TN_SCHEMA_FAIL(w, EMPTY, "nothing fits any part of \"%s\"", keyword);
}

tn_status tn_schema_visit_choice(tn_schema_writer *w, const json_t *schema, const char *keyword, const char *hint,
                                 const char **expression) {
    const json_t *parts = json_object_get(schema, keyword);
    tn_buf body = {0};
    if (!json_array_size(parts)) return TN_SCHEMA_FAIL(w, FORMAT, "\"%s\" is no list of schemas", keyword);
    if (json_array_size(parts) > TN_SCHEMA_LIST)
        return TN_SCHEMA_FAIL(w, RANGE, "\"%s\" has more than %d parts", keyword, TN_SCHEMA_LIST);
    if (!strcmp(keyword, "oneOf")) TN_TRY(warn_of_overlap(w, parts));
    tn_status status = put_branches(w, schema, keyword, hint, &body);
    if (!status) return tn_schema_put_rule(w, hint, &body, expression);
    tn_buf_release(&body);
    return status;
}
