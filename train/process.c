/* SPDX-License-Identifier: MIT */
#include "train/process.h"

#include <stdio.h>
#include <unistd.h>

int64_t tn_process_resident_bytes(void) {
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%*d %lld", &pages) != 1) pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

int64_t tn_process_available_bytes(void) {
    char line[128];
    long long kilobytes = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file) return 0;
    while (fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %lld", &kilobytes) != 1) continue;
    fclose(file);
    return kilobytes * 1024;
}
