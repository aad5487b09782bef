/* SPDX-License-Identifier: MIT */
#include "core/clock.h"

#include <stdio.h>
#include <time.h>

static double read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double tn_clock_seconds(void) { return read_clock(CLOCK_MONOTONIC); }
double tn_clock_unix(void) { return read_clock(CLOCK_REALTIME); }

void tn_clock_stamp(double unix_seconds, char out[21]) {
    time_t t = (time_t)unix_seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
