/* SPDX-License-Identifier: MIT
 * jinja.h - the part of Jinja that chat templates of models are written in.
 * Life: tn_jinja_create -> tn_jinja_render any number of times, by several threads at once -> tn_jinja_free.
 *
 * What a template means is what jinja2 3.1 makes of it as transformers sets it up: trim_blocks, lstrip_blocks, break
 * and continue, {% generation %} blocks, tojson without HTML escapes, values that cannot be changed in place, no
 * automatic escaping. The filters, tests, methods and functions are the rows of jinja.def. What Jinja has besides
 * (inheritance, includes, call blocks, recursive loops, * and ** in calls, the operator % on strings) is refused by
 * name. Known to differ: a letter whose other case is several letters keeps its case, but for those in letters.def.
 *
 * A template is foreign text: the nesting of its source, the steps, the memory and the output of a run are limited.
 * Each failure is one sentence that begins with "NAME: line L, column C: ", columns being counted in characters from 1;
 * of a source that is no UTF-8 with "NAME: byte N ".
 */
#ifndef TN_DATA_JINJA_H
#define TN_DATA_JINJA_H
#include "core/buf.h"

#include <jansson.h>

typedef struct tn_jinja tn_jinja;

/* Parse `source` [len]; `name` begins the sentences of failures and is copied, as the source is. Fails: TN_E_FORMAT for
 * a fault of syntax, TN_E_UNSUPPORTED, TN_E_TEXT, TN_E_RANGE when it is too long or nested too deeply. */
tn_status tn_jinja_create(tn_jinja **out, const char *name, const char *source, size_t len);
void tn_jinja_free(tn_jinja *jinja); /* NULL is fine */

/* Bytes [begin, end) of a rendered text. */
typedef struct tn_jinja_span {
    size_t begin, end;
} tn_jinja_span;

/* Starts as {0}; release gives the list back. */
typedef struct tn_jinja_spans {
    tn_jinja_span *list;
    size_t count, cap;
} tn_jinja_spans;
void tn_jinja_spans_release(tn_jinja_spans *spans);

/* 0 stands for the default everywhere. */
typedef struct tn_jinja_options {
    tn_jinja_spans
        *spans;        /* receives where the texts of {% generation %} blocks stand in the output; NULL = not asked */
    int64_t now;       /* what strftime_now() tells, in seconds since 1970, as local time; default: the clock */
    int64_t max_steps; /* evaluated nodes, and bulk work by its size; default 50 million, some seconds */
    size_t max_memory; /* bytes of values; default 512 MiB */
    size_t max_output; /* bytes, also of texts that are put together on the way; default 64 MiB */
} tn_jinja_options;

/* Append to `out` what the template makes of the variables in the object `context`; `options` may be NULL. A failure
 * leaves `out` as it was. Fails: TN_E_ARG when the template calls raise_exception(), whose message is then the whole
 * sentence; TN_E_MISMATCH where a value does not suit what is done with it; TN_E_UNSUPPORTED; TN_E_RANGE beyond a
 * limit. */
tn_status tn_jinja_render(const tn_jinja *jinja, const json_t *context, const tn_jinja_options *options, tn_buf *out);

#endif
