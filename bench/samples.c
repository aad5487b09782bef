/* SPDX-License-Identifier: MIT */
#include "bench/samples.h"

void tn_samples_add(tn_samples *s, double value) { s->values[s->count++ % TN_SAMPLES_MAX] = value; }

/* Returns how many. */
static int sort(const tn_samples *s, double sorted[TN_SAMPLES_MAX]) {
    int n = (int)TN_MIN(s->count, (int64_t)TN_SAMPLES_MAX);
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && sorted[at - 1] > s->values[i]; at--) sorted[at] = sorted[at - 1];
        sorted[at] = s->values[i];
    }
    return n;
}

double tn_samples_median(const tn_samples *s) {
    double sorted[TN_SAMPLES_MAX];
    int n = sort(s, sorted);
    return n ? (sorted[(n - 1) / 2] + sorted[n / 2]) / 2 : 0;
}

double tn_samples_upper_quartile(const tn_samples *s) {
    double sorted[TN_SAMPLES_MAX];
    int n = sort(s, sorted);
    return n ? sorted[n - (n + 3) / 4] : 0;
}
