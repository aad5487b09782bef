/* SPDX-License-Identifier: MIT
 * jinja_value.c - making values, and what a run may spend on them. */
#include "data/jinja_priv.h"

#include <string.h>

enum { TEXT_CHUNK = 16 << 10, BYTES_A_STEP = 32, KEY_DEPTH = 8 };

/* ---- limits ---- */

tn_status tn_jinja_spend(tn_jinja_run *run, size_t steps) {
    run->steps -= (int64_t)TN_MIN(steps, (size_t)INT64_MAX / 2);
    if (run->steps >= 0) return TN_OK;
    return RUN_FAIL(run, RANGE, "the template takes more than %lld steps", (long long)run->options.max_steps);
}

tn_status tn_jinja_enter(tn_jinja_run *run) {
    TN_TRY(tn_jinja_spend(run, 1));
    if (++run->depth <= TN_JINJA_DEPTH_MAX) return TN_OK;
    return RUN_FAIL(run, RANGE, "calls or values are nested deeper than %d levels", TN_JINJA_DEPTH_MAX);
}

tn_status tn_jinja_take(tn_jinja_run *run, size_t count, size_t size, void **out) {
    size_t bytes = count > SIZE_MAX / 2 / size ? SIZE_MAX / 2 : TN_ROUND_UP(count * size, TN_ALIGN);
    if (bytes > run->memory)
        return RUN_FAIL(run, RANGE, "the template takes more than %zu bytes for its values", run->options.max_memory);
    run->memory -= bytes;
    TN_TRY(tn_jinja_spend(run, bytes / BYTES_A_STEP));
    *out = tn_arena_zalloc(run->arena, count, size, "template values");
    return *out ? TN_OK : TN_E_NOMEM;
}

/* ---- scalars ---- */

tn_jinja_value tn_jinja_none(void) { return (tn_jinja_value){.kind = TN_JINJA_NONE}; }
tn_jinja_value tn_jinja_boolean(bool truth) { return (tn_jinja_value){.kind = TN_JINJA_BOOLEAN, .truth = truth}; }
tn_jinja_value tn_jinja_real(double real) { return (tn_jinja_value){.kind = TN_JINJA_REAL, .real = real}; }

tn_jinja_value tn_jinja_integer(int64_t integer) {
    return (tn_jinja_value){.kind = TN_JINJA_INTEGER, .integer = integer};
}

tn_jinja_value tn_jinja_text_value(tn_jinja_text text) {
    return (tn_jinja_value){.kind = TN_JINJA_TEXT, .safe = false, .text = text};
}

tn_jinja_value tn_jinja_undefined(tn_jinja_kind owner, tn_jinja_text name) {
    return (tn_jinja_value){.kind = TN_JINJA_UNDEFINED, .owner = owner, .text = name};
}

tn_jinja_text tn_jinja_chars(const char *text) { return (tn_jinja_text){text, strlen(text)}; }

bool tn_jinja_text_is(tn_jinja_text t, const char *word) {
    return strlen(word) == t.len && memcmp(word, t.at, t.len) == 0;
}

const char *tn_jinja_words(tn_jinja_kind kind) {
    static const char *const words[] = {
#define KIND(name, words) words,
#include "data/jinja.def"
    };
    return words[kind];
}

/* ---- texts ---- */

/* `len` bytes at the tail, which moves past them. */
static tn_status text_room(tn_jinja_run *run, size_t len, char **out) {
    if ((size_t)(run->tail_end - run->tail) < len) {
        size_t size = TN_MAX((size_t)TEXT_CHUNK, len > SIZE_MAX / 4 ? len : 2 * len);
        void *chunk;
        TN_TRY(tn_jinja_take(run, size, 1, &chunk));
        run->chunk = run->tail = chunk;
        run->tail_end = run->tail + size;
    }
    TN_TRY(tn_jinja_spend(run, len / BYTES_A_STEP));
    *out = run->tail;
    run->tail += len;
    return TN_OK;
}

tn_status tn_jinja_copy_text(tn_jinja_run *run, const char *at, size_t len, tn_jinja_value *out) {
    char *copy;
    TN_TRY(text_room(run, len, &copy));
    if (len) memcpy(copy, at, len);
    *out = tn_jinja_text_value((tn_jinja_text){copy, len});
    return TN_OK;
}

