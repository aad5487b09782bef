/* SPDX-License-Identifier: MIT
 * json_schema_object.c - objects: properties in the order of the schema, each at most once, those that are not required
 * optional, then others where the schema allows them, with names that are not listed. */
#include <stdlib.h>
#include <string.h>

#include "core/utf8.h"
#include "infer/json_schema_priv.h"

static const char tag[] = "JSON schema";

typedef struct member {
    const char *text; /* "name": value, as an expression */
    bool required;
} member;

typedef struct object_shape {
    const json_t *schema, *properties, *required, *others; /* others: additionalProperties, or NULL */
    member *members;                                       /* [n] in the order of writing */
    size_t n, n_required;
    const char *other; /* expression for one more, or NULL */
    int64_t min, max;
    const char *hint;
} object_shape;

/* ---- members ---- */

static tn_status put_member(tn_schema_writer *w, const char *name, const char *value, tn_buf *out) {
    tn_buf key = {0};
    tn_status status = tn_json_put_text(&key, name, strlen(name));
    if (!status) status = tn_buf_putc(&key, ':');
    if (!status) status = tn_gbnf_put_literal(out, tn_buf_text(&key), key.len);
    if (!status) status = tn_buf_printf(out, " \" \"? %s", value);
    (void)w;
    tn_buf_release(&key);
    return status;
}

static tn_status add_member(tn_schema_writer *w, object_shape *o, const char *name, const json_t *schema,
                            bool required) {
    const char *hint, *value;
    size_t back;
    tn_buf text = {0};
    TN_TRY(tn_schema_hint(w, o->hint, name, &hint));
    TN_TRY(tn_schema_enter(w, "properties", name, &back));
    TN_TRY(tn_schema_visit(w, schema, hint, &value));
    tn_schema_leave(w, back);
    tn_status status = put_member(w, name, value, &text);
    const char *kept = status ? NULL : tn_arena_strdup(w->arena, tn_buf_text(&text), tag);
    tn_buf_release(&text);
    if (!kept) return TN_E_NOMEM;
    o->members[o->n++] = (member){kept, required};
    o->n_required += required;
    return TN_OK;
}

static bool is_required(const object_shape *o, const char *name) {
    size_t i;
    json_t *value;
    json_array_foreach(o->required, i, value) if (!strcmp(json_string_value(value), name)) return true;
    return false;
}

static tn_status add_members(tn_schema_writer *w, object_shape *o) {
    const char *name;
    json_t *schema, *value;
    size_t i;
    TN_TAKE(o->members, w->arena, json_object_size(o->properties) + json_array_size(o->required), tag);
    json_object_foreach((json_t *)(uintptr_t)o->properties, name, schema) {
        bool required = is_required(o, name);
        if (json_is_false(schema) && !required) continue; /* it may not be there */
        TN_TRY(add_member(w, o, name, schema, required));
    }
    const json_t *any = o->others ? o->others : json_true();
    json_array_foreach(o->required, i, value) {
        name = json_string_value(value);
        if (json_object_get(o->properties, name)) continue;
        if (json_is_false(any))
            return TN_SCHEMA_FAIL(w, EMPTY, "\"%.60s\" is required, but no property of that name is allowed", name);
        bool again = false;
        for (size_t k = 0; k < i; k++) again |= !strcmp(json_string_value(json_array_get(o->required, k)), name);
        if (!again) TN_TRY(add_member(w, o, name, any, true));
    }
    return TN_OK;
}

/* ---- other names ---- */

