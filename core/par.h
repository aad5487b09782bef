/* SPDX-License-Identifier: MIT
 * par.h - the only room that knows threads: an OpenMP team (plain threads in the tsan build).
 * A loop body handles a half-open range of items; items must not depend on each other, so that neither the number of
 * threads nor the schedule changes a bit. Bodies run with denormals flushed to zero (FTZ, DAZ), and OpenBLAS uses one
 * thread for a call inside one. */
#ifndef TN_CORE_PAR_H
#define TN_CORE_PAR_H
#include "core/status.h"

typedef void tn_par_body(void *context, int64_t begin, int64_t end);

/* Cores that this process may use, 1..256. */
int tn_par_cores(void);
/* Threads for tn_par_for from now on, 1..256; 0 = tn_par_cores(). Waits for a loop of another thread; not for use
 * inside a body, nor between the steps of a computation that has sized its scratch by tn_par_threads(). */
tn_status tn_par_set_threads(int threads);
int tn_par_threads(void);
/* Send the team home; the next tn_par_for gathers a new one. For the end of a program and before a fork. */
void tn_par_stop(void);

/* Call body over [0,n) in blocks of `grain` items (the last may be shorter); blocks are handed out as threads get
 * free. Runs inline when there is one block, one thread, when already inside a tn_par_for, or while the team is busy
 * with the loop of another thread. */
void tn_par_for(int64_t n, int64_t grain, tn_par_body *body, void *context);

/* Number of the worker running this body, 0..tn_par_threads()-1; 0 outside. For per-thread scratch only. */
int tn_par_worker(void);

/* Flush denormals to zero on this thread; `restore` takes the value returned before. */
unsigned tn_fp_flush_denormals(void);
void tn_fp_restore(unsigned saved);

#endif
