/* SPDX-License-Identifier: MIT */
#include "infer/request.h"
#include "formats/json_text.h"

#include <limits.h>
#include <math.h>
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
    for (int i = 0; i < order->count; i++) all = appended(all, json_integer(order->rows[i]));
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
    const tn_sampler_options *o = &request->sampler;
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
