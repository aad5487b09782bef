/* SPDX-License-Identifier: MIT */
#include "cmd/run_presets.h"
#include "core/par.h"

const char *const tn_run_preset_names =
#define RUN_PRESET(name, threads, limit_mib, context, kv, purpose) "|" name
#include "cmd/run_presets.def"
#undef RUN_PRESET
    +1; /* without the first bar */

static const tn_run_preset list[] = {
#define RUN_PRESET(name, threads, limit_mib, context, kv, purpose)                                                     \
    {name, purpose, threads, context, (int64_t)(limit_mib) << 20, kv},
#include "cmd/run_presets.def"
#undef RUN_PRESET
};

const tn_run_preset *tn_run_preset_at(int number) { return &list[number]; }

int tn_run_preset_threads(const tn_run_preset *preset, int threads) {
    return threads ? threads : TN_MIN(preset->threads, tn_par_cores());
}

int tn_run_preset_context(const tn_run_preset *preset, int context, int most) {
    if (context) return context;
    return preset->context ? TN_MIN(preset->context, most) : most;
}

tn_status tn_run_preset_cache(const tn_run_preset *preset, int keys, int values, tn_kv_type *type) {
    const tn_kv_type key_type = keys ? (tn_kv_type)(keys - 1) : preset->kv;
    const tn_kv_type value_type = values ? (tn_kv_type)(values - 1) : preset->kv;
    *type = key_type;
    if (key_type == value_type) return TN_OK;
    return TN_FAIL(ARG, "-ctk %s and -ctv %s: expected one type for both", tn_kv_type_name(key_type),
                   tn_kv_type_name(value_type));
}

tn_status tn_run_presets_list(tn_buf *out) {
    TN_TRY(tn_buf_puts(
        out, "Presets, where no flag says otherwise; threads at most the cores, context at most the model's:\n"));
    for (size_t i = 1; i < TN_COUNT(list); i++)
        TN_TRY(tn_buf_printf(out, "  %-8s %2d threads, context %d, cache %-5s %4lld MiB: %s\n", list[i].name,
                             list[i].threads, list[i].context, tn_kv_type_name(list[i].kv),
                             (long long)(list[i].limit >> 20), list[i].purpose));
    return TN_OK;
}
