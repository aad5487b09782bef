/* SPDX-License-Identifier: MIT
 * schedule.h - learning rate and weight decay as pure functions of (step, total); nothing to save or restore.
 * t counts from 0, S = total, W = warm-up steps, x = (t - W) / (S - W), r = min_ratio:
 *
 *   - constant   1
 *   - linear     r + (1 - r)(1 - x)
 *   - cosine     r + (1 - r)(1 + cos pi x) / 2
 *   - wsd        1, then over the last fifth of S in a line to r
 *   - two_stage  1 - t/S before stage2_start S, from there stage2_ratio (1 - t/S), never below r; the weight decay
 *     changes at the same step (after Ma 2024, docs/math.md)
 *
 * In the first W steps all are multiplied by (t + 1) / W. */
#ifndef TN_OPTIM_SCHEDULE_H
#define TN_OPTIM_SCHEDULE_H
#include "core/status.h"

#define TN_SCHEDULES "constant|linear|cosine|wsd|two_stage"
typedef enum tn_schedule_kind {
    TN_SCHEDULE_CONSTANT,
    TN_SCHEDULE_LINEAR,
    TN_SCHEDULE_COSINE,
    TN_SCHEDULE_WSD,
    TN_SCHEDULE_TWO_STAGE
} tn_schedule_kind;

typedef struct tn_schedule {
    tn_schedule_kind kind;
    int64_t warmup;      /* W, 0..S */
    double min_ratio;    /* r, 0..1 */
    double stage2_start; /* share of S */
    double stage2_ratio; /* second peak / first peak */
    double weight_decay, stage2_weight_decay;
} tn_schedule;

typedef struct tn_rates {
    double factor; /* of the peak learning rate */
    double weight_decay;
} tn_rates;

/* 0 <= step < total. */
tn_rates tn_schedule_at(const tn_schedule *schedule, int64_t step, int64_t total);
/* max(1 % of total, min(375, 10 % of total)), the warm-up of two_stage when nothing else is asked for. */
int64_t tn_schedule_default_warmup(tn_schedule_kind kind, int64_t total);

#endif
