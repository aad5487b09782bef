/* SPDX-License-Identifier: MIT
 * The products of a training step, alone: forward, and backward in each arithmetic that is built. */
#include "bench/kernel_rates_priv.h"

#include "bench/crowd.h"
#include "core/clock.h"
#include "core/rng.h"
#include "kernels/backward.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"

#include <stdio.h>

enum { FEWEST_TRIES = 3 };

/* X [n,k], W [m,k], Y [n,m]. */
typedef struct product_room {
    int n, m, k;
    tn_real *x, *w, *y, *dx, *dw, *row_scale;
    int8_t *codes, *states;
    void *packed_states, *packed_turned, *packed_real, *scratch;
} product_room;

static void ternary_forward(const product_room *r) {
    tn_gemm_ternary(r->n, r->m, r->k, r->codes, r->row_scale, r->packed_states, 1, r->y);
}
static void ternary_dx(const product_room *r) {
    tn_ternary_dx(r->n, r->m, r->k, r->y, r->packed_turned, 1, TN_SUM_SET, r->dx, r->scratch);
}
static void ternary_dw(const product_room *r) {
    tn_ternary_dw(r->n, r->m, r->k, r->y, r->codes, r->row_scale, TN_SUM_SET, r->dw, r->scratch);
}
static void real_forward(const product_room *r) { tn_gemm_real(r->n, r->m, r->k, r->x, r->packed_real, r->y); }
static void real_dx(const product_room *r) {
    tn_product(TN_AS_IS, TN_AS_IS, r->n, r->k, r->m, 1, r->y, r->m, r->w, r->k, 0, r->dx, r->k);
}
static void real_dw(const product_room *r) {
    tn_product(TN_TRANSPOSED, TN_AS_IS, r->m, r->k, r->n, 1, r->y, r->m, r->x, r->k, 0, r->dw, r->k);
}
static void bf16_dx(const product_room *r) {
    tn_product_bf16(TN_AS_IS, TN_AS_IS, r->n, r->k, r->m, 1, r->y, r->m, r->w, r->k, 0, r->dx, r->k);
}
static void bf16_dw(const product_room *r) {
    tn_product_bf16(TN_TRANSPOSED, TN_AS_IS, r->m, r->k, r->n, 1, r->y, r->m, r->x, r->k, 0, r->dw, r->k);
}

static const struct {
    const char *name;
    void (*run)(const product_room *r);
    tn_peak_kind kind;
    double share; /* of the peak that this arithmetic can reach: two byte products make one of 16 bits */
    bool ternary; /* of weights */
} cases[] = {
    {"ternary forward, int8", ternary_forward, TN_PEAK_BYTES, 1, true},
    {"ternary dX, int16 as 2 int8", ternary_dx, TN_PEAK_BYTES, 0.5, true},
    {"ternary dW, int16", ternary_dw, TN_PEAK_WORDS, 1, true},
    {"real forward, f32", real_forward, TN_PEAK_REAL, 1, false},
    {"real dX, f32", real_dx, TN_PEAK_REAL, 1, false},
    {"real dW, f32", real_dw, TN_PEAK_REAL, 1, false},
    {"real dX, bf16", bf16_dx, TN_PEAK_BF16, 1, false},
    {"real dW, bf16", bf16_dw, TN_PEAK_BF16, 1, false},
};

/* Outputs x inputs: the matrices of the presets, and a head, which is never ternary. */
static const struct {
    int m, k;
    bool head;
} shapes[] = {{256, 256, false}, {512, 512, false},  {1408, 512, false}, {512, 1408, false},
              {768, 768, false}, {2048, 768, false}, {768, 2048, false}, {8192, 512, true}};

static void fill(product_room *r) {
    const tn_rng rng = tn_rng_make(1, TN_PURPOSE_TEST, 0);
    int64_t nk = (int64_t)r->n * r->k, mk = (int64_t)r->m * r->k, nm = (int64_t)r->n * r->m;
    for (int64_t i = 0; i < nk; i++) {
        uint64_t bits = tn_rng_u64(&rng, (uint64_t)i);
        r->codes[i] = (int8_t)((int)(bits & 255) - 128);
        r->x[i] = (tn_real)((double)r->codes[i] / 64);
    }
    for (int64_t i = 0; i < mk; i++) {
        r->states[i] = (int8_t)((int)tn_rng_below(&rng, (uint64_t)i, 3) - 1);
        r->w[i] = (tn_real)r->states[i];
    }
    for (int64_t i = 0; i < nm; i++) r->y[i] = (tn_real)(tn_rng_uniform(&rng, (uint64_t)i) - 0.5);
    for (int i = 0; i < r->n; i++) r->row_scale[i] = 64;
}

