/* SPDX-License-Identifier: MIT */
#include "bench/memory_rate.h"

#include "core/clock.h"
#include "core/par.h"
#include "kernels/kernels.h"

#include <string.h>

enum { NUMBERS = 1 << 27, PIECE = 1 << 16, CHAINS = 4 };

struct tn_memory_rate {
    tn_real *numbers;             /* [NUMBERS], all 0 */
    double sums[NUMBERS / PIECE]; /* so that reading is not for nothing */
};

static void zero_piece(void *context, int64_t begin, int64_t end) {
    tn_memory_rate *rate = context;
    memset(rate->numbers + begin * PIECE, 0, sizeof *rate->numbers * (size_t)(end - begin) * PIECE);
}

/* row_max, unlike a sum in double, is far faster than any memory. */
static void read_piece(void *context, int64_t begin, int64_t end) {
    tn_memory_rate *rate = context;
    for (int64_t piece = begin; piece < end; piece++)
        rate->sums[piece] = (double)tn_k->row_max(PIECE, rate->numbers + piece * PIECE);
}

tn_status tn_memory_rate_create(tn_memory_rate **out, tn_arena *arena) {
    TN_TAKE0(*out, arena, 1, "bench");
    TN_TAKE((*out)->numbers, arena, NUMBERS, "bench");
    tn_par_for(NUMBERS / PIECE, 1, zero_piece, *out);
    return TN_OK;
}

/* Each thread a stretch of its own, as weights are read. */
double tn_memory_rate_try(tn_memory_rate *rate) {
    const int64_t pieces = NUMBERS / PIECE,
                  grain = (pieces + tn_par_threads() * CHAINS - 1) / (tn_par_threads() * CHAINS);
    const double begin = tn_clock_seconds();
    tn_par_for(pieces, grain, read_piece, rate);
    return (double)NUMBERS * sizeof *rate->numbers / (tn_clock_seconds() - begin);
}
