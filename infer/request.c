/* SPDX-License-Identifier: MIT */
#include "infer/request.h"
#include "formats/json_text.h"
#include "infer/json_schema.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static tn_status expected(const char *key, const json_t *value, const char *what) {
    char found[64];
    return TN_FAIL(DTYPE, "\"%s\" is %s, expected %s", key, tn_json_text_describe(value, found), what);
}

static tn_status read_real(const char *key, const json_t *value, double min, double max, double *out) {
    if (!json_is_number(value)) return expected(key, value, "a number");
    double number = json_number_value(value);
    if (number < min || number > max) return TN_FAIL(RANGE, "\"%s\" is %g, expected %g to %g", key, number, min, max);
    *out = number;
    return TN_OK;
}

static tn_status read_whole(const char *key, const json_t *value, int64_t min, int64_t max, int64_t *out) {
    if (!json_is_integer(value)) return expected(key, value, "a whole number");
    int64_t number = json_integer_value(value);
    if (number < min || number > max)
        return TN_FAIL(RANGE, "\"%s\" is %lld, expected %lld to %lld", key, (long long)number, (long long)min,
                       (long long)max);
    *out = number;
    return TN_OK;
}

/* ---- the keys of request_keys.def ---- */

static tn_status set_prompt(tn_request *r, const char *key, const json_t *value) {
    if (!json_is_string(value)) return expected(key, value, "a text");
    r->prompt = json_string_value(value);
    r->prompt_len = json_string_length(value);
    return TN_OK;
}

static tn_status set_messages(tn_request *r, const char *key, const json_t *value) {
    if (!json_is_array(value) || !json_array_size(value)) return expected(key, value, "a list of messages");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *message = json_array_get(value, i), *content = json_object_get(message, "content");
        if (!json_is_string(json_object_get(message, "role")))
            return TN_FAIL(DTYPE, "message %zu has no \"role\" that is a text", i + 1);
        if (!content) return TN_FAIL(DTYPE, "message %zu has no \"content\"", i + 1);
    }
    r->messages = value;
    return TN_OK;
}

static tn_status set_max_tokens(tn_request *r, const char *key, const json_t *value) {
    int64_t number;
    TN_TRY(read_whole(key, value, -1, INT_MAX, &number));
    r->max_tokens = (int)number;
    return TN_OK;
}

static tn_status set_seed(tn_request *r, const char *key, const json_t *value) {
    return read_whole(key, value, -1, INT64_MAX, &r->seed);
}

static tn_status set_ignore_eos(tn_request *r, const char *key, const json_t *value) {
    if (!json_is_boolean(value)) return expected(key, value, "true or false");
    r->ignore_eos = json_is_true(value);
    return TN_OK;
}

static tn_status add_stop(tn_request *r, const char *key, const json_t *value) {
    if (!json_is_string(value) || !json_string_length(value)) return expected(key, value, "a text that is not empty");
    if (r->n_stops == TN_REQUEST_STOPS) return TN_FAIL(RANGE, "\"%s\" has more than %d texts", key, TN_REQUEST_STOPS);
    r->stops[r->n_stops++] = json_string_value(value);
    return TN_OK;
}

static tn_status set_stop(tn_request *r, const char *key, const json_t *value) {
    r->n_stops = 0;
    if (!json_is_array(value)) return add_stop(r, key, value);
    for (size_t i = 0; i < json_array_size(value); i++) TN_TRY(add_stop(r, key, json_array_get(value, i)));
    return TN_OK;
}

/* ---- lists of samplers ---- */

/* Names with ; between, as --samplers has them, or letters, as llama.cpp's server does. */
static tn_status parse_order(const char *text, tn_sampler_order *out) {
    return !strchr(text, ';') && !tn_sampler_order_parse_letters(text, out) ? TN_OK : tn_sampler_order_parse(text, out);
}

