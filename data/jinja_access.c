/* SPDX-License-Identifier: MIT
 * jinja_access.c - what is inside a value: items, slices, attributes, and what a loop visits. */
#include "data/jinja_priv.h"

#include "core/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

tn_status tn_jinja_refuse_undefined(tn_jinja_run *run, const tn_jinja_value *v) {
    if (v->kind != TN_JINJA_UNDEFINED) return TN_OK;
    if (v->owner == TN_JINJA_ABSENT) return RUN_FAIL(run, MISMATCH, "\"%.*s\" is undefined", TEXT_SHOWN(v->text));
    return RUN_FAIL(run, MISMATCH, "%s has no \"%.*s\"", tn_jinja_words(v->owner), TEXT_SHOWN(v->text));
}

/* ---- loops ---- */

static tn_status characters(tn_jinja_run *run, const tn_jinja_value *v, tn_jinja_value *out) {
    tn_jinja_text t = v->text;
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_PLAIN, tn_jinja_length(t), out));
    for (size_t i = 0, n; i < t.len; i += n) {
        uint32_t code;
        n = tn_utf8_decode(t.at + i, &code);
        const tn_jinja_value one = tn_jinja_text_value((tn_jinja_text){t.at + i, n});
        TN_TRY(tn_jinja_push(run, out->list, &one));
    }
    return tn_jinja_spend(run, t.len / 4);
}

tn_status tn_jinja_iterate(tn_jinja_run *run, const tn_jinja_value *v, const tn_jinja_list **out) {
    tn_jinja_value made;
    switch (v->kind) {
    case TN_JINJA_LIST:
        *out = v->list;
        if (v->list->flavor != TN_JINJA_GENERATOR) return TN_OK;
        TN_TRY(tn_jinja_new_list(run, TN_JINJA_PLAIN, 0, &made));
        *made.list = *v->list;
        v->list->count = 0;
        break;
    case TN_JINJA_UNDEFINED: TN_TRY(tn_jinja_new_list(run, TN_JINJA_PLAIN, 0, &made)); break;
    case TN_JINJA_TEXT: TN_TRY(characters(run, v, &made)); break;
    case TN_JINJA_MAPPING:
        TN_TRY(tn_jinja_new_list(run, TN_JINJA_VIEW, 0, &made));
        made.list->items = v->map->keys;
        made.list->count = made.list->cap = v->map->count;
        break;
    default: return RUN_FAIL(run, MISMATCH, "%s cannot be looped over", tn_jinja_words(v->kind));
    }
    *out = made.list;
    return TN_OK;
}

/* ---- items ---- */

/* A Python index, negative from the end, as one from the start; false when there is nothing. */
static bool to_index(int64_t index, size_t count, size_t *out) {
    if (index < 0) index += (int64_t)count;
    *out = (size_t)index;
    return index >= 0 && index < (int64_t)count;
}

/* The bytes in front of character `index`. */
static size_t byte_of(tn_jinja_text t, size_t index) {
    size_t at = 0;
    while (index-- && at < t.len) {
        uint32_t code;
        at += tn_utf8_decode(t.at + at, &code);
    }
    return at;
}

/* What is missing under a key, for a sentence. */
static tn_status missing(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *key, tn_jinja_value *out) {
    tn_jinja_value name = *key;
    int64_t index = 0;
    if (tn_jinja_as_integer(key, &index)) {
        char text[32];
        TN_TRY(tn_jinja_copy_text(run, text, (size_t)snprintf(text, sizeof text, "item %" PRId64, index), &name));
    } else if (key->kind != TN_JINJA_TEXT) {
        name.text = tn_jinja_chars("such item");
    }
    *out = tn_jinja_undefined(a->kind, name.text);
    return TN_OK;
}

