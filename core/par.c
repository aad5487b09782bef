/* SPDX-License-Identifier: MIT
 * Nested calls and calls with a single block run inline. OpenBLAS reads omp_get_max_threads() of the calling task, so
 * that value stays 1 in every task and teams are sized by num_threads() only. */
#include "core/par.h"

#include <sched.h>

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

static void run_inline(int64_t n, tn_par_body *body, void *context) {
    unsigned saved = tn_fp_flush_denormals();
    body(context, 0, n);
    tn_fp_restore(saved);
}

typedef struct job {
    int64_t n, grain;
    int64_t next; /* first item not yet handed out; atomic */
    tn_par_body *body;
    void *context;
} job;

/* One worker of a team: take blocks until none is left. */
static void work(job *j, int number) {
    unsigned saved = tn_fp_flush_denormals();
    inside = true;
    worker = number;
    for (;;) {
        int64_t begin = __atomic_fetch_add(&j->next, j->grain, __ATOMIC_RELAXED);
        if (begin >= j->n) break;
        j->body(j->context, begin, TN_MIN(begin + j->grain, j->n));
    }
    worker = 0;
    inside = false;
    tn_fp_restore(saved);
}

#ifndef TN_PTHREADS
#include <omp.h>

tn_status tn_par_set_threads(int threads) {
    if (threads < 0 || threads > 256) return TN_FAIL(RANGE, "threads: %d is outside 0..256", threads);
    n_threads = threads ? threads : tn_par_cores();
    omp_set_dynamic(0);
    omp_set_num_threads(1);
    return TN_OK;
}

static void run_team(job *j, int team) {
#pragma omp parallel num_threads(team)
    work(j, omp_get_thread_num());
}

#else
#include <pthread.h>

tn_status tn_par_set_threads(int threads) {
    if (threads < 0 || threads > 256) return TN_FAIL(RANGE, "threads: %d is outside 0..256", threads);
    n_threads = threads ? threads : tn_par_cores();
    return TN_OK;
}

typedef struct member {
    job *j;
    int number;
    pthread_t thread;
    bool started;
} member;

static void *member_main(void *arg) {
    member *m = arg;
    work(m->j, m->number);
    return NULL;
}

/* A team is made anew for each loop: slow, but every access is then visible to the thread sanitizer. */
static void run_team(job *j, int team) {
    member members[256];
    for (int i = 1; i < team; i++) {
        members[i] = (member){.j = j, .number = i};
        members[i].started = pthread_create(&members[i].thread, NULL, member_main, &members[i]) == 0;
    }
    work(j, 0);
    for (int i = 1; i < team; i++)
        if (members[i].started) pthread_join(members[i].thread, NULL);
}
#endif

void tn_par_for(int64_t n, int64_t grain, tn_par_body *body, void *context) {
    if (n <= 0) return;
    TN_ASSERT(grain > 0);
    int64_t blocks = (n + grain - 1) / grain;
    int team = (int)TN_MIN((int64_t)n_threads, blocks);
    if (inside || team == 1) {
        run_inline(n, body, context);
        return;
    }
    job j = {.n = n, .grain = grain, .body = body, .context = context};
    run_team(&j, team);
}
