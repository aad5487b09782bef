/* SPDX-License-Identifier: MIT
 * peft_config.h - adapter_config.json of a PEFT folder: rank and alpha of each module, and whether it is an adapter of
 * the kind that Tern computes. The same text travels in Tern's GGUF adapters, for what that format cannot say. Life:
 * read, ask, release. */
#ifndef TN_MODELS_PEFT_CONFIG_H
#define TN_MODELS_PEFT_CONFIG_H
#include "core/buf.h"
#include "layers/adapter.h"
#include "models/peft_names.h"

#include <jansson.h>

/* ---- reading ---- */

typedef struct tn_peft_config {
    const char *path; /* for sentences; borrowed */
    json_t *root;
    int rank;
    double alpha;
    bool rslora;
    double dropout;
    const char *base; /* what it says of its base, in `root`; NULL: nothing */
} tn_peft_config;

/* `path` stands for the text in sentences and must live as long. Fails: TN_E_FORMAT for what is no JSON object;
 * TN_E_UNSUPPORTED for another method than LoRA, or a kind of it that Tern does not compute (peft_refused.def);
 * TN_E_CORRUPT for a value of another kind, TN_E_RANGE. Nothing is left on the heap after a failure. */
tn_status tn_peft_config_read(tn_peft_config *out, const char *path, const char *text, size_t len);
void tn_peft_config_release(tn_peft_config *config); /* zeroed or released before: fine */

/* Rank and alpha of a module: those of all, unless a pattern names it; the first that does counts. Fails:
 * TN_E_UNSUPPORTED for a pattern that is more than a name, TN_E_CORRUPT, TN_E_RANGE. */
tn_status tn_peft_config_terms(const tn_peft_config *config, const char *module, int *rank, double *alpha);

/* Whether target_modules names a module; MAYBE where only PEFT could tell (a regular expression, layers chosen by
 * number). */
typedef enum tn_peft_named { TN_PEFT_NO, TN_PEFT_MAYBE, TN_PEFT_YES } tn_peft_named;
tn_peft_named tn_peft_config_names(const tn_peft_config *config, const char *module);

/* ---- writing ---- */

/* The text for an adapter, with the keys that every version of PEFT knows. `base`: the name of its base, or NULL. */
tn_status tn_peft_config_write(const tn_adapter *adapter, const char *base, tn_buf *out);

#endif
