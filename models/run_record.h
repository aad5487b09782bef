/* SPDX-License-Identifier: MIT
 * run_record.h - what a checkpoint says of the run that wrote it: its model, its method, its base; and the adapter that
 * it holds. Life: tn_run_record_read ... tn_run_record_release. */
#ifndef TN_MODELS_RUN_RECORD_H
#define TN_MODELS_RUN_RECORD_H
#include "formats/checkpoint_file.h"
#include "models/fingerprint.h"
#include "models/tuning.h"

/* The checkpoint that run folder `dir` stands for: of its `best` file, else of its `latest`; `which` receives that
 * name. Fails: TN_E_MISSING when there is neither, TN_E_CORRUPT for one that names no file of its folder. */
enum { TN_RUN_RECORD_PATH = 4096 };
tn_status tn_run_record_find(const char *dir, char path[TN_RUN_RECORD_PATH], const char **which);

typedef struct tn_run_record {
    tn_arena *arena;             /* keeps texts */
    tn_based_model_config model; /* as it was configured; base: a path from the root, "" = it began with a new model */
    tn_tuning tuning;            /* of a run with a base */
    char base_id[TN_FINGERPRINT_WHOLE];
} tn_run_record;

/* Fails: what the configuration gives; TN_E_CORRUPT when there is a base without a fingerprint. */
tn_status tn_run_record_read(tn_run_record *record, tn_ckpt *ckpt);
void tn_run_record_release(tn_run_record *record); /* zeroed: fine */

/* Whether parameters of the model are the base's: methods lora, lora_merged and norms. */
bool tn_run_record_is_part(const tn_run_record *record);
/* Whether the checkpoint holds an adapter, beside the model or merged. */
bool tn_run_record_has_adapter(const tn_run_record *record);
/* That adapter, filled, not attached; it has no gradients. `model`: of the base. Fails: TN_E_MISSING, TN_E_MISMATCH,
 * TN_E_CORRUPT naming a pair that is not there or not as it should be. */
tn_status tn_run_record_adapter(const tn_run_record *record, tn_ckpt *ckpt, const tn_model_config *model,
                                tn_arena *arena, tn_adapter **out);
/* A parameter, whatever it is of: value [rows, cols] of finite numbers. `room`: as many floats. */
tn_status tn_run_record_values(tn_ckpt *ckpt, const tn_param *param, float *room, tn_real *value);

#endif
