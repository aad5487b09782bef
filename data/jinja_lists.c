/* SPDX-License-Identifier: MIT
 * jinja_lists.c - filters and methods of lists and mappings. */
#include "data/jinja_priv.h"

#include <string.h>

/* ---- attributes by name ---- */

/* `owner`[key], or `otherwise` (unless that is NULL) where it is undefined. */
static tn_status dig_one(tn_jinja_run *run, tn_jinja_value owner, const tn_jinja_value *key,
                         const tn_jinja_value *otherwise, tn_jinja_value *out) {
    TN_TRY(tn_jinja_item(run, &owner, key, out));
    if (otherwise && out->kind == TN_JINJA_UNDEFINED) *out = *otherwise;
    return TN_OK;
}

/* The value of "a.b.0" in `item`, as the filters with `attribute` look it up; `item` itself for none. */
static tn_status dig(tn_jinja_run *run, const tn_jinja_value *item, const tn_jinja_value *path,
                     const tn_jinja_value *otherwise, tn_jinja_value *out) {
    *out = *item;
    if (path->kind == TN_JINJA_ABSENT || path->kind == TN_JINJA_NONE) return TN_OK;
    if (path->kind == TN_JINJA_INTEGER) return dig_one(run, *item, path, otherwise, out);
    if (path->kind != TN_JINJA_TEXT)
        return RUN_FAIL(run, MISMATCH, "%s: an attribute is a string or an integer, not %s", run->builtin->name,
                        tn_jinja_words(path->kind));
    for (size_t at = 0; at <= path->text.len;) {
        tn_jinja_text name = {path->text.at + at, path->text.len - at};
        const char *dot = name.len ? memchr(name.at, '.', name.len) : NULL;
        tn_jinja_value key;
        int64_t index = 0;
        if (dot) name.len = (size_t)(dot - name.at);
        size_t digits = 0;
        for (; digits < name.len && digits < 18 && name.at[digits] >= '0' && name.at[digits] <= '9'; digits++)
            index = 10 * index + (name.at[digits] - '0');
        key = name.len && digits == name.len ? tn_jinja_integer(index) : tn_jinja_text_value(name);
        TN_TRY(dig_one(run, *out, &key, otherwise, out));
        at += name.len + 1;
    }
    return TN_OK;
}

/* What orders and distinguishes items: the attribute, in lower case unless asked otherwise. */
static tn_status sort_key(tn_jinja_run *run, const tn_jinja_value *item, const tn_jinja_value *path,
                          bool case_sensitive, tn_jinja_value *out) {
    TN_TRY(dig(run, item, path, NULL, out));
    if (case_sensitive || out->kind != TN_JINJA_TEXT) return TN_OK;
    size_t mark = tn_jinja_begin(run);
    TN_TRY(tn_jinja_put_case(run, out->text, TN_JINJA_LOWER));
    return tn_jinja_finish(run, mark, out);
}

static tn_status sort_keys(tn_jinja_run *run, const tn_jinja_list *list, const tn_jinja_value *path,
                           bool case_sensitive, tn_jinja_value *out) {
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_PLAIN, list->count, out));
    for (size_t i = 0; i < list->count; i++) {
        tn_jinja_value key;
        TN_TRY(sort_key(run, &list->items[i], path, case_sensitive, &key));
        TN_TRY(tn_jinja_push(run, out->list, &key));
    }
    return TN_OK;
}

/* ---- size and ends ---- */

tn_status tn_jinja_do_length(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    size_t n = 0;
    (void)args;
    if (self->kind == TN_JINJA_TEXT) {
        n = tn_jinja_length(self->text);
        TN_TRY(tn_jinja_spend(run, self->text.len / 16));
    } else if (self->kind == TN_JINJA_MAPPING) {
        n = self->map->count;
    } else if (self->kind == TN_JINJA_LIST && self->list->flavor != TN_JINJA_GENERATOR) {
        n = self->list->count;
    } else if (self->kind != TN_JINJA_UNDEFINED) {
        bool generator = self->kind == TN_JINJA_LIST;
        return RUN_FAIL(run, MISMATCH, "%s has no length", generator ? "a generator" : tn_jinja_words(self->kind));
    }
    return *out = tn_jinja_integer((int64_t)n), TN_OK;
}

static tn_status no_item(tn_jinja_value *out) {
    *out = tn_jinja_undefined(TN_JINJA_LIST, tn_jinja_chars("item"));
    return TN_OK;
}

