/* SPDX-License-Identifier: MIT
 * model_file.h - a model and its tokenizer out of whatever holds one: a run folder, a checkpoint, a GGUF file, a
 * Hugging Face folder. What a path is, is told by its content. A run folder stands for the checkpoint that its `best`
 * file names, else the one that `latest` names. For TN_MODEL_RUN the latents of a checkpoint are quantised by the
 * function that training uses, one matrix at a time, and never kept: the runtime computes what the trainer computed,
 * bit for bit. A checkpoint of a run that has changed a part of its base (methods lora, lora_merged, norms) opens that
 * base too, where the run had it, and is the two together: an adapter is attached, a merged one is in the states. The
 * model of a GGUF file or a Hugging Face folder is packed as it is read; tables stay in the file's
 * map. Latents of such a folder are quantised like those of a checkpoint. Life: tn_model_file_load ...
 * tn_loaded_release; or, for whoever makes the model himself, open, place, read in place of load. The model lives in
 * the caller's arena, the tokenizer on the heap. */
#ifndef TN_MODELS_MODEL_FILE_H
#define TN_MODELS_MODEL_FILE_H
#include "data/tokenizer.h"
#include "formats/checkpoint_file.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "layers/model.h"
#include "models/hf_config.h"

typedef enum tn_model_source { TN_SOURCE_CHECKPOINT, TN_SOURCE_BASED, TN_SOURCE_GGUF, TN_SOURCE_HF } tn_model_source;

typedef struct tn_loaded {
    tn_model *model;         /* refreshed, ready to run; NULL before it is read */
    tn_model_config config;  /* complete */
    tn_tokenizer *tokenizer; /* at most as many ids as the model's vocab_size */
    tn_gguf *file;           /* that the model's tables lie in; NULL but for a GGUF file */
    tn_ckpt *checkpoint;     /* open until it is read; NULL but for a checkpoint */
    tn_safetensors *tensors; /* that the model's tables lie in; NULL but for a Hugging Face folder */
    tn_hf_weights stored;    /* in these tensors */
    struct tn_based *based;  /* what a checkpoint stands on, and its adapter; NULL but for TN_SOURCE_BASED */
    int depth;               /* of bases below this one's user */
    tn_model_source source;
    bool has_latents;      /* or matrices that are not quantised: what training moves; else states alone */
    char path[4096];       /* of the file, or of the Hugging Face folder, that was read */
    char description[256]; /* for people: "checkpoint, step 1000 (best of run runs/a)" */
} tn_loaded;

/* Fails: TN_E_MISSING; TN_E_FORMAT when it is none of these; TN_E_UNSUPPORTED for another architecture, and for a
 * file without latents asked to give them (TRAIN, EVAL); TN_E_MISMATCH when parameters and configuration do not fit;
 * what the readers of the formats give. Nothing is left on the heap after a failure. */
tn_status tn_model_file_load(const char *path, tn_arena *arena, tn_model_use use, tn_loaded *out);
/* All but the model: what can be known before memory is taken for weights. Fails as above. */
tn_status tn_model_file_open(const char *path, tn_loaded *out);
/* Let the tables of `model`, which was made of loaded->config, be what they will be read into: memory from `arena`, or
 * their place in the file. Reads no weight, so that a dry run can count what a model takes. */
tn_status tn_model_file_place(const tn_loaded *loaded, tn_model *model, tn_arena *arena);
/* Fill a model whose tables have their place, and refresh it: loaded->model. Once. */
tn_status tn_model_file_read(tn_loaded *loaded, tn_model *model);
/* Fails: TN_E_UNSUPPORTED when an adapter stands beside the model: its parameters alone are not what it computes. */
tn_status tn_loaded_check_whole(const tn_loaded *loaded);
void tn_loaded_release(tn_loaded *loaded); /* zeroed or released before: fine */

#endif
