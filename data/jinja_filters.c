/* SPDX-License-Identifier: MIT
 * jinja_filters.c - the rows of jinja.def as tables, the way their functions are called, and filters of any value. */
#include "data/jinja_priv.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- tables ---- */

#define RAW                            NULL
#define FILTER(name, function, params) {name, tn_jinja_do_##function, params, TN_JINJA_ABSENT},
static const tn_jinja_builtin filters[] = {
#include "data/jinja.def"
};
#define TEST(name, function, params) {name, tn_jinja_do_##function, params, TN_JINJA_ABSENT},
static const tn_jinja_builtin tests[] = {
#include "data/jinja.def"
};
#define METHOD(kind, name, function, params) {name, tn_jinja_do_##function, params, TN_JINJA_##kind},
static const tn_jinja_builtin methods[] = {
#include "data/jinja.def"
};
#define GLOBAL(name, function, params) {name, tn_jinja_do_##function, params, TN_JINJA_ABSENT},
static const tn_jinja_builtin globals[] = {
#include "data/jinja.def"
};

static const tn_jinja_builtin *find(const tn_jinja_builtin *rows, size_t n, tn_jinja_kind kind, tn_jinja_text name) {
    for (size_t i = 0; i < n; i++)
        if (rows[i].kind == kind && tn_jinja_text_is(name, rows[i].name)) return &rows[i];
    return NULL;
}

const tn_jinja_builtin *tn_jinja_find_filter(tn_jinja_text name) {
    return find(filters, TN_COUNT(filters), TN_JINJA_ABSENT, name);
}

const tn_jinja_builtin *tn_jinja_find_test(tn_jinja_text name) {
    return find(tests, TN_COUNT(tests), TN_JINJA_ABSENT, name);
}

const tn_jinja_builtin *tn_jinja_find_method(tn_jinja_kind kind, tn_jinja_text name) {
    return find(methods, TN_COUNT(methods), kind, name);
}

const tn_jinja_builtin *tn_jinja_find_global(tn_jinja_text name) {
    return find(globals, TN_COUNT(globals), TN_JINJA_ABSENT, name);
}

/* ---- arguments ---- */

/* The place of `name` among the words of `params`, or how many there are; `count` receives that. */
static size_t parameter(const char *params, tn_jinja_text name, size_t *count) {
    size_t found = SIZE_MAX;
    for (*count = 0; *params; ++*count) {
        size_t len = strcspn(params, " ");
        if (len == name.len && memcmp(params, name.at, len) == 0) found = *count;
        params += len + (params[len] == ' ');
    }
    return TN_MIN(found, *count);
}

/* Give each argument its place in `bound`. */
static tn_status bind(tn_jinja_run *run, const tn_jinja_builtin *builtin, const tn_jinja_args *args,
                      tn_jinja_value bound[TN_JINJA_PARAMS_MAX]) {
    size_t count;
    parameter(builtin->params, (tn_jinja_text){"", 0}, &count);
    TN_ASSERT(count <= TN_JINJA_PARAMS_MAX);
    if (args->count > count)
        return RUN_FAIL(run, MISMATCH, "%s: takes at most %zu arguments, not %zu", builtin->name, count, args->count);
    for (size_t i = 0; i < TN_JINJA_PARAMS_MAX; i++) bound[i] = (tn_jinja_value){.kind = TN_JINJA_ABSENT};
    for (size_t i = 0; i < args->count; i++) bound[i] = args->list[i];
    for (size_t i = 0; i < args->n_named; i++) {
        size_t at = parameter(builtin->params, args->named[i].name, &count);
        if (at == count || bound[at].kind != TN_JINJA_ABSENT)
            return RUN_FAIL(run, MISMATCH, "%s: has no parameter \"%.*s\" to give", builtin->name,
                            TEXT_SHOWN(args->named[i].name));
        bound[at] = args->named[i].value;
    }
    return TN_OK;
}

/* Methods of a text that is marked safe put HTML escapes into their arguments. */
static tn_status check_safe(tn_jinja_run *run, const tn_jinja_builtin *builtin, const tn_jinja_value *self,
                            const tn_jinja_args *args) {
    bool method = builtin->kind == TN_JINJA_TEXT || builtin->function == tn_jinja_do_strip;
    for (size_t i = 0; method && self->kind == TN_JINJA_TEXT && self->safe && i < args->count; i++) {
        const tn_jinja_value *v = &args->list[i];
        for (size_t at = 0; v->kind == TN_JINJA_TEXT && !v->safe && at < v->text.len; at++)
            if (v->text.at[at] && strchr("&<>'\"", v->text.at[at]))
                return RUN_FAIL(run, UNSUPPORTED, "%s: \"%c\" for a text that is marked safe is not supported",
                                builtin->name, v->text.at[at]);
    }
    return TN_OK;
}

