/* SPDX-License-Identifier: MIT
 * The row kernels over the activations of a batch, by rows in parallel as ops do it, and the memory they wait for. */
#include "bench/kernel_rates_priv.h"

#include "bench/crowd.h"
#include "core/clock.h"
#include "core/par.h"
#include "kernels/kernels.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH = 512, ROWS_A_PIECE = 16, STREAM_ELEMENTS = 1 << 25, STREAM_PIECE = 1 << 16, STREAM_TRIES = 5 };

typedef struct row_room {
    tn_real *a, *b, *c, *d; /* [tokens, WIDTH] */
    int8_t *codes;
    tn_real *gain, *half; /* [WIDTH] ones and halves */
} row_room;

typedef void row_fn(const row_room *r, int64_t at);

#define REAL sizeof(tn_real)
static void quantize_row(const row_room *r, int64_t at) { tn_k->quantize_row(WIDTH, r->a + at, r->codes + at); }
static void rms_row(const row_room *r, int64_t at) {
    tn_k->rms_row(WIDTH, r->a + at, r->gain, (tn_real)1e-5, r->c + at);
}
static void rms_row_dx(const row_room *r, int64_t at) {
    tn_k->rms_row_dx(WIDTH, r->a + at, r->gain, r->b + at, 1, r->c + at);
}
static void relu2_gate(const row_room *r, int64_t at) { tn_k->relu2_gate(WIDTH, r->a + at, r->b + at, r->c + at); }
static void relu2_gate_back(const row_room *r, int64_t at) {
    tn_k->relu2_gate_back(WIDTH, r->a + at, r->b + at, r->a + at, r->c + at, r->d + at);
}
static void add(const row_room *r, int64_t at) { tn_k->add(WIDTH, r->a + at, r->b + at, r->c + at); }
static void rope_row(const row_room *r, int64_t at) {
    for (int head = 0; head < WIDTH; head += 64)
        tn_k->rope_row(64, r->a + at + head, r->half, r->half, 1, r->c + at + head);
}
static void exp_scaled(const row_room *r, int64_t at) { tn_k->exp_scaled(WIDTH, r->a + at, 1, 1, r->c + at); }
static void adamw_step(const row_room *r, int64_t at) {
    const tn_adamw o = {.lr = (tn_real)1e-3,
                        .beta1 = (tn_real)0.9,
                        .beta2 = (tn_real)0.95,
                        .epsilon = (tn_real)1e-8,
                        .grad_scale = 1,
                        .correction1 = 1,
                        .correction2 = 1};
    tn_k->adamw_step(WIDTH, &o, r->b + at, r->a + at, r->c + at, r->d + at);
}

static const struct {
    const char *name;
    row_fn *run;
    size_t bytes; /* read and written, an element */
} cases[] = {
    {"quantize_row", quantize_row, REAL + 1},
    {"rms_row", rms_row, 2 * REAL},
    {"rms_row_dx", rms_row_dx, 4 * REAL},
    {"relu2_gate", relu2_gate, 3 * REAL},
    {"relu2_gate_back", relu2_gate_back, 7 * REAL},
    {"add", add, 3 * REAL},
    {"rope_row", rope_row, 2 * REAL},
    {"exp_scaled", exp_scaled, 2 * REAL},
    {"adamw_step", adamw_step, 7 * REAL},
};

typedef struct row_job {
    const row_room *room;
    row_fn *run;
} row_job;

static void run_rows(void *context, int64_t begin, int64_t end) {
    const row_job *job = context;
    for (int64_t row = begin; row < end; row++) job->run(job->room, row * WIDTH);
}

static tn_status prepare(row_room *r, tn_arena *arena, int tokens) {
    const int64_t count = (int64_t)tokens * WIDTH;
    TN_TAKE(r->a, arena, count, "bench");
    TN_TAKE(r->b, arena, count, "bench");
    TN_TAKE0(r->c, arena, count, "bench");
    TN_TAKE0(r->d, arena, count, "bench");
    TN_TAKE(r->codes, arena, count, "bench");
    TN_TAKE(r->gain, arena, WIDTH, "bench");
    TN_TAKE(r->half, arena, WIDTH, "bench");
    for (int64_t i = 0; i < count; i++) {
        r->a[i] = (tn_real)((int)(i * 7919 % 1009) - 504) / 256;
        r->b[i] = (tn_real)((int)(i * 104729 % 2003) - 1001) / 512;
    }
    for (int i = 0; i < WIDTH; i++) r->gain[i] = 1, r->half[i] = (tn_real)0.5;
    return TN_OK;
}

static void measure(tn_kernel_rates *rates, const row_room *room, size_t number) {
    const row_job job = {.room = room, .run = cases[number].run};
    tn_samples speeds = {0};
    double work = (double)cases[number].bytes * rates->tokens * WIDTH, end = tn_clock_seconds() + rates->seconds;
    run_rows((void *)(uintptr_t)&job, 0, rates->tokens);
    do {
        double begin = tn_crowd_clock();
        tn_par_for(rates->tokens, ROWS_A_PIECE, run_rows, (void *)(uintptr_t)&job);
        tn_samples_add(&speeds, work / (tn_crowd_clock() - begin));
    } while (tn_clock_seconds() < end);
    tn_rate *row = &rates->rows[rates->n_rows++];
    *row = (tn_rate){.name = cases[number].name, .limit = rates->memory, .limit_name = "memory"};
    snprintf(row->shape, sizeof row->shape, "%d", WIDTH);
    row->rate = tn_samples_median(&speeds);
}

/* ---- memory ---- */

typedef struct stream {
    tn_real *a, *b, *c;
} stream;

static void add_piece(void *context, int64_t begin, int64_t end) {
    const stream *s = context;
    tn_k->add(end - begin, s->a + begin, s->b + begin, s->c + begin);
}

static void zero_piece(void *context, int64_t begin, int64_t end) {
    const stream *s = context;
    memset(s->a + begin, 0, REAL * (size_t)(end - begin));
    memset(s->b + begin, 0, REAL * (size_t)(end - begin));
    memset(s->c + begin, 0, REAL * (size_t)(end - begin));
}

static tn_status measure_memory(tn_kernel_rates *rates, tn_arena *arena) {
    stream s;
    tn_samples speeds = {0};
    TN_TAKE(s.a, arena, STREAM_ELEMENTS, "bench");
    TN_TAKE(s.b, arena, STREAM_ELEMENTS, "bench");
    TN_TAKE(s.c, arena, STREAM_ELEMENTS, "bench");
    tn_par_for(STREAM_ELEMENTS, STREAM_PIECE, zero_piece, &s);
    for (int i = 0; i < STREAM_TRIES; i++) {
        double begin = tn_crowd_clock();
        tn_par_for(STREAM_ELEMENTS, STREAM_PIECE, add_piece, &s);
        tn_samples_add(&speeds, 3.0 * REAL * STREAM_ELEMENTS / (tn_crowd_clock() - begin));
    }
    rates->memory = tn_samples_median(&speeds);
    return TN_OK;
}

tn_status tn_row_rates_measure(tn_kernel_rates *rates, tn_arena *arena) {
    row_room room;
    TN_TRY(measure_memory(rates, arena));
    tn_arena_reset(arena);
    TN_TRY(prepare(&room, arena, rates->tokens));
    for (size_t number = 0; number < TN_COUNT(cases); number++) measure(rates, &room, number);
    return TN_OK;
}
