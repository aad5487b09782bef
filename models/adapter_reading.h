/* SPDX-License-Identifier: MIT
 * adapter_reading.h - what the readers of adapters share: they say where each half of a pair lies and of what rank and
 * alpha it should be, and the rest is done once, here: shapes, halves without their other half, tensors too many,
 * numbers that are not finite. */
#ifndef TN_MODELS_ADAPTER_READING_H
#define TN_MODELS_ADAPTER_READING_H
#include "kernels/table.h"
#include "models/adapter_file.h"
#include "models/peft_names.h"

/* Keys of Tern's own: in "__metadata__" of adapter_model.safetensors, and in GGUF adapters. */
#define TN_ADAPTER_KEY_BASE   "tern.base.fingerprint"
#define TN_ADAPTER_KEY_INPUT  "tern.lora.input"  /* "quantized"; absent: raw */
#define TN_ADAPTER_KEY_CONFIG "tern.peft.config" /* GGUF alone: adapter_config.json */

/* A half as a file has it. */
typedef struct tn_adapter_stored {
    const char *path, *name; /* of the file and the tensor */
    int64_t number;          /* of the tensor in its file */
    tn_table table;          /* rows end to end */
    int64_t rows, cols;
    bool turned;      /* [columns, rows] of Tern's */
    int paired_heads; /* tn_gguf_paired_heads; 0: rows lie as Tern's */
    double factor;    /* of its numbers over those of Tern's */
} tn_adapter_stored;

typedef struct tn_adapter_reading tn_adapter_reading;
struct tn_adapter_reading {
    const char *path; /* of the file of tensors */
    const void *file;
    const void *config;
    int64_t n_tensors;
    /* Where a half lies; out->name is NULL when it is absent. Fails: TN_E_UNSUPPORTED, TN_E_MISMATCH. */
    tn_status (*find)(const tn_adapter_reading *r, const char *target, tn_adapter_half half, tn_adapter_stored *out);
    /* Alpha of the pair of a matrix, where one of rank `rank` was found; 0: none was, and *alpha stays. Fails:
     * TN_E_MISSING for a pair that should be there, TN_E_MISMATCH for one that should not, or of another rank. */
    tn_status (*terms)(const tn_adapter_reading *r, const char *target, int rank, double *alpha);
    /* Tensor `number` is half of no pair: say why the file is refused, or TN_OK to leave it out. */
    tn_status (*refuse)(const tn_adapter_reading *r, int64_t number);
};

bool tn_adapter_name_ends(const char *name, const char *end);
/* The input that an adapter's key names; NULL: none. Fails: TN_E_CORRUPT. */
tn_status tn_adapter_read_input(const char *path, const char *text, size_t len, tn_adapter_input *out);
/* Add all pairs to an empty adapter, and fill them. */
tn_status tn_adapter_read_pairs(const tn_adapter_reading *reading, tn_adapter *adapter);

/* ---- one reader for each kind of file ---- */

/* Fails as tn_adapter_file_load; of the base nothing is compared. Without a config `origin` alone is filled. */
tn_status tn_adapter_read_peft(const char *folder, tn_adapter **out, tn_arena *arena, const tn_model_config *config,
                               tn_adapter_origin *origin);
tn_status tn_adapter_read_gguf(const char *path, tn_adapter **out, tn_arena *arena, const tn_model_config *config,
                               tn_adapter_origin *origin);
/* `path`: a checkpoint, or a folder of them. */
tn_status tn_adapter_read_run(const char *path, tn_adapter **out, tn_arena *arena, const tn_model_config *config,
                              tn_adapter_origin *origin);

#endif
