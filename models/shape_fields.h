/* SPDX-License-Identifier: MIT
 * shape_fields.h - fields of the `model` section by their name, for keys of foreign files. */
#ifndef TN_MODELS_SHAPE_FIELDS_H
#define TN_MODELS_SHAPE_FIELDS_H
#include "layers/model_config.h"

/* `field` is a number of model_keys.def. */
bool tn_shape_field_is_real(const char *field);
double tn_shape_field_get(const tn_model_config *config, const char *field);
/* Fails: TN_E_CORRUPT when `value`, which the file of that path calls `key`, lies outside of the field's range. */
tn_status tn_shape_field_set(tn_model_config *config, const char *field, const char *path, const char *key,
                             double value);

#endif
