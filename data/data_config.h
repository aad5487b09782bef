/* SPDX-License-Identifier: MIT
 * data_config.h - where training data comes from: the `data` section of a configuration (data_keys.def). */
#ifndef TN_DATA_DATA_CONFIG_H
#define TN_DATA_DATA_CONFIG_H
#include "core/config.h"

typedef struct tn_data_config {
#define KEY(type, field, initial, min, max, choices, help) TN_FIELD_##type field;
#include "data/data_keys.def"
#undef KEY
} tn_data_config;

/* The section for core/config.h; `values` is filled by the config calls. */
tn_section tn_data_section(tn_data_config *values);

#endif