static tn_status prepare(product_room *r, tn_arena *arena, int n, int m, int k) {
    *r = (product_room){.n = n, .m = m, .k = k};
    int64_t nk = (int64_t)r->n * r->k, mk = (int64_t)r->m * r->k, nm = (int64_t)r->n * r->m;
    size_t dx = tn_ternary_dx_scratch(r->n, r->m), dw = tn_ternary_dw_scratch(r->n, r->m, r->k);
    TN_TAKE(r->x, arena, nk, "bench");
    TN_TAKE(r->w, arena, mk, "bench");
    TN_TAKE(r->y, arena, nm, "bench");
    TN_TAKE(r->dx, arena, nk, "bench");
    TN_TAKE(r->dw, arena, mk, "bench");
    TN_TAKE(r->row_scale, arena, r->n, "bench");
    TN_TAKE(r->codes, arena, nk, "bench");
    TN_TAKE(r->states, arena, mk, "bench");
    r->packed_states = tn_arena_alloc(arena, tn_pack_ternary_bytes(TN_PACKING_PAIRS, r->m, r->k), "bench");
    r->packed_turned = tn_arena_alloc(arena, tn_pack_ternary_turned_bytes(r->m, r->k), "bench");
    r->packed_real = tn_arena_alloc(arena, tn_pack_real_bytes(r->m, r->k), "bench");
    r->scratch = tn_arena_alloc(arena, TN_MAX(dx, dw), "bench");
    if (!r->packed_states || !r->packed_turned || !r->packed_real || !r->scratch) return TN_E_NOMEM;
    fill(r);
    tn_pack_ternary(TN_PACKING_PAIRS, r->m, r->k, r->states, r->packed_states);
    tn_pack_ternary_turned(r->m, r->k, r->states, r->packed_turned);
    tn_pack_real(r->m, r->k, r->w, r->packed_real);
    return TN_OK;
}

/* Product and peak in turn. */
static void measure(tn_kernel_rates *rates, const product_room *r, size_t number) {
    tn_rate *row = &rates->products[rates->n_products++];
    tn_peaks peaks = {0};
    tn_samples speeds = {0};
    double work = (double)r->n * r->m * r->k, end;
    cases[number].run(r);
    end = tn_clock_seconds() + rates->seconds;
    do {
        tn_peaks_try(&peaks, cases[number].kind);
        double begin = tn_crowd_clock();
        cases[number].run(r);
        tn_samples_add(&speeds, work / (tn_crowd_clock() - begin));
    } while (tn_clock_seconds() < end || speeds.count < FEWEST_TRIES);
    *row = (tn_rate){.name = cases[number].name, .limit_name = tn_peak_name(cases[number].kind)};
    snprintf(row->shape, sizeof row->shape, "%d x %d", r->m, r->k);
    row->rate = tn_samples_median(&speeds);
    row->limit = cases[number].share * tn_peaks_get(&peaks, cases[number].kind);
}

/* A head is not ternary, and what a CPU does in bf16 without instructions for it is no rate of bf16. */
static bool is_wanted(size_t number, bool head) {
    if (cases[number].kind == TN_PEAK_BF16 && tn_k->spin_bf16(1) == 0) return false;
    return !head || !cases[number].ternary;
}

tn_status tn_product_rates_measure(tn_kernel_rates *rates, tn_arena *arena) {
    _Static_assert(TN_COUNT(shapes) * TN_COUNT(cases) <= TN_RATE_ROWS, "raise TN_RATE_ROWS");
    for (size_t shape = 0; shape < TN_COUNT(shapes); shape++) {
        product_room room;
        tn_arena_reset(arena);
        TN_TRY(prepare(&room, arena, rates->tokens, shapes[shape].m, shapes[shape].k));
        for (size_t number = 0; number < TN_COUNT(cases); number++)
            if (is_wanted(number, shapes[shape].head)) measure(rates, &room, number);
    }
    return TN_OK;
}
