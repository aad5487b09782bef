/* SPDX-License-Identifier: MIT
 * model_file_priv.h - one loader for each kind of file. What is in a tn_loaded after a failure, the caller releases. */
#ifndef TN_MODELS_MODEL_FILE_PRIV_H
#define TN_MODELS_MODEL_FILE_PRIV_H
#include "models/model_file.h"

typedef struct tn_loader {
    /* Fill config, tokenizer, description and has_latents. */
    tn_status (*open)(const char *path, tn_loaded *out);
    /* For a tabular parameter without a value. */
    tn_status (*place)(const tn_loaded *loaded, tn_param *table, tn_arena *arena);
    tn_status (*read)(tn_loaded *loaded, tn_model *model, tn_arena *scratch);
} tn_loader;

extern const tn_loader tn_checkpoint_loader, tn_gguf_loader, tn_hf_loader;

#endif
