/* SPDX-License-Identifier: MIT
 * crowd.h - whether the machine was quiet: a thread that is ready but has no core waits, and its wait is taken for work
 * by every clock. Life: tn_crowd_begin, the measurement, tn_crowd_end. */
#ifndef TN_BENCH_CROWD_H
#define TN_BENCH_CROWD_H
#include "core/compiler.h"

typedef struct tn_crowd {
    double begin, waited;
} tn_crowd;

tn_crowd tn_crowd_begin(void);
/* The share of the time since then, 0..1, that the threads of this process spent waiting for a core, on average; 0
 * where Linux does not tell. */
double tn_crowd_end(const tn_crowd *crowd);
/* Seconds since some start. With one thread only those during which it had a core, so that neighbours hardly count. */
double tn_crowd_clock(void);

#endif
