/* SPDX-License-Identifier: MIT
 * The stretch is longer than second-level caches, and its states are zeros: no product takes longer for what it
 * multiplies. */
#include "models/weigh_packing.h"

#include <math.h>
#include <string.h>

#include "core/arena.h"
#include "core/clock.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"

enum { INPUTS = 2560, OUTPUTS = 16384 /* 10 MiB in pairs */, ROUNDS = 5, FEW = 1 << 26 };

typedef struct trial {
    const int8_t *q;
    tn_real *y;
    tn_ternary_out out;
} trial;

static tn_status prepare(trial *t, tn_arena *arena, tn_packing packing) {
    const size_t bytes = tn_pack_ternary_bytes(packing, OUTPUTS, INPUTS);
    void *packed = tn_arena_zalloc(arena, 1, bytes, "packed ternary");
    if (!packed) return TN_E_NOMEM;
    t->out = (tn_ternary_out){.m = OUTPUTS, .packing = packing, .packed = packed, .a = 1, .y = t->y};
    return TN_OK;
}

static double seconds_of(const trial *t) {
    const tn_real scale = 1;
    const double start = tn_clock_seconds();
    tn_gemm_ternary_each(1, INPUTS, t->q, &scale, &t->out, 1);
    return tn_clock_seconds() - start;
}

/* In turn, so that both meet the same neighbours. */
static tn_status compare(tn_arena *arena, tn_packing *chosen) {
    trial trials[2];
    double best[2] = {INFINITY, INFINITY};
    TN_TAKE0(trials[0].q, arena, INPUTS, "packed ternary");
    TN_TAKE(trials[0].y, arena, OUTPUTS, "packed ternary");
    trials[1] = trials[0];
    for (int i = 0; i < 2; i++) TN_TRY(prepare(&trials[i], arena, (tn_packing)i));
    for (int round = 0; round < 2 * ROUNDS; round++)
        best[round % 2] = fmin(best[round % 2], seconds_of(&trials[round % 2]));
    /* Fewer bytes unless it is plain that they take longer: other processes disturb so short a measurement. */
    *chosen = best[TN_PACKING_TRIPLES] < 1.1 * best[TN_PACKING_PAIRS] ? TN_PACKING_TRIPLES : TN_PACKING_PAIRS;
    return TN_OK;
}

tn_status tn_packing_weigh(int64_t weights) {
    if (!tn_k->triples_are_fast || tn_k->run_packing == TN_PACKING_TRIPLES || weights < FEW) return TN_OK;
    tn_arena *arena = tn_arena_create("packing");
    tn_packing faster = TN_PACKING_PAIRS;
    if (!arena) return TN_E_NOMEM;
    tn_status status = compare(arena, &faster);
    tn_arena_free(arena);
    if (!status) tn_kernels_use_packing(faster);
    return status;
}
