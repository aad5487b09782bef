/* SPDX-License-Identifier: MIT
 * export.h - a model to a GGUF file that is proven before it gets its name.
 * The file is written under a temporary name, loaded as any user would load it, and compared with the source: token ids
 * and bytes on probe texts, and logits on a probe sequence, which must be EQUAL, bit for bit. What a type rounds by its
 * nature (F16) is rounded in the source too before it is asked, so equality is the test there as well, and the distance
 * to the unrounded source is reported. A file that differs is deleted; nothing unproven ever has the final name. */
#ifndef TN_MODELS_EXPORT_H
#define TN_MODELS_EXPORT_H
#include "core/buf.h"
#include "models/model_file.h"

/* Rows of models/export_types.def. */
typedef enum tn_export_type {
#define EXPORT_TYPE(name, ggml, file_type, help) TN_EXPORT_##ggml,
#include "models/export_types.def"
#undef EXPORT_TYPE
    TN_EXPORT_TYPE_COUNT
} tn_export_type;

const char *tn_export_type_name(tn_export_type type); /* "i2_s" */
/* general.name of a file: "stories" of "models/stories.gguf". */
tn_status tn_export_name(const char *path, tn_buf *out);

typedef struct tn_export_options {
    tn_export_type type;
    tn_table_type table; /* of the embedding (and an untied head); default F32, which is exact */
} tn_export_options;

typedef struct tn_export_report {
    char source[256]; /* what was exported, for people */
    int64_t bytes;    /* of the file */
    int tensors;
    int texts, ids;    /* probe texts whose token ids agree, and how many ids that were */
    int logits;        /* that are equal */
    double difference; /* greatest |logit - logit of the unrounded source|; 0 for an exact type */
} tn_export_report;

/* Export what tn_model_file_load reads from `source` to `out`. Warnings (what other runtimes will make of the file) go
 * to the log. Fails: what loading gives; TN_E_SHAPE naming the matrix whose rows do not fill blocks of the type;
 * TN_E_UNSUPPORTED for a float twin in a ternary type; TN_E_MISMATCH when the proof fails. Then there is no new file,
 * and an older one of that name is untouched. */
tn_status tn_export(const char *source, const char *out, tn_export_options options, tn_export_report *report);

/* What is done to a source, once it is loaded for `use`, before it is checked and written. */
typedef struct tn_export_edit {
    tn_model_use use;
    tn_status (*apply)(void *context, tn_loaded *source, tn_arena *arena);
    void *context;
} tn_export_edit;

tn_status tn_export_edited(const char *source, const char *out, tn_export_options options, const tn_export_edit *edit,
                           tn_export_report *report);

#endif
