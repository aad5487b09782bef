/* SPDX-License-Identifier: MIT
 * grammar_parse.c - GBNF into trees. A rule ends with its line, unless a parenthesis is open, the line ends with ::= or
 * with a bar, or the next one begins with a bar. */
#include "core/utf8.h"
#include "data/grow.h"
#include "infer/grammar_priv.h"

#include <stdio.h>
#include <string.h>

static const char tag[] = "grammar";

typedef struct parser {
    tn_written *w;
    const char *at, *end;
    int nesting;
    tn_char_set set; /* of one class */
    tn_buf bytes;    /* of one literal */
} parser;

tn_text_place tn_written_place(const tn_written *w, size_t at) {
    tn_text_place place = {1, 1};
    for (size_t i = 0; i < at && i < w->len; i++) {
        if (w->text[i] == '\n')
            place = (tn_text_place){place.line + 1, 1};
        else if (((unsigned char)w->text[i] & 0xC0) != 0x80) /* not the middle of a character */
            place.column++;
    }
    return place;
}

/* ---- messages ---- */

static uint32_t offset(const parser *p, const char *at) { return (uint32_t)(at - p->w->text); }

static tn_status fail_at(const parser *p, const char *at, const char *sentence) {
    tn_text_place place = tn_written_place(p->w, offset(p, at));
    return TN_FAIL(FORMAT, "grammar: line %d, column %d: %s", place.line, place.column, sentence);
}

static tn_status unexpected(const parser *p, const char *expected) {
    char sentence[200];
    uint32_t code;
    int n = tn_utf8_read(p->at, (size_t)(p->end - p->at), &code);
    if (n && (code == '\n' || code == '\r'))
        snprintf(sentence, sizeof sentence, "found the end of the line, expected %s", expected);
    else if (n && code < ' ')
        snprintf(sentence, sizeof sentence, "found the control character U+%04X, expected %s", (unsigned)code,
                 expected);
    else if (n)
        snprintf(sentence, sizeof sentence, "found '%.*s', expected %s", n, p->at, expected);
    else
        snprintf(sentence, sizeof sentence, "found the end of the grammar, expected %s", expected);
    return fail_at(p, p->at, sentence);
}

/* ---- characters ---- */

static bool is_at(const parser *p, char c) { return p->at < p->end && *p->at == c; }

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_name(const parser *p) {
    return p->at < p->end && (is_letter(*p->at) || is_digit(*p->at) || *p->at == '-' || *p->at == '_');
}

static void skip_space(parser *p, bool lines) {
    for (; p->at < p->end; p->at++) {
        if (*p->at == '#')
            while (p->at + 1 < p->end && p->at[1] != '\n') p->at++;
        else if (*p->at != ' ' && *p->at != '\t' && !(lines && (*p->at == '\n' || *p->at == '\r')))
            return;
    }
}

