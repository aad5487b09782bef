/* SPDX-License-Identifier: MIT
 * hf_json.h - the JSON files of a Hugging Face folder. */
#ifndef TN_MODELS_HF_JSON_H
#define TN_MODELS_HF_JSON_H
#include "models/hf_config.h"

#include <jansson.h>

/* A text that is one object; decref it. All numbers are reals: tokenizer_config.json may have 10^30 for "no limit".
 * Fails: TN_E_FORMAT. */
tn_status tn_hf_json_parse(json_t **out, const char *path, const char *text, size_t len);
/* The file of that name in the folder, of at most 16 MiB; NULL when there is none. `path` receives where it is. */
tn_status tn_hf_json_load(json_t **out, const char *folder, const char *name, char path[4096]);

/* The value of a key; NULL when it is absent or null. */
const json_t *tn_hf_json_get(const json_t *object, const char *key);
/* Fails: TN_E_CORRUPT when there is a value of another kind; `out` keeps its value when there is none. */
tn_status tn_hf_json_get_bool(const char *path, const json_t *object, const char *key, bool *out);
tn_status tn_hf_json_get_number(const char *path, const json_t *object, const char *key, double *out);
tn_status tn_hf_json_get_text(const char *path, const json_t *object, const char *key, const char **out);
/* One id or a list of them, added unless they are there. Fails: TN_E_CORRUPT. */
tn_status tn_hf_json_get_ids(const char *path, const json_t *object, const char *key, tn_hf_ids *ids);

#endif
