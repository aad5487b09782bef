/* SPDX-License-Identifier: MIT */
#include "models/hf_json.h"

#include "core/fs.h"
#include "formats/json_text.h"

#include <math.h>

enum { MAX_FILE = 16 << 20 };

tn_status tn_hf_json_parse(json_t **out, const char *path, const char *text, size_t len) {
    json_error_t error;
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    if (!*out) return TN_FAIL(FORMAT, "%s: line %d: %s, expected JSON", path, error.line, error.text);
    if (json_is_object(*out)) return TN_OK;
    json_decref(*out);
    *out = NULL;
    return TN_FAIL(FORMAT, "%s: is no JSON object", path);
}

tn_status tn_hf_json_load(json_t **out, const char *folder, const char *name, char path[4096]) {
    tn_buf text = {0};
    *out = NULL;
    TN_TRY(tn_path_join(path, 4096, folder, name));
    if (!tn_path_exists(path)) return TN_OK;
    tn_status status = tn_file_read(path, MAX_FILE, &text);
    if (!status) status = tn_hf_json_parse(out, path, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}

const json_t *tn_hf_json_get(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static tn_status wrong_kind(const char *path, const char *key, const json_t *value, const char *expected) {
    char found[64];
    return TN_FAIL(CORRUPT, "%s: %s is %s, expected %s", path, key, tn_json_text_describe(value, found), expected);
}

tn_status tn_hf_json_get_bool(const char *path, const json_t *object, const char *key, bool *out) {
    const json_t *value = tn_hf_json_get(object, key);
    if (value && !json_is_boolean(value)) return wrong_kind(path, key, value, "true or false");
    if (value) *out = json_is_true(value);
    return TN_OK;
}

tn_status tn_hf_json_get_number(const char *path, const json_t *object, const char *key, double *out) {
    const json_t *value = tn_hf_json_get(object, key);
    if (value && !json_is_number(value)) return wrong_kind(path, key, value, "a number");
    if (value) *out = json_number_value(value);
    return TN_OK;
}

tn_status tn_hf_json_get_text(const char *path, const json_t *object, const char *key, const char **out) {
    const json_t *value = tn_hf_json_get(object, key);
    if (value && !json_is_string(value)) return wrong_kind(path, key, value, "a text");
    if (value) *out = json_string_value(value);
    return TN_OK;
}

static tn_status add_id(const char *path, const char *key, const json_t *value, tn_hf_ids *ids) {
    const double id = json_number_value(value);
    if (!json_is_number(value) || !(id >= 0 && id <= INT32_MAX) || id != floor(id))
        return wrong_kind(path, key, value, "ids of tokens, whole numbers from 0 up");
    for (int i = 0; i < ids->count; i++)
        if (ids->list[i] == id) return TN_OK;
    if (ids->count == TN_HF_IDS)
        return TN_FAIL(UNSUPPORTED, "%s: %s: more than %d ids end a text", path, key, TN_HF_IDS);
    ids->list[ids->count++] = (int)id;
    return TN_OK;
}

tn_status tn_hf_json_get_ids(const char *path, const json_t *object, const char *key, tn_hf_ids *ids) {
    const json_t *value = tn_hf_json_get(object, key), *entry;
    size_t i;
    if (!value) return TN_OK;
    if (!json_is_array(value)) return add_id(path, key, value, ids);
    json_array_foreach(value, i, entry) TN_TRY(add_id(path, key, entry, ids));
    return TN_OK;
}
