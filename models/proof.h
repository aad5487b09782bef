/* SPDX-License-Identifier: MIT
 * proof.h - what a model answers to fixed questions, so that two models can be compared after one of them is gone. */
#ifndef TN_MODELS_PROOF_H
#define TN_MODELS_PROOF_H
#include "models/model_file.h"

/* Logits [n_ids, vocab] at every place of a probe sequence, in `arena`. */
typedef struct tn_probe {
    int n_ids, vocab;
    int32_t *ids;
    tn_real *logits;
} tn_probe;

/* Ask a model: a sequence of up to 64 ids drawn from its vocabulary, the same for every model of that vocabulary and
 * context, in one pass as the trainer does it. Fails: TN_E_NAN naming the place of a logit that is not finite. */
tn_status tn_probe_ask(const tn_loaded *loaded, tn_arena *arena, tn_probe *out);
/* TN_E_MISMATCH unless both answered with the same bits. */
tn_status tn_probe_compare(const tn_probe *source, const tn_probe *copy);
double tn_probe_distance(const tn_probe *a, const tn_probe *b); /* greatest difference of two logits */

/* Every id must have the same bytes, kind and role in both, and probe texts the same ids: fixed ones with the cases
 * that pre-tokenizers differ on, and texts made of the vocabulary's own tokens. Texts that `source`
 * cannot encode are not asked. TN_E_MISMATCH names what differs. `texts` and `ids` receive how much agreed. */
tn_status tn_tokenizer_compare(const tn_tokenizer *source, const tn_tokenizer *copy, int *texts, int *ids);

#endif
