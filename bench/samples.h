/* SPDX-License-Identifier: MIT
 * samples.h - repeated measurements of one quantity, and their median: a neighbour who takes the CPU for a moment
 * spoils a mean, and a best hides what is normal. */
#ifndef TN_BENCH_SAMPLES_H
#define TN_BENCH_SAMPLES_H
#include "core/compiler.h"

enum { TN_SAMPLES_MAX = 64 };

/* Zeroed at first. */
typedef struct tn_samples {
    double values[TN_SAMPLES_MAX]; /* the last ones, in no order */
    int64_t count;                 /* ever added */
} tn_samples;

void tn_samples_add(tn_samples *samples, double value);
/* Of the last TN_SAMPLES_MAX; of an even number the mean of the middle two; 0 when there are none. */
double tn_samples_median(const tn_samples *samples);
/* The smallest value of the largest quarter of them: for what a CPU can do, of which a try that was disturbed tells
 * nothing. 0 when there are none. */
double tn_samples_upper_quartile(const tn_samples *samples);

#endif
