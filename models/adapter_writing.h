/* SPDX-License-Identifier: MIT
 * adapter_writing.h - one writer for each kind of file of an adapter: numbers as F32. Every adapter can be written but
 * a merged one, which is no adapter any more. */
#ifndef TN_MODELS_ADAPTER_WRITING_H
#define TN_MODELS_ADAPTER_WRITING_H
#include "models/adapter_file.h"

/* Names of the files in a PEFT folder. */
enum { TN_PEFT_FILES = 2 };
extern const char *const tn_peft_files[TN_PEFT_FILES];

/* Both files into a folder that is there; `bytes` receives the size of the tensors' file. */
tn_status tn_adapter_write_peft(const tn_adapter *adapter, const tn_adapter_origin *origin, const char *folder,
                                int64_t *bytes);
/* `name`: general.name. Where pairs differ in what one alpha can say, B is multiplied (adapter_gguf.h) and rounded.
 * Fails: TN_E_RANGE when that leaves what f32 can hold. */
tn_status tn_adapter_write_gguf(const tn_adapter *adapter, const tn_adapter_origin *origin, const char *name,
                                const char *path);

/* ---- what both do ---- */

const tn_param *tn_adapter_half_of(const tn_adapter_pair *pair, int half); /* tn_adapter_half */
int64_t tn_adapter_largest_half(const tn_adapter *adapter);                /* numbers */
/* The numbers of a half times `factor`, turned or as they are. */
void tn_adapter_put_floats(const tn_param *half, bool turned, double factor, float *out);

#endif
