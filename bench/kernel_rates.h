/* SPDX-License-Identifier: MIT
 * kernel_rates.h - how fast single products and row kernels are, against what this CPU can do at the same time:
 * products against its peaks, the rest against its memory. */
#ifndef TN_BENCH_KERNEL_RATES_H
#define TN_BENCH_KERNEL_RATES_H
#include "bench/peak.h"
#include "core/status.h"

enum { TN_RATE_ROWS = 96 };

typedef struct tn_rate {
    const char *name; /* "ternary forward" */
    char shape[32];   /* "1408 x 512": outputs x inputs of a product; elements of a row */
    double rate;      /* multiply-adds, or bytes read and written, a second; median */
    double limit;     /* what it is held against, the same unit; 0 = nothing */
    const char *limit_name;
} tn_rate;

/* Zeroed, then set tokens and seconds. */
typedef struct tn_kernel_rates {
    int tokens;     /* rows of activations */
    double seconds; /* how long to measure each row of the table */

    tn_peaks peaks;
    tn_rate products[TN_RATE_ROWS], rows[TN_RATE_ROWS];
    int n_products, n_rows;
    double waited; /* share of the time that threads waited for a core (crowd.h) */
    double memory; /* bytes read and written a second, a + b over arrays of 128 MiB */
} tn_kernel_rates;

/* With the threads and the instruction set in use. Fails: TN_E_NOMEM. */
tn_status tn_kernel_rates_measure(tn_kernel_rates *rates);

#endif