tn_status tn_jinja_do_first(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                            tn_jinja_value *out) {
    const tn_jinja_list *list;
    (void)args;
    if (self->kind == TN_JINJA_LIST && self->list->flavor == TN_JINJA_GENERATOR && self->list->count) {
        self->list->count--;
        return *out = *self->list->items++, TN_OK;
    }
    TN_TRY(tn_jinja_iterate(run, self, &list));
    return list->count ? (*out = list->items[0], TN_OK) : no_item(out);
}

tn_status tn_jinja_do_last(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                           tn_jinja_value *out) {
    const tn_jinja_list *list;
    (void)args;
    if (self->kind == TN_JINJA_LIST && self->list->flavor == TN_JINJA_GENERATOR)
        return RUN_FAIL(run, MISMATCH, "last: a generator has no end to look at, expected a list");
    TN_TRY(tn_jinja_iterate(run, self, &list));
    return list->count ? (*out = list->items[list->count - 1], TN_OK) : no_item(out);
}

tn_status tn_jinja_do_list(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                           tn_jinja_value *out) {
    const tn_jinja_list *list;
    (void)args;
    TN_TRY(tn_jinja_iterate(run, self, &list));
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_PLAIN, 0, out));
    *out->list = *list;
    out->list->flavor = TN_JINJA_PLAIN;
    return TN_OK;
}

/* A list in place of a generator, for a generator of another order. */
static tn_status reversed(tn_jinja_run *run, const tn_jinja_list *list, tn_jinja_flavor flavor, tn_jinja_value *out) {
    TN_TRY(tn_jinja_new_list(run, flavor, list->count, out));
    for (size_t i = list->count; i > 0; i--) TN_TRY(tn_jinja_push(run, out->list, &list->items[i - 1]));
    return TN_OK;
}

tn_status tn_jinja_do_reverse(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                              tn_jinja_value *out) {
    const tn_jinja_list *list;
    (void)args;
    if (self->kind == TN_JINJA_TEXT) {
        const tn_jinja_value bounds[3] = {tn_jinja_none(), tn_jinja_none(), tn_jinja_integer(-1)};
        return tn_jinja_slice(run, self, bounds, out);
    }
    bool generator = self->kind == TN_JINJA_LIST && self->list->flavor == TN_JINJA_GENERATOR;
    TN_TRY(tn_jinja_iterate(run, self, &list));
    return reversed(run, list, generator ? TN_JINJA_PLAIN : TN_JINJA_GENERATOR, out);
}

/* ---- order ---- */

static tn_status ordered(tn_jinja_run *run, const tn_jinja_list *list, const tn_jinja_list *keys, bool reverse,
                         tn_jinja_value *out) {
    void *order;
    TN_TRY(tn_jinja_take(run, list->count + 1, sizeof(size_t), &order));
    TN_TRY(tn_jinja_sort(run, keys->items, list->count, reverse, order));
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_PLAIN, list->count, out));
    for (size_t i = 0; i < list->count; i++) TN_TRY(tn_jinja_push(run, out->list, &list->items[((size_t *)order)[i]]));
    return TN_OK;
}

tn_status tn_jinja_do_sort(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                           tn_jinja_value *out) {
    const tn_jinja_list *list;
    tn_jinja_value keys;
    TN_TRY(tn_jinja_iterate(run, self, &list));
    TN_TRY(sort_keys(run, list, &args->list[2], tn_jinja_truth(&args->list[1]), &keys));
    /* Each key in a list of its own, as in jinja2: equal values then need no order. */
    for (size_t i = 0; i < keys.list->count; i++) {
        tn_jinja_value key = keys.list->items[i];
        TN_TRY(tn_jinja_new_list(run, TN_JINJA_PLAIN, 1, &keys.list->items[i]));
        TN_TRY(tn_jinja_push(run, keys.list->items[i].list, &key));
    }
    return ordered(run, list, keys.list, tn_jinja_truth(&args->list[0]), out);
}

static tn_status pairs_of(tn_jinja_run *run, const tn_jinja_map *map, tn_jinja_flavor flavor, tn_jinja_value *out) {
    TN_TRY(tn_jinja_new_list(run, flavor, map->count, out));
    for (size_t i = 0; i < map->count; i++) {
        tn_jinja_value pair;
        TN_TRY(tn_jinja_pair(run, &map->keys[i], &map->values[i], &pair));
        TN_TRY(tn_jinja_push(run, out->list, &pair));
    }
    return TN_OK;
}

