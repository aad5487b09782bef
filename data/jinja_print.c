/* SPDX-License-Identifier: MIT
 * jinja_print.c - values as Python's str() and repr() write them, and as JSON. */
#include "data/jinja_priv.h"

#include "core/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tn_status put(tn_jinja_run *run, const char *text) { return tn_jinja_put(run, text, strlen(text)); }

static tn_status put_integer(tn_jinja_run *run, int64_t value) {
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    return put(run, digits);
}

/* The fewest digits that read back as the same number; with an exponent below 1e-4 and from 1e16 on. */
static tn_status put_real(tn_jinja_run *run, double value) {
    char shortest[40], text[48];
    if (!isfinite(value)) return put(run, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
    int precision = 0;
    do snprintf(shortest, sizeof shortest, "%.*e", precision, value);
    while (strtod(shortest, NULL) != value && ++precision < 17);
    int exponent = (int)strtol(strchr(shortest, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16)
        snprintf(text, sizeof text, "%s", shortest);
    else
        snprintf(text, sizeof text, "%.*f", TN_MAX(precision - exponent, 1), value);
    return put(run, text);
}

/* Python prints the others as what they are, not as what is in them. */
static tn_status solid(tn_jinja_run *run, const tn_jinja_list *list) {
    if (list->flavor <= TN_JINJA_TUPLE) return TN_OK;
    return RUN_FAIL(run, MISMATCH, "a range, a generator or a view of a mapping has no text, expected a list (|list)");
}

/* ---- repr ---- */

/* One character of a text between the quotes `quote`. */
static tn_status put_quoted(tn_jinja_run *run, const char *at, size_t n, uint32_t code, char quote) {
    static const char named[] = "\\\\\nn\rr\tt";
    char text[16];
    for (const char *p = named; *p; p += 2)
        if (code == (uint32_t)*p) return snprintf(text, sizeof text, "\\%c", p[1]), put(run, text);
    if (code == (uint32_t)quote) return snprintf(text, sizeof text, "\\%c", quote), put(run, text);
    bool prints = code >= 0x20 && code < 0x7F;
    if (!prints && code >= 0x80) TN_TRY(tn_jinja_prints(run, code, &prints));
    if (prints) return tn_jinja_put(run, at, n);
    snprintf(text, sizeof text, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    return put(run, text);
}

static tn_status put_repr(tn_jinja_run *run, const tn_jinja_value *v);

static tn_status repr_text(tn_jinja_run *run, const tn_jinja_value *v) {
    tn_jinja_text t = v->text;
    bool doubled = t.len && memchr(t.at, '\'', t.len) && !memchr(t.at, '"', t.len);
    char quote = doubled ? '"' : '\'';
    if (v->safe) TN_TRY(put(run, "Markup("));
    TN_TRY(tn_jinja_put(run, &quote, 1));
    for (size_t i = 0, n; i < t.len; i += n) {
        uint32_t code;
        n = tn_utf8_decode(t.at + i, &code);
        TN_TRY(put_quoted(run, t.at + i, n, code, quote));
    }
    TN_TRY(tn_jinja_put(run, &quote, 1));
    return v->safe ? put(run, ")") : TN_OK;
}

static tn_status repr_list(tn_jinja_run *run, const tn_jinja_list *list) {
    bool tuple = list->flavor == TN_JINJA_TUPLE;
    TN_TRY(solid(run, list));
    TN_TRY(put(run, tuple ? "(" : "["));
    for (size_t i = 0; i < list->count; i++) {
        if (i) TN_TRY(put(run, ", "));
        TN_TRY(put_repr(run, &list->items[i]));
    }
    if (tuple && list->count == 1) TN_TRY(put(run, ","));
    return put(run, tuple ? ")" : "]");
}

static tn_status repr_map(tn_jinja_run *run, const tn_jinja_value *v) {
    TN_TRY(put(run, v->kind == TN_JINJA_NAMESPACE ? "<Namespace {" : "{"));
    for (size_t i = 0; i < v->map->count; i++) {
        if (i) TN_TRY(put(run, ", "));
        TN_TRY(put_repr(run, &v->map->keys[i]));
        TN_TRY(put(run, ": "));
        TN_TRY(put_repr(run, &v->map->values[i]));
    }
    return put(run, v->kind == TN_JINJA_NAMESPACE ? "}>" : "}");
}

static tn_status put_repr(tn_jinja_run *run, const tn_jinja_value *v) {
    tn_status status;
    TN_TRY(tn_jinja_enter(run));
    switch (v->kind) {
    case TN_JINJA_UNDEFINED: status = put(run, "Undefined"); break;
    case TN_JINJA_NONE: status = put(run, "None"); break;
    case TN_JINJA_BOOLEAN: status = put(run, v->truth ? "True" : "False"); break;
    case TN_JINJA_INTEGER: status = put_integer(run, v->integer); break;
    case TN_JINJA_REAL: status = put_real(run, v->real); break;
    case TN_JINJA_TEXT: status = repr_text(run, v); break;
    case TN_JINJA_LIST: status = repr_list(run, v->list); break;
    case TN_JINJA_MAPPING:
    case TN_JINJA_NAMESPACE: status = repr_map(run, v); break;
    default: return RUN_FAIL(run, MISMATCH, "%s cannot be printed", tn_jinja_words(v->kind));
    }
    run->depth--;
    return status;
}

tn_status tn_jinja_print(tn_jinja_run *run, const tn_jinja_value *v) {
    if (v->kind == TN_JINJA_UNDEFINED) return TN_OK;
    return v->kind == TN_JINJA_TEXT ? tn_jinja_put(run, v->text.at, v->text.len) : put_repr(run, v);
}

tn_status tn_jinja_string(tn_jinja_run *run, const tn_jinja_value *v, tn_jinja_text *out) {
    tn_jinja_value text = *v;
    if (v->kind != TN_JINJA_TEXT) {
        size_t mark = tn_jinja_begin(run);
        TN_TRY(tn_jinja_print(run, v));
        TN_TRY(tn_jinja_finish(run, mark, &text));
    }
    *out = text.text;
    return TN_OK;
}

/* ---- JSON ---- */

typedef struct json_printer {
    tn_jinja_run *run;
    const tn_jinja_json_style *style;
    int level;
} json_printer;

static tn_status json_value(json_printer *j, const tn_jinja_value *v);

static tn_status json_character(json_printer *j, const char *at, size_t n, uint32_t code) {
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    char text[16];
    for (const char *p = named; *p; p += 2)
        if (code == (uint32_t)*p) return snprintf(text, sizeof text, "\\%c", p[1]), put(j->run, text);
    if (code >= 0x20 && !(j->style->ascii && code >= 0x7F)) return tn_jinja_put(j->run, at, n);
    if (code < 0x10000)
        snprintf(text, sizeof text, "\\u%04x", code);
    else
        snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF));
    return put(j->run, text);
}

static tn_status json_text(json_printer *j, tn_jinja_text t) {
    TN_TRY(put(j->run, "\""));
    for (size_t i = 0, n; i < t.len; i += n) {
        uint32_t code;
        n = tn_utf8_decode(t.at + i, &code);
        TN_TRY(json_character(j, t.at + i, n, code));
    }
    return put(j->run, "\"");
}

static tn_status json_line(json_printer *j) {
    if (!j->style->lines) return TN_OK;
    TN_TRY(put(j->run, "\n"));
    for (int i = 0; i < j->level; i++) TN_TRY(tn_jinja_put(j->run, j->style->indent.at, j->style->indent.len));
    return TN_OK;
}

static tn_status json_between(json_printer *j, size_t i) {
    if (i) TN_TRY(tn_jinja_put(j->run, j->style->between.at, j->style->between.len));
    return json_line(j);
}

static tn_status json_list(json_printer *j, const tn_jinja_list *list) {
    TN_TRY(solid(j->run, list));
    if (!list->count) return put(j->run, "[]");
    TN_TRY(put(j->run, "["));
    j->level++;
    for (size_t i = 0; i < list->count; i++) {
        TN_TRY(json_between(j, i));
        TN_TRY(json_value(j, &list->items[i]));
    }
    j->level--;
    TN_TRY(json_line(j));
    return put(j->run, "]");
}

static tn_status json_key(json_printer *j, const tn_jinja_value *key) {
    if (key->kind == TN_JINJA_TEXT) return json_text(j, key->text);
    TN_TRY(put(j->run, "\""));
    TN_TRY(json_value(j, key));
    return put(j->run, "\"");
}

static tn_status json_map(json_printer *j, const tn_jinja_map *map) {
    void *taken = NULL;
    if (!map->count) return put(j->run, "{}");
    TN_TRY(tn_jinja_take(j->run, map->count, sizeof(size_t), &taken));
    size_t *order = taken;
    for (size_t i = 0; i < map->count; i++) order[i] = i;
    if (j->style->sort_keys) TN_TRY(tn_jinja_sort(j->run, map->keys, map->count, false, order));
    TN_TRY(put(j->run, "{"));
    j->level++;
    for (size_t i = 0; i < map->count; i++) {
        TN_TRY(json_between(j, i));
        TN_TRY(json_key(j, &map->keys[order[i]]));
        TN_TRY(tn_jinja_put(j->run, j->style->after_key.at, j->style->after_key.len));
        TN_TRY(json_value(j, &map->values[order[i]]));
    }
    j->level--;
    TN_TRY(json_line(j));
    return put(j->run, "}");
}

static tn_status json_number(tn_jinja_run *run, double real) {
    if (isfinite(real)) return put_real(run, real);
    return put(run, isnan(real) ? "NaN" : real < 0 ? "-Infinity" : "Infinity");
}

static tn_status json_value(json_printer *j, const tn_jinja_value *v) {
    tn_status status;
    TN_TRY(tn_jinja_enter(j->run));
    switch (v->kind) {
    case TN_JINJA_NONE: status = put(j->run, "null"); break;
    case TN_JINJA_BOOLEAN: status = put(j->run, v->truth ? "true" : "false"); break;
    case TN_JINJA_INTEGER: status = put_integer(j->run, v->integer); break;
    case TN_JINJA_REAL: status = json_number(j->run, v->real); break;
    case TN_JINJA_TEXT: status = json_text(j, v->text); break;
    case TN_JINJA_LIST: status = json_list(j, v->list); break;
    case TN_JINJA_MAPPING: status = json_map(j, v->map); break;
    default: return RUN_FAIL(j->run, MISMATCH, "%s has no form in JSON", tn_jinja_words(v->kind));
    }
    j->run->depth--;
    return status;
}

tn_status tn_jinja_print_json(tn_jinja_run *run, const tn_jinja_value *v, const tn_jinja_json_style *style) {
    json_printer j = {.run = run, .style = style};
    return json_value(&j, v);
}
