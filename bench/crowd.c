/* SPDX-License-Identifier: MIT */
#include "bench/crowd.h"

#include "core/clock.h"
#include "core/par.h"

#include <dirent.h>
#include <stdio.h>
#include <time.h>

/* Seconds that one thread has waited for a core since it began: the second number of its schedstat, in nanoseconds. */
static double waited_by(const char *thread) {
    char path[64];
    long long waited = 0;
    if (snprintf(path, sizeof path, "/proc/self/task/%.20s/schedstat", thread) >= (int)sizeof path) return 0;
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    if (fscanf(file, "%*s %lld", &waited) != 1) waited = 0;
    fclose(file);
    return 1e-9 * (double)waited;
}

static double waited_by_all(void) {
    double sum = 0;
    DIR *threads = opendir("/proc/self/task");
    if (!threads) return 0;
    for (struct dirent *thread; (thread = readdir(threads));)
        if (thread->d_name[0] != '.') sum += waited_by(thread->d_name);
    closedir(threads);
    return sum;
}

tn_crowd tn_crowd_begin(void) { return (tn_crowd){.begin = tn_clock_seconds(), .waited = waited_by_all()}; }

double tn_crowd_end(const tn_crowd *crowd) {
    double share = (waited_by_all() - crowd->waited) / (tn_clock_seconds() - crowd->begin) / tn_par_threads();
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

double tn_crowd_clock(void) {
    struct timespec t;
    if (tn_par_threads() > 1 || clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t)) return tn_clock_seconds();
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
