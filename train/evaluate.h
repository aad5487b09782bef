/* SPDX-License-Identifier: MIT
 * evaluate.h - the loss of a model on held-out tokens; the one evaluation of the trainer, of `tern eval` and of tests.
 */
#ifndef TN_TRAIN_EVALUATE_H
#define TN_TRAIN_EVALUATE_H
#include "data/batches.h"
#include "layers/model.h"

typedef struct tn_evaluation {
    double loss;          /* nats a target */
    double perplexity;    /* exp(loss) */
    double bits_per_byte; /* of the text behind the targets; comparable between tokenizers. NAN when that is empty */
    int64_t targets, bytes;
} tn_evaluation;

/* Every token of the range but the first is predicted once, with up to T-1 tokens of the same window before it; of
 * documents, every one that is to be learnt, with what stands before it in its document.
 * `rows` windows at a time; at most `max_batches` of them, 0 = the whole range. `tokenizer` gives the bytes of a token.
 * Uses the tape, not recording. Fails: what a pass gives; a loss that is no number is a result, not a failure. */
tn_status tn_evaluate(tn_evaluation *out, tn_model *model, tn_tape *tape, const tn_batches *batches,
                      const tn_tokenizer *tokenizer, int rows, int64_t max_batches);

#endif
