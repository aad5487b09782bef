/* SPDX-License-Identifier: MIT */
#include "tests/schema_model.h"

#include <stdio.h>

#include "core/rng.h"

enum { DEFS = 3, DEPTH = 3 };

typedef struct maker {
    tn_rng rng;
    uint64_t drawn;
} maker;

static const char *const names[] = {"a", "b", "ab", "a \"q\"", "\xC3\xA9"};

static uint32_t draw(maker *m, uint32_t n) { return (uint32_t)tn_rng_below(&m->rng, m->drawn++, n); }
static bool often(maker *m) { return draw(m, 3) > 0; }
static bool rarely(maker *m) { return draw(m, 4) == 0; }

static void set_count(maker *m, json_t *schema, const char *min, const char *max) {
    uint32_t low = draw(m, 3);
    if (!often(m)) json_object_set_new(schema, min, json_integer(low));
    if (!often(m)) json_object_set_new(schema, max, json_integer(low + draw(m, 3)));
}

static json_t *make(maker *m, int depth);

/* ---- one type ---- */

static void set_bounds(maker *m, json_t *schema) {
    static const char *const words[] = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"};
    static const double values[] = {-100, -7.5, -1, 0, 0.25, 3, 12, 99.75, 1000};
    for (int i = 0; i < 4; i++)
        if (rarely(m)) json_object_set_new(schema, words[i], json_real(values[draw(m, 5) + (i > 1 ? 4 : 0)]));
}

static void set_text(maker *m, json_t *schema) {
    static const char *const patterns[] = {"^[a-c]{2,}$", "b", "^(x|yy)?z", "[^a]\\d$", "^\\w+\\.$"};
    static const char *const formats[] = {"date", "uuid", "ipv4"};
    uint32_t what = draw(m, 5);
    if (what == 0) json_object_set_new(schema, "pattern", json_string(patterns[draw(m, 5)]));
    if (what == 1) json_object_set_new(schema, "format", json_string(formats[draw(m, 3)]));
    if (what == 2 || what == 3) set_count(m, schema, "minLength", "maxLength");
}

static void set_array(maker *m, json_t *schema, int depth) {
    set_count(m, schema, "minItems", "maxItems");
    if (often(m)) json_object_set_new(schema, "items", rarely(m) ? json_boolean(draw(m, 2)) : make(m, depth - 1));
    if (!rarely(m)) return;
    json_t *list = json_array();
    for (uint32_t n = draw(m, 3); n > 0; n--) json_array_append_new(list, make(m, depth - 1));
    json_object_set_new(schema, "prefixItems", list);
}

static void set_object(maker *m, json_t *schema, int depth) {
    json_t *properties = json_object(), *required = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (draw(m, 2)) json_object_set_new(properties, names[i], rarely(m) ? json_true() : make(m, depth - 1));
        if (rarely(m)) json_array_append_new(required, json_string(names[i]));
    }
    if (often(m)) json_object_set(schema, "properties", properties);
    if (often(m)) json_object_set(schema, "required", required);
    if (rarely(m)) set_count(m, schema, "minProperties", "maxProperties");
    uint32_t others = draw(m, 6);
    if (others < 2) json_object_set_new(schema, "additionalProperties", json_boolean(others));
    if (others == 2) json_object_set_new(schema, "additionalProperties", make(m, depth - 1));
    json_decref(properties);
    json_decref(required);
}

static void set_type(maker *m, json_t *schema, int depth) {
    static const char *const types[] = {"object", "array", "string", "number", "integer", "boolean", "null"};
    uint32_t type = draw(m, depth > 0 ? 7 : 5) + (depth > 0 ? 0 : 2);
    json_t *name = json_string(types[type]);
    if (rarely(m)) {
        json_t *list = json_array();
        json_array_append(list, name);
        json_array_append_new(list, json_string(types[draw(m, 7)]));
        json_object_set_new(schema, "type", list);
    } else if (often(m)) {
        json_object_set(schema, "type", name);
    }
    json_decref(name);
    if (type == 0) set_object(m, schema, depth);
    if (type == 1) set_array(m, schema, depth);
    if (type == 2) set_text(m, schema);
    if (type == 3 || type == 4) set_bounds(m, schema);
}

/* ---- schemas of schemas ---- */

static void set_values(maker *m, json_t *schema) {
    json_t *values = json_pack("[i, f, s, n, b, {s: [i]}, s]", 1, 2.0, "a", 1, "x", 3, "\xC3\xA9\n"),
           *some = json_array();
    for (size_t i = 0; i < json_array_size(values); i++)
        if (draw(m, 2)) json_array_append(some, json_array_get(values, i));
    if (draw(m, 3))
        json_object_set(schema, "enum", some);
    else
        json_object_set(schema, "const", json_array_get(values, draw(m, 7)));
    json_decref(values);
    json_decref(some);
}

static void set_parts(maker *m, json_t *schema, const char *word, int depth) {
    json_t *list = json_array();
    for (uint32_t n = 1 + draw(m, 2); n > 0; n--) json_array_append_new(list, make(m, depth - 1));
    json_object_set_new(schema, word, list);
}

static json_t *make(maker *m, int depth) {
    json_t *schema = json_object();
    char ref[40];
    uint32_t what = depth > 0 ? draw(m, 10) : 0;
    if (what < 6 || rarely(m)) set_type(m, schema, depth);
    if (what == 6) set_values(m, schema);
    if (what == 7) set_parts(m, schema, "anyOf", depth);
    if (what == 8) set_parts(m, schema, "allOf", depth);
    snprintf(ref, sizeof ref, "#/$defs/d%d", (int)draw(m, DEFS));
    if (what == 9) json_object_set_new(schema, "$ref", json_string(ref));
    if (rarely(m)) json_object_set_new(schema, "description", json_string("words"));
    return schema;
}

json_t *tn_schema_model(uint32_t number) {
    maker m = {.rng = tn_rng_make(17, TN_PURPOSE_TEST, number)};
    json_t *root = make(&m, DEPTH), *defs = json_object();
    char name[16];
    for (int i = 0; i < DEFS; i++) {
        snprintf(name, sizeof name, "d%d", i);
        json_object_set_new(defs, name, make(&m, DEPTH - 1));
    }
    json_object_set_new(root, "$defs", defs);
    return root;
}
