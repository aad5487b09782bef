/* SPDX-License-Identifier: MIT
 * memory_rate.h - how fast this machine reads memory, all threads together: the measure of generation, which reads
 * every weight once a token. */
#ifndef TN_BENCH_MEMORY_RATE_H
#define TN_BENCH_MEMORY_RATE_H
#include "core/arena.h"

typedef struct tn_memory_rate tn_memory_rate;

/* A stretch of memory far larger than caches, from `arena`, touched once. Fails: TN_E_NOMEM. */
tn_status tn_memory_rate_create(tn_memory_rate **out, tn_arena *arena);
/* Read it once more; bytes a second. */
double tn_memory_rate_try(tn_memory_rate *rate);

#endif
