/* SPDX-License-Identifier: MIT
 * train_bench.h - steps of a real training run on random tokens: how long they take, what takes that time, and how far
 * they are from the peaks of the CPU, measured between the steps. */
#ifndef TN_BENCH_TRAIN_BENCH_H
#define TN_BENCH_TRAIN_BENCH_H
#include "autograd/op.h"
#include "bench/roofline.h"
#include "train/memory_table.h"
#include "train/run_config.h"

/* What a step does besides ops. */
typedef enum tn_bench_part {
    TN_BENCH_CLIP,      /* the norm of all gradients */
    TN_BENCH_OPTIMIZER, /* moves the parameters */
    TN_BENCH_REFRESH,   /* states and packing of the new weights */
    TN_BENCH_PARTS
} tn_bench_part;
const char *tn_bench_part_name(tn_bench_part part);

/* Zeroed, then set steps and warmup. */
typedef struct tn_train_bench {
    int steps, warmup; /* steps measured, and before them */

    int64_t tokens;         /* a step */
    tn_backward arithmetic; /* the arithmetic of the products in backward */
    double seconds;         /* a step, median; so are all times below */
    double forward[TN_OP_COUNT], backward[TN_OP_COUNT], parts[TN_BENCH_PARTS];
    double other;                /* of a step, in none of these: batch, tape */
    double loss;                 /* of the last step */
    double waited;               /* share of the time that threads waited for a core (crowd.h) */
    double peaks[TN_PEAK_COUNT]; /* multiply-adds a second, all threads; 0 = no such arithmetic */
    tn_roofline best, bf16;
    tn_step_work work;
    double attention; /* multiply-adds of a step in attention, both ways, half of the square */
    tn_model_counts parameters;
    tn_memory_table memory; /* the peaks of the arenas, largest first */
    int64_t peak_rss;
} tn_train_bench;

/* Make the engine of `config` (whose model is complete) and train it. Fails: what a pass gives; TN_E_NAN when the loss
 * is not finite; TN_E_NOMEM. */
tn_status tn_train_bench_run(tn_train_bench *bench, const tn_run_config *config);
/* Ideal seconds / measured seconds; 0 when the CPU lacks the arithmetic. */
double tn_train_bench_share(const tn_train_bench *bench, const tn_roofline *roofline);

/* One of the products of a step: what it did and what it was held against. */
typedef struct tn_bench_product {
    const char *name;
    double work, seconds;   /* multiply-adds */
    double peak;            /* multiply-adds a second */
    const char *arithmetic; /* of the peak */
} tn_bench_product;
enum { TN_BENCH_PRODUCTS = 4 };
/* Ternary forward, ternary backward, head, attention. */
void tn_train_bench_products(const tn_train_bench *bench, tn_bench_product out[TN_BENCH_PRODUCTS]);

#endif
