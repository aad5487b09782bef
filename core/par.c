/* SPDX-License-Identifier: MIT
 * The workers are an OpenMP team that stays in one parallel region for life and takes jobs from a dock of our own. The
 * barrier of a region per loop was measured first: libgomp spins there for milliseconds, and a thread that another
 * process has pushed off its core is waited for even when all the work is done, so two busy processes on two cores made
 * each other a hundred times slower. Here the caller waits only for workers that have begun a block, and spins shortly.
 * OpenBLAS reads omp_get_max_threads() of the calling task, so that value is 1 in every thread that may call it.
 * Nested calls, calls with a single block, and calls while another thread's loop runs are done inline. */
#include "core/par.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#ifndef TN_PTHREADS
#include <omp.h>
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static int n_threads = 1;
static TN_THREAD_LOCAL bool inside;
static TN_THREAD_LOCAL int worker;

unsigned tn_fp_flush_denormals(void) {
#if defined(__x86_64__)
    unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | 0x8040u); /* FTZ | DAZ */
    return saved;
#elif defined(__aarch64__)
    uint64_t saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"(saved | (1u << 24))); /* FZ */
    return (unsigned)saved;
#else
    return 0;
#endif
}

void tn_fp_restore(unsigned saved) {
#if defined(__x86_64__)
    _mm_setcsr(saved);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)saved));
#else
    (void)saved;
#endif
}

int tn_par_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return TN_MAX(CPU_COUNT(&set), 1);
}

int tn_par_threads(void) { return n_threads; }
int tn_par_worker(void) { return worker; }

typedef struct job {
    int64_t n, grain;
    atomic_int_least64_t next; /* first item not yet handed out */
    tn_par_body *body;
    void *context;
} job;

/* Take blocks until none is left. */
static void work(job *j, int number) {
    unsigned saved = tn_fp_flush_denormals();
    inside = true;
    worker = number;
    for (;;) {
        int64_t begin = atomic_fetch_add_explicit(&j->next, j->grain, memory_order_relaxed);
        if (begin >= j->n) break;
        j->body(j->context, begin, TN_MIN(begin + j->grain, j->n));
    }
    worker = 0;
    inside = false;
    tn_fp_restore(saved);
}

/* ---- the dock: where workers wait for a job ---- */

enum { SPINS = 1000, MAX_THREADS = 256 }; /* some 10 us: longer than the gap between two loops of a pass */

typedef struct dock {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a new round */
    pthread_cond_t idle; /* nobody is busy */
    atomic_uint round;   /* changes with every job and at the end */
    atomic_int busy;     /* workers that are in the job */
    job *job;            /* NULL: nothing to do; late workers go back to waiting */
    bool ending;
    int workers; /* 0 = no team */
    pthread_t host;
} dock;

static dock the_dock = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER};
static pthread_mutex_t caller = PTHREAD_MUTEX_INITIALIZER; /* held by the one thread whose loop the team runs */

static void relax(void) {
#if defined(__x86_64__)
    _mm_pause();
#endif
}

/* Wait until the round is no longer `seen`; leaves with the lock held. */
static void wait_for_round(dock *d, unsigned seen) {
    for (int i = 0; i < SPINS && atomic_load_explicit(&d->round, memory_order_acquire) == seen; i++) relax();
    pthread_mutex_lock(&d->lock);
    while (atomic_load_explicit(&d->round, memory_order_relaxed) == seen) pthread_cond_wait(&d->wake, &d->lock);
}

static void serve(dock *d, int number) {
    for (unsigned seen = 0;;) {
        wait_for_round(d, seen);
        seen = atomic_load_explicit(&d->round, memory_order_relaxed);
        job *j = d->job;
        bool ending = d->ending;
        if (j) atomic_fetch_add(&d->busy, 1);
        pthread_mutex_unlock(&d->lock);
        if (ending) return;
        if (!j) continue;
        work(j, number);
        pthread_mutex_lock(&d->lock);
        if (atomic_fetch_sub(&d->busy, 1) == 1) pthread_cond_signal(&d->idle);
        pthread_mutex_unlock(&d->lock);
    }
}

static void announce(dock *d, job *j, bool ending) {
    pthread_mutex_lock(&d->lock);
    d->job = j;
    d->ending = ending;
    atomic_fetch_add_explicit(&d->round, 1, memory_order_release);
    pthread_cond_broadcast(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

/* Close the job to newcomers and wait for those who are in it. */
static void retire(dock *d) {
    pthread_mutex_lock(&d->lock);
    d->job = NULL;
    pthread_mutex_unlock(&d->lock);
    for (int i = 0; i < SPINS && atomic_load_explicit(&d->busy, memory_order_acquire); i++) relax();
    pthread_mutex_lock(&d->lock);
    while (atomic_load_explicit(&d->busy, memory_order_relaxed)) pthread_cond_wait(&d->idle, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

/* ---- the team ---- */

#ifndef TN_PTHREADS
static void pin_blas(void) {
    omp_set_dynamic(0);
    omp_set_num_threads(1);
}

static void *host_main(void *context) {
    dock *d = context;
    pin_blas();
#pragma omp parallel num_threads(d->workers)
    serve(d, omp_get_thread_num() + 1);
    return NULL;
}
#else /* libgomp is not instrumented: the same dock on plain threads for the thread sanitizer */
static void pin_blas(void) {}

typedef struct member {
    dock *d;
    int number;
} member;

static void *member_main(void *context) {
    const member *m = context;
    serve(m->d, m->number);
    return NULL;
}

static void *host_main(void *context) {
    dock *d = context;
    pthread_t threads[MAX_THREADS];
    member members[MAX_THREADS];
    int started = 1;
    for (; started < d->workers; started++) {
        members[started] = (member){.d = d, .number = started + 1};
        if (pthread_create(&threads[started], NULL, member_main, &members[started]) != 0) break;
    }
    serve(d, 1);
    for (int i = 1; i < started; i++) pthread_join(threads[i], NULL);
    return NULL;
}
#endif

void tn_par_stop(void) {
    dock *d = &the_dock;
    if (!d->workers) return;
    announce(d, NULL, true);
    pthread_join(d->host, NULL);
    d->workers = 0;
    d->ending = false;
    atomic_store(&d->round, 0);
}

/* Without a team the caller does all the work itself. */
static bool have_team(dock *d) {
    if (d->workers) return true;
    d->workers = n_threads - 1;
    if (pthread_create(&d->host, NULL, host_main, d) != 0) d->workers = 0;
    return d->workers > 0;
}

tn_status tn_par_set_threads(int threads) {
    if (threads < 0 || threads > MAX_THREADS)
        return TN_FAIL(RANGE, "threads: %d is outside 0..%d", threads, MAX_THREADS);
    tn_par_stop();
    n_threads = threads ? threads : tn_par_cores();
    pin_blas();
    return TN_OK;
}

static void run_inline(int64_t n, tn_par_body *body, void *context) {
    unsigned saved = tn_fp_flush_denormals();
    body(context, 0, n);
    tn_fp_restore(saved);
}

void tn_par_for(int64_t n, int64_t grain, tn_par_body *body, void *context) {
    if (n <= 0) return;
    TN_ASSERT(grain > 0);
    dock *d = &the_dock;
    if (inside || n_threads == 1 || n <= grain || pthread_mutex_trylock(&caller) != 0) {
        run_inline(n, body, context);
        return;
    }
    job j = {.n = n, .grain = grain, .body = body, .context = context};
    bool team = have_team(d);
    if (team) announce(d, &j, false);
    work(&j, 0);
    if (team) retire(d);
    pthread_mutex_unlock(&caller);
}