static tn_status indexed(tn_jinja_run *run, const tn_jinja_value *a, int64_t index, tn_jinja_value *out) {
    size_t i;
    if (a->kind == TN_JINJA_LIST) {
        if (a->list->flavor <= TN_JINJA_RANGE && to_index(index, a->list->count, &i)) *out = a->list->items[i];
        return TN_OK;
    }
    TN_TRY(tn_jinja_spend(run, a->text.len / 8));
    if (!to_index(index, tn_jinja_length(a->text), &i)) return TN_OK;
    size_t begin = byte_of(a->text, i);
    uint32_t code;
    *out = tn_jinja_text_value((tn_jinja_text){a->text.at + begin, tn_utf8_decode(a->text.at + begin, &code)});
    out->safe = a->safe;
    return TN_OK;
}

static tn_status get_key(tn_jinja_run *run, const tn_jinja_map *map, const tn_jinja_value *key, tn_jinja_value *out) {
    const tn_jinja_value *found;
    TN_TRY(tn_jinja_find_key(run, map, key, &found));
    if (found) *out = *found;
    return TN_OK;
}

/* A method that waits for its call. */
static tn_status bind_method(tn_jinja_run *run, const tn_jinja_value *a, tn_jinja_text name, tn_jinja_value *out) {
    const tn_jinja_builtin *method = tn_jinja_find_method(a->kind, name);
    bool bare = a->kind == TN_JINJA_LIST && a->list->flavor > TN_JINJA_RANGE;
    void *callable;
    if (!method || bare) return TN_OK;
    TN_TRY(tn_jinja_take(run, 1, sizeof(tn_jinja_callable), &callable));
    *out = (tn_jinja_value){.kind = TN_JINJA_CALLABLE, .callable = callable};
    *(tn_jinja_callable *)callable = (tn_jinja_callable){.builtin = method, .self = *a};
    return TN_OK;
}

/* What stands in `a` under a name, methods aside. */
static tn_status named(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *key, tn_jinja_value *out) {
    if (a->kind == TN_JINJA_MAPPING || a->kind == TN_JINJA_NAMESPACE) return get_key(run, a->map, key, out);
    return a->kind == TN_JINJA_LOOP ? tn_jinja_loop_attribute(run, a->loop, key->text, out) : TN_OK;
}

tn_status tn_jinja_item(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *key, tn_jinja_value *out) {
    int64_t index;
    bool scalar = key->kind != TN_JINJA_LIST && key->kind != TN_JINJA_MAPPING;
    TN_TRY(tn_jinja_refuse_undefined(run, a));
    TN_TRY(missing(run, a, key, out));
    if ((a->kind == TN_JINJA_LIST || a->kind == TN_JINJA_TEXT) && tn_jinja_as_integer(key, &index))
        return indexed(run, a, index, out);
    if (a->kind == TN_JINJA_MAPPING && scalar) TN_TRY(get_key(run, a->map, key, out));
    if (key->kind != TN_JINJA_TEXT || out->kind != TN_JINJA_UNDEFINED) return TN_OK;
    if (a->kind != TN_JINJA_MAPPING) TN_TRY(named(run, a, key, out));
    return out->kind == TN_JINJA_UNDEFINED ? bind_method(run, a, key->text, out) : TN_OK;
}

tn_status tn_jinja_attribute(tn_jinja_run *run, const tn_jinja_value *a, tn_jinja_text name, tn_jinja_value *out) {
    const tn_jinja_value key = tn_jinja_text_value(name);
    TN_TRY(tn_jinja_refuse_undefined(run, a));
    *out = tn_jinja_undefined(a->kind, name);
    TN_TRY(bind_method(run, a, name, out));
    return out->kind == TN_JINJA_UNDEFINED ? named(run, a, &key, out) : TN_OK;
}

/* ---- slices ---- */

