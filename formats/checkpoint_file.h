/* SPDX-License-Identifier: MIT
 * checkpoint_file.h - the layout of a Tern checkpoint in HDF5 (docs/format.md, "checkpoint"); the only home of its
 * names. The trainer writes one, the runtime reads the parameters of one. A file is complete or absent, and every
 * dataset has an XXH3-64 in `/checksums` that is compared before the first value is handed out. Life: create, put...,
 * commit   or   open, get..., close. */
#ifndef TN_FORMATS_CHECKPOINT_FILE_H
#define TN_FORMATS_CHECKPOINT_FILE_H
#include "core/buf.h"

typedef struct tn_ckpt tn_ckpt;

/* Texts of a checkpoint; each is one u8 dataset. */
typedef enum tn_ckpt_text {
    TN_CKPT_CONFIG,    /* effective configuration, YAML */
    TN_CKPT_TOKENIZER, /* tokenizer.json */
    TN_CKPT_STATE      /* the trainer's state, JSON: data cursor, RNG keys, best loss */
} tn_ckpt_text;

/* What an optimizer slot is an array of. */
typedef enum tn_ckpt_type { TN_CKPT_F32, TN_CKPT_U8 } tn_ckpt_type;

/* ---- writing ----
 * Names are 1..200 characters of [A-Za-z0-9_.-], not starting with a dot; anything else, and a name given twice, is
 * TN_E_ARG. Values are borrowed for the call. After a failed put the file can only be closed. */
tn_status tn_ckpt_create(tn_ckpt **out, const char *path);
tn_status tn_ckpt_put_int(tn_ckpt *ckpt, const char *name, int64_t value); /* a root attribute such as "step" */
/* A parameter's latent weights, row-major [rows, cols]; both sizes > 0. */
tn_status tn_ckpt_put_param(tn_ckpt *ckpt, const char *name, int64_t rows, int64_t cols, const float *values);
/* `count` > 0 values of an optimizer slot ("m", "v") that belong to parameter `name`. */
tn_status tn_ckpt_put_slot(tn_ckpt *ckpt, const char *slot, const char *name, tn_ckpt_type type, int64_t count,
                           const void *values);
/* `count` > 0 log-probabilities of answers under the model that a run on preferences started from; once. */
tn_status tn_ckpt_put_references(tn_ckpt *ckpt, int64_t count, const double *values);
tn_status tn_ckpt_put_text(tn_ckpt *ckpt, tn_ckpt_text which, const char *text, size_t len);
/* Make the file appear under its path. The handle is gone afterwards, also on failure (then the old file, if any, is
 * untouched). Fails: TN_E_IO, "no space left on device" for instance. */
tn_status tn_ckpt_commit(tn_ckpt *ckpt);

/* ---- reading ----
 * Verifies every dataset. Fails: what tn_h5_open gives; TN_E_CORRUPT naming the dataset that is damaged, missing from
 * the checksums or listed there but absent; TN_E_UNSUPPORTED for a later format_version. */
tn_status tn_ckpt_open(tn_ckpt **out, const char *path);
/* True for an HDF5 file that says it is a checkpoint, and for one too damaged to say: opening it tells which. */
bool tn_ckpt_is_checkpoint(const char *path);
const char *tn_ckpt_path(const tn_ckpt *ckpt);
tn_status tn_ckpt_get_int(tn_ckpt *ckpt, const char *name, int64_t *value); /* TN_E_CORRUPT when absent */
/* Fails: TN_E_MISSING; TN_E_MISMATCH naming the shape found and the one expected; TN_E_CORRUPT for another type. */
tn_status tn_ckpt_get_param(tn_ckpt *ckpt, const char *name, int64_t rows, int64_t cols, float *values);
tn_status tn_ckpt_get_slot(tn_ckpt *ckpt, const char *slot, const char *name, tn_ckpt_type type, int64_t count,
                           void *values);
tn_status tn_ckpt_get_references(tn_ckpt *ckpt, int64_t count, double *values); /* as above */
tn_status tn_ckpt_get_text(tn_ckpt *ckpt, tn_ckpt_text which, tn_buf *out);     /* appended; TN_E_MISSING */
bool tn_ckpt_has_param(tn_ckpt *ckpt, const char *name);
bool tn_ckpt_has_slot(tn_ckpt *ckpt, const char *slot, const char *name);
bool tn_ckpt_has_text(tn_ckpt *ckpt, tn_ckpt_text which);

/* All parameters, sorted by name; stops at the first failure of `visit` and returns it. */
typedef tn_status tn_ckpt_visit(void *context, const char *name, int64_t rows, int64_t cols);
tn_status tn_ckpt_each_param(tn_ckpt *ckpt, tn_ckpt_visit *visit, void *context);

/* A writer's file is thrown away. NULL is fine. */
void tn_ckpt_close(tn_ckpt *ckpt);

#endif
