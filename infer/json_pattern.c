/* SPDX-License-Identifier: MIT
 * json_pattern.c - a regular expression of ECMAScript as an expression over JSON text: what it matches is written with
 * the escapes that JSON needs. It must match somewhere in the string, so without ^ or $ anything may stand around it.
 * Refused by name: anchors within, look-around, back-references, \b, \B, \p. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/utf8.h"
#include "infer/char_set.h"
#include "infer/json_schema_priv.h"

enum { MAX_NESTING = 60 };

typedef struct pattern {
    tn_schema_writer *w;
    const char *text, *at, *end;
    int nesting;
    tn_buf *out;
} pattern;

static tn_status fail(const pattern *p, tn_status code, const char *what) {
    if (code == TN_E_UNSUPPORTED)
        return TN_SCHEMA_FAIL(p->w, UNSUPPORTED, "pattern: byte %td: %s", p->at - p->text, what);
    return TN_SCHEMA_FAIL(p->w, FORMAT, "pattern: byte %td: %s", p->at - p->text, what);
}

static bool is_at(const pattern *p, const char *text) {
    size_t len = strlen(text);
    return (size_t)(p->end - p->at) >= len && memcmp(p->at, text, len) == 0;
}

static bool take(pattern *p, const char *text) {
    bool found = is_at(p, text);
    if (found) p->at += strlen(text);
    return found;
}

/* ---- sets ---- */