static tn_status set_samplers(tn_request *r, const char *key, const json_t *value) {
    if (json_is_string(value)) return parse_order(json_string_value(value), &r->sampler.order);
    if (!json_is_array(value)) return expected(key, value, "a list of samplers");
    tn_sampler_order order = {0};
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *name = json_string_value(json_array_get(value, i));
        tn_sampler_order one;
        if (!name) return expected(key, json_array_get(value, i), "the name of a sampler");
        TN_TRY(tn_sampler_order_parse(name, &one));
        for (int k = 0; k < one.count; k++) {
            if (order.count == TN_SAMPLER_STEPS)
                return TN_FAIL(RANGE, "\"%s\" has more than %d samplers", key, TN_SAMPLER_STEPS);
            order.rows[order.count++] = one.rows[k];
        }
    }
    r->sampler.order = order;
    return TN_OK;
}

/* A bias is a number, or false for a ban. */
static tn_status add_bias(tn_request *r, const char *key, int64_t id, const json_t *value) {
    double bias = -HUGE_VAL;
    if (!json_is_false(value)) TN_TRY(read_real(key, value, -1e6, 1e6, &bias));
    if (id < 0 || id > INT32_MAX)
        return TN_FAIL(RANGE, "\"%s\" has the id %lld, expected an id of a token", key, (long long)id);
    if (r->n_biases == TN_REQUEST_BIASES) return TN_FAIL(RANGE, "\"%s\" has more than %d ids", key, TN_REQUEST_BIASES);
    r->biases[r->n_biases++] = (tn_logit_bias){(int32_t)id, bias};
    return TN_OK;
}

/* [id, bias], as llama.cpp has it. */
static tn_status add_pair(tn_request *r, const char *key, const json_t *pair) {
    const json_t *id = json_array_get(pair, 0);
    if (json_array_size(pair) != 2) return expected(key, pair, "a pair [id, bias]");
    if (!json_is_integer(id)) return expected(key, id, "an id of a token");
    return add_bias(r, key, json_integer_value(id), json_array_get(pair, 1));
}

/* {"id": bias}, as OpenAI has it. */
static tn_status add_named(tn_request *r, const char *key, const char *name, const json_t *bias) {
    char *end;
    errno = 0;
    const long long id = strtoll(name, &end, 10);
    if (*end || end == name || errno)
        return TN_FAIL(RANGE, "\"%s\" has the key \"%.40s\", expected an id of a token", key, name);
    return add_bias(r, key, id, bias);
}

static tn_status set_logit_bias(tn_request *r, const char *key, const json_t *value) {
    const char *name;
    json_t *bias;
    if (!json_is_array(value) && !json_is_object(value))
        return expected(key, value, "{\"id\": bias, ...} or [[id, bias], ...]");
    r->has_biases = true;
    r->n_biases = 0;
    for (size_t i = 0; i < json_array_size(value); i++) TN_TRY(add_pair(r, key, json_array_get(value, i)));
    json_object_foreach((json_t *)(uintptr_t)value, name, bias) TN_TRY(add_named(r, key, name, bias));
    return TN_OK;
}

static tn_status set_dry_sequence_breakers(tn_request *r, const char *key, const json_t *value) {
    if (!json_is_array(value)) return expected(key, value, "a list of texts");
    r->has_breakers = true;
    r->n_breakers = 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *text = json_array_get(value, i);
        if (!json_is_string(text) || !json_string_length(text)) return expected(key, text, "a text that is not empty");
        if (r->n_breakers == TN_REQUEST_BREAKERS)
            return TN_FAIL(RANGE, "\"%s\" has more than %d texts", key, TN_REQUEST_BREAKERS);
        r->breakers[r->n_breakers++] = json_string_value(text);
    }
    return TN_OK;
}

/* ---- what the answer may be ---- */

static tn_status set_grammar(tn_request *r, const char *key, const json_t *value) {
    if (!json_is_string(value)) return expected(key, value, "a text");
    r->form.grammar = json_string_length(value) ? json_string_value(value) : NULL; /* "": any, as clients send it */
    r->form.grammar_len = json_string_length(value);
    return TN_OK;
}

