/* SPDX-License-Identifier: MIT */
#include "bench/peak.h"

#include "bench/crowd.h"
#include "core/par.h"
#include "kernels/kernels.h"

#include <stdatomic.h>

/* A piece of work is far longer than handing it out, and there are enough for threads that come late. */
enum { ROUNDS = 4000, PIECES_A_THREAD = 24 };

typedef int64_t spin_fn(int64_t rounds);

typedef struct spin_job {
    spin_fn *spin;
    _Atomic int64_t done;
} spin_job;

const char *tn_peak_name(tn_peak_kind kind) {
    static const char *const names[TN_PEAK_COUNT] = {sizeof(tn_real) == 4 ? "f32" : "f64", "int8", "int16", "bf16"};
    return names[kind];
}

static spin_fn *spin_of(tn_peak_kind kind) {
    switch (kind) {
    case TN_PEAK_BYTES: return tn_k->spin_bytes;
    case TN_PEAK_WORDS: return tn_k->spin_words;
    case TN_PEAK_BF16: return tn_k->spin_bf16;
    default: return tn_k->spin_real;
    }
}

static void spin_pieces(void *context, int64_t begin, int64_t end) {
    spin_job *job = context;
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&job->done, job->spin(ROUNDS));
}

void tn_peaks_try(tn_peaks *peaks, tn_peak_kind kind) {
    spin_job job = {.spin = spin_of(kind)};
    double begin = tn_crowd_clock();
    tn_par_for((int64_t)PIECES_A_THREAD * tn_par_threads(), 1, spin_pieces, &job);
    tn_samples_add(&peaks->tries[kind], (double)job.done / (tn_crowd_clock() - begin));
}

void tn_peaks_try_all(tn_peaks *peaks) {
    for (int round = 0; round < 3; round++)
        for (int kind = 0; kind < TN_PEAK_COUNT; kind++) tn_peaks_try(peaks, (tn_peak_kind)kind);
}

double tn_peaks_get(const tn_peaks *peaks, tn_peak_kind kind) { return tn_samples_upper_quartile(&peaks->tries[kind]); }
