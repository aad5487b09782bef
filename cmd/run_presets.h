/* SPDX-License-Identifier: MIT
 * run_presets.h - settings of the runtime by the kind of machine (run_presets.def). */
#ifndef TN_CMD_RUN_PRESETS_H
#define TN_CMD_RUN_PRESETS_H
#include "infer/session.h"

typedef struct tn_run_preset {
    const char *name, *purpose;
    int threads, context;
    int64_t limit; /* bytes of the process */
    tn_kv_type kv;
} tn_run_preset;

/* "mobile|edge|server|cloud", for the command line; a preset is known by its position. */
extern const char *const tn_run_preset_names;
const tn_run_preset *tn_run_preset_at(int number);

#endif
