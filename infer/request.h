/* SPDX-License-Identifier: MIT
 * request.h - what is asked of a model, as a JSON object with the names that clients of other servers use:
 *   {"prompt": "Once", "max_tokens": 20, "temperature": 0.7, "top_p": 0.9, "seed": 7, "stop": ["\n"]}
 * Keys are those of sampler_options.def, as fields and as flags with _ for -, and the rows of request_keys.def. A key
 * with null is a key that is not there; one that is not known is left alone, for clients send many. */
#ifndef TN_INFER_REQUEST_H
#define TN_INFER_REQUEST_H
#include "infer/grammar.h"
#include "infer/sampler.h"

#include <jansson.h>

enum { TN_REQUEST_STOPS = 256, TN_REQUEST_BREAKERS = 64, TN_REQUEST_BIASES = 512 };

/* What an answer may be; nothing of it = anything. */
typedef struct tn_answer_form {
    const char *grammar;  /* GBNF [grammar_len], or NULL */
    size_t grammar_len;   /* bytes */
    const json_t *schema; /* or NULL */
    bool any_object;      /* some object in JSON */
} tn_answer_form;

typedef struct tn_request {
    const char *prompt;     /* [prompt_len], or NULL */
    size_t prompt_len;      /* bytes */
    const json_t *messages; /* list of {"role", "content"}, or NULL */
    int max_tokens;         /* -1 = until the text ends or the context is full */
    int64_t seed;           /* negative = not said */
    bool ignore_eos;
    const char *stops[TN_REQUEST_STOPS]; /* [n_stops] texts before which the answer ends */
    int n_stops;
    tn_answer_form form;
    tn_sampler_options sampler; /* its seed is not used, and of lists only those that the request does not say */
    bool has_biases, has_breakers;
    tn_logit_bias biases[TN_REQUEST_BIASES];   /* [n_biases] */
    const char *breakers[TN_REQUEST_BREAKERS]; /* [n_breakers] texts at which repetitions end for dry */
    int n_biases, n_breakers;
} tn_request;

/* Change in `request`, which holds defaults, what `object` says. Texts are borrowed from the object. Fails:
 * TN_E_DTYPE or TN_E_RANGE naming the key, what was found and what was expected; `request` is then half changed. */
tn_status tn_request_read(tn_request *request, const json_t *object);
/* The same for one key. TN_E_MISSING for a key that is not known. */
tn_status tn_request_set(tn_request *request, const char *key, const json_t *value);

/* How tokens are chosen. The lists are the request's, which must outlive the sampler. */
tn_sampler_options tn_request_sampler(const tn_request *request);
bool tn_answer_form_is_any(const tn_answer_form *form);
bool tn_answer_form_equal(const tn_answer_form *a, const tn_answer_form *b);
/* Fails: TN_E_MISMATCH for both a grammar and a schema; what making the grammar gives. */
tn_status tn_answer_form_grammar(const tn_answer_form *form, tn_grammar **out);

/* All that decides how a request is answered but what it is about (prompt, messages, seed) and its grammar, as an
 * object with the names above: equal settings are equal objects, and an object that is read gives them back. NULL, with
 * a message, for a text that is not UTF-8 or when memory is out. */
json_t *tn_request_settings(const tn_request *request);
/* The first name of each key, at most `size` of them; returns how many. */
int tn_request_names(const char **out, int size);

#endif