static tn_status expect_mapping(tn_jinja_run *run, const tn_jinja_value *v) {
    if (v->kind == TN_JINJA_MAPPING) return TN_OK;
    TN_TRY(tn_jinja_refuse_undefined(run, v));
    return RUN_FAIL(run, MISMATCH, "%s: expected a mapping, not %s", run->builtin->name, tn_jinja_words(v->kind));
}

tn_status tn_jinja_do_dictsort(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                               tn_jinja_value *out) {
    tn_jinja_value pairs, keys, by = args->list[1], position = tn_jinja_integer(0);
    TN_TRY(expect_mapping(run, self));
    if (by.kind == TN_JINJA_TEXT && tn_jinja_text_is(by.text, "value"))
        position.integer = 1;
    else if (by.kind != TN_JINJA_ABSENT && !(by.kind == TN_JINJA_TEXT && tn_jinja_text_is(by.text, "key")))
        return RUN_FAIL(run, MISMATCH, "dictsort: \"by\" is neither \"key\" nor \"value\"");
    TN_TRY(pairs_of(run, self->map, TN_JINJA_PLAIN, &pairs));
    TN_TRY(sort_keys(run, pairs.list, &position, tn_jinja_truth(&args->list[0]), &keys));
    return ordered(run, pairs.list, keys.list, tn_jinja_truth(&args->list[2]), out);
}

tn_status tn_jinja_do_unique(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    const tn_jinja_list *list;
    tn_jinja_value keys, seen;
    TN_TRY(tn_jinja_iterate(run, self, &list));
    TN_TRY(sort_keys(run, list, &args->list[1], tn_jinja_truth(&args->list[0]), &keys));
    TN_TRY(tn_jinja_new_map(run, TN_JINJA_MAPPING, 0, &seen));
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_GENERATOR, 0, out));
    for (size_t i = 0; i < list->count; i++) {
        const tn_jinja_value *key = &keys.list->items[i], *found;
        TN_TRY(tn_jinja_find_key(run, seen.map, key, &found));
        if (found) continue;
        TN_TRY(tn_jinja_put_key(run, seen.map, key, key));
        TN_TRY(tn_jinja_push(run, out->list, &list->items[i]));
    }
    return TN_OK;
}

/* The item with the smallest or largest key; the first of equals. */
static tn_status extreme(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                         tn_jinja_operator better, tn_jinja_value *out) {
    const tn_jinja_list *list;
    tn_jinja_value keys;
    size_t best = 0;
    TN_TRY(tn_jinja_iterate(run, self, &list));
    TN_TRY(sort_keys(run, list, &args->list[1], tn_jinja_truth(&args->list[0]), &keys));
    if (!list->count) return no_item(out);
    for (size_t i = 1; i < list->count; i++) {
        bool wins;
        TN_TRY(tn_jinja_compare(run, better, &keys.list->items[i], &keys.list->items[best], &wins));
        if (wins) best = i;
    }
    return *out = list->items[best], TN_OK;
}

tn_status tn_jinja_do_max(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                          tn_jinja_value *out) {
    return extreme(run, self, args, TN_JINJA_GREATER, out);
}

tn_status tn_jinja_do_min(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                          tn_jinja_value *out) {
    return extreme(run, self, args, TN_JINJA_LESS, out);
}

/* ---- all items into one value ---- */

tn_status tn_jinja_do_sum(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                          tn_jinja_value *out) {
    const tn_jinja_list *list;
    TN_TRY(tn_jinja_iterate(run, self, &list));
    *out = args->list[1].kind == TN_JINJA_ABSENT ? tn_jinja_integer(0) : args->list[1];
    if (out->kind == TN_JINJA_TEXT) return RUN_FAIL(run, MISMATCH, "sum: strings are joined, not added up");
    for (size_t i = 0; i < list->count; i++) {
        tn_jinja_value item, sum = *out;
        TN_TRY(dig(run, &list->items[i], &args->list[0], NULL, &item));
        TN_TRY(tn_jinja_arithmetic(run, TN_JINJA_ADD, &sum, &item, out));
    }
    return TN_OK;
}

