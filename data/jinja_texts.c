/* SPDX-License-Identifier: MIT
 * jinja_texts.c - filters and methods of strings. A filter takes any value and works on its str(). */
#include "data/jinja_priv.h"

#include "core/utf8.h"

#include <string.h>

/* A part of the text of `self`. */
static tn_status part(const tn_jinja_value *self, tn_jinja_text t, tn_jinja_value *out) {
    *out = tn_jinja_text_value(t);
    out->safe = self->kind == TN_JINJA_TEXT && self->safe;
    return TN_OK;
}

static tn_status finish(tn_jinja_run *run, size_t mark, const tn_jinja_value *self, tn_jinja_value *out) {
    TN_TRY(tn_jinja_finish(run, mark, out));
    return part(self, out->text, out);
}

/* ---- case ---- */

static tn_status in_case(tn_jinja_run *run, const tn_jinja_value *self, tn_jinja_case how, tn_jinja_value *out) {
    tn_jinja_text t;
    TN_TRY(tn_jinja_string(run, self, &t));
    size_t mark = tn_jinja_begin(run);
    TN_TRY(tn_jinja_put_case(run, t, how));
    return finish(run, mark, self, out);
}

#define CASE(name, how)                                                                                                \
    tn_status tn_jinja_do_##name(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,             \
                                 tn_jinja_value *out) {                                                                \
        (void)args;                                                                                                    \
        return in_case(run, self, how, out);                                                                           \
    }
CASE(capitalize, TN_JINJA_CAPITAL)
CASE(lower, TN_JINJA_LOWER)
CASE(title, TN_JINJA_WORDS)
CASE(title_text, TN_JINJA_TITLE)
CASE(upper, TN_JINJA_UPPER)

/* ---- ends ---- */

static tn_status strip(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args, int sides,
                       tn_jinja_value *out) {
    tn_jinja_text t, chars;
    bool given = tn_jinja_given(args, 0);
    TN_TRY(tn_jinja_string(run, self, &t));
    if (given) TN_TRY(tn_jinja_text_argument(run, args, 0, &chars));
    TN_TRY(tn_jinja_spend(run, given ? t.len / 16 * (1 + chars.len / 16) : t.len / 16));
    return part(self, tn_jinja_stripped(t, given ? &chars : NULL, sides), out);
}

tn_status tn_jinja_do_strip(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                            tn_jinja_value *out) {
    return strip(run, self, args, TN_JINJA_LEFT | TN_JINJA_RIGHT, out);
}

tn_status tn_jinja_do_lstrip(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    return strip(run, self, args, TN_JINJA_LEFT, out);
}

tn_status tn_jinja_do_rstrip(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    return strip(run, self, args, TN_JINJA_RIGHT, out);
}

/* Whether one end of `self` is the argument, or one of the texts in it. */
static tn_status has_end(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                         bool (*has)(tn_jinja_text, tn_jinja_text), tn_jinja_value *out) {
    const tn_jinja_value *wanted = &args->list[0];
    tn_jinja_text text;
    bool found = false;
    if (wanted->kind != TN_JINJA_LIST || wanted->list->flavor != TN_JINJA_TUPLE) {
        TN_TRY(tn_jinja_text_argument(run, args, 0, &text));
        return *out = tn_jinja_boolean(has(self->text, text)), TN_OK;
    }
    for (size_t i = 0; i < wanted->list->count && !found; i++) {
        const tn_jinja_args one = {.list = &wanted->list->items[i], .count = 1};
        TN_TRY(tn_jinja_text_argument(run, &one, 0, &text));
        found = has(self->text, text);
    }
    return *out = tn_jinja_boolean(found), TN_OK;
}

tn_status tn_jinja_do_startswith(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                 tn_jinja_value *out) {
    return has_end(run, self, args, tn_jinja_starts, out);
}

tn_status tn_jinja_do_endswith(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                               tn_jinja_value *out) {
    return has_end(run, self, args, tn_jinja_ends, out);
}

tn_status tn_jinja_do_removeprefix(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                   tn_jinja_value *out) {
    tn_jinja_text prefix, t = self->text;
    TN_TRY(tn_jinja_text_argument(run, args, 0, &prefix));
    size_t cut = tn_jinja_starts(t, prefix) ? prefix.len : 0;
    return part(self, (tn_jinja_text){t.at + cut, t.len - cut}, out);
}

