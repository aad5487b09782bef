/* SPDX-License-Identifier: MIT */
#include "cmd/bench_parts.h"

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
