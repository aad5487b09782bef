/* SPDX-License-Identifier: MIT
 * fuzz_jinja.c - a template, and behind a byte FF the variables for it as JSON (else a short conversation). What is
 * rendered is valid UTF-8, is the same again, and holds the spans of its generation blocks in order; what is refused is
 * refused with its place. */
#include "core/utf8.h"
#include "data/jinja.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"\\u00e9 \"}, {\"role\": \"user\", \"content\": \"a\\nb\"},"
    " {\"role\": \"assistant\", \"content\": null,"
    "  \"tool_calls\": [{\"name\": \"f\", \"arguments\": {\"x\": [1.5, true]}}]}],"
    " \"tools\": null, \"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}";

static json_t *read_context(const uint8_t *data, size_t size) {
    json_t *context = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
    if (context && json_is_object(context)) return context;
    json_decref(context);
    return json_loads(conversation, 0, NULL);
}

static tn_status render(const tn_jinja *jinja, const json_t *context, tn_jinja_spans *spans, tn_buf *out) {
    const tn_jinja_options options = {
        .spans = spans, .now = 1722000000, .max_steps = 100000, .max_memory = 8 << 20, .max_output = 1 << 18};
    return tn_jinja_render(jinja, context, &options, out);
}

static bool begins_with(const char *words) { return !strncmp(tn_error_message(), words, strlen(words)); }

static void check_output(const tn_buf *out, const tn_jinja_spans *spans) {
    TN_ASSERT(tn_utf8_valid_prefix(tn_buf_text(out), out->len, NULL) == out->len);
    for (size_t i = 0; i < spans->count; i++) {
        TN_ASSERT(spans->list[i].begin <= spans->list[i].end && spans->list[i].end <= out->len);
        TN_ASSERT(!i || spans->list[i - 1].end <= spans->list[i].begin);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size ? memchr(data, 0xFF, size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    tn_jinja *jinja;
    tn_jinja_spans spans = {0};
    tn_buf first = {0}, second = {0};
    tn_status status = tn_jinja_create(&jinja, "fuzz", (const char *)data, len);
    if (status) {
        TN_ASSERT(begins_with(status == TN_E_TEXT ? "fuzz: byte " : "fuzz: line "));
        return 0;
    }
    json_t *context = read_context(data + len + (end != NULL), size - len - (end != NULL));
    status = render(jinja, context, &spans, &first);
    check_output(&first, &spans);
    TN_ASSERT(!status || !first.len);
    TN_ASSERT(!status || status == TN_E_ARG || begins_with("fuzz: line ")); /* ARG: raise_exception() */
    TN_ASSERT(render(jinja, context, &spans, &second) == status);
    TN_ASSERT(first.len == second.len && !memcmp(tn_buf_text(&first), tn_buf_text(&second), first.len));
    json_decref(context);
    tn_jinja_free(jinja);
    tn_jinja_spans_release(&spans);
    tn_buf_release(&first);
    tn_buf_release(&second);
    return 0;
}