static const tn_range digits[] = {{'0', '9'}};
static const tn_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const tn_range spaces[] = {{0x09, 0x0D},     {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680},
                                  {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                  {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
static const tn_range line_ends[] = {{0x0A, 0x0A}, {0x0D, 0x0D}, {0x2028, 0x2029}};

static tn_status add_ranges(tn_char_set *set, const tn_range *ranges, size_t n, bool negated) {
    tn_char_set named = {0};
    tn_status status = TN_OK;
    for (size_t i = 0; i < n && !status; i++) status = tn_char_set_add(&named, ranges[i].low, ranges[i].high);
    if (!status && negated) status = tn_char_set_negate(&named);
    for (size_t i = 0; i < named.n && !status; i++)
        status = tn_char_set_add(set, named.ranges[i].low, named.ranges[i].high);
    tn_char_set_release(&named);
    return status;
}

/* \d \D \w \W \s \S */
static tn_status add_named(tn_char_set *set, char name, bool *known) {
    bool negated = name >= 'A' && name <= 'Z';
    char lower = (char)(name | 0x20);
    *known = lower == 'd' || lower == 'w' || lower == 's';
    if (lower == 'd') return add_ranges(set, digits, TN_COUNT(digits), negated);
    if (lower == 'w') return add_ranges(set, words, TN_COUNT(words), negated);
    return *known ? add_ranges(set, spaces, TN_COUNT(spaces), negated) : TN_OK;
}

static tn_status put_code(tn_buf *out, uint32_t code) {
    bool plain = (code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
    return tn_buf_printf(out, plain ? "%c" : code < 0x100 ? "\\x%02x" : "\\U%08x", (unsigned)code);
}

/* Characters that JSON writes as escapes: the short ones, and \u00.. for other control characters, but for U+0000. */
static tn_status put_escapes(const tn_char_set *set, bool all, tn_buf *out) {
    static const char shorts[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    for (int i = 0; names[i]; i++)
        if (tn_char_set_has(set, (unsigned char)shorts[i]))
            TN_TRY(tn_buf_printf(out, "%s\"\\\\%s%c\"", out->len ? " | " : "", i < 2 ? "\\" : "", names[i]));
    for (uint32_t code = 1; code < ' ' && all; code++)
        if (tn_char_set_has(set, code) && !strchr(shorts, (int)code))
            TN_TRY(tn_buf_printf(out, "%s\"\\\\u%04x\"", out->len ? " | " : "", (unsigned)code));
    return TN_OK;
}

/* Control characters without a short escape are left out where there is something else. */
static tn_status put_ways(const tn_char_set *set, tn_char_set *plain, tn_buf *out) {
    tn_buf list = {0};
    TN_TRY(add_ranges(plain, set->ranges, set->n, false));
    TN_TRY(tn_char_set_remove(plain, 0, 0x1F));
    TN_TRY(tn_char_set_remove(plain, '"', '"'));
    TN_TRY(tn_char_set_remove(plain, '\\', '\\'));
    TN_TRY(tn_char_set_remove(plain, 0xD800, 0xDFFF));
    TN_TRY(put_escapes(set, plain->n == 0, out));
    if (!plain->n) return TN_OK;
    tn_status status = tn_buf_puts(&list, out->len ? " | [" : "[");
    for (size_t i = 0; i < plain->n && !status; i++) {
        tn_range range = plain->ranges[i];
        status = put_code(&list, range.low);
        if (!status && range.high > range.low) status = tn_buf_putc(&list, '-');
        if (!status && range.high > range.low) status = put_code(&list, range.high);
    }
    if (!status) status = tn_buf_printf(out, "%s]", list.data);
    tn_buf_release(&list);
    return status;
}

static tn_status put_set(pattern *p, tn_char_set *set) {
    tn_char_set plain = {0};
    tn_buf ways = {0};
    tn_char_set_tidy(set);
    tn_status status = put_ways(set, &plain, &ways);
    tn_char_set_release(&plain);
    if (!status && !ways.len) status = fail(p, TN_E_UNSUPPORTED, "no character that JSON can write is in this class");
    if (!status) status = tn_buf_printf(p->out, "(%s)", ways.data);
    tn_buf_release(&ways);
    return status;
}

/* ---- escapes ---- */

static tn_status read_hex(pattern *p, int n, uint32_t *code) {
    uint32_t value = 0;
    for (int i = 0; i < n; i++, p->at++) {
        const char *found =
            p->at < p->end && *p->at ? strchr("0123456789abcdef", *p->at | (*p->at > '9' ? 0x20 : 0)) : NULL;
        if (!found) return fail(p, TN_E_FORMAT, "expected hexadecimal digits in the escape");
        value = value << 4 | (uint32_t)(found - "0123456789abcdef");
    }
    *code = value;
    return TN_OK;
}

/* \uXXXX, the two halves of a pair, or \u{X...} */
static tn_status read_unicode(pattern *p, uint32_t *code) {
    uint32_t low;
    if (take(p, "{")) {
        int n = 0;
        while (p->at + n < p->end && p->at[n] != '}') n++;
        if (n < 1 || n > 6) return fail(p, TN_E_FORMAT, "expected 1 to 6 hexadecimal digits in braces");
        TN_TRY(read_hex(p, n, code));
        if (!take(p, "}")) return fail(p, TN_E_FORMAT, "expected } behind the digits");
    } else {
        TN_TRY(read_hex(p, 4, code));
        if (*code >= 0xD800 && *code <= 0xDBFF && take(p, "\\u")) {
            TN_TRY(read_hex(p, 4, &low));
            if (low < 0xDC00 || low > 0xDFFF) return fail(p, TN_E_FORMAT, "the escape is half a character");
            *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    if (*code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF))
        return fail(p, TN_E_FORMAT, "the escape is no character");
    return TN_OK;
}

/* Behind the backslash, an escape that stands for one character. */
static tn_status read_escape(pattern *p, uint32_t *code) {
    static const char names[] = "nrtfv", values[] = "\n\r\t\f\v";
    char c = p->at < p->end ? *p->at : '\0';
    const char *name = c ? strchr(names, c) : NULL;
    if (name) return p->at++, *code = (unsigned char)values[name - names], TN_OK;
    if (take(p, "x")) return read_hex(p, 2, code);
    if (take(p, "u")) return read_unicode(p, code);
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
    if (letter || digit)
        return fail(p, TN_E_UNSUPPORTED, "this escape (word border, back-reference, property) is not supported");
    if (!c || c & 0x80) return fail(p, TN_E_FORMAT, "expected something behind the backslash");
    *code = (unsigned char)*p->at++;
    return TN_OK;
}

/* ---- classes ---- */

/* One character of a class, or a named set, which is added at once. */
static tn_status read_class_atom(pattern *p, tn_char_set *set, uint32_t *code, bool *named) {
    *named = false;
    if (p->at == p->end) return fail(p, TN_E_FORMAT, "the class has no end, expected ]");
    if (*p->at != '\\') {
        p->at += tn_utf8_decode(p->at, code);
        return TN_OK;
    }
    if (p->end - p->at > 1) TN_TRY(add_named(set, p->at[1], named));
    p->at += *named ? 2 : 1;
    if (*named) return TN_OK;
    if (take(p, "b")) return *code = '\b', TN_OK;
    if (take(p, "-")) return *code = '-', TN_OK;
    return read_escape(p, code);
}

static tn_status read_class_range(pattern *p, tn_char_set *set) {
    uint32_t low, high;
    bool named, named_end;
    TN_TRY(read_class_atom(p, set, &low, &named));
    bool range = is_at(p, "-") && !is_at(p, "-]");
    if (named) return TN_OK;
    if (!range) return tn_char_set_add(set, low, low);
    p->at++;
    TN_TRY(read_class_atom(p, set, &high, &named_end));
    if (named_end) {
        TN_TRY(tn_char_set_add(set, '-', '-'));
        return tn_char_set_add(set, low, low);
    }
    if (high < low) return fail(p, TN_E_FORMAT, "the range runs backwards");
    return tn_char_set_add(set, low, high);
}

static tn_status put_class(pattern *p) {
    tn_char_set set = {0};
    bool negated = take(p, "^");
    tn_status status = TN_OK;
    while (!status && !take(p, "]")) status = read_class_range(p, &set);
    tn_char_set_tidy(&set);
    if (!status && negated) status = tn_char_set_negate(&set);
    if (!status) status = put_set(p, &set);
    tn_char_set_release(&set);
    return status;
}

/* ---- atoms ---- */

static tn_status put_one(pattern *p, uint32_t code) {
    tn_char_set set = {0};
    tn_status status = tn_char_set_add(&set, code, code);
    if (!status) status = put_set(p, &set);
    tn_char_set_release(&set);
    return status;
}

static tn_status put_named(pattern *p, const tn_range *ranges, size_t n) {
    tn_char_set set = {0};
    tn_status status = add_ranges(&set, ranges, n, true);
    if (!status) status = put_set(p, &set);
    tn_char_set_release(&set);
    return status;
}

static tn_status put_escape(pattern *p) {
    tn_char_set set = {0};
    uint32_t code;
    bool named = false;
    tn_status status = p->at < p->end ? add_named(&set, *p->at, &named) : TN_OK;
    p->at += named;
    if (!status && named) status = put_set(p, &set);
    tn_char_set_release(&set);
    if (status || named) return status;
    TN_TRY(read_escape(p, &code));
    return put_one(p, code);
}

static tn_status put_choice(pattern *p, bool outermost);

/* Behind a parenthesis: "?:" or "?<name>". */
static tn_status skip_group_name(pattern *p) {
    if (take(p, "?:") || !is_at(p, "?")) return TN_OK;
    if (!is_at(p, "?<") || is_at(p, "?<=") || is_at(p, "?<!"))
        return fail(p, TN_E_UNSUPPORTED, "look-around and flags in a group are not supported");
    while (p->at < p->end && *p->at != '>') p->at++;
    return take(p, ">") ? TN_OK : fail(p, TN_E_FORMAT, "the name of the group has no end, expected >");
}

static tn_status put_group(pattern *p) {
    TN_TRY(skip_group_name(p));
    if (p->nesting++ >= MAX_NESTING) return fail(p, TN_E_UNSUPPORTED, "groups are nested too deep");
    TN_TRY(tn_buf_putc(p->out, '('));
    TN_TRY(put_choice(p, false));
    TN_TRY(tn_buf_putc(p->out, ')'));
    p->nesting--;
    return take(p, ")") ? TN_OK : fail(p, TN_E_FORMAT, "expected ) for the open group");
}

static tn_status put_atom(pattern *p) {
    uint32_t code;
    if (take(p, "\\")) return put_escape(p);
    if (take(p, "[")) return put_class(p);
    if (take(p, "(")) return put_group(p);
    if (take(p, ".")) return put_named(p, line_ends, TN_COUNT(line_ends));
    if (is_at(p, "^") || is_at(p, "$"))
        return fail(p, TN_E_UNSUPPORTED, "^ and $ are supported only where the pattern begins and ends");
    if (strchr("*+?{", *p->at)) return fail(p, TN_E_FORMAT, "there is nothing to repeat");
    p->at += tn_utf8_decode(p->at, &code);
    return put_one(p, code);
}

/* Larger numbers than a grammar may have all read as one more than that. */
static bool take_number(pattern *p, int *number) {
    const char *from = p->at;
    *number = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++)
        *number = TN_MIN(*number * 10 + (*p->at - '0'), TN_SCHEMA_COUNT + 1);
    return p->at > from;
}

/* {m}, {m,} or {m,n}, behind the brace */
static tn_status take_braces(pattern *p) {
    int min, max;
    bool whole = take_number(p, &min);
    max = min;
    if (whole && take(p, ",") && !take_number(p, &max)) max = min;
    if (!whole || !take(p, "}")) return fail(p, TN_E_FORMAT, "expected {m}, {m,} or {m,n}");
    if (max < min)
        return fail(p, TN_E_FORMAT, "the largest number of repetitions before it is below the smallest");
    if (max > TN_SCHEMA_COUNT)
        return tn_schema_fail_at(p->w, TN_E_RANGE, __FILE__, __LINE__, "pattern: byte %td: repeats more than %d times",
                                 p->at - p->text, TN_SCHEMA_COUNT);
    return TN_OK;
}

/* Grammars write repetitions in the same way. */
static tn_status put_repeat(pattern *p) {
    const char *from = p->at;
    bool braces = take(p, "{");
    if (braces) TN_TRY(take_braces(p));
    if (!braces && !take(p, "*") && !take(p, "+") && !take(p, "?")) return TN_OK;
    TN_TRY(tn_buf_append(p->out, from, (size_t)(p->at - from)));
    if (take(p, "?")) return TN_OK; /* lazy: the same strings match */
    if (p->at < p->end && strchr("*+{", *p->at)) return fail(p, TN_E_UNSUPPORTED, "this repetition is not supported");
    return TN_OK;
}

/* ---- choices ---- */

static tn_status put_sequence(pattern *p, bool outermost) {
    const char *any = outermost ? tn_schema_use(p->w, "char") : "";
    bool from_start = outermost && take(p, "^"), to_end = false;
    if (outermost && !from_start) TN_TRY(tn_buf_printf(p->out, "%s* ", any));
    while (p->at < p->end && *p->at != '|' && *p->at != ')') {
        to_end = outermost && is_at(p, "$") && (p->at + 1 == p->end || p->at[1] == '|');
        if (to_end) break;
        TN_TRY(put_atom(p));
        TN_TRY(put_repeat(p));
        TN_TRY(tn_buf_putc(p->out, ' '));
    }
    if (to_end) p->at++;
    return outermost && !to_end ? tn_buf_printf(p->out, "%s* ", any) : tn_buf_puts(p->out, "\"\" ");
}

static tn_status put_choice(pattern *p, bool outermost) {
    TN_TRY(put_sequence(p, outermost));
    while (take(p, "|")) {
        TN_TRY(tn_buf_puts(p->out, "| "));
        TN_TRY(put_sequence(p, outermost));
    }
    return TN_OK;
}

tn_status tn_json_pattern_put(tn_schema_writer *w, const char *text, size_t len, tn_buf *out) {
    pattern p = {.w = w, .text = text, .at = text, .end = text + len, .out = out};
    TN_TRY(tn_buf_puts(out, "\"\\\"\" ("));
    TN_TRY(put_choice(&p, true));
    if (p.at < p.end) return fail(&p, TN_E_FORMAT, "found ) without a group");
    return tn_buf_puts(out, ") \"\\\"\"");
}
