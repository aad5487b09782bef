/* SPDX-License-Identifier: MIT
 * kernel_rates_priv.h - the two halves of tn_kernel_rates_measure. `arena` is theirs while they run. */
#ifndef TN_BENCH_KERNEL_RATES_PRIV_H
#define TN_BENCH_KERNEL_RATES_PRIV_H
#include "bench/kernel_rates.h"
#include "core/arena.h"

tn_status tn_product_rates_measure(tn_kernel_rates *rates, tn_arena *arena);
tn_status tn_row_rates_measure(tn_kernel_rates *rates, tn_arena *arena);

#endif