tn_status tn_jinja_do_removesuffix(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                   tn_jinja_value *out) {
    tn_jinja_text suffix, t = self->text;
    TN_TRY(tn_jinja_text_argument(run, args, 0, &suffix));
    return part(self, (tn_jinja_text){t.at, t.len - (tn_jinja_ends(t, suffix) ? suffix.len : 0)}, out);
}

/* ---- searching ---- */

/* The characters in front of byte `at`, or -1. */
static tn_status position(tn_jinja_text t, size_t at, tn_jinja_value *out) {
    *out = tn_jinja_integer(at == SIZE_MAX ? -1 : (int64_t)tn_jinja_length((tn_jinja_text){t.at, at}));
    return TN_OK;
}

/* Where `part` last begins before byte `end`. */
static size_t search_back(tn_jinja_text t, size_t end, tn_jinja_text sub) {
    if (sub.len > end) return SIZE_MAX;
    for (size_t at = end - sub.len;; at--) {
        if (!sub.len || memcmp(t.at + at, sub.at, sub.len) == 0) return at;
        if (!at) return SIZE_MAX;
    }
}

tn_status tn_jinja_do_find(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                           tn_jinja_value *out) {
    tn_jinja_text sub;
    TN_TRY(tn_jinja_text_argument(run, args, 0, &sub));
    TN_TRY(tn_jinja_spend(run, self->text.len / 16));
    return position(self->text, tn_jinja_search(self->text, 0, sub), out);
}

tn_status tn_jinja_do_rfind(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                            tn_jinja_value *out) {
    tn_jinja_text sub;
    TN_TRY(tn_jinja_text_argument(run, args, 0, &sub));
    TN_TRY(tn_jinja_spend(run, self->text.len / 16 * (1 + sub.len / 16)));
    return position(self->text, search_back(self->text, self->text.len, sub), out);
}

tn_status tn_jinja_do_count_text(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                 tn_jinja_value *out) {
    tn_jinja_text sub;
    int64_t n = 0;
    TN_TRY(tn_jinja_text_argument(run, args, 0, &sub));
    TN_TRY(tn_jinja_spend(run, self->text.len / 16));
    if (!sub.len) n = (int64_t)tn_jinja_length(self->text) + 1;
    for (size_t at = 0; sub.len && (at = tn_jinja_search(self->text, at, sub)) != SIZE_MAX; at += sub.len) n++;
    return *out = tn_jinja_integer(n), TN_OK;
}

/* In front of each character and at the end, as Python does for an empty `old`. */
static tn_status put_between(tn_jinja_run *run, tn_jinja_text t, tn_jinja_text new, size_t count) {
    size_t i = 0;
    for (; i < t.len && count; count--) {
        uint32_t code;
        size_t n = tn_utf8_decode(t.at + i, &code);
        TN_TRY(tn_jinja_put(run, new.at, new.len));
        TN_TRY(tn_jinja_put(run, t.at + i, n));
        i += n;
    }
    TN_TRY(tn_jinja_put(run, t.at + i, t.len - i));
    return count ? tn_jinja_put(run, new.at, new.len) : TN_OK;
}

static tn_status put_replaced(tn_jinja_run *run, tn_jinja_text t, tn_jinja_text old, tn_jinja_text new, size_t count) {
    size_t at = 0, found;
    if (!old.len) return put_between(run, t, new, count);
    while (count-- && (found = tn_jinja_search(t, at, old)) != SIZE_MAX) {
        TN_TRY(tn_jinja_spend(run, 1));
        TN_TRY(tn_jinja_put(run, t.at + at, found - at));
        TN_TRY(tn_jinja_put(run, new.at, new.len));
        at = found + old.len;
    }
    return tn_jinja_put(run, t.at + at, t.len - at);
}

static tn_status replace(tn_jinja_run *run, tn_jinja_text t, tn_jinja_text old, tn_jinja_text new,
                         const tn_jinja_args *args, tn_jinja_value *out) {
    int64_t count = -1;
    TN_TRY(tn_jinja_integer_argument(run, args, 2, &count));
    size_t mark = tn_jinja_begin(run);
    TN_TRY(put_replaced(run, t, old, new, count < 0 ? SIZE_MAX : (size_t)count));
    return tn_jinja_finish(run, mark, out);
}

tn_status tn_jinja_do_replace(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                              tn_jinja_value *out) {
    tn_jinja_text old, new;
    TN_TRY(tn_jinja_text_argument(run, args, 0, &old));
    TN_TRY(tn_jinja_text_argument(run, args, 1, &new));
    TN_TRY(replace(run, self->text, old, new, args, out));
    return part(self, out->text, out);
}

