/* SPDX-License-Identifier: MIT
 * preset.h - the models that training is measured with (presets.def). */
#ifndef TN_BENCH_PRESET_H
#define TN_BENCH_PRESET_H
#include "train/run_config.h"

/* "10m|30m|125m", for the command line; a preset is known by its position. */
extern const char *const tn_preset_names;
const char *tn_preset_name(int preset);
/* Set the sizes of a config that has its defaults. */
void tn_preset_apply(int preset, tn_run_config *config);

#endif
