/* SPDX-License-Identifier: MIT
 * model_file_priv.h - one loader for each kind of file. What is in a tn_loaded after a failure, the caller releases. */
#ifndef TN_MODELS_MODEL_FILE_PRIV_H
#define TN_MODELS_MODEL_FILE_PRIV_H
#include "models/model_file.h"
#include "models/run_record.h"

typedef struct tn_loader {
    /* Fill config, tokenizer, description and has_latents. */
    tn_status (*open)(const char *path, tn_loaded *out);
    /* For a tabular parameter without a value. */
    tn_status (*place)(const tn_loaded *loaded, tn_param *table, tn_arena *arena);
    tn_status (*read)(tn_loaded *loaded, tn_model *model, tn_arena *scratch);
} tn_loader;

extern const tn_loader tn_checkpoint_loader, tn_gguf_loader, tn_hf_loader;
tn_status tn_model_file_is_adapter(const char *path); /* fails: TN_E_FORMAT */

/* ---- models that are a part of one file and a part of another: model_based.c ---- */
extern const tn_loader tn_based_loader; /* opens nothing: */
/* Go on with opening a checkpoint whose run has a base; takes the record over. */
tn_status tn_based_open(tn_loaded *out, tn_run_record *record, int64_t step);
void tn_based_free(struct tn_based *based); /* NULL is fine */
/* tn_model_file_open of a base, so many bases deep. */
tn_status tn_model_file_open_at(const char *path, int depth, tn_loaded *out);
tn_status tn_model_file_place_table(const tn_loaded *loaded, tn_param *table, tn_arena *arena);

#endif