tn_status tn_jinja_call_builtin(tn_jinja_run *run, const tn_jinja_builtin *builtin, const tn_jinja_value *self,
                                const tn_jinja_args *args, tn_jinja_value *out) {
    tn_jinja_value bound[TN_JINJA_PARAMS_MAX];
    const tn_jinja_args placed = {.list = bound, .count = TN_JINJA_PARAMS_MAX};
    const tn_jinja_builtin *outer = run->builtin;
    TN_TRY(tn_jinja_enter(run));
    run->builtin = builtin;
    TN_TRY(check_safe(run, builtin, self, args));
    if (builtin->params) TN_TRY(bind(run, builtin, args, bound));
    TN_TRY(builtin->function(run, self, builtin->params ? &placed : args, out));
    run->builtin = outer;
    run->depth--;
    return TN_OK;
}

bool tn_jinja_given(const tn_jinja_args *args, size_t i) {
    return args->list[i].kind != TN_JINJA_ABSENT && args->list[i].kind != TN_JINJA_NONE;
}

static tn_status wrong(tn_jinja_run *run, const tn_jinja_args *args, size_t i, const char *expected) {
    TN_TRY(tn_jinja_refuse_undefined(run, &args->list[i]));
    return RUN_FAIL(run, MISMATCH, "%s: argument %zu is %s, expected %s", run->builtin->name, i + 1,
                    tn_jinja_words(args->list[i].kind), expected);
}

tn_status tn_jinja_text_argument(tn_jinja_run *run, const tn_jinja_args *args, size_t i, tn_jinja_text *out) {
    if (args->list[i].kind != TN_JINJA_TEXT) return wrong(run, args, i, "a string");
    *out = args->list[i].text;
    return TN_OK;
}

tn_status tn_jinja_integer_argument(tn_jinja_run *run, const tn_jinja_args *args, size_t i, int64_t *out) {
    bool fits = !tn_jinja_given(args, i) || tn_jinja_as_integer(&args->list[i], out);
    return fits ? TN_OK : wrong(run, args, i, "an integer");
}

/* ---- filters ---- */

tn_status tn_jinja_do_default(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                              tn_jinja_value *out) {
    (void)run;
    bool replaces = self->kind == TN_JINJA_UNDEFINED || (tn_jinja_truth(&args->list[1]) && !tn_jinja_truth(self));
    *out = replaces ? args->list[0] : *self;
    if (out->kind == TN_JINJA_ABSENT) *out = tn_jinja_text_value(tn_jinja_chars(""));
    return TN_OK;
}

tn_status tn_jinja_do_string(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    tn_jinja_text t;
    (void)args;
    TN_TRY(tn_jinja_string(run, self, &t));
    *out = tn_jinja_text_value(t);
    out->safe = self->kind == TN_JINJA_TEXT && self->safe;
    return TN_OK;
}

tn_status tn_jinja_do_safe(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                           tn_jinja_value *out) {
    TN_TRY(tn_jinja_do_string(run, self, args, out));
    out->safe = true;
    return TN_OK;
}

