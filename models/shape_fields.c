/* SPDX-License-Identifier: MIT */
#include "models/shape_fields.h"

#include <string.h>

static const tn_key *find(const char *field) {
    tn_model_config unused;
    const tn_section section = tn_model_section(&unused);
    for (int i = 0; i < section.n_keys; i++)
        if (strcmp(section.keys[i].name, field) == 0) return &section.keys[i];
    TN_ASSERT(!"a field of a table of keys is not in the schema");
    return NULL;
}

bool tn_shape_field_is_real(const char *field) { return find(field)->type == TN_KEY_REAL; }

double tn_shape_field_get(const tn_model_config *config, const char *field) {
    const tn_key *key = find(field);
    const char *place = (const char *)config + key->offset;
    return key->type == TN_KEY_REAL ? *(const double *)(const void *)place : *(const int *)(const void *)place;
}

tn_status tn_shape_field_set(tn_model_config *config, const char *field, const char *path, const char *name,
                             double value) {
    const tn_key *key = find(field);
    char *place = (char *)config + key->offset;
    const bool real = key->type == TN_KEY_REAL;
    if (!(value >= key->min && value <= key->max) && real)
        return TN_FAIL(CORRUPT, "%s: %s is %g, expected %g to %g", path, name, value, key->min, key->max);
    if (!(value >= key->min && value <= key->max))
        return TN_FAIL(CORRUPT, "%s: %s is %.0f, expected %.0f to %.0f", path, name, value, key->min, key->max);
    if (real)
        *(double *)(void *)place = value;
    else
        *(int *)(void *)place = (int)value;
    return TN_OK;
}
