/* SPDX-License-Identifier: MIT
 * roofline.h - the time that a training step would take if its products ran at the peaks of the CPU and all the rest
 * were free. The formula is in bench/README.md. */
#ifndef TN_BENCH_ROOFLINE_H
#define TN_BENCH_ROOFLINE_H
#include "layers/model.h"

#include "bench/peak.h"

typedef struct tn_roofline {
    double forward, backward, head; /* seconds of the ternary products forward, the same backward, the head both ways */
    double rates[3];                /* multiply-adds a second taken for the three, */
    const char *arithmetic[3];      /* and what they are: "int8", "int16" */
} tn_roofline;

/* Multiply-adds of a step of `tokens` tokens: ternary forward, ternary backward (twice that), head both ways (three
 * times its forward). */
typedef struct tn_step_work {
    double forward, backward, head;
} tn_step_work;
tn_step_work tn_step_work_of(const tn_model_config *config, double tokens);

/* Each part at the fastest arithmetic it can be done in; peaks[TN_PEAK_COUNT] in multiply-adds a second. The float twin
 * has no integers: all of it is at the best float peak. */
tn_roofline tn_roofline_best(const tn_model_config *config, double tokens, const double peaks[TN_PEAK_COUNT]);
/* Backward and head at the bf16 peak, whether or not that is the fastest; zeros where the CPU has no bf16. */
tn_roofline tn_roofline_bf16(const tn_model_config *config, double tokens, const double peaks[TN_PEAK_COUNT]);
double tn_roofline_seconds(const tn_roofline *roofline);

#endif
