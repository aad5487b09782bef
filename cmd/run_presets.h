/* SPDX-License-Identifier: MIT
 * run_presets.h - settings of the runtime by the kind of machine (run_presets.def). They stand in for what a command
 * line leaves open, and never against what it says. */
#ifndef TN_CMD_RUN_PRESETS_H
#define TN_CMD_RUN_PRESETS_H
#include "core/buf.h"
#include "infer/session.h"

typedef struct tn_run_preset {
    const char *name, *purpose;
    int threads, context; /* at most; 0 = as many as there are */
    int64_t limit;        /* bytes of the process; 0 = any */
    tn_kv_type kv;
} tn_run_preset;

/* "none|mobile|edge|server|cloud", for the command line; a preset is known by its position. */
extern const char *const tn_run_preset_names;
const tn_run_preset *tn_run_preset_at(int number);

/* Each takes what the command line says (0: nothing) and gives what goes. */
int tn_run_preset_threads(const tn_run_preset *preset, int threads);
int tn_run_preset_context(const tn_run_preset *preset, int context, int most); /* most = the model's */
/* Of -ctk and -ctv as TN_OPTION_CACHE_TYPES has them. Fails: TN_E_ARG when they differ. */
tn_status tn_run_preset_cache(const tn_run_preset *preset, int keys, int values, tn_kv_type *type);

/* Append a line for each preset, for --help. */
tn_status tn_run_presets_list(tn_buf *out);

#endif