tn_status tn_jinja_do_join(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                           tn_jinja_value *out) {
    const tn_jinja_list *list;
    tn_jinja_text between = {"", 0};
    if (args->list[0].kind != TN_JINJA_ABSENT) TN_TRY(tn_jinja_string(run, &args->list[0], &between));
    TN_TRY(tn_jinja_iterate(run, self, &list));
    size_t mark = tn_jinja_begin(run);
    for (size_t i = 0; i < list->count; i++) {
        tn_jinja_value item;
        if (i) TN_TRY(tn_jinja_put(run, between.at, between.len));
        TN_TRY(dig(run, &list->items[i], &args->list[1], NULL, &item));
        TN_TRY(tn_jinja_print(run, &item));
    }
    return tn_jinja_finish(run, mark, out);
}

/* ---- each item by itself ---- */

/* The arguments behind the first `n`. */
static tn_jinja_args rest(const tn_jinja_args *args, size_t n) {
    tn_jinja_args more = *args;
    more.list += n;
    more.count -= n;
    return more;
}

static tn_status expect_text(tn_jinja_run *run, const tn_jinja_args *args, size_t i, const char *what,
                             tn_jinja_text *out) {
    if (i >= args->count || args->list[i].kind != TN_JINJA_TEXT)
        return RUN_FAIL(run, MISMATCH, "%s: expected the name of a %s", run->builtin->name, what);
    *out = args->list[i].text;
    return TN_OK;
}

static tn_status map_attribute(tn_jinja_run *run, const tn_jinja_list *list, const tn_jinja_args *args,
                               tn_jinja_value *out) {
    const tn_jinja_value *path = NULL, *otherwise = NULL;
    for (size_t i = 0; i < args->n_named; i++) {
        const tn_jinja_value **to = tn_jinja_text_is(args->named[i].name, "attribute") ? &path
                                    : tn_jinja_text_is(args->named[i].name, "default") ? &otherwise
                                                                                       : NULL;
        if (!to) return RUN_FAIL(run, MISMATCH, "map: has no parameter \"%.*s\"", TEXT_SHOWN(args->named[i].name));
        *to = &args->named[i].value;
    }
    if (otherwise && otherwise->kind == TN_JINJA_NONE) otherwise = NULL;
    if (!path) return RUN_FAIL(run, MISMATCH, "map: expected the name of a filter, or attribute=");
    for (size_t i = 0; i < list->count; i++) {
        tn_jinja_value item;
        TN_TRY(dig(run, &list->items[i], path, otherwise, &item));
        TN_TRY(tn_jinja_push(run, out->list, &item));
    }
    return TN_OK;
}

static tn_status map_filter(tn_jinja_run *run, const tn_jinja_list *list, const tn_jinja_args *args,
                            tn_jinja_value *out) {
    tn_jinja_text name;
    TN_TRY(expect_text(run, args, 0, "filter", &name));
    const tn_jinja_builtin *filter = tn_jinja_find_filter(name);
    const tn_jinja_args more = rest(args, 1);
    if (!filter) return RUN_FAIL(run, UNSUPPORTED, "there is no filter \"%.*s\"", TEXT_SHOWN(name));
    for (size_t i = 0; i < list->count; i++) {
        tn_jinja_value item;
        TN_TRY(tn_jinja_call_builtin(run, filter, &list->items[i], &more, &item));
        TN_TRY(tn_jinja_push(run, out->list, &item));
    }
    return TN_OK;
}

tn_status tn_jinja_do_map(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                          tn_jinja_value *out) {
    const tn_jinja_list *list;
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_GENERATOR, 0, out));
    if (!tn_jinja_truth(self)) return TN_OK;
    TN_TRY(tn_jinja_iterate(run, self, &list));
    return args->count ? map_filter(run, list, args, out) : map_attribute(run, list, args, out);
}

/* Those items whose attribute (when `has_path`), or which themselves, pass the test that the arguments name; without
 * a test, those that are true. */
