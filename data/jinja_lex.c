/* SPDX-License-Identifier: MIT
 * jinja_lex.c - a source as tokens: data between tags, and the words and signs in them.
 * White space around tags goes as trim_blocks (the line end after a block or comment) and lstrip_blocks (the blanks
 * before one at the start of a line) say, unless a sign in the tag says otherwise: `-` takes all of it, `+` none. */
#include "data/jinja_priv.h"

#include "core/utf8.h"
#include "data/grow.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct lexer {
    const tn_jinja *jinja;
    const char *s; /* the source [len] */
    size_t len, at;
    tn_jinja_tokens *tokens;
    char closers[TN_JINJA_NEST_MAX]; /* of the brackets that are open */
    int open;
    bool line_start; /* what came before ended with \n */
} lexer;

static tn_status add(lexer *l, tn_jinja_token_kind kind, size_t begin, size_t end, const tn_jinja_value *value) {
    tn_jinja_tokens *tokens = l->tokens;
    TN_GROW(tokens->list, &tokens->cap, tokens->count + 1);
    tn_jinja_token *token = &tokens->list[tokens->count++];
    *token = (tn_jinja_token){.kind = kind, .place = (uint32_t)begin, .text = {l->s + begin, end - begin}};
    if (value) token->value = *value;
    return TN_OK;
}

static char peek(const lexer *l, size_t at) { return at < l->len ? l->s[at] : '\0'; }

static bool has(const lexer *l, size_t at, const char *word) {
    size_t len = strlen(word);
    return l->len - TN_MIN(at, l->len) >= len && memcmp(l->s + at, word, len) == 0;
}

static size_t skip_space(const lexer *l, size_t at) {
    uint32_t code;
    while (at < l->len) {
        size_t n = tn_utf8_decode(l->s + at, &code);
        if (!tn_jinja_is_space(code)) break;
        at += n;
    }
    return at;
}

static bool is_name(char c, bool first) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return letter || (!first && c >= '0' && c <= '9');
}

/* ---- around tags ---- */

static bool is_sign(char c) { return c == '-' || c == '+'; }

/* The end of the data in [begin, tag) that stays in front of a tag with this sign. */
static size_t data_end(const lexer *l, size_t begin, size_t tag, char sign, bool is_print) {
    tn_jinja_text data = {l->s + begin, tag - begin};
    if (sign == '-') return begin + tn_jinja_stripped(data, NULL, TN_JINJA_RIGHT).len;
    if (sign == '+' || is_print) return tag;
    size_t line = tag;
    while (line > begin && l->s[line - 1] != '\n') line--;
    bool whole_line = line > begin || l->line_start;
    return whole_line && skip_space(l, line) >= tag ? line : tag;
}

/* Behind a tag that ended with `sign` in front of its last two bytes. */
static void after_tag(lexer *l, size_t end, char sign, bool is_print) {
    l->at = end;
    if (sign == '-') l->at = skip_space(l, end);
    if (!sign && !is_print && peek(l, end) == '\n') l->at++;
    l->line_start = l->at > end && l->s[l->at - 1] == '\n';
}

static tn_status add_data(lexer *l, size_t begin, size_t end) {
    return end > begin ? add(l, TN_JINJA_TOKEN_DATA, begin, end, NULL) : TN_OK;
}

static tn_status comment(lexer *l, size_t tag, size_t body) {
    for (size_t at = body; at + 1 < l->len; at++)
        if (l->s[at] == '#' && l->s[at + 1] == '}') {
            char sign = at > body && is_sign(l->s[at - 1]) ? l->s[at - 1] : '\0';
            after_tag(l, at + 2, sign, false);
            return TN_OK;
        }
    return JINJA_FAIL(l->jinja, (uint32_t)tag, FORMAT, "a comment is not closed, expected #}");
}

/* Past `word` and the end of its tag, or 0 when that is not what stands at `at`. */
static size_t word_tag(const lexer *l, size_t at, const char *word, char *sign) {
    at = skip_space(l, at);
    if (!has(l, at, word)) return 0;
    at = skip_space(l, at + strlen(word));
    *sign = is_sign(peek(l, at)) ? l->s[at++] : '\0';
    return has(l, at, "%}") ? at + 2 : 0;
}

/* What stands between {% raw %} and {% endraw %} is data. */
static tn_status raw(lexer *l, size_t tag, size_t begin, char begin_sign) {
    if (begin_sign) begin = skip_space(l, begin);
    l->line_start = l->s[begin - 1] == '\n';
    for (size_t at = begin; at + 1 < l->len; at++) {
        if (!has(l, at, "{%")) continue;
        char before = is_sign(peek(l, at + 2)) ? l->s[at + 2] : '\0', after;
        size_t end = word_tag(l, at + 2 + (before != 0), "endraw", &after);
        if (!end) continue;
        TN_TRY(add_data(l, begin, data_end(l, begin, at, before, false)));
        after_tag(l, end, after, false);
        return TN_OK;
    }
    return JINJA_FAIL(l->jinja, (uint32_t)tag, FORMAT, "a raw block is not closed, expected {%% endraw %%}");
}

