/* SPDX-License-Identifier: MIT */
#include "cmd/bench_parts.h"

#include "autograd/op.h"
#include "core/fs.h"
#include "core/par.h"
#include "kernels/blas.h"
#include "kernels/kernels.h"

#include <jansson.h>
#include <string.h>

/* What a crowded machine does to all figures must be seen beside them. */
static const double QUIET = 0.02;

tn_status tn_bench_print_machine(double waited) {
    const char *warning = tn_blas_warning();
    TN_TRY(tn_cmd_print("instruction set %s, OpenBLAS %s, threads %d\n", tn_kernels_isa(), tn_blas_core(),
                        tn_par_threads()));
    if (warning) TN_TRY(tn_cmd_print("warning: %s\n", warning));
    if (waited < QUIET) return TN_OK;
    return tn_cmd_print("warning: the machine is busy: threads waited for a core %.0f%% of the time\n", 100 * waited);
}

void tn_bench_put_machine(json_t *object, double waited) {
    const char *warning = tn_blas_warning();
    json_object_set_new(object, "isa", json_string(tn_kernels_isa()));
    json_object_set_new(object, "blas_core", json_string(tn_blas_core()));
    json_object_set_new(object, "blas_warning", warning ? json_string(warning) : json_null());
    json_object_set_new(object, "waited_share", json_real(waited));
    json_object_set_new(object, "threads", json_integer(tn_par_threads()));
}

json_t *tn_bench_cpu_json(void) {
    static const char key[] = "model name";
    tn_buf text = {0};
    json_t *name = NULL;
    if (tn_file_read("/proc/cpuinfo", 1 << 24, &text) == TN_OK) {
        const char *at = strstr(tn_buf_text(&text), key), *value = at ? strchr(at, ':') : NULL;
        if (value) name = tn_cmd_json_text(value + 2, strcspn(value + 2, "\n"));
    }
    tn_buf_release(&text);
    return name ? name : json_string("unknown");
}

/* ---- peaks ---- */

static double giga_ops(double multiply_adds) { return 2e-9 * multiply_adds; }

tn_status tn_bench_print_peaks(const double *peaks) {
    TN_TRY(tn_cmd_print("peaks, Gop/s:"));
    for (int kind = 0; kind < TN_PEAK_COUNT; kind++)
        if (peaks[kind] > 0) TN_TRY(tn_cmd_print("  %s %.0f", tn_peak_name((tn_peak_kind)kind), giga_ops(peaks[kind])));
    return tn_cmd_print("\n");
}

json_t *tn_bench_peaks_json(const double *peaks) {
    json_t *object = json_object();
    for (int kind = 0; kind < TN_PEAK_COUNT; kind++)
        if (peaks[kind] > 0) json_object_set_new(object, tn_peak_name((tn_peak_kind)kind), json_real(2 * peaks[kind]));
    return object;
}

const char *tn_bench_backward_name(tn_backward arithmetic) {
    static const char *const names[] = {
        [TN_BACKWARD_F32] = "f32", [TN_BACKWARD_BF16] = "bf16", [TN_BACKWARD_INT16] = "int16"};
    return names[arithmetic];
}

/* ---- times ---- */

/* Ops that took time, longest first. Returns how many. */
static int sort_ops(const double *forward, const double *backward, int order[TN_OP_COUNT]) {
    int n = 0;
    for (int op = 0; op < TN_OP_COUNT; op++) {
        const double seconds = forward[op] + backward[op];
        int at = n;
        if (!(seconds > 0)) continue;
        for (; at > 0 && forward[order[at - 1]] + backward[order[at - 1]] < seconds; at--) order[at] = order[at - 1];
        order[at] = op;
        n++;
    }
    return n;
}

static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

tn_status tn_bench_print_time(const char *name, double forward, double backward, double step) {
    return tn_cmd_print("%-18s %9.2f %9.2f %9.2f %6.1f%%\n", name, 1e3 * forward, 1e3 * backward,
                        1e3 * (forward + backward), 100 * share(forward + backward, step));
}

tn_status tn_bench_print_ops(const double *forward, const double *backward, double step) {
    int order[TN_OP_COUNT], n = sort_ops(forward, backward, order);
    TN_TRY(tn_cmd_print("\n%-18s %9s %9s %9s %7s\n", "time by op, ms", "forward", "backward", "both", "of step"));
    for (int i = 0; i < n; i++)
        TN_TRY(tn_bench_print_time(tn_ops[order[i]].name, forward[order[i]], backward[order[i]], step));
    return TN_OK;
}

json_t *tn_bench_time_json(double forward, double backward, double step) {
    return json_pack("{s:f, s:f, s:f, s:f}", "forward", forward, "backward", backward, "seconds", forward + backward,
                     "share", share(forward + backward, step));
}

json_t *tn_bench_ops_json(const double *forward, const double *backward, double step) {
    int order[TN_OP_COUNT], n = sort_ops(forward, backward, order);
    json_t *object = json_object();
    for (int i = 0; i < n; i++)
        json_object_set_new(object, tn_ops[order[i]].name,
                            tn_bench_time_json(forward[order[i]], backward[order[i]], step));
    return object;
}

/* ---- memory ---- */

static double mebibytes(int64_t bytes) { return (double)bytes / 0x1p20; }

tn_status tn_bench_print_memory(const tn_memory_table *table, const char *all, int64_t resident) {
    for (int i = 0; i < table->count; i++)
        TN_TRY(tn_cmd_print("%-22s %9.1f\n", table->rows[i].name, mebibytes(table->rows[i].bytes)));
    TN_TRY(tn_cmd_print("%-22s %9.1f\n", all, mebibytes(table->total)));
    return tn_cmd_print("%-22s %9.1f\n", "resident in memory", mebibytes(resident));
}

json_t *tn_bench_memory_json(const tn_memory_table *table) {
    json_t *object = json_object();
    for (int i = 0; i < table->count; i++)
        json_object_set_new(object, table->rows[i].name, json_integer((json_int_t)table->rows[i].bytes));
    return object;
}
