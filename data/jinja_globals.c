/* SPDX-License-Identifier: MIT
 * jinja_globals.c - functions that templates call by their bare name. */
#include "data/jinja_priv.h"

#include <string.h>
#include <time.h>

enum { RANGE_MAX = 100000 /* as in jinja2's sandbox */ };

/* A mapping or namespace out of at most one mapping and named values. */
static tn_status build(tn_jinja_run *run, tn_jinja_kind kind, const tn_jinja_args *args, tn_jinja_value *out) {
    TN_TRY(tn_jinja_new_map(run, kind, args->n_named, out));
    if (args->count > 1 || (args->count && args->list[0].kind != TN_JINJA_MAPPING))
        return RUN_FAIL(run, MISMATCH, "%s: expected one mapping, or values with names", run->builtin->name);
    for (size_t i = 0; args->count && i < args->list[0].map->count; i++)
        TN_TRY(tn_jinja_put_key(run, out->map, &args->list[0].map->keys[i], &args->list[0].map->values[i]));
    for (size_t i = 0; i < args->n_named; i++) {
        const tn_jinja_value key = tn_jinja_text_value(args->named[i].name);
        TN_TRY(tn_jinja_put_key(run, out->map, &key, &args->named[i].value));
    }
    return TN_OK;
}

tn_status tn_jinja_do_namespace(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                tn_jinja_value *out) {
    (void)self;
    return build(run, TN_JINJA_NAMESPACE, args, out);
}

tn_status tn_jinja_do_dict(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                           tn_jinja_value *out) {
    (void)self;
    return build(run, TN_JINJA_MAPPING, args, out);
}

tn_status tn_jinja_do_raise_exception(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                      tn_jinja_value *out) {
    tn_jinja_text message;
    (void)self;
    (void)out;
    TN_TRY(tn_jinja_string(run, &args->list[0], &message));
    return TN_FAIL(ARG, "%.*s", (int)TN_MIN(message.len, (size_t)1000), message.at);
}

tn_status tn_jinja_do_range(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                            tn_jinja_value *out) {
    int64_t bounds[3] = {0, 0, 1};
    (void)self;
    if (!args->count || args->count > 3 || args->n_named)
        return RUN_FAIL(run, MISMATCH, "range: expected one to three integers");
    for (size_t i = 0; i < args->count; i++)
        if (!tn_jinja_as_integer(&args->list[i], &bounds[args->count == 1 ? 1 : i]))
            return RUN_FAIL(run, MISMATCH, "range: argument %zu is %s, expected an integer", i + 1,
                            tn_jinja_words(args->list[i].kind));
    int64_t first = bounds[0], last = bounds[1], step = bounds[2];
    if (!step) return RUN_FAIL(run, MISMATCH, "range: the step is 0");
    bool empty = step > 0 ? first >= last : first <= last;
    uint64_t distance = step > 0 ? (uint64_t)last - (uint64_t)first : (uint64_t)first - (uint64_t)last;
    uint64_t stride = step > 0 ? (uint64_t)step : -(uint64_t)step, n = empty ? 0 : (distance - 1) / stride + 1;
    if (n > RANGE_MAX) return RUN_FAIL(run, RANGE, "range: more than %d numbers", RANGE_MAX);
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_RANGE, (size_t)n, out));
    for (uint64_t i = 0; i < n; i++) {
        const tn_jinja_value item = tn_jinja_integer((int64_t)((uint64_t)first + i * (uint64_t)step));
        TN_TRY(tn_jinja_push(run, out->list, &item));
    }
    return TN_OK;
}

/* Only single letters, so that a width of a billion is not asked for. */
static tn_status check_format(tn_jinja_run *run, tn_jinja_text format) {
    for (size_t i = 0; i < format.len; i++) {
        if (format.at[i] != '%') continue;
        i++;
        i += i < format.len && format.at[i] == '-';
        if (i == format.len || !format.at[i] || !strchr("aAbBcdDeFHIjmMnpRSTuUVwWxXyY%", format.at[i]))
            return RUN_FAIL(run, UNSUPPORTED, "strftime_now: the conversion behind %% is not supported");
    }
    return TN_OK;
}

tn_status tn_jinja_do_strftime_now(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                   tn_jinja_value *out) {
    char text[512], format[128];
    tn_jinja_text t;
    struct tm local;
    time_t now = (time_t)run->options.now;
    (void)self;
    TN_TRY(tn_jinja_text_argument(run, args, 0, &t));
    TN_TRY(check_format(run, t));
    if (t.len >= sizeof format || memchr(t.at, '\0', t.len))
        return RUN_FAIL(run, UNSUPPORTED, "strftime_now: a format of %zu bytes, expected at most %zu", t.len,
                        sizeof format - 1);
    memcpy(format, t.at, t.len);
    format[t.len] = '\0';
    if (!localtime_r(&now, &local)) return RUN_FAIL(run, RANGE, "strftime_now: the time has no date");
    return tn_jinja_copy_text(run, text, strftime(text, sizeof text, format, &local), out);
}
