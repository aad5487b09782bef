/* SPDX-License-Identifier: MIT
 * peak.h - how many multiply-adds a second this CPU can do, all threads together, register to register: the measure of
 * all products. Tries alternate with what is measured, so that both see the same neighbours and the same clock. */
#ifndef TN_BENCH_PEAK_H
#define TN_BENCH_PEAK_H
#include "bench/samples.h"

typedef enum tn_peak_kind {
    TN_PEAK_REAL,  /* f32 */
    TN_PEAK_BYTES, /* int8 codes, integer sums */
    TN_PEAK_WORDS, /* int16, integer sums */
    TN_PEAK_BF16,  /* bfloat16, f32 sums */
    TN_PEAK_COUNT
} tn_peak_kind;

/* Zeroed at first. */
typedef struct tn_peaks {
    tn_samples tries[TN_PEAK_COUNT];
} tn_peaks;

const char *tn_peak_name(tn_peak_kind kind); /* "f32", "int8", "int16", "bf16" */
/* One try, about a millisecond long; a few tries of each kind. */
void tn_peaks_try(tn_peaks *peaks, tn_peak_kind kind);
void tn_peaks_try_all(tn_peaks *peaks);
/* The upper quartile of the tries, multiply-adds a second; 0 when the instruction set in use has no such arithmetic. */
double tn_peaks_get(const tn_peaks *peaks, tn_peak_kind kind);

#endif