static tn_status choose(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args, bool has_path,
                        bool wanted, tn_jinja_value *out) {
    const tn_jinja_list *list;
    const tn_jinja_builtin *test = NULL;
    const tn_jinja_value absent = {.kind = TN_JINJA_ABSENT}, *path = has_path ? args->list : &absent;
    tn_jinja_args more = {.count = 0};
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_GENERATOR, 0, out));
    if (!tn_jinja_truth(self)) return TN_OK;
    if (has_path && !args->count) return RUN_FAIL(run, MISMATCH, "%s: expected an attribute", run->builtin->name);
    if (args->count > has_path) {
        tn_jinja_text name;
        TN_TRY(expect_text(run, args, has_path, "test", &name));
        test = tn_jinja_find_test(name);
        if (!test) return RUN_FAIL(run, UNSUPPORTED, "there is no test \"%.*s\"", TEXT_SHOWN(name));
        more = rest(args, has_path + 1);
    }
    TN_TRY(tn_jinja_iterate(run, self, &list));
    for (size_t i = 0; i < list->count; i++) {
        tn_jinja_value item, passed;
        TN_TRY(tn_jinja_spend(run, 1));
        TN_TRY(dig(run, &list->items[i], path, NULL, &item));
        passed = item;
        if (test) TN_TRY(tn_jinja_call_builtin(run, test, &item, &more, &passed));
        if (tn_jinja_truth(&passed) == wanted) TN_TRY(tn_jinja_push(run, out->list, &list->items[i]));
    }
    return TN_OK;
}

tn_status tn_jinja_do_select(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    return choose(run, self, args, false, true, out);
}

tn_status tn_jinja_do_reject(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    return choose(run, self, args, false, false, out);
}

tn_status tn_jinja_do_selectattr(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                 tn_jinja_value *out) {
    return choose(run, self, args, true, true, out);
}

tn_status tn_jinja_do_rejectattr(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                 tn_jinja_value *out) {
    return choose(run, self, args, true, false, out);
}

/* ---- mappings ---- */

tn_status tn_jinja_do_items(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                            tn_jinja_value *out) {
    (void)args;
    if (self->kind == TN_JINJA_UNDEFINED) return tn_jinja_new_list(run, TN_JINJA_GENERATOR, 0, out);
    TN_TRY(expect_mapping(run, self));
    return pairs_of(run, self->map, TN_JINJA_GENERATOR, out);
}

tn_status tn_jinja_do_items_view(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                 tn_jinja_value *out) {
    (void)args;
    return pairs_of(run, self->map, TN_JINJA_VIEW, out);
}

static tn_status view(tn_jinja_run *run, tn_jinja_value *items, size_t count, tn_jinja_value *out) {
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_VIEW, 0, out));
    out->list->items = items;
    out->list->count = out->list->cap = count;
    return TN_OK;
}

tn_status tn_jinja_do_keys(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                           tn_jinja_value *out) {
    (void)args;
    return view(run, self->map->keys, self->map->count, out);
}

tn_status tn_jinja_do_values(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    (void)args;
    return view(run, self->map->values, self->map->count, out);
}

tn_status tn_jinja_do_get(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                          tn_jinja_value *out) {
    const tn_jinja_value *found;
    if (args->list[0].kind == TN_JINJA_ABSENT) return RUN_FAIL(run, MISMATCH, "get: expected a key");
    TN_TRY(tn_jinja_find_key(run, self->map, &args->list[0], &found));
    *out = found ? *found : args->list[1].kind == TN_JINJA_ABSENT ? tn_jinja_none() : args->list[1];
    return TN_OK;
}

/* ---- lists ---- */

tn_status tn_jinja_do_count_list(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                 tn_jinja_value *out) {
    int64_t n = 0;
    TN_TRY(tn_jinja_spend(run, self->list->count / 4));
    for (size_t i = 0; i < self->list->count; i++) {
        bool same;
        TN_TRY(tn_jinja_equal(run, &self->list->items[i], &args->list[0], &same));
        n += same;
    }
    return *out = tn_jinja_integer(n), TN_OK;
}

tn_status tn_jinja_do_index(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                            tn_jinja_value *out) {
    bool same = false;
    size_t i = 0;
    TN_TRY(tn_jinja_spend(run, self->list->count / 4));
    for (; i < self->list->count && !same; i++)
        TN_TRY(tn_jinja_equal(run, &self->list->items[i], &args->list[0], &same));
    if (!same) return RUN_FAIL(run, MISMATCH, "index: the value is not in the list");
    return *out = tn_jinja_integer((int64_t)i - 1), TN_OK;
}

tn_status tn_jinja_do_change(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    (void)args;
    (void)out;
    return RUN_FAIL(run, UNSUPPORTED, "%s would change %s in place; templates make new values (a + [b])",
                    run->builtin->name, tn_jinja_words(self->kind));
}