static tn_status bound(tn_jinja_run *run, const tn_jinja_value *v, int64_t otherwise, int64_t *out) {
    *out = otherwise;
    if (v->kind == TN_JINJA_ABSENT || v->kind == TN_JINJA_NONE || tn_jinja_as_integer(v, out)) return TN_OK;
    TN_TRY(tn_jinja_refuse_undefined(run, v));
    return RUN_FAIL(run, MISMATCH, "a slice goes from integer to integer, not %s", tn_jinja_words(v->kind));
}

/* As Python's slice.indices(): the first index and how many there are. */
static tn_status slice_range(tn_jinja_run *run, const tn_jinja_value bounds[3], int64_t count, int64_t *first,
                             int64_t *step, size_t *n) {
    int64_t last;
    TN_TRY(bound(run, &bounds[2], 1, step));
    if (*step == 0) return RUN_FAIL(run, MISMATCH, "the step of a slice is 0");
    if (*step == INT64_MIN) *step = -INT64_MAX;
    int64_t low = *step < 0 ? -1 : 0, high = *step < 0 ? count - 1 : count;
    TN_TRY(bound(run, &bounds[0], *step < 0 ? INT64_MAX : 0, first));
    bool to_start = *step < 0 && (bounds[1].kind == TN_JINJA_ABSENT || bounds[1].kind == TN_JINJA_NONE);
    TN_TRY(bound(run, &bounds[1], INT64_MAX, &last));
    if (*first < 0) *first += count;
    if (last < 0) last += count;
    *first = TN_MAX(TN_MIN(*first, high), low);
    last = to_start ? -1 : TN_MAX(TN_MIN(last, high), low);
    int64_t distance = *step > 0 ? last - *first : *first - last, stride = *step > 0 ? *step : -*step;
    *n = distance > 0 ? (size_t)((distance - 1) / stride + 1) : 0;
    return TN_OK;
}

static tn_status slice_text(tn_jinja_run *run, const tn_jinja_value *a, int64_t first, int64_t step, size_t n,
                            tn_jinja_value *out) {
    tn_jinja_text t = a->text;
    size_t begin = byte_of(t, (size_t)first);
    if (step == 1) {
        size_t len = byte_of((tn_jinja_text){t.at + begin, t.len - begin}, n);
        *out = tn_jinja_text_value((tn_jinja_text){t.at + begin, len});
    } else {
        tn_jinja_value all;
        TN_TRY(characters(run, a, &all));
        size_t mark = tn_jinja_begin(run);
        for (size_t i = 0; i < n; i++, first += step) {
            tn_jinja_text one = all.list->items[first].text;
            TN_TRY(tn_jinja_put(run, one.at, one.len));
        }
        TN_TRY(tn_jinja_finish(run, mark, out));
    }
    out->safe = a->safe;
    return TN_OK;
}

tn_status tn_jinja_slice(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value bounds[3],
                         tn_jinja_value *out) {
    int64_t first, step;
    size_t n;
    TN_TRY(tn_jinja_refuse_undefined(run, a));
    bool list = a->kind == TN_JINJA_LIST && a->list->flavor <= TN_JINJA_RANGE;
    if (!list && a->kind != TN_JINJA_TEXT)
        return RUN_FAIL(run, MISMATCH, "%s cannot be sliced", tn_jinja_words(a->kind));
    size_t count = list ? a->list->count : tn_jinja_length(a->text);
    TN_TRY(tn_jinja_spend(run, list ? 1 : a->text.len / 8));
    TN_TRY(slice_range(run, bounds, (int64_t)count, &first, &step, &n));
    if (!n) first = 0;
    if (!list) return slice_text(run, a, first, step, n, out);
    TN_TRY(tn_jinja_new_list(run, a->list->flavor, step == 1 ? 0 : n, out));
    if (step == 1) {
        out->list->items = n ? a->list->items + first : NULL;
        out->list->count = out->list->cap = n;
    }
    for (size_t i = 0; i < n && step != 1; i++, first += step)
        TN_TRY(tn_jinja_push(run, out->list, &a->list->items[first]));
    return TN_OK;
}
