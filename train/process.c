/* SPDX-License-Identifier: MIT */
#include "train/process.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int64_t tn_process_resident_bytes(void) {
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%*d %lld", &pages) != 1) pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* The N of a line "name: N kB" in a file of /proc, as bytes. */
static int64_t read_kilobytes(const char *path, const char *name) {
    char line[128] = "";
    long long kilobytes = 0;
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    while (fgets(line, sizeof line, file) && strncmp(line, name, strlen(name)) != 0) continue;
    if (sscanf(line, "%*s %lld", &kilobytes) != 1) kilobytes = 0;
    fclose(file);
    return kilobytes * 1024;
}

int64_t tn_process_peak_bytes(void) { return read_kilobytes("/proc/self/status", "VmHWM:"); }
int64_t tn_process_available_bytes(void) { return read_kilobytes("/proc/meminfo", "MemAvailable:"); }

bool tn_process_reset_peak(void) {
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (!file) return false;
    bool written = fputs("5\n", file) >= 0;
    return fclose(file) == 0 && written;
}
