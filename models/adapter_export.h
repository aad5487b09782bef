/* SPDX-License-Identifier: MIT
 * adapter_export.h - an adapter to a PEFT folder or a GGUF adapter that is proven before it gets its name: loaded
 * again, its pairs must be EQUAL to the source's, bit for bit. GGUF has one alpha for all pairs: where they differ, B
 * is multiplied and rounded once, and equality is asked of the numbers so rounded. */
#ifndef TN_MODELS_ADAPTER_EXPORT_H
#define TN_MODELS_ADAPTER_EXPORT_H
#include "models/adapter_file.h"

/* TN_ADAPTER_TYPE_PEFT ... from the rows of models/adapter_types.def. */
typedef enum tn_adapter_type {
#define ADAPTER_TYPE(word, name, help) TN_ADAPTER_TYPE_##name,
#include "models/adapter_types.def"
#undef ADAPTER_TYPE
    TN_ADAPTER_TYPE_COUNT
} tn_adapter_type;

const char *tn_adapter_type_name(tn_adapter_type type); /* "peft" */

typedef struct tn_adapter_report {
    char source[160]; /* what was exported, for people */
    int64_t bytes;    /* of the file of tensors */
    int pairs;
    int64_t numbers;   /* that are equal */
    double difference; /* greatest |number - number of the source| / |number of the source|; 0 but for the rounding */
} tn_adapter_report;

/* Export what tn_adapter_file_load reads from `source` to `out`. `base` is the model it was trained beside; NULL: the
 * one that the source names. A folder that is there is replaced when it holds nothing but such an export. Fails: what
 * loading gives; TN_E_CONFIG when no base is known; TN_E_MISMATCH when the proof fails. Then there is nothing new, and
 * what was there is untouched. */
tn_status tn_adapter_export(const char *source, const char *base, const char *out, tn_adapter_type type,
                            tn_adapter_report *report);

#endif