static tn_status set_json_schema(tn_request *r, const char *key, const json_t *value) {
    if (!json_is_object(value)) return expected(key, value, "a schema");
    r->form.schema = value;
    return TN_OK;
}

/* {"type": "text" | "json_object" | "json_schema"}, with the schema where OpenAI or where llama.cpp has it. */
static tn_status set_response_format(tn_request *r, const char *key, const json_t *value) {
    const char *type = json_string_value(json_object_get(value, "type"));
    const json_t *schema = json_object_get(value, "schema");
    if (!schema) schema = json_object_get(json_object_get(value, "json_schema"), "schema");
    const bool object = type && strcmp(type, "json_object") == 0, by_schema = type && strcmp(type, "json_schema") == 0;
    if (type && strcmp(type, "text") == 0) return TN_OK;
    if (!object && !by_schema)
        return TN_FAIL(RANGE, "\"%s\" has no \"type\" that is text, json_object or json_schema", key);
    if (by_schema && !schema) return TN_FAIL(RANGE, "\"%s\" has no \"schema\"", key);
    r->form.any_object = !schema;
    return schema ? set_json_schema(r, key, schema) : TN_OK;
}

/* ---- finding a key ---- */

typedef struct known_key {
    const char *names;
    tn_status (*set)(tn_request *r, const char *key, const json_t *value);
} known_key;

static const known_key keys[] = {
#define KEY(name, names) {names, set_##name},
#include "infer/request_keys.def"
#undef KEY
};

static const char *const plain_names[] = {
#define KEY(name, names) #name,
#include "infer/request_keys.def"
#undef KEY
};

typedef enum option_type { OPTION_INT, OPTION_REAL } option_type;
typedef struct sampler_key {
    const char *field, *flags;
    option_type type;
    size_t offset; /* in tn_sampler_options */
    double min, max;
} sampler_key;

static const sampler_key sampler_keys[] = {
#define OPTION(type, field, initial, min, max, flags, arg, help)                                                       \
    {#field, flags, OPTION_##type, offsetof(tn_sampler_options, field), min, max},
#include "infer/sampler_options.def"
#undef OPTION
};

/* Whether `key` is one of "a-name|another", with _ for -. */
static bool is_named(const char *names, const char *key) {
    while (*names) {
        const char *k = key;
        for (; *names && *names != '|'; names++)
            if (k && *k == (*names == '-' ? '_' : *names))
                k++;
            else
                k = NULL;
        if (k && !*k) return true;
        names += *names == '|';
    }
    return false;
}

static tn_status set_sampler(tn_sampler_options *options, const sampler_key *k, const char *key, const json_t *value) {
    void *field = (char *)options + k->offset;
    if (k->type == OPTION_REAL) return read_real(key, value, k->min, k->max, field);
    int64_t number;
    TN_TRY(read_whole(key, value, (int64_t)k->min, (int64_t)k->max, &number));
    *(int *)field = (int)number;
    return TN_OK;
}

tn_status tn_request_set(tn_request *request, const char *key, const json_t *value) {
    if (json_is_null(value)) return TN_OK;
    for (size_t i = 0; i < TN_COUNT(keys); i++)
        if (is_named(keys[i].names, key)) return keys[i].set(request, key, value);
    for (size_t i = 0; i < TN_COUNT(sampler_keys); i++)
        if (strcmp(sampler_keys[i].field, key) == 0 || is_named(sampler_keys[i].flags, key))
            return set_sampler(&request->sampler, &sampler_keys[i], key, value);
    return TN_FAIL(MISSING, "\"%s\" is no key of a request", key);
}

tn_status tn_request_read(tn_request *request, const json_t *object) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        tn_status status = tn_request_set(request, key, value);
        if (status && status != TN_E_MISSING) return status;
    }
    return TN_OK;
}

int tn_request_names(const char **out, int size) {
    int n = 0;
    for (size_t i = 0; i < TN_COUNT(plain_names) && n < size; i++) out[n++] = plain_names[i];
    for (size_t i = 0; i < TN_COUNT(sampler_keys) && n < size; i++) out[n++] = sampler_keys[i].field;
    return n;
}

