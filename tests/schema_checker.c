/* SPDX-License-Identifier: MIT */
#include "tests/schema_checker.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/utf8.h"
#include "tests/testing.h"

static bool is_whole(const json_t *value) {
    return json_is_number(value) && floor(json_number_value(value)) == json_number_value(value);
}

static bool is_type(const json_t *value, const char *type) {
    if (!strcmp(type, "object")) return json_is_object(value);
    if (!strcmp(type, "array")) return json_is_array(value);
    if (!strcmp(type, "string")) return json_is_string(value);
    if (!strcmp(type, "number")) return json_is_number(value);
    if (!strcmp(type, "integer")) return is_whole(value);
    if (!strcmp(type, "boolean")) return json_is_boolean(value);
    return json_is_null(value) && !strcmp(type, "null");
}

static bool fits_type(const json_t *types, const json_t *value) {
    size_t i;
    json_t *type;
    if (json_is_string(types)) return is_type(value, json_string_value(types));
    json_array_foreach(types, i, type) if (is_type(value, json_string_value(type))) return true;
    return false;
}

static bool are_equal(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b);
}

static bool is_in(const json_t *list, const json_t *value) {
    size_t i;
    json_t *other;
    json_array_foreach(list, i, other) if (are_equal(other, value)) return true;
    return false;
}

static double characters(const json_t *text) {
    double n = 0;
    for (const char *c = json_string_value(text); *c; c++) n += ((unsigned char)*c & 0xC0) != 0x80;
    return n;
}

static bool matches(const char *pattern, const char *text) {
    int problem;
    size_t place;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX, &problem, &place, NULL);
    if (!code) fail_msg("PCRE2 does not know %s", pattern);
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    int found = pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, data, NULL);
    pcre2_match_data_free(data);
    pcre2_code_free(code);
    return found >= 0;
}

static bool fits_format(const char *format, const char *text) {
#define DATE  "([0-9]{4})-([0-9]{2})-([0-9]{2})"
#define TIME  "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?(Z|[-+]([01][0-9]|2[0-3]):[0-5][0-9])"
#define LABEL "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
#define HOST  LABEL "(\\." LABEL ")*"
    unsigned char address[16];
    if (!strcmp(format, "ipv4")) return inet_pton(AF_INET, text, address) == 1;
    if (!strcmp(format, "ipv6")) return inet_pton(AF_INET6, text, address) == 1;
    if (!strcmp(format, "email")) return matches("^[^@ .]+(\\.[^@ .]+)*@" HOST "$", text);
    if (!strcmp(format, "hostname")) return strlen(text) <= 253 && matches("^" HOST "$", text);
    if (!strcmp(format, "uri")) return matches("^[a-z][a-z0-9+.-]*://" HOST "(:\\d+)?[^\\s<>\"\\\\^`{}|]*$", text);
    if (!strcmp(format, "duration"))
        return matches("^P(?=.)(\\d+W|(\\d+Y)?(\\d+M)?(\\d+D)?(T(?=.)(\\d+H)?(\\d+M)?(\\d+S)?)?)$", text);
    if (!strcmp(format, "double")) return true;
    if (!strcmp(format, "uuid")) return matches("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", text);
    if (!strcmp(format, "time")) return matches("^" TIME "$", text);
    if (!matches(!strcmp(format, "date") ? "^" DATE "$" : "^" DATE "T" TIME "$", text)) return false;
    int year = atoi(text), month = atoi(text + 5), day = atoi(text + 8);
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1 || month < 1 || month > 12 || day < 1) return false;
    return day <= days[month - 1] + (month == 2 && leap);
}

static const char *misfit_string(const json_t *schema, const json_t *value) {
    const json_t *min = json_object_get(schema, "minLength"), *max = json_object_get(schema, "maxLength"),
                 *pattern = json_object_get(schema, "pattern"), *format = json_object_get(schema, "format");
    if (!json_is_string(value)) return NULL;
    if (min && characters(value) < json_number_value(min)) return "minLength";
    if (max && characters(value) > json_number_value(max)) return "maxLength";
    if (pattern && !matches(json_string_value(pattern), json_string_value(value))) return "pattern";
    return format && !fits_format(json_string_value(format), json_string_value(value)) ? "format" : NULL;
}