/* The filter: everything is taken for the text that it prints. */
tn_status tn_jinja_do_replace_any(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                  tn_jinja_value *out) {
    tn_jinja_text t, old, new;
    TN_TRY(tn_jinja_string(run, self, &t));
    TN_TRY(tn_jinja_string(run, &args->list[0], &old));
    TN_TRY(tn_jinja_string(run, &args->list[1], &new));
    return replace(run, t, old, new, args, out);
}

/* ---- splitting ---- */

static tn_status push_part(tn_jinja_run *run, const tn_jinja_value *self, size_t begin, size_t end,
                           tn_jinja_value *out) {
    tn_jinja_value item;
    TN_TRY(tn_jinja_spend(run, 1));
    TN_TRY(part(self, (tn_jinja_text){self->text.at + begin, end - begin}, &item));
    return tn_jinja_push(run, out->list, &item);
}

/* The next stretch of white space in [from, end), or of what is none. */
static size_t skip(tn_jinja_text t, size_t from, size_t end, bool space) {
    while (from < end) {
        uint32_t code;
        size_t n = tn_utf8_decode(t.at + from, &code);
        if (tn_jinja_is_space(code) != space) break;
        from += n;
    }
    return from;
}

static tn_status split_words(tn_jinja_run *run, const tn_jinja_value *self, size_t splits, tn_jinja_value *out) {
    tn_jinja_text t = self->text;
    for (size_t at = skip(t, 0, t.len, true); at < t.len;) {
        size_t end = splits-- ? skip(t, at, t.len, false) : t.len;
        TN_TRY(push_part(run, self, at, end, out));
        if (end == t.len) break;
        at = skip(t, end, t.len, true);
    }
    return TN_OK;
}

static tn_status split_at(tn_jinja_run *run, const tn_jinja_value *self, tn_jinja_text sep, size_t splits,
                          tn_jinja_value *out) {
    size_t at = 0, found;
    while (splits-- && (found = tn_jinja_search(self->text, at, sep)) != SIZE_MAX) {
        TN_TRY(push_part(run, self, at, found, out));
        at = found + sep.len;
    }
    return push_part(run, self, at, self->text.len, out);
}

/* Where the word that ends at `end` begins. */
static size_t word_begin(tn_jinja_text t, size_t end) {
    for (;;) {
        uint32_t code = ' ';
        size_t at = end;
        while (at && (t.at[--at] & 0xC0) == 0x80) continue;
        if (at < end) tn_utf8_decode(t.at + at, &code);
        if (tn_jinja_is_space(code)) return end;
        end = at;
    }
}

static size_t without_space(tn_jinja_text t, size_t end) {
    return tn_jinja_stripped((tn_jinja_text){t.at, end}, NULL, TN_JINJA_RIGHT).len;
}

/* From the right, so that what is left over is the last to come. */
static tn_status rsplit_words(tn_jinja_run *run, const tn_jinja_value *self, size_t splits, tn_jinja_value *out) {
    size_t end = without_space(self->text, self->text.len);
    while (end && splits--) {
        size_t begin = word_begin(self->text, end);
        TN_TRY(push_part(run, self, begin, end, out));
        end = without_space(self->text, begin);
    }
    return end ? push_part(run, self, 0, end, out) : TN_OK;
}

static tn_status rsplit_at(tn_jinja_run *run, const tn_jinja_value *self, tn_jinja_text sep, size_t splits,
                           tn_jinja_value *out) {
    size_t end = self->text.len, found;
    TN_TRY(tn_jinja_spend(run, self->text.len / 16 * (1 + sep.len / 16)));
    while (splits-- && (found = search_back(self->text, end, sep)) != SIZE_MAX) {
        TN_TRY(push_part(run, self, found + sep.len, end, out));
        end = found;
    }
    return push_part(run, self, 0, end, out);
}

static void turn_round(tn_jinja_list *list) {
    for (size_t i = 0; i < list->count / 2; i++) {
        tn_jinja_value *a = &list->items[i], *b = &list->items[list->count - 1 - i], kept = *a;
        *a = *b;
        *b = kept;
    }
}

typedef tn_status split_words_function(tn_jinja_run *, const tn_jinja_value *, size_t, tn_jinja_value *);
typedef tn_status split_at_function(tn_jinja_run *, const tn_jinja_value *, tn_jinja_text, size_t, tn_jinja_value *);

