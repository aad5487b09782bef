/* SPDX-License-Identifier: MIT
 * model_file_priv.h - one loader for each kind of file. Each fills model, tokenizer and description; what is in `out`
 * after a failure is released by the caller. */
#ifndef TN_MODELS_MODEL_FILE_PRIV_H
#define TN_MODELS_MODEL_FILE_PRIV_H
#include "models/model_file.h"

tn_status tn_model_from_checkpoint(const char *path, tn_arena *arena, tn_model_use use, tn_loaded *out);
tn_status tn_model_from_gguf(const char *path, tn_arena *arena, tn_model_use use, tn_loaded *out);
/* The tokenizer must not know ids that the model has no row for. */
tn_status tn_loaded_check_vocabulary(const tn_loaded *loaded);

#endif