static int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static tn_status read_hex(parser *p, int digits, uint32_t *code) {
    const char *escape = p->at - 2;
    uint32_t value = 0;
    for (int i = 0; i < digits; i++) {
        int digit = p->at < p->end ? hex_value(*p->at) : -1;
        if (digit < 0) {
            char expected[48];
            snprintf(expected, sizeof expected, "%d hexadecimal digits after \\%c", digits, escape[1]);
            return unexpected(p, expected);
        }
        value = value << 4 | (uint32_t)digit;
        p->at++;
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return fail_at(p, escape, "the escape is no character, expected a code point of Unicode that is no surrogate");
    *code = value;
    return TN_OK;
}

static tn_status read_escape(parser *p, uint32_t *code) {
    static const char names[] = "trn", values[] = "\t\r\n";
    char c = p->at < p->end ? *p->at : 'a';
    const char *name = strchr(names, c);
    if (c == 'x' || c == 'u' || c == 'U') {
        p->at++;
        return read_hex(p, c == 'x' ? 2 : c == 'u' ? 4 : 8, code);
    }
    bool punctuation = c > ' ' && c < 0x7F && !is_letter(c) && !is_digit(c);
    if (!punctuation && !(c && name))
        return unexpected(p, "after \\ one of t r n x u U, or a mark that stands for itself");
    *code = (unsigned char)(punctuation ? c : values[name - names]);
    p->at++;
    return TN_OK;
}

/* The next character of a literal or a class that began at `open`. */
static tn_status read_character(parser *p, const char *open, uint32_t *code) {
    if (p->at == p->end)
        return fail_at(p, open,
                       *open == '"' ? "the literal has no end, expected \"" : "the class has no end, expected ]");
    if (*p->at == '\\') {
        p->at++;
        return read_escape(p, code);
    }
    p->at += tn_utf8_decode(p->at, code);
    return TN_OK;
}

/* ---- trees ---- */

static tn_status new_tree(parser *p, tn_tree_kind kind, const char *at, tn_tree **out) {
    TN_TAKE0(*out, p->w->arena, 1, tag);
    **out = (tn_tree){.kind = kind, .at = offset(p, at)};
    return TN_OK;
}

static tn_status parse_literal(parser *p, tn_tree **out) {
    const char *open = p->at++;
    tn_buf_reset(&p->bytes);
    while (!is_at(p, '"')) {
        uint32_t code;
        char bytes[4];
        TN_TRY(read_character(p, open, &code));
        TN_TRY(tn_buf_append(&p->bytes, bytes, tn_utf8_encode(code, bytes)));
    }
    p->at++;
    TN_TRY(new_tree(p, TN_TREE_TEXT, open, out));
    char *kept;
    TN_TAKE(kept, p->w->arena, p->bytes.len, tag);
    if (p->bytes.len) memcpy(kept, p->bytes.data, p->bytes.len);
    (*out)->bytes = kept;
    (*out)->len = p->bytes.len;
    return TN_OK;
}

static tn_status finish_class(parser *p, const char *open, bool negated, tn_tree **out) {
    TN_TRY(new_tree(p, TN_TREE_CLASS, open, out));
    tn_char_set_tidy(&p->set);
    if (negated) TN_TRY(tn_char_set_negate(&p->set));
    tn_status status = tn_class_list_put(&p->w->classes, &p->set, &(*out)->number);
    return status == TN_E_EMPTY ? fail_at(p, open, "no character is in this class, expected at least one") : status;
}

static tn_status parse_range(parser *p, const char *open) {
    const char *first = p->at;
    uint32_t low, high;
    TN_TRY(read_character(p, open, &low));
    high = low;
    if (is_at(p, '-') && p->end - p->at > 1 && p->at[1] != ']') {
        p->at++;
        TN_TRY(read_character(p, open, &high));
    }
    if (high < low) return fail_at(p, first, "the range runs backwards, expected the smaller character first");
    return tn_char_set_add(&p->set, low, high);
}

static tn_status parse_class(parser *p, tn_tree **out) {
    const char *open = p->at++;
    bool negated = is_at(p, '^');
    p->at += negated;
    p->set.n = 0;
    while (!is_at(p, ']')) TN_TRY(parse_range(p, open));
    p->at++;
    return finish_class(p, open, negated, out);
}

static tn_status parse_any(parser *p, tn_tree **out) {
    p->set.n = 0;
    return finish_class(p, p->at++, true, out);
}

static tn_status find_rule(parser *p, const char *name, size_t len, uint32_t *number) {
    tn_written *w = p->w;
    int32_t known = tn_text_map_find(&w->names, name, len);
    if (known >= 0) return *number = (uint32_t)known, TN_OK;
    TN_TRY(tn_text_map_put(&w->names, name, len, (int32_t)w->n_rules));
    TN_GROW(w->rules, &w->rules_cap, w->n_rules + 1);
    w->rules[w->n_rules] = (tn_written_rule){.name = name, .len = len, .at = offset(p, name)};
    *number = (uint32_t)w->n_rules++;
    return TN_OK;
}

static size_t read_name(parser *p) {
    const char *name = p->at;
    while (is_name(p)) p->at++;
    return (size_t)(p->at - name);
}

static tn_status parse_reference(parser *p, tn_tree **out) {
    const char *name = p->at;
    size_t len = read_name(p);
    TN_TRY(new_tree(p, TN_TREE_RULE, name, out));
    return find_rule(p, name, len, &(*out)->number);
}

/* ---- repetition ---- */

static tn_status read_number(parser *p, int32_t *out) {
    const char *first = p->at;
    int32_t value = 0;
    if (p->at == p->end || !is_digit(*p->at)) return unexpected(p, "a number of repetitions");
    for (; p->at < p->end && is_digit(*p->at); p->at++) {
        value = value * 10 + (*p->at - '0');
        if (value > TN_GRAMMAR_REPEATS) {
            char sentence[64];
            snprintf(sentence, sizeof sentence, "repeats more often than %d times", TN_GRAMMAR_REPEATS);
            return fail_at(p, first, sentence);
        }
    }
    *out = value;
    return TN_OK;
}

static tn_status read_braces(parser *p, int32_t *min, int32_t *max) {
    const char *open = p->at++;
    skip_space(p, false);
    TN_TRY(read_number(p, min));
    *max = *min;
    skip_space(p, false);
    if (is_at(p, ',')) {
        p->at++;
        *max = TN_TREE_NO_MAX;
        skip_space(p, false);
        if (!is_at(p, '}')) TN_TRY(read_number(p, max));
        skip_space(p, false);
    }
    if (!is_at(p, '}')) return unexpected(p, "} after the number of repetitions");
    p->at++;
    if (*max != TN_TREE_NO_MAX && *max < *min)
        return fail_at(p, open, "the largest number of repetitions is below the smallest");
    return TN_OK;
}

static bool is_repeat(const parser *p) { return is_at(p, '*') || is_at(p, '+') || is_at(p, '?') || is_at(p, '{'); }

static tn_status parse_repeat(parser *p, tn_tree **slot) {
    tn_tree *repeat;
    TN_TRY(new_tree(p, TN_TREE_REPEAT, p->at, &repeat));
    repeat->inner = *slot;
    repeat->min = *p->at == '+';
    repeat->max = *p->at == '?' ? 1 : TN_TREE_NO_MAX;
    if (*p->at == '{')
        TN_TRY(read_braces(p, &repeat->min, &repeat->max));
    else
        p->at++;
    *slot = repeat;
    return TN_OK;
}

static tn_status deeper(parser *p, const char *at) {
    if (p->nesting++ < TN_GRAMMAR_NESTING) return TN_OK;
    tn_text_place place = tn_written_place(p->w, offset(p, at));
    return TN_FAIL(RANGE, "grammar: line %d, column %d: is nested more than %d deep", place.line, place.column,
                   TN_GRAMMAR_NESTING);
}

/* All operators behind one part: each repeats what the ones before it made. */
static tn_status parse_repeats(parser *p, tn_tree **slot) {
    int outside = p->nesting;
    for (skip_space(p, outside > 0); is_repeat(p); skip_space(p, outside > 0)) {
        TN_TRY(deeper(p, p->at));
        TN_TRY(parse_repeat(p, slot));
    }
    p->nesting = outside;
    return TN_OK;
}

/* ---- choices ---- */

static tn_status parse_choice(parser *p, tn_tree **out);

static tn_status parse_group(parser *p, tn_tree **out) {
    const char *open = p->at++;
    TN_TRY(deeper(p, open));
    TN_TRY(parse_choice(p, out));
    p->nesting--;
    if (!is_at(p, ')')) return unexpected(p, "a part of a rule, | or ) for the open parenthesis");
    p->at++;
    return TN_OK;
}

/* One part, or none (`*out` is NULL) where a sequence ends. */
static tn_status parse_part(parser *p, tn_tree **out) {
    *out = NULL;
    if (p->at == p->end) return TN_OK;
    switch (*p->at) {
    case '"': return parse_literal(p, out);
    case '[': return parse_class(p, out);
    case '.': return parse_any(p, out);
    case '(': return parse_group(p, out);
    case '*':
    case '+':
    case '?':
    case '{': return unexpected(p, "something to repeat before it");
    case '<':
    case '!': return fail_at(p, p->at, "tokens in a grammar are not supported, expected text");
    default: return is_name(p) ? parse_reference(p, out) : TN_OK;
    }
}

static tn_status parse_sequence(parser *p, tn_tree **out) {
    TN_TRY(new_tree(p, TN_TREE_SEQUENCE, p->at, out));
    for (tn_tree **slot = &(*out)->inner;; slot = &(*slot)->next) {
        skip_space(p, p->nesting > 0);
        TN_TRY(parse_part(p, slot));
        if (!*slot) return TN_OK;
        TN_TRY(parse_repeats(p, slot));
    }
}

/* Moves to the next bar, or stays at what follows the choice. */
static bool find_bar(parser *p) {
    const char *here = p->at;
    skip_space(p, true);
    if (is_at(p, '|')) return true;
    if (p->nesting == 0) p->at = here;
    return false;
}

static tn_status parse_choice(parser *p, tn_tree **out) {
    TN_TRY(new_tree(p, TN_TREE_CHOICE, p->at, out));
    tn_tree **slot = &(*out)->inner;
    TN_TRY(parse_sequence(p, slot));
    while (find_bar(p)) {
        p->at++;
        skip_space(p, true);
        slot = &(*slot)->next;
        TN_TRY(parse_sequence(p, slot));
    }
    return TN_OK;
}

/* ---- rules ---- */

static tn_status parse_rule(parser *p) {
    const char *name = p->at;
    size_t len = read_name(p);
    uint32_t number;
    if (!len) return unexpected(p, "the name of a rule");
    TN_TRY(find_rule(p, name, len, &number));
    skip_space(p, false);
    if (p->end - p->at < 3 || memcmp(p->at, "::=", 3) != 0) return unexpected(p, "::= after the name of the rule");
    p->at += 3;
    if (p->w->rules[number].body) {
        tn_text_place here = tn_written_place(p->w, offset(p, name)),
                      there = tn_written_place(p->w, p->w->rules[number].at);
        return TN_FAIL(FORMAT, "grammar: line %d, column %d: rule \"%.*s\" is defined twice, first in line %d",
                       here.line, here.column, (int)TN_MIN(len, 80u), name, there.line);
    }
    skip_space(p, true);
    tn_tree *body;
    TN_TRY(parse_choice(p, &body));
    p->w->rules[number].body = body;
    p->w->rules[number].at = offset(p, name);
    if (p->at < p->end && *p->at != '\n' && *p->at != '\r')
        return unexpected(p, "a part of a rule, | or the end of the line");
    return TN_OK;
}

static tn_status parse_rules(parser *p) {
    for (skip_space(p, true); p->at < p->end; skip_space(p, true)) TN_TRY(parse_rule(p));
    for (size_t i = 0; i < p->w->n_rules; i++) {
        const tn_written_rule *rule = &p->w->rules[i];
        if (rule->body) continue;
        tn_text_place place = tn_written_place(p->w, rule->at);
        return TN_FAIL(FORMAT, "grammar: line %d, column %d: rule \"%.*s\" is used but not defined", place.line,
                       place.column, (int)TN_MIN(rule->len, 80u), rule->name);
    }
    if (tn_text_map_find(&p->w->names, "root", 4) < 0)
        return TN_FAIL(FORMAT, "grammar: has %zu rules but none is \"root\", expected root ::= ...", p->w->n_rules);
    return TN_OK;
}

tn_status tn_grammar_parse(tn_written *w) {
    if (w->len > TN_GRAMMAR_TEXT)
        return TN_FAIL(RANGE, "grammar: has %zu bytes, expected at most %d", w->len, TN_GRAMMAR_TEXT);
    TN_TRY(tn_utf8_check("grammar", 0, w->text, w->len));
    parser p = {.w = w, .at = w->text, .end = w->text + w->len};
    tn_status status = parse_rules(&p);
    tn_char_set_release(&p.set);
    tn_buf_release(&p.bytes);
    return status;
}
