/* SPDX-License-Identifier: MIT */
#include "infer/answer_file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/fs.h"
#include "core/log.h"
#include "formats/checksum.h"
#include "formats/json_text.h"

enum { VERSION = 1, PATH_SIZE = 4096, MAX_STATE = 1 << 24 };

struct tn_answer_file {
    char path[PATH_SIZE], state[PATH_SIZE];
    tn_lock lock;
    int64_t seed, count, n_rows; /* rows: at most so many in the input */
    uint64_t *seen;              /* [n_rows] bits */
};

static tn_status put_line(const json_t *value, tn_buf *out) {
    TN_TRY(tn_json_text_put(value, out));
    return tn_buf_putc(out, '\n');
}

/* ---- what the answers belong to ---- */

static void hash_text(const char *text, size_t len, char hex[17]) {
    snprintf(hex, 17, "%016llx", (unsigned long long)tn_checksum64(text, len));
}

static tn_status write_state(const tn_answer_file *f, const tn_answer_origin *origin) {
    char hash[17];
    tn_buf line = {0};
    hash_text(origin->input, origin->input_len, hash);
    json_t *state = json_pack("{s:i, s:{s:I, s:s}, s:s, s:I, s:O}", "version", VERSION, "input", "bytes",
                              (json_int_t)origin->input_len, "hash", hash, "model", origin->model, "seed",
                              (json_int_t)f->seed, "settings", origin->settings);
    tn_status status = put_line(state, &line);
    if (!status) status = tn_file_write(f->state, line.data, line.len);
    tn_buf_release(&line);
    json_decref(state);
    return status;
}

static tn_status differs(const tn_answer_file *f, const char *part) {
    return TN_FAIL(MISMATCH, "%s: its answers belong to another %s; give the same one, another output, or --restart",
                   f->path, part);
}

/* The input may have grown at its end, by whole lines. */
static tn_status check_input(const tn_answer_file *f, const json_t *state, const tn_answer_origin *origin) {
    const json_t *input = json_object_get(state, "input");
    const char *hash = json_string_value(json_object_get(input, "hash"));
    json_int_t bytes = json_integer_value(json_object_get(input, "bytes"));
    char ours[17];
    if (!hash || bytes < 0 || (size_t)bytes > origin->input_len) return differs(f, "input");
    size_t len = (size_t)bytes;
    bool whole = len == origin->input_len || (len && origin->input[len - 1] == '\n');
    hash_text(origin->input, len, ours);
    return whole && strcmp(hash, ours) == 0 ? TN_OK : differs(f, "input");
}

/* `ours` and `theirs` are one of the settings, NULL where it is not there. Numbers are compared as they are written. */
static tn_status check_setting(const tn_answer_file *f, const char *key, const json_t *theirs, const json_t *ours) {
    tn_buf was = {0}, is = {0};
    tn_status status = theirs ? tn_json_text_put(theirs, &was) : tn_buf_puts(&was, "nothing");
    if (!status) status = ours ? tn_json_text_put(ours, &is) : tn_buf_puts(&is, "nothing");
    if (!status && strcmp(was.data, is.data) != 0)
        status = TN_FAIL(MISMATCH,
                         "%s: was begun with \"%s\" = %s, not %s; give the same setting, another output, or --restart",
                         f->path, key, was.data, is.data);
    tn_buf_release(&was);
    tn_buf_release(&is);
    return status;
}

static tn_status check_settings(const tn_answer_file *f, const json_t *theirs, const json_t *ours) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)ours, key, value) {
        TN_TRY(check_setting(f, key, json_object_get(theirs, key), value));
    }
    json_object_foreach((json_t *)(uintptr_t)theirs, key, value) {
        TN_TRY(check_setting(f, key, value, json_object_get(ours, key)));
    }
    return TN_OK;
}

static tn_status check_state(tn_answer_file *f, const json_t *state, const tn_answer_origin *origin) {
    const char *model = json_string_value(json_object_get(state, "model"));
    const json_t *seed = json_object_get(state, "seed");
    if (json_integer_value(json_object_get(state, "version")) != VERSION || !model || !json_is_integer(seed))
        return TN_FAIL(CORRUPT, "%s: is no state of a batch, expected \"version\": %d, \"model\" and \"seed\"",
                       f->state, VERSION);
    TN_TRY(check_input(f, state, origin));
    if (strcmp(model, origin->model) != 0) return differs(f, "model");
    TN_TRY(check_settings(f, json_object_get(state, "settings"), origin->settings));
    f->seed = json_integer_value(seed);
    if (origin->seed >= 0 && origin->seed != f->seed)
        return TN_FAIL(MISMATCH,
                       "%s: was begun with seed %lld, not %lld; give the same one, another output, or --restart",
                       f->path, (long long)f->seed, (long long)origin->seed);
    return TN_OK;
}

static tn_status read_state(tn_answer_file *f, const tn_answer_origin *origin) {
    tn_buf text = {0};
    json_error_t error;
    tn_status status = tn_file_read(f->state, MAX_STATE, &text);
    if (!status) {
        json_t *state = json_loadb(tn_buf_text(&text), text.len, JSON_REJECT_DUPLICATES, &error);
        status = state ? check_state(f, state, origin)
                       : TN_FAIL(CORRUPT, "%s:%d: %s, expected the state of a batch", f->state, error.line, error.text);
        json_decref(state);
    }
    tn_buf_release(&text);
    return status;
}

