/* SPDX-License-Identifier: MIT */
#include "bench/kernel_rates_priv.h"

#include "bench/crowd.h"

enum { PEAK_TRIES = 5 };

tn_status tn_kernel_rates_measure(tn_kernel_rates *rates) {
    tn_arena *arena = tn_arena_create("bench");
    if (!arena) return TN_E_NOMEM;
    const tn_crowd crowd = tn_crowd_begin();
    for (int i = 0; i < PEAK_TRIES; i++) tn_peaks_try_all(&rates->peaks);
    tn_status status = tn_row_rates_measure(rates, arena);
    if (!status) status = tn_product_rates_measure(rates, arena);
    rates->waited = tn_crowd_end(&crowd);
    tn_arena_free(arena);
    return status;
}
