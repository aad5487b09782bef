/* SPDX-License-Identifier: MIT
 * adapter_file.h - an adapter out of whatever holds one: a PEFT folder (adapter_config.json beside
 * adapter_model.safetensors), a GGUF adapter, a run folder or checkpoint of `tern finetune` with method lora. What a
 * path is, is told by its content. An adapter is read for the model that it will stand beside: every pair must fit a
 * matrix of that model, and where the file names the fingerprint of its base, that must be this one; files of other
 * tools name none. */
#ifndef TN_MODELS_ADAPTER_FILE_H
#define TN_MODELS_ADAPTER_FILE_H
#include "layers/adapter.h"
#include "models/fingerprint.h"

/* The model that adapters are read for, for any number of them. */
typedef struct tn_adapter_base {
    const tn_model_config *config; /* complete */
    const tn_model *model;         /* filled, and nothing merged into it; NULL: fingerprints are not compared */
    char id[TN_FINGERPRINT];       /* "" until a file asks for it */
} tn_adapter_base;

/* What a file says of itself. */
typedef struct tn_adapter_origin {
    char base_id[TN_FINGERPRINT]; /* of the model it was trained beside; "" where the file names none */
    char base[1024];              /* the name or path of that model, as the file has it; "" */
    char description[128];        /* for people: "PEFT folder, 14 pairs of rank 16" */
} tn_adapter_origin;

/* Pairs and values in `arena`, without gradients; `origin` may be NULL. Fails: TN_E_MISSING (the file, or a tensor);
 * TN_E_FORMAT when it holds no adapter; TN_E_UNSUPPORTED for a kind of adapter that Tern does not compute;
 * TN_E_MISMATCH for another base, a tensor too many, or one of another shape or rank; TN_E_CORRUPT for a number that is
 * not finite; what the readers of the formats give. Nothing is left on the heap after a failure. */
tn_status tn_adapter_file_load(tn_adapter **out, tn_arena *arena, const char *path, tn_adapter_base *base,
                               tn_adapter_origin *origin);

/* What it says of its base, before there is one: of `origin` that part alone. Fails as above. */
tn_status tn_adapter_file_look(const char *path, tn_adapter_origin *origin);

#endif