/* ---- the answers that are there ---- */

static tn_status read_answer(tn_answer_file *f, const char *line, size_t len, int64_t number) {
    json_error_t error;
    json_t *answer = json_loadb(line, len, 0, &error);
    const json_t *index = json_object_get(answer, "index");
    int64_t at = json_integer_value(index);
    tn_status status = TN_OK;
    if (!answer)
        status = TN_FAIL(CORRUPT, "%s:%lld: %s, expected an answer", f->path, (long long)number, error.text);
    else if (!json_is_integer(index) || at < 0 || at >= f->n_rows)
        status = TN_FAIL(CORRUPT, "%s:%lld: has no \"index\" of a row of the input", f->path, (long long)number);
    else if (!tn_answer_file_has(f, at)) {
        f->seen[at / 64] |= 1ULL << at % 64;
        f->count++;
    }
    json_decref(answer);
    return status;
}

static tn_status read_answers(tn_answer_file *f, const tn_map *map, size_t *whole) {
    const char *text = (const char *)map->data;
    int64_t number = 0;
    *whole = 0;
    for (const char *end; (end = memchr(text + *whole, '\n', map->size - *whole)) != NULL;) {
        TN_TRY(read_answer(f, text + *whole, (size_t)(end - text) - *whole, ++number));
        *whole = (size_t)(end - text) + 1;
    }
    return TN_OK;
}

static tn_status cut_file(const tn_answer_file *f, size_t len) {
    return truncate(f->path, (off_t)len) == 0 ? TN_OK : tn_fail_errno(f->path, "shorten");
}

static tn_status go_on(tn_answer_file *f, const tn_map *map, const tn_answer_origin *origin) {
    size_t whole;
    TN_TRY(read_state(f, origin));
    TN_TRY(read_answers(f, map, &whole));
    if (whole < map->size) {
        tn_log(TN_LOG_WARN, "batch", "%s: its last line was only half written, and is cut off", f->path);
        TN_TRY(cut_file(f, whole));
    }
    return write_state(f, origin);
}

static tn_status begin(tn_answer_file *f, const tn_answer_origin *origin) {
    f->seed = origin->seed >= 0 ? origin->seed : origin->new_seed;
    TN_TRY(cut_file(f, 0));
    return write_state(f, origin);
}

static tn_status start(tn_answer_file *f, const tn_answer_origin *origin, tn_answer_start how) {
    tn_map map;
    TN_TRY(tn_map_init(&map, f->path));
    tn_status status;
    if (map.size && !tn_path_exists(f->state))
        status =
            TN_FAIL(MISMATCH, "%s: is there, and without %s beside it, so it is no output of a batch; choose another",
                    f->path, f->state);
    else
        status = map.size && how == TN_ANSWERS_GO_ON ? go_on(f, &map, origin) : begin(f, origin);
    tn_map_release(&map);
    return status;
}

/* ---- life ---- */

static tn_status open_file(tn_answer_file *f, const char *path, const tn_answer_origin *origin, tn_answer_start how) {
    const char *special = tn_path_special(path);
    if (special) return TN_FAIL(IO, "%s: is %s, expected a file to which answers can be added", path, special);
    if (snprintf(f->path, PATH_SIZE, "%s", path) >= PATH_SIZE ||
        snprintf(f->state, PATH_SIZE, "%s.state", path) >= PATH_SIZE)
        return TN_FAIL(RANGE, "%.60s...: path is too long", path);
    f->n_rows = 1;
    for (size_t i = 0; i < origin->input_len; i++) f->n_rows += origin->input[i] == '\n';
    f->seen = tn_heap_zalloc((size_t)f->n_rows / 64 + 1, sizeof *f->seen);
    if (!f->seen) return TN_E_NOMEM;
    TN_TRY(tn_lock_take(&f->lock, path));
    return start(f, origin, how);
}

tn_status tn_answer_file_open(tn_answer_file **out, const char *path, const tn_answer_origin *origin,
                              tn_answer_start how) {
    tn_answer_file *f = tn_heap_zalloc(1, sizeof *f);
    *out = NULL;
    if (!f) return TN_E_NOMEM;
    f->lock.fd = -1;
    tn_status status = open_file(f, path, origin, how);
    if (status)
        tn_answer_file_close(f);
    else
        *out = f;
    return status;
}

void tn_answer_file_close(tn_answer_file *file) {
    if (!file) return;
    tn_lock_release(&file->lock);
    tn_heap_free(file->seen);
    tn_heap_free(file);
}

int64_t tn_answer_file_seed(const tn_answer_file *file) { return file->seed; }
int64_t tn_answer_file_count(const tn_answer_file *file) { return file->count; }

bool tn_answer_file_has(const tn_answer_file *file, int64_t index) {
    TN_ASSERT(index >= 0 && index < file->n_rows);
    return file->seen[index / 64] >> index % 64 & 1;
}

tn_status tn_answer_file_put(tn_answer_file *file, const json_t *answer) {
    int64_t index = json_integer_value(json_object_get(answer, "index"));
    TN_ASSERT(!tn_answer_file_has(file, index));
    tn_buf line = {0};
    tn_status status = put_line(answer, &line);
    if (!status) status = tn_file_append(file->path, line.data, line.len);
    tn_buf_release(&line);
    if (status) return status;
    file->seen[index / 64] |= 1ULL << index % 64;
    file->count++;
    return TN_OK;
}