static tn_status split(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                       split_words_function *words, split_at_function *at, tn_jinja_value *out) {
    tn_jinja_text sep;
    int64_t splits = -1;
    TN_TRY(tn_jinja_integer_argument(run, args, 1, &splits));
    size_t limit = splits < 0 ? SIZE_MAX : (size_t)splits;
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_PLAIN, 0, out));
    TN_TRY(tn_jinja_spend(run, self->text.len / 16));
    if (!tn_jinja_given(args, 0)) return words(run, self, limit, out);
    TN_TRY(tn_jinja_text_argument(run, args, 0, &sep));
    if (!sep.len) return RUN_FAIL(run, MISMATCH, "%s: the separator is empty", run->builtin->name);
    return at(run, self, sep, limit, out);
}

tn_status tn_jinja_do_split(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                            tn_jinja_value *out) {
    return split(run, self, args, split_words, split_at, out);
}

tn_status tn_jinja_do_rsplit(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    TN_TRY(split(run, self, args, rsplit_words, rsplit_at, out));
    turn_round(out->list);
    return TN_OK;
}

/* Bytes of the line end that begins at `at`, 0 when none does. */
static size_t line_end(tn_jinja_text t, size_t at) {
    uint32_t code;
    size_t n = tn_utf8_decode(t.at + at, &code);
    if (code == '\r' && at + 1 < t.len && t.at[at + 1] == '\n') return 2;
    bool ends = (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
                code == 0x2029;
    return ends ? n : 0;
}

tn_status tn_jinja_do_splitlines(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                 tn_jinja_value *out) {
    size_t begin = 0, n;
    (void)args;
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_PLAIN, 0, out));
    TN_TRY(tn_jinja_spend(run, self->text.len / 16));
    for (size_t at = 0; at < self->text.len; at += n ? n : 1) {
        n = (self->text.at[at] & 0xC0) == 0x80 ? 0 : line_end(self->text, at);
        if (!n) continue;
        TN_TRY(push_part(run, self, begin, at, out));
        begin = at + n;
    }
    return begin < self->text.len ? push_part(run, self, begin, self->text.len, out) : TN_OK;
}

/* ---- joining ---- */

tn_status tn_jinja_do_join_text(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                tn_jinja_value *out) {
    const tn_jinja_list *list;
    TN_TRY(tn_jinja_iterate(run, &args->list[0], &list));
    size_t mark = tn_jinja_begin(run);
    for (size_t i = 0; i < list->count; i++) {
        const tn_jinja_value *item = &list->items[i];
        if (item->kind != TN_JINJA_TEXT)
            return RUN_FAIL(run, MISMATCH, "join: item %zu is %s, expected a string", i, tn_jinja_words(item->kind));
        if (i) TN_TRY(tn_jinja_put(run, self->text.at, self->text.len));
        TN_TRY(tn_jinja_put(run, item->text.at, item->text.len));
    }
    return finish(run, mark, self, out);
}

/* The text of one level of indent: so many blanks, or a string. */
static tn_status indent_text(tn_jinja_run *run, const tn_jinja_value *width, tn_jinja_text *out) {
    const tn_jinja_value blank = tn_jinja_text_value(tn_jinja_chars(" ")), four = tn_jinja_integer(4);
    tn_jinja_value text = *width;
    bool given = width->kind != TN_JINJA_ABSENT;
    if (width->kind != TN_JINJA_TEXT)
        TN_TRY(tn_jinja_arithmetic(run, TN_JINJA_MULTIPLY, &blank, given ? width : &four, &text));
    *out = text.text;
    return TN_OK;
}

tn_status tn_jinja_do_indent(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    bool first = tn_jinja_truth(&args->list[1]), blank = tn_jinja_truth(&args->list[2]);
    tn_jinja_value whole, lines;
    tn_jinja_text indent;
    if (self->kind != TN_JINJA_TEXT)
        return RUN_FAIL(run, MISMATCH, "indent: expected a string, not %s", tn_jinja_words(self->kind));
    TN_TRY(indent_text(run, &args->list[0], &indent));
    TN_TRY(tn_jinja_join_texts(run, self->text, tn_jinja_chars("\n"), &whole));
    TN_TRY(tn_jinja_do_splitlines(run, &whole, args, &lines));
    size_t mark = tn_jinja_begin(run);
    for (size_t i = 0; i < lines.list->count; i++) {
        tn_jinja_text line = lines.list->items[i].text;
        bool indents = i ? blank || line.len : first;
        if (i) TN_TRY(tn_jinja_put(run, "\n", 1));
        if (indents) TN_TRY(tn_jinja_put(run, indent.at, indent.len));
        TN_TRY(tn_jinja_put(run, line.at, line.len));
    }
    return finish(run, mark, self, out);
}