tn_status tn_jinja_join_texts(tn_jinja_run *run, tn_jinja_text a, tn_jinja_text b, tn_jinja_value *out) {
    char *room;
    /* A text that ends at the tail grows in place, so that one put together piece by piece is not copied each time. */
    bool last = a.len && a.at >= run->chunk && a.at + a.len == run->tail;
    bool grows = last && (size_t)(run->tail_end - run->tail) >= b.len;
    TN_TRY(text_room(run, grows ? b.len : a.len + b.len, &room));
    if (!grows && a.len) memcpy(room, a.at, a.len);
    if (b.len) memcpy(grows ? room : room + a.len, b.at, b.len);
    *out = tn_jinja_text_value((tn_jinja_text){grows ? a.at : room, a.len + b.len});
    return TN_OK;
}

size_t tn_jinja_begin(tn_jinja_run *run) {
    run->captures++;
    return run->out->len;
}

tn_status tn_jinja_put(tn_jinja_run *run, const char *at, size_t len) {
    if (len > run->options.max_output - (run->out->len - run->out_start))
        return RUN_FAIL(run, RANGE, "the template makes a text of more than %zu bytes", run->options.max_output);
    TN_TRY(tn_jinja_spend(run, len / BYTES_A_STEP));
    return tn_buf_append(run->out, at, len);
}

tn_status tn_jinja_finish(tn_jinja_run *run, size_t mark, tn_jinja_value *out) {
    size_t len = run->out->len - mark;
    TN_TRY(tn_jinja_copy_text(run, len ? run->out->data + mark : "", len, out));
    run->out->len = mark;
    if (len) run->out->data[mark] = '\0';
    run->captures--;
    return TN_OK;
}

/* ---- lists and mappings ---- */

tn_status tn_jinja_new_list(tn_jinja_run *run, tn_jinja_flavor flavor, size_t cap, tn_jinja_value *out) {
    void *list, *items = NULL;
    TN_TRY(tn_jinja_take(run, 1, sizeof(tn_jinja_list), &list));
    if (cap) TN_TRY(tn_jinja_take(run, cap, sizeof(tn_jinja_value), &items));
    *out = (tn_jinja_value){.kind = TN_JINJA_LIST, .list = list};
    *out->list = (tn_jinja_list){.items = items, .cap = cap, .flavor = flavor};
    return TN_OK;
}

/* Room for one more in an array that keeps its contents. */
static tn_status grow(tn_jinja_run *run, void **array, size_t count, size_t cap, size_t size) {
    void *larger;
    TN_TRY(tn_jinja_take(run, cap, size, &larger));
    if (count) memcpy(larger, *array, count * size);
    *array = larger;
    return TN_OK;
}

tn_status tn_jinja_push(tn_jinja_run *run, tn_jinja_list *list, const tn_jinja_value *item) {
    if (list->count == list->cap) {
        void *items = list->items;
        list->cap = 2 * list->cap + 4;
        TN_TRY(grow(run, &items, list->count, list->cap, sizeof *item));
        list->items = items;
    }
    list->items[list->count++] = *item;
    return TN_OK;
}

tn_status tn_jinja_pair(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *b, tn_jinja_value *out) {
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_TUPLE, 2, out));
    TN_TRY(tn_jinja_push(run, out->list, a));
    return tn_jinja_push(run, out->list, b);
}

tn_status tn_jinja_new_map(tn_jinja_run *run, tn_jinja_kind kind, size_t cap, tn_jinja_value *out) {
    void *map, *keys = NULL, *values = NULL;
    TN_TRY(tn_jinja_take(run, 1, sizeof(tn_jinja_map), &map));
    if (cap) TN_TRY(tn_jinja_take(run, cap, sizeof(tn_jinja_value), &keys));
    if (cap) TN_TRY(tn_jinja_take(run, cap, sizeof(tn_jinja_value), &values));
    *out = (tn_jinja_value){.kind = kind, .map = map};
    *out->map = (tn_jinja_map){.keys = keys, .values = values, .cap = cap};
    return TN_OK;
}

