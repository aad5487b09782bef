/* SPDX-License-Identifier: MIT
 * lora_bench.h - steps of an adapter that is trained over a frozen model from a file, on random tokens: how long they
 * take, what takes that time, how far they are from the peaks of the CPU, and whether they took the memory that was
 * planned. */
#ifndef TN_BENCH_LORA_BENCH_H
#define TN_BENCH_LORA_BENCH_H
#include "autograd/op.h"
#include "bench/peak.h"
#include "layers/adapter.h"
#include "train/memory_table.h"

/* Multiply-adds of a step, and the seconds they would take at the peaks. */
typedef struct tn_lora_work {
    double forward, backward, head, adapter; /* of a pass without recompute */
    double ideal;
} tn_lora_work;

/* Zeroed, then set the first group. */
typedef struct tn_lora_bench {
    const char *model, *modules; /* file; as tn_adapter_add_modules takes */
    int rank;
    double alpha;
    tn_adapter_options options;
    int tokens;        /* of a step: one row; 0: 512, or the model's context when that is shorter */
    int recompute;     /* blocks of a segment; 0: all is kept */
    int steps, warmup; /* steps measured, and before them */

    char description[256]; /* of the model */
    tn_model_config config;
    int64_t parameters;     /* of the adapter */
    tn_backward arithmetic; /* of backward */
    double seconds, other;  /* a step, median; what of it is in no op and not the optimizer's */
    double forward[TN_OP_COUNT], backward[TN_OP_COUNT], optimizer;
    double loss;                 /* of the last step */
    double waited;               /* share of the time that threads waited for a core (crowd.h) */
    double peaks[TN_PEAK_COUNT]; /* multiply-adds a second, all threads */
    tn_lora_work work;
    tn_memory_table planned; /* before a weight was read, largest first */
    int64_t peak_rss;
} tn_lora_bench;

/* Fails: what the model's file and a pass give; TN_E_RANGE when the model's context is shorter than a step; TN_E_NAN
 * when the loss is not finite. */
tn_status tn_lora_bench_run(tn_lora_bench *bench);

#endif