/* ---- what a request amounts to ---- */

tn_sampler_options tn_request_sampler(const tn_request *request) {
    tn_sampler_options options = request->sampler;
    if (request->has_biases) {
        options.biases = request->biases;
        options.n_biases = request->n_biases;
    }
    if (request->has_breakers) {
        options.dry_breakers = request->breakers;
        options.n_dry_breakers = request->n_breakers;
    }
    return options;
}

static bool is_json(const tn_answer_form *f) { return f->schema || f->any_object; }

bool tn_answer_form_is_any(const tn_answer_form *form) { return !form->grammar && !is_json(form); }

bool tn_answer_form_equal(const tn_answer_form *a, const tn_answer_form *b) {
    bool texts = a->grammar_len == b->grammar_len && !a->grammar == !b->grammar &&
                 (!a->grammar || memcmp(a->grammar, b->grammar, a->grammar_len) == 0);
    bool schemas = !a->schema == !b->schema && (!a->schema || json_equal(a->schema, b->schema));
    return texts && schemas && a->any_object == b->any_object;
}

tn_status tn_answer_form_grammar(const tn_answer_form *form, tn_grammar **out) {
    tn_buf text = {0};
    if (form->grammar && is_json(form))
        return TN_FAIL(MISMATCH, "has both a grammar and a schema, expected one of them");
    if (form->grammar) return tn_grammar_create(out, form->grammar, form->grammar_len);
    tn_status status = form->schema ? tn_json_text_put(form->schema, &text) : tn_buf_puts(&text, TN_JSON_ANY_OBJECT);
    if (!status) status = tn_grammar_from_json_schema(out, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}

/* ---- writing ---- */

static json_t *sampler_value(const tn_sampler_options *options, const sampler_key *k) {
    const void *field = (const char *)options + k->offset;
    return k->type == OPTION_REAL ? json_real(*(const double *)field) : json_integer(*(const int *)field);
}

/* The list with one item more; NULL, and both are dropped, when one of them is NULL. */
static json_t *appended(json_t *list, json_t *item) {
    if (json_array_append_new(list, item) == 0) return list;
    json_decref(list);
    return NULL;
}

static json_t *texts_value(const char *const *list, int n) {
    json_t *all = json_array();
    for (int i = 0; i < n; i++) all = appended(all, json_string(list[i]));
    return all;
}

static json_t *order_value(const tn_sampler_order *order) {
    json_t *all = json_array();
    for (int i = 0; i < order->count; i++) all = appended(all, json_string(tn_sampler_name(order->rows[i])));
    return all;
}

static json_t *biases_value(const tn_sampler_options *options) {
    json_t *all = json_array();
    for (int i = 0; i < options->n_biases; i++) {
        const tn_logit_bias *b = &options->biases[i];
        json_t *bias = b->bias > -HUGE_VAL ? json_real(b->bias) : json_false(); /* JSON has no infinity */
        all = appended(all, json_pack("[i, o]", b->id, bias));
    }
    return all;
}

json_t *tn_request_settings(const tn_request *request) {
    const tn_sampler_options options = tn_request_sampler(request), *o = &options;
    json_t *all = json_pack("{s:i, s:b, s:o, s:o, s:o, s:o}", "max_tokens", request->max_tokens, "ignore_eos",
                            request->ignore_eos, "stop", texts_value(request->stops, request->n_stops), "samplers",
                            order_value(&o->order), "logit_bias", biases_value(o), "dry_sequence_breakers",
                            texts_value(o->dry_breakers, o->n_dry_breakers));
    int failed = all == NULL;
    for (size_t i = 0; i < TN_COUNT(sampler_keys) && !failed; i++)
        failed = json_object_set_new(all, sampler_keys[i].field, sampler_value(o, &sampler_keys[i]));
    if (!failed) return all;
    json_decref(all);
    (void)TN_FAIL(TEXT, "the settings cannot be written as JSON");
    return NULL;
}
