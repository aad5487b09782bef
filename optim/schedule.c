/* SPDX-License-Identifier: MIT */
#include "optim/schedule.h"

#include <math.h>

/* Share of the run. Of 10, 20, 30 and 40 %, 20 and 30 did best in a 74M ternary net (openai/parameter-golf, 2026). */
static const double WSD_DECAY = 0.2;
static const double PI = 3.14159265358979323846;

int64_t tn_schedule_default_warmup(tn_schedule_kind kind, int64_t total) {
    if (kind != TN_SCHEDULE_TWO_STAGE) return 0;
    return TN_MAX(total / 100, TN_MIN((int64_t)375, total / 10));
}

static double line(double min_ratio, double x) { return min_ratio + (1 - min_ratio) * (1 - x); }

static double shape_at(const tn_schedule *s, double t, double total) {
    double warmup = (double)s->warmup;
    double x = t > warmup ? (t - warmup) / (total - warmup) : 0;
    switch (s->kind) {
    case TN_SCHEDULE_CONSTANT: return 1;
    case TN_SCHEDULE_LINEAR: return line(s->min_ratio, x);
    case TN_SCHEDULE_COSINE: return s->min_ratio + (1 - s->min_ratio) * 0.5 * (1 + cos(PI * x));
    case TN_SCHEDULE_WSD: {
        double start = total * (1 - WSD_DECAY);
        return t < start ? 1 : line(s->min_ratio, (t - start) / (total - start));
    }
    case TN_SCHEDULE_TWO_STAGE: {
        double peak = t < total * s->stage2_start ? 1 : s->stage2_ratio;
        return fmax(peak * (1 - t / total), s->min_ratio);
    }
    }
    TN_ASSERT(!"schedule");
    return 0;
}

tn_rates tn_schedule_at(const tn_schedule *s, int64_t step, int64_t total) {
    TN_ASSERT(step >= 0 && step < total);
    double t = (double)step, length = (double)total;
    tn_rates rates = {shape_at(s, t, length), s->weight_decay};
    if (step < s->warmup) rates.factor *= (t + 1) / (double)s->warmup;
    if (s->kind == TN_SCHEDULE_TWO_STAGE && t >= length * s->stage2_start) rates.weight_decay = s->stage2_weight_decay;
    return rates;
}