tn_status tn_jinja_do_abs(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                          tn_jinja_value *out) {
    int64_t integer;
    (void)args;
    TN_TRY(tn_jinja_refuse_undefined(run, self));
    if (!tn_jinja_is_number(self))
        return RUN_FAIL(run, MISMATCH, "abs: expected a number, not %s", tn_jinja_words(self->kind));
    if (!tn_jinja_as_integer(self, &integer)) return *out = tn_jinja_real(fabs(self->real)), TN_OK;
    if (integer == INT64_MIN) return RUN_FAIL(run, RANGE, "abs: the result does not fit in 64 bits");
    return *out = tn_jinja_integer(integer < 0 ? -integer : integer), TN_OK;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* The text of a number as the C library reads it: without the white space around it and the _ between digits. */
static bool copy_number(tn_jinja_text t, char *out, size_t size) {
    size_t n = 0;
    t = tn_jinja_stripped(t, NULL, TN_JINJA_LEFT | TN_JINJA_RIGHT);
    if (t.len >= size) return false;
    for (size_t i = 0; i < t.len; i++) {
        bool between = i && i + 1 < t.len && is_digit(t.at[i - 1]) && is_digit(t.at[i + 1]);
        if (t.at[i] != '_' || !between) out[n++] = t.at[i];
    }
    out[n] = '\0';
    return n && !memchr(out, '\0', n);
}

/* As Python's int() and float() of a string in ASCII; false where they fail. */
static bool read_number(tn_jinja_text t, bool real, tn_jinja_value *out) {
    char digits[64], *end;
    if (!copy_number(t, digits, sizeof digits)) return false;
    const char *bare = digits + strspn(digits, "+-");
    bool named = real && (!strcasecmp(bare, "inf") || !strcasecmp(bare, "infinity") || !strcasecmp(bare, "nan"));
    if (!named && digits[strspn(digits, real ? "+-0123456789.eE" : "+-0123456789")]) return false;
    errno = 0;
    *out = real ? tn_jinja_real(strtod(digits, &end)) : tn_jinja_integer(strtoll(digits, &end, 10));
    return *end == '\0' && end != digits && (real || errno != ERANGE);
}

tn_status tn_jinja_do_float(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                            tn_jinja_value *out) {
    TN_TRY(tn_jinja_refuse_undefined(run, self));
    if (tn_jinja_is_number(self)) return *out = tn_jinja_real(tn_jinja_as_real(self)), TN_OK;
    if (self->kind == TN_JINJA_TEXT && read_number(self->text, true, out)) return TN_OK;
    *out = args->list[0].kind == TN_JINJA_ABSENT ? tn_jinja_real(0) : args->list[0];
    return TN_OK;
}

tn_status tn_jinja_do_int(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                          tn_jinja_value *out) {
    int64_t integer, base = 10;
    tn_jinja_value real = tn_jinja_real(NAN);
    TN_TRY(tn_jinja_refuse_undefined(run, self));
    TN_TRY(tn_jinja_integer_argument(run, args, 1, &base));
    if (base != 10) return RUN_FAIL(run, UNSUPPORTED, "int: base %lld, expected 10", (long long)base);
    if (tn_jinja_as_integer(self, &integer)) return *out = tn_jinja_integer(integer), TN_OK;
    if (self->kind == TN_JINJA_TEXT && read_number(self->text, false, out)) return TN_OK;
    if (self->kind == TN_JINJA_REAL) real = *self;
    if (self->kind == TN_JINJA_TEXT && !read_number(self->text, true, &real)) real = tn_jinja_real(NAN);
    *out = args->list[0].kind == TN_JINJA_ABSENT ? tn_jinja_integer(0) : args->list[0];
    if (isnan(real.real)) return TN_OK;
    if (fabs(real.real) >= 0x1p63) return RUN_FAIL(run, RANGE, "int: %g does not fit in 64 bits", real.real);
    return *out = tn_jinja_integer((int64_t)real.real), TN_OK;
}

/* Two texts in a list or tuple. */
static tn_status separators(tn_jinja_run *run, const tn_jinja_args *args, tn_jinja_json_style *style) {
    const tn_jinja_value *v = &args->list[2];
    bool pair = v->kind == TN_JINJA_LIST && v->list->count == 2 && v->list->items[0].kind == TN_JINJA_TEXT &&
                v->list->items[1].kind == TN_JINJA_TEXT;
    if (!pair) return wrong(run, args, 2, "two strings");
    style->between = v->list->items[0].text;
    style->after_key = v->list->items[1].text;
    return TN_OK;
}

static tn_status json_indent(tn_jinja_run *run, const tn_jinja_args *args, tn_jinja_json_style *style) {
    const tn_jinja_value blank = tn_jinja_text_value(tn_jinja_chars(" "));
    tn_jinja_value indent = args->list[1];
    int64_t width;
    style->lines = true;
    if (tn_jinja_as_integer(&indent, &width))
        TN_TRY(tn_jinja_arithmetic(run, TN_JINJA_MULTIPLY, &blank, &args->list[1], &indent));
    if (indent.kind != TN_JINJA_TEXT) return wrong(run, args, 1, "an integer or a string");
    style->indent = indent.text;
    return TN_OK;
}

tn_status tn_jinja_do_tojson(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    tn_jinja_json_style style = {.ascii = tn_jinja_truth(&args->list[0]), .sort_keys = tn_jinja_truth(&args->list[3])};
    if (tn_jinja_given(args, 1)) TN_TRY(json_indent(run, args, &style));
    style.between = tn_jinja_chars(style.lines ? "," : ", ");
    style.after_key = tn_jinja_chars(": ");
    if (tn_jinja_given(args, 2)) TN_TRY(separators(run, args, &style));
    size_t mark = tn_jinja_begin(run);
    TN_TRY(tn_jinja_print_json(run, self, &style));
    return tn_jinja_finish(run, mark, out);
}