static const char *misfit_number(const json_t *schema, const json_t *value) {
    static const char *const words[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
    if (!json_is_number(value)) return NULL;
    double x = json_number_value(value);
    for (int i = 0; i < 4; i++) {
        const json_t *bound = json_object_get(schema, words[i]);
        if (!bound) continue;
        double b = json_number_value(bound);
        const bool good[] = {x >= b, x <= b, x > b, x < b};
        if (!good[i]) return words[i];
    }
    const json_t *step = json_object_get(schema, "multipleOf");
    return step && !is_whole(value) ? "multipleOf" : NULL; /* only 1 is understood */
}

static const char *misfit_array(const json_t *root, const json_t *schema, const json_t *value) {
    const json_t *min = json_object_get(schema, "minItems"), *max = json_object_get(schema, "maxItems"),
                 *items = json_object_get(schema, "items"), *list = json_object_get(schema, "prefixItems"),
                 *rest = items;
    if (!json_is_array(value)) return NULL;
    if (json_is_array(items)) {
        list = items;
        rest = json_object_get(schema, "additionalItems");
    }
    if (min && (double)json_array_size(value) < json_number_value(min)) return "minItems";
    if (max && (double)json_array_size(value) > json_number_value(max)) return "maxItems";
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = i < json_array_size(list) ? json_array_get(list, i) : rest;
        const char *misfit = item ? tn_schema_misfit(root, item, json_array_get(value, i)) : NULL;
        if (misfit) return misfit;
    }
    return NULL;
}

static const char *misfit_object(const json_t *root, const json_t *schema, const json_t *value) {
    const json_t *min = json_object_get(schema, "minProperties"), *max = json_object_get(schema, "maxProperties"),
                 *properties = json_object_get(schema, "properties"),
                 *others = json_object_get(schema, "additionalProperties");
    const char *name;
    json_t *member, *required;
    size_t i;
    if (!json_is_object(value)) return NULL;
    if (min && (double)json_object_size(value) < json_number_value(min)) return "minProperties";
    if (max && (double)json_object_size(value) > json_number_value(max)) return "maxProperties";
    json_array_foreach(json_object_get(schema, "required"), i,
                       required) if (!json_object_get(value, json_string_value(required))) return "required";
    json_object_foreach((json_t *)(uintptr_t)value, name, member) {
        const json_t *of = json_object_get(properties, name);
        if (!of) of = others;
        const char *misfit = of ? tn_schema_misfit(root, of, member) : NULL;
        if (misfit) return misfit;
    }
    return NULL;
}

static const json_t *follow(const json_t *root, const char *ref) {
    char name[200];
    for (ref++; *ref == '/';) {
        size_t len = strcspn(++ref, "/");
        snprintf(name, sizeof name, "%.*s", (int)len, ref);
        root = json_is_array(root) ? json_array_get(root, (size_t)atoi(name)) : json_object_get(root, name);
        ref += len;
    }
    return root;
}

static const char *misfit_parts(const json_t *root, const json_t *schema, const json_t *value) {
    const json_t *any = json_object_get(schema, "anyOf"), *one = json_object_get(schema, "oneOf");
    size_t i, fitting = 0;
    json_t *part;
    json_array_foreach(json_object_get(schema, "allOf"), i, part) {
        const char *misfit = tn_schema_misfit(root, part, value);
        if (misfit) return misfit;
    }
    json_array_foreach(any, i, part) fitting += !tn_schema_misfit(root, part, value);
    if (any && !fitting) return "anyOf";
    fitting = 0;
    json_array_foreach(one, i, part) fitting += !tn_schema_misfit(root, part, value);
    return one && fitting != 1 ? "oneOf" : NULL;
}

const char *tn_schema_misfit(const json_t *root, const json_t *schema, const json_t *value) {
    if (json_is_boolean(schema)) return json_is_true(schema) ? NULL : "false";
    const json_t *type = json_object_get(schema, "type"), *values = json_object_get(schema, "enum"),
                 *only = json_object_get(schema, "const"), *ref = json_object_get(schema, "$ref");
    const char *misfit = NULL;
    if (type && !fits_type(type, value)) return "type";
    if (values && !is_in(values, value)) return "enum";
    if (only && !are_equal(only, value)) return "const";
    if (ref) misfit = tn_schema_misfit(root, follow(root, json_string_value(ref)), value);
    if (!misfit) misfit = misfit_string(schema, value);
    if (!misfit) misfit = misfit_number(schema, value);
    if (!misfit) misfit = misfit_array(root, schema, value);
    if (!misfit) misfit = misfit_object(root, schema, value);
    return misfit ? misfit : misfit_parts(root, schema, value);
}
