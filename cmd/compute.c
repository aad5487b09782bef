/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"
#include "core/log.h"
#include "core/par.h"
#include "kernels/blas.h"
#include "kernels/kernels.h"

tn_status tn_cmd_start_compute(int threads) {
    TN_TRY(tn_kernels_init(NULL));
    return tn_par_set_threads(threads);
}

void tn_cmd_warn_of_slow_blas(void) {
    const char *warning = tn_blas_warning();
    if (warning) tn_log(TN_LOG_WARN, "kernels", "%s", warning);
}
