/* SPDX-License-Identifier: MIT
 * train_data.h - the tokens a run learns from and those it is judged by, opened from the `data` section.
 * Without data.validation the last data.validation_fraction, in file order, is held out: of the tokens of running text,
 * else of the documents.
 * Owns: stores, their packings and, when it was learnt or read here, the tokenizer. */
#ifndef TN_TRAIN_TRAIN_DATA_H
#define TN_TRAIN_TRAIN_DATA_H
#include "data/batches.h"
#include "data/data_config.h"
#include "data/data_report.h"
#include "train/finetune_config.h"

enum { TN_DATA_ID = 64 };

typedef struct tn_train_data {
    tn_store *store, *held_out; /* held_out: NULL when the end of `store` is held out, or nothing */
    tn_tokenizer *own;
    const tn_tokenizer *tokenizer;
    tn_row_packing *packing, *held_out_packing; /* NULL = windows over running text */
    tn_batches train, validation;
    bool validates;      /* there is held-out data */
    tn_file_report rows; /* what became of those of data.train; zeros for a token store */
    /* What each range is, "FINGERPRINT:FIRST+COUNT" with 16 hex digits; validation_id "" when nothing is held out. */
    char train_id[TN_DATA_ID], validation_id[TN_DATA_ID];
} tn_train_data;

/* Whether the rows of a store are taken as documents rather than as running text. */
bool tn_train_data_has_documents(const tn_data_config *config, const tn_store *store);
/* That of the training data; the answers are those of both stores. */
tn_epoch tn_train_data_epoch(const tn_train_data *data);
/* What the number of a held-out document is behind, where both stores number their documents as one. */
int64_t tn_train_data_held_out_answer(const tn_train_data *data);
/* `tokenizer`: a base's, borrowed for the call, for whatever the data are; NULL: their own. `tokenizer_file`: read
 * instead of learning one when it exists (a resumed run); may be NULL. Rows have `context` tokens. Ids that the
 * training range never shows, and documents of which no end is learnt, are reported as a warning. Fails: what reading
 * gives; TN_E_CONFIG; TN_E_RANGE for too few tokens; TN_E_MISMATCH when a store was made with another tokenizer. */
tn_status tn_train_data_open(tn_train_data *data, const tn_data_config *config, const tn_tokenizer *tokenizer,
                             const char *tokenizer_file, int context, uint64_t seed);
/* Whether an objective can learn from the rows, and be measured by those held out. Fails: TN_E_CONFIG. */
tn_status tn_train_data_check(const tn_train_data *data, tn_objective_kind objective);
void tn_train_data_release(tn_train_data *data);

#endif
