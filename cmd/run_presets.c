/* SPDX-License-Identifier: MIT */
#include "cmd/run_presets.h"

const char *const tn_run_preset_names =
#define RUN_PRESET(name, threads, limit_mib, context, kv, purpose) "|" name
#include "cmd/run_presets.def"
#undef RUN_PRESET
    +1; /* without the first bar */

const tn_run_preset *tn_run_preset_at(int number) {
    static const tn_run_preset list[] = {
#define RUN_PRESET(name, threads, limit_mib, context, kv, purpose)                                                     \
    {name, purpose, threads, context, (int64_t)(limit_mib) << 20, kv},
#include "cmd/run_presets.def"
#undef RUN_PRESET
    };
    return &list[number];
}
