/* SPDX-License-Identifier: MIT */
#include "data/data_config.h"

static const tn_key keys[] = {
#define KEY(type, field, initial, min, max, choices, help)                                                             \
    {#field, TN_KEY_##type, offsetof(tn_data_config, field), initial, min, max, choices, help},
#include "data/data_keys.def"
#undef KEY
};

tn_section tn_data_section(tn_data_config *values) {
    return (tn_section){.name = "data", .keys = keys, .n_keys = (int)TN_COUNT(keys), .values = values};
}
