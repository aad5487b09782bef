/* SPDX-License-Identifier: MIT
 * exact_match.h - how many questions a model answers word for word: rows of data/questions.h, asked many at once and
 * answered with the likeliest tokens. What does not end by itself ends with a limit, and may still be right. */
#ifndef TN_INFER_EXACT_MATCH_H
#define TN_INFER_EXACT_MATCH_H
#include "data/questions.h"
#include "infer/batch.h"

typedef struct tn_exact_match_options {
    const tn_example_options *examples; /* how rows become questions */
    tn_batch_options batch;
    int max_tokens; /* of an answer; 0 = as many as the row's answer has bytes, and a few */
} tn_exact_match_options;

typedef struct tn_exact_match {
    int64_t count;    /* questions */
    int64_t answered; /* of these, answers that the model ended itself */
    int64_t matched;  /* answers that are the row's but for white space at both ends */
} tn_exact_match;

/* The first mismatches are told in the log, for whoever asks for details. Fails: what tn_read_questions and tn_batch_*
 * give; a question that does not fit in the context is a bad row. */
tn_status tn_exact_match_count(tn_exact_match *out, const tn_loaded *loaded, const char *const *paths, int n_paths,
                               const tn_exact_match_options *options);

#endif
