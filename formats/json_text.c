/* SPDX-License-Identifier: MIT */
#include "formats/json_text.h"

#include <stdio.h>

static int put_bytes(const char *bytes, size_t len, void *out) { return tn_buf_append(out, bytes, len) ? -1 : 0; }

tn_status tn_json_text_put(const json_t *value, tn_buf *out) {
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);
    if (json_dump_callback(value, put_bytes, out, flags)) return TN_FAIL(TEXT, "a value cannot be written as JSON");
    return TN_OK;
}

const char *tn_json_text_describe(const json_t *value, char out[64]) {
    if (json_is_object(value)) return "an object";
    if (json_is_array(value)) return "a list";
    if (json_is_string(value)) return "a string";
    if (json_is_boolean(value)) return json_is_true(value) ? "true" : "false";
    if (json_is_null(value)) return "null";
    snprintf(out, 64, "the number %.9g", json_number_value(value));
    return out;
}
