/* SPDX-License-Identifier: MIT
 * base.h - the model that fine-tuning starts from: opened first, for its settings and its tokenizer, read into the
 * engine's model later, and known again by its fingerprint when a run goes on.
 * Life: a zeroed base, tn_base_open, tn_base_fill, ..., tn_base_release (also after a failure). It must not move. */
#ifndef TN_TRAIN_BASE_H
#define TN_TRAIN_BASE_H
#include "models/fingerprint.h"
#include "models/model_file.h"
#include "train/run_config.h"

typedef struct tn_base {
    tn_loaded source; /* its weights are read once */
    char id[TN_FINGERPRINT_WHOLE];
} tn_base;

/* Open model.base and let the run have its settings; run->base is then this. A run that does not fine-tune has none:
 * nothing happens. Fails: what opening gives; TN_E_CONFIG when there is no model.base, when a setting contradicts it,
 * or when it has not what the method trains. */
tn_status tn_base_open(tn_base *base, tn_run_config *run);
/* What reads its data: NULL without a base. */
const tn_tokenizer *tn_base_tokenizer(const tn_base *base);
/* Fill and refresh the engine's model; from then on `id` is known. Fails: what reading gives. */
tn_status tn_base_fill(tn_base *base, const tn_run_config *run, tn_model *model);
void tn_base_release(tn_base *base);

#endif
