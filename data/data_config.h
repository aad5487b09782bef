/* SPDX-License-Identifier: MIT
 * data_config.h - where training data comes from: the `data` section of a configuration (data_keys.def). */
#ifndef TN_DATA_DATA_CONFIG_H
#define TN_DATA_DATA_CONFIG_H
#include "core/config.h"
#include "data/examples.h"

typedef struct tn_data_config {
#define KEY(type, field, initial, min, max, choices, help) TN_FIELD_##type field;
#include "data/data_keys.def"
#undef KEY
} tn_data_config;

enum { TN_BAD_ROW_STOP, TN_BAD_ROW_SKIP };
/* As data.packing has them. */
enum { TN_PACKING_AUTO, TN_PACKING_OFF, TN_PACKING_BFD, TN_PACKING_BFD_SPLIT, TN_PACKING_WRAPPED };

/* How the settings make rows into examples, for rows of `context` tokens; 0 = of any. Texts are borrowed. */
tn_example_options tn_data_examples(const tn_data_config *config, int context);

/* The section for core/config.h; `values` is filled by the config calls. */
tn_section tn_data_section(tn_data_config *values);

#endif
