/* SPDX-License-Identifier: MIT
 * infer_bench.h - prompts and generation of a model, timed as users run them, beside what the machine can do.
 * A test reads `prompt` tokens and then writes `generate`, after `depth` tokens that are not timed, for `batch` texts
 * at once. Tokens are drawn at random; what is written is the most likely token, wherever that leads. */
#ifndef TN_BENCH_INFER_BENCH_H
#define TN_BENCH_INFER_BENCH_H
#include "bench/peak.h"
#include "infer/session.h"

typedef struct tn_infer_test {
    int prompt, generate, depth, batch;
    tn_samples seconds;
    double first[TN_SAMPLES_MAX]; /* the same in the order of runs, of which there were: */
    int runs;
} tn_infer_test;

typedef struct tn_infer_bench tn_infer_bench;

/* The model is borrowed. `context` holds the longest test. Fails: TN_E_RANGE for a context beyond the model's,
 * TN_E_NOMEM. */
tn_status tn_infer_bench_create(tn_infer_bench **out, const tn_loaded *loaded, tn_session_options options);
void tn_infer_bench_free(tn_infer_bench *bench); /* NULL is fine */
/* One run of a test, added to its times. Fails: TN_E_RANGE when it does not fit; what the model gives. */
tn_status tn_infer_bench_run(tn_infer_bench *bench, tn_infer_test *test);

/* "pp512", "tg128", "pp512+tg128", each with " @ d1024" and " x 8" where they apply. */
void tn_infer_test_name(const tn_infer_test *test, char name[64]);
int64_t tn_infer_test_tokens(const tn_infer_test *test); /* timed, all texts */

/* What a token costs. */
typedef struct tn_infer_work {
    double bytes; /* of weights and adapters, read for one token that is generated alone; the cache is not among them */
    double macs;  /* multiply-adds on ternary weights, of any token */
    int64_t parameters;
} tn_infer_work;
tn_infer_work tn_infer_work_of(tn_model *model);

#endif