/* ---- in tags ---- */

static tn_status code_point(lexer *l, size_t *at, int digits, char out[4], size_t *n) {
    uint32_t code = 0;
    for (int i = 0; i < digits; i++) {
        char c = peek(l, *at + (size_t)i);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return JINJA_FAIL(l->jinja, (uint32_t)*at, FORMAT, "expected %d hexadecimal digits", digits);
        code = code << 4 | (uint32_t)digit;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return JINJA_FAIL(l->jinja, (uint32_t)*at, FORMAT, "U+%04X is not a character", code);
    *at += (size_t)digits;
    *n = tn_utf8_encode(code, out);
    return TN_OK;
}

/* One escape, `at` being behind its backslash; no escape is shorter than what it stands for. */
static tn_status escape(lexer *l, size_t *at, char out[4], size_t *n) {
    static const char simple[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    char c = l->s[(*at)++];
    *n = 1;
    for (const char *p = simple; *p; p += 2)
        if (*p == c) return out[0] = p[1], TN_OK;
    switch (c) {
    case '\n': return *n = 0, TN_OK;
    case 'x': return code_point(l, at, 2, out, n);
    case 'u': return code_point(l, at, 4, out, n);
    case 'U': return code_point(l, at, 8, out, n);
    case 'N': return JINJA_FAIL(l->jinja, (uint32_t)*at, UNSUPPORTED, "characters by name (\\N) are not supported");
    default: break;
    }
    if (c >= '0' && c <= '7') {
        uint32_t code = (uint32_t)(c - '0');
        for (int i = 0; i < 2 && peek(l, *at) >= '0' && peek(l, *at) <= '7'; i++)
            code = code << 3 | (uint32_t)(l->s[(*at)++] - '0');
        return *n = tn_utf8_encode(code, out), TN_OK;
    }
    if (c & 0x80)
        return JINJA_FAIL(l->jinja, (uint32_t)*at - 1, FORMAT, "a backslash before a character that has no escape");
    out[0] = '\\';
    out[1] = c;
    return *n = 2, TN_OK;
}

static tn_status unescape(lexer *l, size_t begin, size_t end, tn_jinja_value *value) {
    char *text;
    TN_TAKE(text, l->jinja->arena, end - begin, "template");
    size_t len = 0, n;
    for (size_t at = begin; at < end;) {
        if (l->s[at] != '\\') {
            text[len++] = l->s[at++];
            continue;
        }
        char piece[4];
        at++;
        TN_TRY(escape(l, &at, piece, &n));
        memcpy(text + len, piece, n);
        len += n;
    }
    *value = tn_jinja_text_value((tn_jinja_text){text, len});
    return TN_OK;
}

static tn_status string(lexer *l) {
    size_t begin = l->at, end = begin + 1;
    bool escaped = false;
    while (end < l->len && l->s[end] != l->s[begin]) {
        if (l->s[end] == '\\') escaped = true, end++;
        end++;
    }
    if (end >= l->len)
        return JINJA_FAIL(l->jinja, (uint32_t)begin, FORMAT, "a string is not closed, expected %c", l->s[begin]);
    tn_jinja_value value = tn_jinja_text_value((tn_jinja_text){l->s + begin + 1, end - begin - 1});
    if (escaped) TN_TRY(unescape(l, begin + 1, end, &value));
    l->at = end + 1;
    return add(l, TN_JINJA_TOKEN_LITERAL, begin, l->at, &value);
}

static size_t skip_digits(const lexer *l, size_t at) {
    while (peek(l, at) >= '0' && peek(l, at) <= '9') at++;
    return at;
}

static tn_status number(lexer *l) {
    size_t begin = l->at, end = skip_digits(l, begin), more;
    bool real = false;
    /* Behind a dot (x.0.1) stands an index. */
    if (!begin || l->s[begin - 1] != '.') {
        if (peek(l, end) == '.' && (more = skip_digits(l, end + 1)) > end + 1) end = more, real = true;
        size_t exponent = end + 1 + is_sign(peek(l, end + 1));
        if ((peek(l, end) | 0x20) == 'e' && (more = skip_digits(l, exponent)) > exponent) end = more, real = true;
    }
    char digits[64];
    bool odd = !real && l->s[begin] == '0' && strspn(l->s + begin, "0") < end - begin;
    if (odd || is_name(peek(l, end), false) || end - begin >= sizeof digits)
        return JINJA_FAIL(l->jinja, (uint32_t)begin, UNSUPPORTED, "\"%.*s\" is not a plain decimal number",
                          (int)TN_MIN(end + 1 - begin, (size_t)60), l->s + begin);
    memcpy(digits, l->s + begin, end - begin);
    digits[end - begin] = '\0';
    errno = 0;
    tn_jinja_value value = real ? tn_jinja_real(strtod(digits, NULL)) : tn_jinja_integer(strtoll(digits, NULL, 10));
    if (!real && errno == ERANGE)
        return JINJA_FAIL(l->jinja, (uint32_t)begin, RANGE, "%s does not fit in 64 bits", digits);
    l->at = end;
    return add(l, TN_JINJA_TOKEN_LITERAL, begin, end, &value);
}

static tn_status sign(lexer *l) {
    static const char pairs[][3] = {"//", "**", "==", "!=", ">=", "<="};
    char c = l->s[l->at];
    size_t len = c && strchr("+-/*%~[](){}<>=.:|,;", c) ? 1 : 0;
    for (size_t i = 0; i < TN_COUNT(pairs); i++)
        if (has(l, l->at, pairs[i])) len = 2;
    if (!len) {
        uint32_t code;
        tn_utf8_decode(l->s + l->at, &code);
        return JINJA_FAIL(l->jinja, (uint32_t)l->at, FORMAT, "unexpected character U+%04X in a tag", code);
    }
    if (len == 1 && strchr("([{", c)) {
        if (l->open == TN_JINJA_NEST_MAX)
            return JINJA_FAIL(l->jinja, (uint32_t)l->at, RANGE, "more than %d brackets are open", TN_JINJA_NEST_MAX);
        l->closers[l->open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (len == 1 && strchr(")]}", c)) {
        if (!l->open || l->closers[l->open - 1] != c)
            return JINJA_FAIL(l->jinja, (uint32_t)l->at, FORMAT, "unexpected %c, expected %c", c,
                              l->open ? l->closers[l->open - 1] : '}');
        l->open--;
    }
    l->at += len;
    return add(l, TN_JINJA_TOKEN_SIGN, l->at - len, l->at, NULL);
}

static tn_status word(lexer *l) {
    size_t begin = l->at;
    while (is_name(peek(l, l->at), false)) l->at++;
    return add(l, TN_JINJA_TOKEN_NAME, begin, l->at, NULL);
}

/* The end of the tag here, when there is one: `}}` of a dictionary is none. */
static bool tag_end(lexer *l, bool is_print, tn_status *status) {
    const char *end = is_print ? "}}" : "%}";
    char c = peek(l, l->at), mark = c == '-' || (c == '+' && !is_print) ? c : '\0';
    size_t at = l->at + (mark != 0);
    if (l->open || !has(l, at, end)) return false;
    *status = add(l, TN_JINJA_TOKEN_CLOSE, at, at + 2, NULL);
    after_tag(l, at + 2, mark, is_print);
    return true;
}

static tn_status tag_body(lexer *l, size_t tag, bool is_print) {
    tn_status status;
    TN_TRY(add(l, is_print ? TN_JINJA_TOKEN_OPEN_PRINT : TN_JINJA_TOKEN_OPEN_BLOCK, tag, tag + 2, NULL));
    while (!tag_end(l, is_print, &status)) {
        size_t next = skip_space(l, l->at);
        char c = peek(l, next);
        if (next > l->at)
            l->at = next;
        else if (l->at >= l->len)
            return JINJA_FAIL(l->jinja, (uint32_t)tag, FORMAT, "a tag is not closed, expected %s",
                              is_print ? "}}" : "%}");
        else if (c >= '0' && c <= '9')
            TN_TRY(number(l));
        else if (is_name(c, true))
            TN_TRY(word(l));
        else if (c == '\'' || c == '"')
            TN_TRY(string(l));
        else
            TN_TRY(sign(l));
    }
    return status;
}

/* Data up to the next tag, and that tag. */
static tn_status part(lexer *l) {
    size_t begin = l->at, tag = begin;
    while (tag < l->len && !(l->s[tag] == '{' && peek(l, tag + 1) && strchr("{%#", peek(l, tag + 1)))) tag++;
    if (tag == l->len) return l->at = tag, add_data(l, begin, tag);
    char kind = l->s[tag + 1], mark = is_sign(peek(l, tag + 2)) ? l->s[tag + 2] : '\0', end_mark;
    TN_TRY(add_data(l, begin, data_end(l, begin, tag, mark, kind == '{')));
    size_t body = tag + 2 + (mark != 0);
    if (kind == '#') return comment(l, tag, body);
    size_t raw_begin = kind == '%' ? word_tag(l, body, "raw", &end_mark) : 0;
    if (raw_begin && end_mark != '+') return raw(l, tag, raw_begin, end_mark);
    l->at = body;
    return tag_body(l, tag, kind == '{');
}

tn_status tn_jinja_lex(const tn_jinja *jinja, tn_jinja_tokens *out) {
    lexer l = {.jinja = jinja, .s = jinja->source.at, .len = jinja->source.len, .tokens = out, .line_start = true};
    while (l.at < l.len) TN_TRY(part(&l));
    return add(&l, TN_JINJA_TOKEN_END, l.len, l.len, NULL);
}