static tn_status append_pair(tn_jinja_run *run, tn_jinja_map *map, const tn_jinja_value *key,
                             const tn_jinja_value *value) {
    if (map->count == map->cap) {
        void *keys = map->keys, *values = map->values;
        map->cap = 2 * map->cap + 4;
        TN_TRY(grow(run, &keys, map->count, map->cap, sizeof *key));
        TN_TRY(grow(run, &values, map->count, map->cap, sizeof *value));
        map->keys = keys;
        map->values = values;
    }
    map->keys[map->count] = *key;
    map->values[map->count++] = *value;
    return TN_OK;
}

/* What Python can hash. */
static bool is_key(const tn_jinja_value *v, int depth) {
    if (v->kind != TN_JINJA_LIST) return v->kind != TN_JINJA_MAPPING;
    if (v->list->flavor == TN_JINJA_RANGE || v->list->flavor == TN_JINJA_GENERATOR) return true;
    if (v->list->flavor != TN_JINJA_TUPLE || depth == KEY_DEPTH) return false;
    for (size_t i = 0; i < v->list->count; i++)
        if (!is_key(&v->list->items[i], depth + 1)) return false;
    return true;
}

tn_status tn_jinja_find_key(tn_jinja_run *run, const tn_jinja_map *map, const tn_jinja_value *key,
                            const tn_jinja_value **out) {
    *out = NULL;
    if (!is_key(key, 0)) return RUN_FAIL(run, MISMATCH, "%s cannot be the key of a mapping", tn_jinja_words(key->kind));
    TN_TRY(tn_jinja_spend(run, map->count / 8));
    for (size_t i = 0; i < map->count; i++) {
        bool same;
        TN_TRY(tn_jinja_equal(run, &map->keys[i], key, &same));
        if (same) return *out = &map->values[i], TN_OK;
    }
    return TN_OK;
}

tn_status tn_jinja_put_key(tn_jinja_run *run, tn_jinja_map *map, const tn_jinja_value *key,
                           const tn_jinja_value *value) {
    const tn_jinja_value *found;
    TN_TRY(tn_jinja_find_key(run, map, key, &found));
    if (!found) return append_pair(run, map, key, value);
    map->values[found - map->values] = *value;
    return TN_OK;
}

/* ---- JSON ---- */

static tn_status list_from_json(tn_jinja_run *run, const json_t *json, tn_jinja_value *out) {
    size_t n = json_array_size(json);
    TN_TRY(tn_jinja_new_list(run, TN_JINJA_PLAIN, n, out));
    for (size_t i = 0; i < n; i++) {
        tn_jinja_value item;
        TN_TRY(tn_jinja_from_json(run, json_array_get(json, i), &item));
        TN_TRY(tn_jinja_push(run, out->list, &item));
    }
    return TN_OK;
}

static tn_status map_from_json(tn_jinja_run *run, const json_t *json, tn_jinja_value *out) {
    json_t *object = (json_t *)(uintptr_t)json; /* jansson iterates over what it will not change as if it might */
    TN_TRY(tn_jinja_new_map(run, TN_JINJA_MAPPING, json_object_size(json), out));
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        tn_jinja_value key =
                           tn_jinja_text_value((tn_jinja_text){json_object_iter_key(at), json_object_iter_key_len(at)}),
                       value;
        TN_TRY(tn_jinja_from_json(run, json_object_iter_value(at), &value));
        TN_TRY(append_pair(run, out->map, &key, &value));
    }
    return TN_OK;
}

/* Texts are borrowed: the caller keeps the context for as long as the run lasts. */
tn_status tn_jinja_from_json(tn_jinja_run *run, const json_t *json, tn_jinja_value *out) {
    TN_TRY(tn_jinja_enter(run));
    if (json_is_array(json))
        TN_TRY(list_from_json(run, json, out));
    else if (json_is_object(json))
        TN_TRY(map_from_json(run, json, out));
    else if (json_is_string(json))
        *out = tn_jinja_text_value((tn_jinja_text){json_string_value(json), json_string_length(json)});
    else if (json_is_integer(json))
        *out = tn_jinja_integer(json_integer_value(json));
    else if (json_is_real(json))
        *out = tn_jinja_real(json_real_value(json));
    else
        *out = json_is_null(json) ? tn_jinja_none() : tn_jinja_boolean(json_is_true(json));
    run->depth--;
    return TN_OK;
}
