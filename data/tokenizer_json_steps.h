/* SPDX-License-Identifier: MIT
 * tokenizer_json_steps.h - what a tokenizer.json does to text before merging, and to tokens after. */
#ifndef TN_DATA_TOKENIZER_JSON_STEPS_H
#define TN_DATA_TOKENIZER_JSON_STEPS_H
#include "data/tokenizer.h"

#include <jansson.h>

enum { TN_JSON_EXPRESSIONS = 8 };

typedef struct tn_json_steps {
    bool nfc;
    bool bytes; /* text is merged as bytes in GPT-2's alphabet */
    bool marks; /* spaces are merged as marks: SentencePiece */
    bool cuts_at_marks;
    tn_prefix prefix;
    const char *expressions[TN_JSON_EXPRESSIONS]; /* borrowed */
    int n_expressions;
} tn_json_steps;

/* Read "normalizer", "pre_tokenizer" and "decoder". Fails: TN_E_UNSUPPORTED for a step that is not understood, by its
 * name. */
tn_status tn_json_read_steps(const json_t *root, tn_json_steps *steps);

#endif
