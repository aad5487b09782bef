/* SPDX-License-Identifier: MIT
 * The workers are an OpenMP team that stays in one parallel region for life and takes jobs from a dock of our own. The
 * barrier of a region per loop was measured first: libgomp spins there for milliseconds, and a thread that another
 * process has pushed off its core is waited for even when all the work is done, so two busy processes on two cores made
 * each other a hundred times slower. Here the caller waits only for workers that have begun a block, and spins shortly.
 * OpenBLAS's OpenMP build reads omp_get_max_threads() of the calling task, so that value is 1 while a body runs.
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

enum { SPINS = 1000, MAX_THREADS = 256 }; /* 1000 pauses are 15 to 50 us: longer than the gap between two loops */

static atomic_int n_threads = 1;
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

#ifndef TN_PTHREADS
static int omp_threads(int threads) {
    int saved = omp_get_max_threads();
    omp_set_num_threads(threads);
    return saved;
}

/* Not sched_getaffinity: with OMP_PROC_BIND libgomp has tied this thread to one core before main began. */
static int count_cores(void) { return omp_get_num_procs(); }
#else
static int omp_threads(int threads) { return threads; }

static int count_cores(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}
#endif

int tn_par_cores(void) { return TN_MAX(TN_MIN(count_cores(), (int)MAX_THREADS), 1); }

/* What a body may rely on: denormals flushed, OpenBLAS with one thread a call. */
typedef struct surroundings {
    unsigned fp;
    int omp;
} surroundings;

static surroundings enter_body(void) { return (surroundings){tn_fp_flush_denormals(), omp_threads(1)}; }

static void leave_body(surroundings before) {
    tn_fp_restore(before.fp);
    (void)omp_threads(before.omp);
}

int tn_par_threads(void) { return atomic_load(&n_threads); }
int tn_par_worker(void) { return worker; }

typedef struct job {
    int64_t n, grain;
    atomic_int_least64_t next; /* first item not yet handed out */
    tn_par_body *body;
    void *context;
} job;

/* Take blocks until none is left. */
static void work(job *j, int number) {
    surroundings before = enter_body();
    inside = true;
    worker = number;
    for (;;) {
        int64_t begin = atomic_fetch_add_explicit(&j->next, j->grain, memory_order_relaxed);
        if (begin >= j->n) break;
        j->body(j->context, begin, TN_MIN(begin + j->grain, j->n));
    }
    worker = 0;
    inside = false;
    leave_body(before);
}

/* ---- the dock: where workers wait for a job ---- */

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
/* With OMP_PROC_BIND or OMP_PLACES: worker i goes to place i, as in a team that the main thread leads. */
static void go_to_place(int number) {
    enum { MOST = 1024 };
    int places = omp_get_num_places(), ids[MOST];
    int place = places ? number % places : 0, count = places ? omp_get_place_num_procs(place) : 0;
    if (count < 1 || count > MOST) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    omp_get_place_proc_ids(place, ids);
    for (int i = 0; i < count; i++) CPU_SET(ids[i], &set);
    (void)sched_setaffinity(0, sizeof set, &set); /* a wish, as OMP_PLACES itself */
}

static void serve_as(dock *d, int number) {
    go_to_place(number);
    serve(d, number);
}

static void *host_main(void *context) {
    dock *d = context;
#pragma omp parallel num_threads(d->workers)
    serve_as(d, omp_get_thread_num() + 1);
    return NULL;
}
#else /* libgomp is not instrumented: the same dock on plain threads for the thread sanitizer */
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

static void send_home(dock *d) {
    if (!d->workers) return;
    announce(d, NULL, true);
    pthread_join(d->host, NULL);
    d->workers = 0;
    d->ending = false;
    atomic_store(&d->round, 0);
}

/* Without a team the caller does all the work itself. */
static bool have_team(dock *d, int workers) {
    if (d->workers || workers < 1) return d->workers > 0;
    d->workers = workers;
    if (pthread_create(&d->host, NULL, host_main, d) != 0) d->workers = 0;
    return d->workers > 0;
}

static void change_team(int threads) {
    TN_ASSERT(!inside); /* a worker cannot wait for itself */
    pthread_mutex_lock(&caller);
    send_home(&the_dock);
    atomic_store(&n_threads, threads);
    pthread_mutex_unlock(&caller);
}

void tn_par_stop(void) { change_team(tn_par_threads()); }

tn_status tn_par_set_threads(int threads) {
    if (threads < 0 || threads > MAX_THREADS)
        return TN_FAIL(RANGE, "threads: %d is outside 0..%d", threads, MAX_THREADS);
    change_team(threads ? threads : tn_par_cores());
    return TN_OK;
}

static void run_inline(int64_t n, tn_par_body *body, void *context) {
    surroundings before = enter_body();
    body(context, 0, n);
    leave_body(before);
}

void tn_par_for(int64_t n, int64_t grain, tn_par_body *body, void *context) {
    if (n <= 0) return;
    TN_ASSERT(grain > 0);
    dock *d = &the_dock;
    if (inside || tn_par_threads() == 1 || n <= grain || pthread_mutex_trylock(&caller) != 0) {
        run_inline(n, body, context);
        return;
    }
    job j = {.n = n, .grain = grain, .body = body, .context = context};
    bool team = have_team(d, tn_par_threads() - 1);
    if (team) announce(d, &j, false);
    work(&j, 0);
    if (team) retire(d);
    pthread_mutex_unlock(&caller);
}