/* Names are written without escapes here, so names that need them are other names anyway. */
static bool is_plain(const char *name) {
    for (; *name; name++)
        if ((unsigned char)*name < ' ' || *name == '"' || *name == '\\') return false;
    return true;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What may follow the first `depth` bytes, which names [n], sorted, have in common, so that none of them comes out. */
static tn_status put_other_names(tn_schema_writer *w, const char *const *names, size_t n, size_t depth,
                                 const char *hint, const char **rule) {
    tn_buf body = {0}, ways = {0};
    size_t i = 0;
    tn_status status = depth > TN_SCHEMA_NAME
                           ? TN_SCHEMA_FAIL(w, RANGE, "the name of a property has more than %d bytes", TN_SCHEMA_NAME)
                           : TN_OK;
    while (i < n && !names[i][depth]) i++; /* one that ends here: something must follow */
    if (!status) status = tn_buf_puts(&body, i ? "[^\"\\\\\\x00-\\x1F" : "\"\\\"\" | [^\"\\\\\\x00-\\x1F");
    while (!status && i < n) {
        uint32_t code;
        size_t len = tn_utf8_decode(names[i] + depth, &code), end = i;
        const char *next;
        while (end < n && !strncmp(names[end] + depth, names[i] + depth, len)) end++;
        status = tn_buf_printf(&body, "\\U%08x", (unsigned)code);
        if (!status) status = put_other_names(w, names + i, end - i, depth + len, hint, &next);
        if (!status) status = tn_buf_printf(&ways, " | \"\\U%08x\" %s", (unsigned)code, next);
        i = end;
    }
    if (!status) status = tn_buf_printf(&body, "] [^\"\\\\\\x00-\\x1F]* \"\\\"\"%s", tn_buf_text(&ways));
    tn_buf_release(&ways);
    if (!status) return tn_schema_put_rule(w, hint, &body, rule);
    tn_buf_release(&body);
    return status;
}

static tn_status find_other_key(tn_schema_writer *w, const object_shape *o, const char **key) {
    const char **names, *name, *hint, *rule;
    json_t *schema;
    size_t n = 0;
    TN_TAKE(names, w->arena, json_object_size(o->properties) + json_array_size(o->required), tag);
    json_object_foreach((json_t *)(uintptr_t)o->properties, name, schema) if (is_plain(name)) names[n++] = name;
    for (size_t i = 0; i < json_array_size(o->required); i++) {
        name = json_string_value(json_array_get(o->required, i));
        if (is_plain(name)) names[n++] = name;
    }
    *key = tn_schema_use(w, "string");
    if (!n) return TN_OK;
    qsort(names, n, sizeof *names, compare_names);
    TN_TRY(tn_schema_hint(w, o->hint, "key", &hint));
    TN_TRY(put_other_names(w, names, n, 0, hint, &rule));
    tn_buf quoted = {0};
    TN_TRY(tn_buf_printf(&quoted, "\"\\\"\" %s", rule));
    return tn_schema_put_rule(w, hint, &quoted, key);
}

static tn_status find_other(tn_schema_writer *w, object_shape *o) {
    const char *hint, *key, *value = tn_schema_use(w, "value");
    size_t back;
    tn_buf body = {0};
    TN_TRY(find_other_key(w, o, &key));
    TN_TRY(tn_schema_hint(w, o->hint, "other", &hint));
    if (o->others) {
        TN_TRY(tn_schema_enter(w, "additionalProperties", NULL, &back));
        TN_TRY(tn_schema_visit(w, o->others, hint, &value));
        tn_schema_leave(w, back);
    }
    TN_TRY(tn_buf_printf(&body, "%s \":\" \" \"? %s", key, value));
    return tn_schema_put_rule(w, hint, &body, &o->other);
}

/* ---- the whole ---- */

/* With one that must be there, the commas before it follow and those behind it lead:
 * (a "," ws)? b "," ws c ("," ws d)? */
static tn_status put_around_required(const object_shape *o, tn_buf *out) {
    bool seen = false;
    for (size_t i = 0; i < o->n; i++) {
        const member *m = &o->members[i];
        if (m->required && seen)
            TN_TRY(tn_buf_printf(out, "\",\" ws %s ", m->text));
        else if (m->required)
            TN_TRY(tn_buf_printf(out, "%s ", m->text));
        else
            TN_TRY(tn_buf_printf(out, seen ? "(\",\" ws %s)? " : "(%s \",\" ws)? ", m->text));
        seen |= m->required;
    }
    if (o->other) TN_TRY(tn_buf_printf(out, "(\",\" ws %s)* ", o->other));
    return tn_buf_puts(out, "ws ");
}

/* Without one, each may be the first: (a tail | b tail-2 | c tail-3)?, tail ::= ("," ws b)? tail-2 */
static tn_status put_optional(tn_schema_writer *w, const object_shape *o, tn_buf *out) {
    const char **tails, *hint; /* tails[i]: what may follow member i */
    TN_TAKE(tails, w->arena, o->n, tag);
    TN_TRY(tn_schema_hint(w, o->hint, "rest", &hint));
    for (size_t i = o->n; i-- > 0;) {
        tn_buf body = {0};
        if (i + 1 < o->n)
            TN_TRY(tn_buf_printf(&body, "(\",\" ws %s)? %s", o->members[i + 1].text, tails[i + 1]));
        else if (o->other)
            TN_TRY(tn_buf_printf(&body, "(\",\" ws %s)*", o->other));
        else
            TN_TRY(tn_buf_puts(&body, "\"\""));
        TN_TRY(tn_schema_put_rule(w, hint, &body, &tails[i]));
    }
    TN_TRY(tn_buf_puts(out, "(("));
    for (size_t i = 0; i < o->n; i++)
        TN_TRY(tn_buf_printf(out, "%s%s %s", i ? " | " : "", o->members[i].text, tails[i]));
    if (o->other) TN_TRY(tn_buf_printf(out, " | %s (\",\" ws %s)*", o->other, o->other));
    return tn_buf_printf(out, ") ws)%s ", o->min > 0 ? "" : "?");
}

/* A name may come twice in a map, so no more than one property can be counted on beyond those that are required. */
static tn_status check_counts(const tn_schema_writer *w, const object_shape *o) {
    if (o->min > (int64_t)TN_MAX(o->n_required, 1u))
        return TN_SCHEMA_FAIL(w, UNSUPPORTED, "\"minProperties\" above 1 and above what is required is not supported");
    bool bounded = !o->n || (!o->other && o->max >= (int64_t)o->n);
    if (o->max == TN_SCHEMA_NO_MAX || bounded) return TN_OK;
    return TN_SCHEMA_FAIL(w, UNSUPPORTED, "\"maxProperties\" beside listed properties is not supported");
}

static tn_status put_members(tn_schema_writer *w, const object_shape *o, tn_buf *out) {
    TN_TRY(check_counts(w, o));
    TN_TRY(tn_buf_printf(out, "\"{\" %s ", tn_schema_use(w, "ws")));
    if (o->n_required) {
        TN_TRY(put_around_required(o, out));
    } else if (o->n) {
        TN_TRY(put_optional(w, o, out));
    } else if (o->other) {
        TN_TRY(tn_schema_put_commas(w, o->other, o->min, o->max, out));
    } else if (o->min > 0) {
        return TN_SCHEMA_FAIL(w, EMPTY, "\"minProperties\" asks for properties, but none is allowed");
    }
    return tn_buf_puts(out, "\"}\"");
}

static tn_status check_shape(const tn_schema_writer *w, const object_shape *o) {
    size_t i;
    json_t *name;
    if (o->properties && !json_is_object(o->properties))
        return TN_SCHEMA_FAIL(w, FORMAT, "\"properties\" is no object");
    if (o->required && !json_is_array(o->required)) return TN_SCHEMA_FAIL(w, FORMAT, "\"required\" is no list");
    if (json_object_size(o->properties) > TN_SCHEMA_LIST || json_array_size(o->required) > TN_SCHEMA_LIST)
        return TN_SCHEMA_FAIL(w, RANGE, "there are more than %d properties", TN_SCHEMA_LIST);
    json_array_foreach(o->required, i, name) if (!json_is_string(name)) return TN_SCHEMA_FAIL(
        w, FORMAT, "\"required\" has an entry that is no text");
    return TN_OK;
}

tn_status tn_schema_put_object(tn_schema_writer *w, const json_t *schema, const char *hint, tn_buf *out) {
    object_shape o = {.schema = schema,
                      .properties = json_object_get(schema, "properties"),
                      .required = json_object_get(schema, "required"),
                      .others = json_object_get(schema, "additionalProperties"),
                      .hint = hint};
    TN_TRY(check_shape(w, &o));
    TN_TRY(tn_schema_counts(w, schema, "minProperties", "maxProperties", &o.min, &o.max));
    TN_TRY(add_members(w, &o));
    bool listed = json_object_size(o.properties) > 0 || o.n > 0;
    bool open = o.others ? !json_is_false(o.others) : !listed;
    if (!listed && (!o.others || json_is_true(o.others)) && o.min == 0 && o.max == TN_SCHEMA_NO_MAX)
        return tn_buf_puts(out, tn_schema_use(w, "object"));
    if (open) TN_TRY(find_other(w, &o));
    return put_members(w, &o, out);
}
